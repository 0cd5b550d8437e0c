"""Touches: reads and writes page after page, bytes at a page's start, pins, direct I/O.

Rule 1: a touch stops at the first page it cannot have; those before stay. It raises NotMapped where nothing is
        mapped, InvalidRequest where the protection forbids it, BusError where Linux sends SIGBUS.
Rule 2: a store or a load does the same and dies of it: Killed.
Rule 3: a pin reads, and holds all of its pages or none.

Linux: madvise_populate, handle_mm_fault, get_user_pages.
"""

from __future__ import annotations

from hugefs.core.ranges import PageRange
from hugefs.errors import BusError, InvalidRequest, NoHugePages, PermissionDenied
from hugefs.tasks.contents import frames_of
from hugefs.tasks.task import Task
from hugefs.tasks.vma import PAGE_BYTES, HugeVma, OrdinaryVma, Vma

__all__ = ["NotMapped", "direct_io", "fill", "load", "pin", "store", "touch"]

_SECTOR_BYTES = 512


class NotMapped(NoHugePages):
    """ENOMEM: nothing is mapped there."""


def touch(task: Task, start: int, end: int, *, write: bool) -> None:
    """Touch what is between two addresses, as MADV_POPULATE_READ and _WRITE do."""
    while start < end:
        vma = task.space.find(start)
        if vma is None:
            raise NotMapped(f"nothing is mapped at {start:#x}")
        if not vma.allows(write):
            raise InvalidRequest(f"{'a store to' if write else 'a load from'} memory with protection {vma.protection}")
        stop = min(end, vma.end)
        if isinstance(vma, HugeVma):
            _touch_huge(task, vma, vma.pages(start, stop), write)
        start = stop


def fill(task: Task, start: int, end: int) -> None:
    """Touch as mlock and MAP_POPULATE do: private writable memory is written to, other memory read."""
    for vma in task.space.overlapping(start, end):
        if vma.protection == "none":
            raise PermissionDenied("memory that cannot be read cannot be filled")
        if isinstance(vma, HugeVma):
            _fill_huge(task, vma, vma.pages(start, end), vma.protection == "rw" and not vma.shared)


def _fill_huge(task: Task, vma: HugeVma, where: PageRange, write: bool) -> None:
    """The kernel says how far it came, and then tries the page that it could not have once more. Linux: __mm_populate.

    That shows where a refusal is counted, as a control group does.
    """
    try:
        _touch_huge(task, vma, where, write)
    except BusError:
        first = PageRange(where.start, where.start + 1)
        came_further = vma.mapping.pages.count(first) > 0 if write else bool(frames_of(vma.mapping, first))
        if came_further:
            _touch_huge(task, vma, where, write)
        raise


def _touch_huge(task: Task, vma: HugeVma, where: PageRange, write: bool) -> None:
    contents, mapping = task.machine.contents, vma.mapping
    if not (write and mapping.private and contents):
        task.machine.fs.touch(mapping, where, write=write)
        return
    before = frames_of(mapping, where)
    try:
        task.machine.fs.touch(mapping, where, write=True)
    finally:
        contents.copy(before, mapping)


def store(task: Task, name: str, page: int, value: int) -> None:
    """One byte at the start of a page of a mapping. Raises Killed."""
    address, vma = _access(task, name, page, write=True)
    if isinstance(vma, HugeVma):
        task.machine.contents.store(vma.mapping, vma.index(address), value)
    elif isinstance(vma, OrdinaryVma):
        vma.contents[vma.place(address)] = value


def load(task: Task, name: str, page: int) -> int:
    """The byte at the start of a page of a mapping. Raises Killed."""
    address, vma = _access(task, name, page, write=False)
    if isinstance(vma, HugeVma):
        return task.machine.contents.load(vma.mapping, vma.index(address))
    assert isinstance(vma, OrdinaryVma)
    return vma.contents.get(vma.place(address), 0)


def _access(task: Task, name: str, page: int, write: bool) -> tuple[int, Vma]:
    address = task.ranges[name][0] + page * PAGE_BYTES
    try:
        touch(task, address, address + 1, write=write)
    except (BusError, NotMapped, InvalidRequest) as why:
        raise task.killed(why) from None
    vma = task.space.find(address)
    assert vma is not None
    return address, vma


def pin(task: Task, start: int, end: int, name: str) -> None:
    """An I/O takes a reference to each page. Raises BusError, and holds nothing then; pages read in stay."""
    try:
        touch(task, start, end, write=False)
    except (NotMapped, InvalidRequest) as why:
        raise BusError(f"the I/O cannot have its pages: {why.reason}") from None
    vmas = task.space.overlapping(start, end)
    fs = task.machine.fs
    task.machine.pin_as(name, [fs.pin(vma.mapping, vma.pages(start, end)) for vma in vmas if isinstance(vma, HugeVma)])


def direct_io(task: Task, start: int, length: int) -> int:
    """An O_DIRECT write from memory to a file elsewhere: how many bytes. Raises BusError where it is none."""
    if start % _SECTOR_BYTES or length % _SECTOR_BYTES or length < 0:
        raise InvalidRequest(f"direct I/O of {length} bytes at {start:#x}")
    address = start
    while address < start + length:
        stop = min(start + length, (address // PAGE_BYTES + 1) * PAGE_BYTES)
        try:
            touch(task, address, stop, write=False)
        except (BusError, NotMapped, InvalidRequest) as why:
            if address == start:
                raise BusError(f"the I/O cannot have its pages: {why.reason}") from None
            return address - start
        address = stop
    return length
