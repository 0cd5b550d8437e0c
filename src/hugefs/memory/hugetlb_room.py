"""What the kernel's pool of reserved huge pages would give this process now: pool counters and cgroup limits.

Rule: reads, and at most tries a reservation that it drops again at once; settings stay as they are.
Linux: /sys/kernel/mm/hugepages/hugepages-*kB, Documentation/admin-guide/mm/hugetlbpage.rst.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hugefs.memory import _libc
from hugefs.memory.cgroups import group_directories, read_number

POOLS = Path("/sys/kernel/mm/hugepages")


@dataclass(frozen=True)
class PoolRoom:
    """In pages: free and unreserved ones, and how many more overcommit would let the kernel try to make."""

    pages_available: int
    pages_overcommit: int


def pool_directory(page_bytes: int) -> Path:
    """Where sysfs keeps the pool of this page size."""
    return POOLS / f"hugepages-{page_bytes // 1024}kB"


def pool_room(page_bytes: int) -> PoolRoom | None:
    """The pool of this page size; None where sysfs does not show it."""
    directory = pool_directory(page_bytes)
    names = ("free_hugepages", "resv_hugepages", "nr_overcommit_hugepages", "surplus_hugepages")
    numbers = [read_number(directory / name) for name in names]
    if any(number is None for number in numbers):
        return None
    free, reserved, overcommit, surplus = (number or 0 for number in numbers)
    return PoolRoom(max(0, free - reserved), max(0, overcommit - surplus))


def how_to_mend(page_bytes: int, pages_more: int) -> str:
    """The command that makes the pool so many pages larger."""
    try:
        pages_now = int((pool_directory(page_bytes) / "nr_hugepages").read_text())
    except (OSError, ValueError):
        pages_now = 0
    knob = "/proc/sys/vm/nr_hugepages" if page_bytes == 2 << 20 else pool_directory(page_bytes) / "nr_hugepages"
    return f"echo {pages_now + pages_more} > {knob}"


def group_room(page_bytes: int) -> tuple[int, str] | None:
    """The tightest hugetlb cgroup limit of this process: (pages left, a sentence naming it); None without a limit."""
    size = f"{page_bytes >> 30}GB" if page_bytes >= 1 << 30 else f"{page_bytes >> 20}MB"
    pairs = (
        (f"hugetlb.{size}.max", f"hugetlb.{size}.current"),
        (f"hugetlb.{size}.rsvd.max", f"hugetlb.{size}.rsvd.current"),
        (f"hugetlb.{size}.limit_in_bytes", f"hugetlb.{size}.usage_in_bytes"),
        (f"hugetlb.{size}.rsvd.limit_in_bytes", f"hugetlb.{size}.rsvd.usage_in_bytes"),
    )
    rooms = []
    for directory in group_directories("hugetlb"):
        for limit_name, usage_name in pairs:
            limit, usage = read_number(directory / limit_name), read_number(directory / usage_name)
            if limit is not None and usage is not None:
                left = max(0, limit - usage) // page_bytes
                rooms.append((left, f"{directory / limit_name} leaves room for {left} pages"))
    return min(rooms, default=None)


def can_reserve(page_bytes: int, pages: int) -> bool:
    """Whether the kernel grants a reservation of that many pages now. It is dropped again before this returns.

    This makes the kernel really allocate surplus pages where it must, so the answer is the truth and not a hope.
    """
    flags = _libc.MFD_CLOEXEC | _libc.MFD_HUGETLB | ((page_bytes.bit_length() - 1) << _libc.HUGE_SHIFT)
    length = pages * page_bytes
    try:
        fd = os.memfd_create("hugefs-probe", flags)
    except OSError:
        return False
    try:
        os.ftruncate(fd, length)
        _libc.munmap(_libc.mmap(None, length, _libc.PROT_NONE, _libc.MAP_SHARED, fd, 0), length)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
