"""mremap: moving and shrinking. Mappings of huge pages never grow.

Rule 1: checks come in the kernel's order, and those that look at nothing but the arguments come first.
Rule 2: a mapping that moves keeps its pages and its promises: no counter moves but for what was unmapped on the way.

Linux: mm/mremap.c, check_mremap_params, check_prep_vma, mremap_to, remap_move.
"""

from __future__ import annotations

from typing import NamedTuple

from hugefs.errors import BusError, InvalidRequest, NoHugePages
from hugefs.tasks.task import Task
from hugefs.tasks.vma import BASE_PAGE_BYTES, PAGE_BYTES, HugeVma, OrdinaryVma, Vma

__all__ = ["Move", "remap"]


class Move(NamedTuple):
    """mremap's arguments. ``to``: the fixed new address, None where the kernel may choose."""

    start: int
    old_length: int
    new_length: int
    may_move: bool
    keep_old: bool
    to: int | None


def remap(task: Task, move: Move) -> int:
    """mremap(2); the new address. Raises InvalidRequest, NoHugePages, and BusError for EFAULT."""
    old = -(-move.old_length // BASE_PAGE_BYTES) * BASE_PAGE_BYTES
    move = move._replace(old_length=old, new_length=-(-move.new_length // BASE_PAGE_BYTES) * BASE_PAGE_BYTES)
    _check_arguments(move)
    if move.to is not None and move.old_length == move.new_length and not move.keep_old:
        return _move_all(task, move, move.to)
    vma = task.space.find(move.start)
    move = _check_mapping(vma, move)
    assert vma is not None
    if move.to is not None:
        return _move_to(task, move, move.to)
    if move.keep_old:
        return _move_vmas(task, move, task.machine.fresh_address(move.new_length), keep_old=True)
    if move.new_length < move.old_length:
        task.unmap(move.start + move.new_length, move.start + move.old_length)
    if move.new_length <= move.old_length:
        return move.start
    return _grow(task, vma, move)


def _check_arguments(move: Move) -> None:
    if move.start % BASE_PAGE_BYTES or move.new_length <= 0:
        raise InvalidRequest("mremap of no bytes, or between base pages")
    if move.to is None and not move.keep_old:
        return
    if move.to is not None:
        overlap = move.to < move.start + move.old_length and move.start < move.to + move.new_length
        if move.to % BASE_PAGE_BYTES or overlap:
            raise InvalidRequest("the new place is between base pages, or in the old one")
    if not move.may_move:
        raise InvalidRequest("a fixed address is a move")
    if move.keep_old and move.old_length != move.new_length:
        raise InvalidRequest("what is kept cannot change its size")


def _check_mapping(vma: Vma | None, move: Move) -> Move:
    """Linux: check_prep_vma. Returns the lengths in whole huge pages, where it is about such."""
    if vma is None:
        raise BusError(f"nothing is mapped at {move.start:#x}")
    if isinstance(vma, HugeVma):
        old, new = (-(-length // PAGE_BYTES) * PAGE_BYTES for length in (move.old_length, move.new_length))
        move = move._replace(old_length=old, new_length=new)
        if move.start % PAGE_BYTES or (move.to or 0) % PAGE_BYTES:
            raise InvalidRequest("huge pages stand at huge pages' addresses")
        if new > old:
            raise InvalidRequest("a mapping of huge pages does not grow")
    if move.new_length <= move.old_length and move.to is None and not move.keep_old:
        return move
    if move.old_length == 0 and not vma.shared:
        raise InvalidRequest("only shared memory can be mapped a second time so")
    if move.keep_old and isinstance(vma, HugeVma):
        raise InvalidRequest("huge pages cannot leave their mapping behind")
    if min(move.old_length, move.new_length) > vma.end - move.start:
        raise BusError(f"the mapping at {move.start:#x} is shorter than {move.old_length} bytes")
    return move


def _move_all(task: Task, move: Move, to: int) -> int:
    """A move without a change of size may be of several mappings, with what lies between them. Linux: remap_move."""
    end = move.start + move.old_length
    vmas = task.space.overlapping(move.start, end)
    if not vmas or vmas[0].start > move.start:
        raise BusError(f"nothing is mapped at {move.start:#x}")
    for vma in vmas:
        start, stop = max(vma.start, move.start), min(vma.end, end)
        part = Move(start, stop - start, stop - start, True, False, to + start - move.start)
        part = _check_mapping(vma, part)
        assert part.to is not None
        _move_to(task, part, part.to)
    return to


def _move_to(task: Task, move: Move, to: int) -> int:
    """What is at the new place goes first, then what is cut off, then the mapping moves. Linux: mremap_to."""
    task.unmap(to, to + move.new_length)
    if move.new_length < move.old_length:
        task.unmap(move.start + move.new_length, move.start + move.old_length)
        move = move._replace(old_length=move.new_length)
    vma = task.space.find(move.start)
    if vma is None:
        raise BusError(f"nothing is mapped at {move.start:#x} any more")
    return _move_vmas(task, move, to, keep_old=move.keep_old)


def _move_vmas(task: Task, move: Move, to: int, *, keep_old: bool = False) -> int:
    if move.old_length == 0:
        return _duplicate(task, move, to)
    moved = task.space.carve_to_move(move.start, move.start + move.old_length)
    task.space.remove(moved)
    for vma in moved:
        kept = (vma.start, vma.end)
        vma.move_to(to + vma.start - move.start)
        task.space.insert(vma)
        if keep_old:
            task.space.insert(_emptied(vma, *kept))
    if move.new_length > move.old_length:
        moved[-1].end = to + move.new_length
    return to


def _duplicate(task: Task, move: Move, to: int) -> int:
    """Nothing moves, and shared base pages are mapped a second time: what mremap of no bytes means."""
    vma = task.space.find(move.start)
    assert isinstance(vma, OrdinaryVma)
    second = OrdinaryVma(
        to,
        to + move.new_length,
        vma.protection,
        shared=True,
        contents=vma.contents,
        first=vma.place(move.start),
    )
    task.space.insert(second)
    return to


def _emptied(vma: Vma, start: int, end: int) -> Vma:
    assert isinstance(vma, OrdinaryVma)
    if vma.shared:
        return OrdinaryVma(start, end, vma.protection, shared=True, contents=vma.contents, first=vma.first)
    return OrdinaryVma(start, end, vma.protection, shared=False)


def _grow(task: Task, vma: Vma, move: Move) -> int:
    """Base pages: in place where there is room, else elsewhere. Linux: expand_vma."""
    end = move.start + move.new_length
    if move.start + move.old_length == vma.end and not task.space.overlapping(vma.end, end):
        vma.end = end
        return move.start
    if not move.may_move:
        raise NoHugePages("there is no room to grow")
    return _move_vmas(task, move, task.machine.fresh_address(move.new_length))
