"""A window: a short-lived mapping of a part of a file, for work on its pages.

Rule 1: aligned to the page size, because only there can the kernel use huge pages.
Rule 2: gone when the block ends, whatever happened in it.
Rule 3: nobody writes through a window with plain stores. Another holder of the descriptor may have punched a hole
        where we would step in; a store would be killed by SIGBUS, a system call gets EFAULT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hugefs.memory import _libc


@contextmanager
def window(fd: int, offset: int, length: int, align_bytes: int) -> Iterator[int]:
    """Map ``[offset, offset + length)`` shared and writable at an aligned address; yields the address.

    Raises OSError: ENOMEM where the address space is full (or RLIMIT_AS).
    """
    # Twice mapped: first a stretch of nothing that is long enough to hold an aligned address, then the file over it.
    # MAP_FIXED only ever replaces our own stretch, so this is safe beside other threads.
    room = length + align_bytes
    flags = _libc.MAP_PRIVATE | _libc.MAP_ANONYMOUS | _libc.MAP_NORESERVE
    stretch = _libc.mmap(None, room, _libc.PROT_NONE, flags, -1, 0)
    address = -(-stretch // align_bytes) * align_bytes
    try:
        _libc.mmap(
            address,
            length,
            _libc.PROT_READ | _libc.PROT_WRITE,
            _libc.MAP_SHARED | _libc.MAP_FIXED | _libc.MAP_NORESERVE,
            fd,
            offset,
        )
        yield address
    finally:
        # Piece by piece: one munmap across a hugetlb mapping and its neighbours works too, but this says what is there.
        for start, end in ((stretch, address), (address, address + length), (address + length, stretch + room)):
            if start < end:
                _libc.munmap(start, end - start)
