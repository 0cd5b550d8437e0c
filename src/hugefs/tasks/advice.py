"""madvise: what each kind does to huge pages.

Rule 1: it goes from mapping to mapping. Holes on the way are ENOMEM in the end, and nothing else.
Rule 2: DONTNEED begins at a huge page and is rounded down to whole ones; REMOVE is a hole in the file.

Linux: mm/madvise.c; hugetlbfs_fallocate; soft_offline_page.
"""

from __future__ import annotations

from collections.abc import Callable

from hugefs.core.inode import OpenFile
from hugefs.core.mapping import Mapping
from hugefs.core.ranges import PageRange
from hugefs.errors import BusError, InvalidRequest, PermissionDenied
from hugefs.tasks import offline
from hugefs.tasks.task import Task
from hugefs.tasks.touch import NotMapped
from hugefs.tasks.vma import BASE_PAGE_BYTES, PAGE_BYTES, HugeVma, OrdinaryVma, Vma

__all__ = ["advise"]

_Action = Callable[[Task, Vma, int, int], tuple[Mapping, PageRange] | None]


def advise(task: Task, advice: str, start: int, length: int) -> None:
    """madvise(2). Raises InvalidRequest, PermissionDenied, NotPermitted, NotMapped."""
    if start % BASE_PAGE_BYTES or length < 0:
        raise InvalidRequest(f"madvise of {length} bytes at {start:#x}")
    end = start - (-length // BASE_PAGE_BYTES) * BASE_PAGE_BYTES
    if advice == "soft_offline":
        _soft_offline(task, start, end)
        return
    action = _ACTIONS[advice]
    at = start
    holes = False
    let_go: list[tuple[Mapping, PageRange]] = []
    try:
        while at < end:
            rest = task.space.overlapping(at, end)
            holes = holes or not rest or rest[0].start > at
            if not rest:
                break
            at, stop = max(at, rest[0].start), min(end, rest[0].end)
            part = action(task, rest[0], at, stop)
            if part is not None:
                let_go.append(part)
            at = stop
    finally:
        task.machine.fs.discard_all(let_go)
    if holes:
        raise NotMapped(f"not everything is mapped from {start:#x} on")


def _dontneed(task: Task, vma: Vma, start: int, end: int) -> tuple[Mapping, PageRange] | None:
    """Returns what goes, in the end, together with what goes of other mappings (one mmu_gather for all)."""
    if isinstance(vma, OrdinaryVma):
        if vma.locked:
            raise InvalidRequest("locked memory cannot be dropped")
        if not vma.shared:
            vma.clear(start, end)
        return None
    assert isinstance(vma, HugeVma)
    if start % PAGE_BYTES:
        raise InvalidRequest(f"address {start:#x} is not a huge page's")
    where = vma.pages(start, end // PAGE_BYTES * PAGE_BYTES)
    return (vma.mapping, where) if where.pages > 0 else None


def _remove(task: Task, vma: Vma, start: int, end: int) -> None:
    if isinstance(vma, OrdinaryVma):
        if vma.locked or not vma.shared:
            raise InvalidRequest("this memory has no file, or is locked")
        vma.clear(start, end)
        return
    assert isinstance(vma, HugeVma)
    if not (vma.shared and vma.may_write):
        raise PermissionDenied("a hole can be made through a shared mapping that may be written")
    inode = vma.mapping.inode
    offset = vma.mapping.where.start * PAGE_BYTES + start - vma.start
    task.punch_file(OpenFile(inode, writable=True), offset, end - start)


def _free(task: Task, vma: Vma, start: int, end: int) -> None:
    if isinstance(vma, HugeVma) or vma.shared:
        raise InvalidRequest("only private base pages can be freed lazily")
    _dontneed(task, vma, start, end)


def _cold(task: Task, vma: Vma, start: int, end: int) -> None:
    if isinstance(vma, HugeVma) or (isinstance(vma, OrdinaryVma) and vma.locked):
        raise InvalidRequest("huge and locked pages are never cold")


def _will_need(task: Task, vma: Vma, start: int, end: int) -> None:
    """Nothing is read ahead."""


def _dont_fork(task: Task, vma: Vma, start: int, end: int) -> None:
    _set_dont_fork(task, vma, start, end, True)


def _do_fork(task: Task, vma: Vma, start: int, end: int) -> None:
    _set_dont_fork(task, vma, start, end, False)


def _set_dont_fork(task: Task, vma: Vma, start: int, end: int, dont_fork: bool) -> None:
    if vma.dont_fork != dont_fork:
        for piece in task.space.carve(start, end):
            piece.dont_fork = dont_fork
        task.space.merge_around(start, end)


def _soft_offline(task: Task, start: int, end: int) -> None:
    """Each page's contents move to another page, and the page leaves the machine. Linux: madvise_inject_error."""
    while start < end:
        vma = task.space.find(start)
        if vma is None:
            raise BusError(f"nothing is mapped at {start:#x}")
        stop = start + BASE_PAGE_BYTES
        if isinstance(vma, HugeVma):
            offline.soft_offline(task, vma, vma.index(start))
            stop = (start // PAGE_BYTES + 1) * PAGE_BYTES
        start = stop


_ACTIONS: dict[str, _Action] = {
    "dontneed": _dontneed,
    "remove": _remove,
    "willneed": _will_need,
    "free": _free,
    "cold": _cold,
    "dontfork": _dont_fork,
    "dofork": _do_fork,
}
