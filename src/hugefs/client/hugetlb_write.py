"""Writing into a file on hugetlb pages, which have no write(2).

Rule 1: only where the pages were taken before; the file's length is the server's business and does not change here.
Rule 2: the bytes are stored by the kernel, not by us. If another writer punches a hole there meanwhile, and the page
        cannot be had again, that is a BusError, where a store of ours would be killed by SIGBUS.
Rule 3: a fork finds no window open: the child would keep it, in nobody's books.
"""

from __future__ import annotations

import os

from hugefs.client import forking

__all__ = ["write"]

_WINDOW_BYTES = 64 << 20
_STEP_BYTES = 1 << 20


def write(fd: int, data: memoryview, offset: int, page_bytes: int) -> None:
    """Write all of ``data`` at ``offset``. Raises BusError, NoDescriptors, NoHugePages (no address space left)."""
    from hugefs.memory.refusals import refused

    staging: list[int] = []
    try:
        try:
            staging.extend(map(os.memfd_create, ("hugefs-write",)))  # one call from C: see rule 6 of connection.py
            done = 0
            while done < len(data):
                start = (offset + done) // page_bytes * page_bytes
                part = data[done : done + max(_WINDOW_BYTES, page_bytes) - (offset + done - start)]
                _write_part(fd, staging[0], part, offset + done, start, page_bytes)
                done += len(part)
        finally:
            for descriptor in staging:
                os.close(descriptor)
    except OSError as error:
        raise refused(error, f"writing {len(data)} bytes at {offset}") from error


def _write_part(fd: int, staging: int, part: memoryview, offset: int, start: int, page_bytes: int) -> None:
    from hugefs.memory._libc import read_into
    from hugefs.memory.window import window

    length = -(-(offset + len(part) - start) // page_bytes) * page_bytes
    with forking.undivided(), window(fd, start, length, page_bytes) as address:
        for first in range(0, len(part), _STEP_BYTES):
            step = part[first : first + _STEP_BYTES]
            os.pwrite(staging, step, 0)
            os.lseek(staging, 0, os.SEEK_SET)
            done = 0
            while done < len(step):
                done += read_into(staging, address + offset - start + first + done, len(step) - done)
