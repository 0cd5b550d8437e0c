"""mprotect, mlock, munlock.

Rule 1: they go from mapping to mapping; what is missing on the way is ENOMEM, and what was done before stays.
Rule 2: no counter moves, except that mlock touches what it locks. Huge pages are never locked: they do not swap.

Linux: mm/mprotect.c, do_mprotect_pkey; mm/mlock.c, mlock_fixup.
"""

from __future__ import annotations

from hugefs.errors import BusError, InvalidRequest, PermissionDenied
from hugefs.tasks import touch
from hugefs.tasks.task import Task
from hugefs.tasks.touch import NotMapped
from hugefs.tasks.vma import BASE_PAGE_BYTES, OrdinaryVma, Protection, Vma

__all__ = ["lock", "protect", "unlock"]


def protect(task: Task, start: int, length: int, protection: Protection) -> None:
    """mprotect(2). Raises InvalidRequest, PermissionDenied, NotMapped."""
    if start % BASE_PAGE_BYTES or length < 0:
        raise InvalidRequest(f"mprotect of {length} bytes at {start:#x}")
    end = start - (-length // BASE_PAGE_BYTES) * BASE_PAGE_BYTES
    while start < end:
        vma = _mapped(task, start)
        stop = min(end, vma.end)
        if protection == "rw" and not vma.may_write:
            raise PermissionDenied("the file was opened read-only or is sealed")
        if protection != vma.protection:
            for piece in task.space.carve(start, stop):
                piece.protection = protection
            task.space.merge_around(start, stop)
        start = stop


def lock(task: Task, start: int, length: int) -> None:
    """mlock(2). Raises NotMapped where something is missing, or cannot be had."""
    _mark(task, start, start + length, locked=True)
    try:
        touch.fill(task, start, start + length)
    except (BusError, PermissionDenied) as why:
        raise NotMapped(f"a page cannot be had: {why.reason}") from None


def unlock(task: Task, start: int, length: int) -> None:
    """munlock(2). Raises NotMapped."""
    _mark(task, start, start + length, locked=False)


def _mark(task: Task, start: int, end: int, *, locked: bool) -> None:
    while start < end:
        vma = _mapped(task, start)
        stop = min(end, vma.end)
        if isinstance(vma, OrdinaryVma) and vma.locked != locked:
            for piece in task.space.carve(start, stop):
                assert isinstance(piece, OrdinaryVma)
                piece.locked = locked
            task.space.merge_around(start, stop)
        start = stop


def _mapped(task: Task, address: int) -> Vma:
    vma = task.space.find(address)
    if vma is None:
        raise NotMapped(f"nothing is mapped at {address:#x}")
    return vma
