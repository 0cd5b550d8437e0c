"""mmap and munmap.

Rule 1: what is refused before the kernel looks at the old mappings changes nothing; a MAP_FIXED that fails later has
        already removed what was there.
Rule 2: an address is fresh, or it is said: in a range that a name stands for, or at a free place with an offset.
Rule 3: a mapping's name stands for its range from then on, for good.

Linux: ksys_mmap_pgoff, do_mmap, mmap_region; hugetlbfs_file_mmap.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from hugefs.core.inode import OpenFile
from hugefs.errors import BusError, InvalidRequest, NoHugePages, NotPermitted, PermissionDenied, from_errno
from hugefs.tasks import touch
from hugefs.tasks.task import Task
from hugefs.tasks.vma import BASE_PAGE_BYTES, PAGE_BYTES, HugeVma, OrdinaryVma, Protection

__all__ = ["Place", "map_anonymous", "map_file", "map_ordinary", "resolve", "unmap"]

_ADDRESSES_BYTES = 1 << 47
_FILE_BYTES_MAX = 2**63 - 1


class Place(NamedTuple):
    """Where an address is asked for: in the range of ``mapping``, else at a free huge page's address; plus an offset.

    ``hint``: only if it is free. A free place always is, rounded to where a huge page can begin.
    """

    mapping: str | None
    offset: int = 0
    hint: bool = False


class How(NamedTuple):
    """What mmap's flags say."""

    shared: bool
    protection: Protection = "rw"
    reserve: bool = True
    populate: bool = False


def resolve(task: Task, place: Place | None, length: int) -> tuple[int, bool]:
    """The address, and whether it is MAP_FIXED."""
    if place is None or place.hint:
        return task.machine.fresh_address(length), False
    if place.mapping is None:
        return task.machine.fresh_address(length + place.offset) + place.offset, True
    return task.ranges[place.mapping][0] + place.offset, True


def map_file(
    task: Task, name: str, handle: str, offset: int, length: int, how: How, place: Place | None = None
) -> None:
    """Map a file. Raises InvalidRequest, NoHugePages, PermissionDenied, NotPermitted."""
    file = task.file(handle)
    if offset % BASE_PAGE_BYTES:
        raise InvalidRequest(f"offset {offset} is not a base page's")
    length = _huge_length(length)
    if not 0 <= offset <= _FILE_BYTES_MAX - length:
        raise from_errno(errno.EOVERFLOW)
    start, fixed = _huge_address(task, place, length)
    may_write = _may_write(task, file, how)
    if fixed:
        task.unmap(start, start + length)
    _insert_huge(task, name, start, file, offset, length, how, may_write)


def map_anonymous(task: Task, name: str, length: int, how: How, place: Place | None = None) -> None:
    """MAP_ANONYMOUS | MAP_HUGETLB: a file of the kernel's own, that long, that nobody else can open."""
    machine = task.machine
    length = _huge_length(length)
    start, fixed = _huge_address(task, place, length)
    if fixed:
        task.unmap(start, start + length)
    file = machine.fs.open_unnamed(machine.internal)
    file.inode.size_bytes = length
    try:
        _insert_huge(task, name, start, file, 0, length, how, may_write=True)
    finally:
        machine.fs.close(file)


def map_ordinary(
    task: Task, name: str, length: int, how: How, place: Place | None = None, *, locked: bool = False
) -> None:
    """MAP_ANONYMOUS: base pages."""
    length = -(-length // BASE_PAGE_BYTES) * BASE_PAGE_BYTES
    _check_length(length)
    start, fixed = resolve(task, place, length)
    if start % BASE_PAGE_BYTES:
        raise InvalidRequest(f"address {start:#x} is not a base page's")
    if fixed:
        task.unmap(start, start + length)
    vma = OrdinaryVma(start, start + length, how.protection, shared=how.shared)
    vma.locked = locked
    task.space.insert(vma)
    task.ranges[name] = (start, length)


def unmap(task: Task, start: int, length: int) -> None:
    """munmap(2). Raises InvalidRequest; where nothing is mapped, nothing is wrong."""
    if start % BASE_PAGE_BYTES or length <= 0:
        raise InvalidRequest(f"munmap of {length} bytes at {start:#x}")
    task.unmap(start, start - (-length // BASE_PAGE_BYTES) * BASE_PAGE_BYTES)


def _insert_huge(
    task: Task, name: str, start: int, file: OpenFile, offset: int, length: int, how: How, may_write: bool
) -> None:
    mapping = task.machine.fs.map(
        file,
        offset,
        length,
        private=not how.shared,
        writable=how.protection == "rw",
        reserve=how.reserve,
    )
    task.space.insert(HugeVma(start, mapping, how.protection, may_write=may_write))
    task.ranges[name] = (start, length)
    if how.populate:
        populate(task, start, start + length)


def populate(task: Task, start: int, end: int) -> None:
    """MAP_POPULATE, MAP_LOCKED: touch the pages; what cannot be had is no error. Linux: mm_populate."""
    try:
        touch.fill(task, start, end)
    except (BusError, NoHugePages, PermissionDenied):
        return


def _huge_length(length: int) -> int:
    length = -(-length // PAGE_BYTES) * PAGE_BYTES
    _check_length(length)
    return length


def _check_length(length: int) -> None:
    if length == 0:
        raise InvalidRequest("a mapping of no bytes")
    if not 0 < length <= _ADDRESSES_BYTES:
        raise NoHugePages(f"{length} bytes are more than there are addresses")


def _huge_address(task: Task, place: Place | None, length: int) -> tuple[int, bool]:
    start, fixed = resolve(task, place, length)
    if start % PAGE_BYTES:
        raise InvalidRequest(f"address {start:#x} is not a huge page's")
    return start, fixed


def _may_write(task: Task, file: OpenFile, how: How) -> bool:
    """Whether mprotect may make it writable later. Raises what forbids the mapping as it is asked for."""
    if how.shared and how.protection == "rw" and not file.writable:
        raise PermissionDenied("a file that was opened read-only cannot be mapped shared and writable")
    if file.inode.is_directory:
        raise from_errno(errno.ENODEV)
    if not how.shared:
        return True
    if "write" in task.seals_of(file.inode):
        if how.protection == "rw":
            raise NotPermitted("the file is sealed against writing")
        return False
    return file.writable
