"""Transparent huge pages for a memfd, on request, without privilege and without changing a setting.

The kernel gives a memfd huge pages by itself only where ``shmem_enabled`` allows it, and that is "never" nearly
everywhere. MADV_COLLAPSE (Linux 6.1) asks for them explicitly and obeys only "deny". It wants something to collapse:
one base page in each huge page is enough, and more makes it slower (it copies them). See docs/decisions/0003.

Rule 1: True is only said when the kernel confirmed that the whole range is huge pages.
Rule 2: contents are never changed, so a range that has bytes in it already may be given too.
Linux: mm/khugepaged.c, madvise_collapse(); mm/shmem.c, shmem_allowable_huge_orders().
"""

from __future__ import annotations

import errno

from hugefs.memory import _libc
from hugefs.memory.window import window

_SETTINGS = "/sys/kernel/mm/transparent_hugepage/"
_BASE_PAGE_BYTES = 4096
_TRIES = 3


def shmem_mode() -> str | None:
    """The chosen word of shmem_enabled ("never", "advise", "deny", …); None where it cannot be read."""
    try:
        with open(_SETTINGS + "shmem_enabled", encoding="ascii") as file:
            words = file.read()
    except OSError:
        return None
    return words.partition("[")[2].partition("]")[0] or None


def thp_page_bytes() -> int:
    """The size of a transparent huge page, in bytes; 2 MiB where the kernel does not tell."""
    try:
        with open(_SETTINGS + "hpage_pmd_size", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 2 << 20


def make_huge(fd: int, offset: int, length: int) -> bool:
    """Back ``[offset, offset + length)`` of a memfd with huge pages; False where some could not be had.

    Requires: offset and length are multiples of ``thp_page_bytes()``, the file is that long, nobody else changes it.
    Ensures: True means all of it is huge. False means nothing is known: the caller backs the range with base pages.
    Never starts the OOM killer for a huge page: the kernel does not do that for orders this high.
    """
    huge_bytes = thp_page_bytes()
    if offset % huge_bytes or length % huge_bytes:
        return False
    mode = shmem_mode()
    if mode == "deny":
        return False
    try:
        with window(fd, offset, length, huge_bytes) as address:
            if mode in {"always", "within_size", "advise", "force"}:
                # Twice as fast as collapsing, where the kernel is willing.
                _insist(address, length, _libc.MADV_HUGEPAGE)
                _insist(address, length, _libc.MADV_POPULATE_WRITE)
            else:
                for page_offset in range(offset, offset + length, huge_bytes):
                    _libc.fallocate(fd, page_offset, _BASE_PAGE_BYTES)
            _insist(address, length, _libc.MADV_COLLAPSE)
    except OSError:
        return False
    return True


def _insist(address: int, length: int, advice: int) -> None:
    """madvise, again where the kernel says it was only disturbed."""
    for left in reversed(range(_TRIES)):
        try:
            _libc.madvise(address, length, advice)
            return
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EBUSY, errno.EINTR} or not left:
                raise
