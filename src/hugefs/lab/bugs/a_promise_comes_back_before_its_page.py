"""The owner's promise is opened again when he unmaps a page, not when the page is free.

A forked child or an I/O may hold the page for longer. Until then the promise has no page: where it is used, or given
up with its mapping, HugePages_Rsvd goes below zero, and statfs of a limited mount shows room that is not there.
"""

from __future__ import annotations

from hugefs.core.filesystem import Filesystem
from hugefs.core.mapping import Mapping, PrivatePages
from hugefs.core.ranges import PageRange
from hugefs.lab.bug import Bug

__all__ = ["BUG"]


def _restore(self: PrivatePages, mapping: Mapping, indexes: PageRange, frames: PageRange) -> None:
    """Linux: __unmap_hugepage_range, the part that begins with adjust_reservation."""
    assert mapping.reserve_map is not None
    self.memmap.set_restore_reserve(frames)
    mapping.reserve_map.remove(indexes)


def _zap_unmapped(self: Filesystem, parts: list[tuple[Mapping, PageRange]]) -> None:
    """Linux: munmap and exit go through the same function; pages are freed when all mappings have been seen."""
    restore = self._promises_come_back()
    for mapping, where in parts:
        self.private.zap(mapping, where, restore=restore)


BUG = Bug(
    name="a_promise_comes_back_before_its_page",
    what="The owner of a private mapping gets the promise of a page back when he unmaps the page, although a child or"
    " an I/O still holds it.",
    linux="__unmap_hugepage_range, hugetlb_vm_op_close",
    since="6.10",
    fixed="not yet",
    harm="Rsvd reads 2^64-1, so promises are made that no page can keep: another program, promised its pages, may die"
    " of SIGBUS. A mount's size can be exceeded for as long as the page is held.",
    shows="X-quirk-quota",
    replaces={
        (PrivatePages, "_restore"): _restore,
        (Filesystem, "_zap_unmapped"): _zap_unmapped,
    },
)
