"""What the kernel counts: /proc/meminfo, the pools in sysfs, and /proc/PID/smaps.

Rule 1: counters of the pool are pages; everything the kernel writes in kB is bytes here.
Rule 2: a reader only. Nothing is cached: every call reads again.
Rule 3: what the kernel does not offer is NotFound or None, never 0.
Linux: mm/hugetlb.c hugetlb_report_meminfo(), fs/proc/task_mmu.c show_smap(). Documentation/filesystems/proc.rst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hugefs.errors import NotFound

_MEMINFO = Path("/proc/meminfo")
_POOLS = Path("/sys/kernel/mm/hugepages")
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ")


@dataclass(frozen=True)
class MemInfo:
    """The four counters of /proc/meminfo, in pages of the default size, and that size in bytes."""

    pages_total: int
    pages_free: int
    pages_reserved: int
    pages_surplus: int
    page_bytes: int


@dataclass(frozen=True)
class PoolCounters:
    """One page size's pool, in pages: as MemInfo, and how many surplus pages overcommit allows."""

    pages_total: int
    pages_free: int
    pages_reserved: int
    pages_surplus: int
    pages_overcommit: int


@dataclass(frozen=True)
class SmapsCounters:
    """Sums over mappings, in bytes. ``kernel_page_bytes``: the page sizes of these mappings, smallest first."""

    rss_bytes: int
    shmem_pmd_mapped_bytes: int
    shared_hugetlb_bytes: int
    private_hugetlb_bytes: int
    kernel_page_bytes: tuple[int, ...]
    mappings: int


def meminfo() -> MemInfo:
    """The counters of /proc/meminfo. Raises NotFound where there is no /proc, or a kernel without hugetlb."""
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError as error:
        raise NotFound(f"{_MEMINFO}: {error.strerror}") from error
    values = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    try:
        return MemInfo(
            values["HugePages_Total"],
            values["HugePages_Free"],
            values["HugePages_Rsvd"],
            values["HugePages_Surp"],
            values["Hugepagesize"] * 1024,
        )
    except KeyError as error:
        raise NotFound("this kernel was built without hugetlb: /proc/meminfo has no HugePages_ lines") from error


def page_sizes() -> tuple[int, ...]:
    """The page sizes that have a pool, in bytes, smallest first; empty where sysfs does not show any."""
    names = [path.name for path in _POOLS.glob("hugepages-*kB")]
    return tuple(sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) * 1024 for name in names))


def pool(page_bytes: int) -> PoolCounters:
    """The pool of one page size, from sysfs. Raises NotFound where the kernel has no such size."""
    directory = _POOLS / f"hugepages-{page_bytes // 1024}kB"

    def number(name: str) -> int:
        return int((directory / name).read_text())

    try:
        return PoolCounters(
            number("nr_hugepages"),
            number("free_hugepages"),
            number("resv_hugepages"),
            number("surplus_hugepages"),
            number("nr_overcommit_hugepages"),
        )
    except OSError as error:
        raise NotFound(f"no pool of pages of {page_bytes} bytes: {directory}: {error.strerror}") from error


def smaps(pid: int | None = None, start: int | None = None, end: int | None = None) -> SmapsCounters:
    """Sums over the mappings of a process (this one without ``pid``) that overlap ``[start, end)``; else all.

    Raises NotFound where there is no such process, PermissionError where it is not ours to look at.
    """
    path = Path("/proc") / ("self" if pid is None else str(pid)) / "smaps"
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NotFound(f"{path}: {error.strerror}") from error
    sums = dict.fromkeys(("Rss", "ShmemPmdMapped", "Shared_Hugetlb", "Private_Hugetlb"), 0)
    sizes: set[int] = set()
    mappings = 0
    wanted = False
    for line in lines:
        head = _MAPPING.match(line)
        if head is not None:
            low, high = int(head[1], 16), int(head[2], 16)
            wanted = (start is None or high > start) and (end is None or low < end)
            mappings += wanted
        elif wanted:
            name, _, rest = line.partition(":")
            if name in sums:
                sums[name] += int(rest.split()[0]) * 1024
            elif name == "KernelPageSize":
                sizes.add(int(rest.split()[0]) * 1024)
    return SmapsCounters(
        sums["Rss"],
        sums["ShmemPmdMapped"],
        sums["Shared_Hugetlb"],
        sums["Private_Hugetlb"],
        tuple(sorted(sizes)),
        mappings,
    )
