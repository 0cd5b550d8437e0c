"""Mappings: ranges of a file that a process has mapped, shared or private.

Rule 1: a shared mapping promises the file's pages; the promise stays with the file when the mapping goes.
Rule 2: a private mapping owns a promise for each of its pages, whatever the file has. Its fork has none.
Rule 3: what can still be reached through a mapping keeps its inode; what only an I/O holds does not.

Linux: ``struct vm_area_struct`` as far as hugetlb is concerned; hugetlb_vm_op_close, __unmap_hugepage_range.
"""

from __future__ import annotations

from hugefs.core.charger import Payer
from hugefs.core.inode import Inode
from hugefs.core.page import PageState
from hugefs.core.page_cache import PageIndex
from hugefs.core.ranges import PageRange, RangeMap
from hugefs.core.reservation import Reservations
from hugefs.core.reserve_map import PrivateReserveMap

__all__ = ["Mapping", "PrivatePages"]


class Mapping:
    """``where``: the file's pages it was made for; ``parts``: those not unmapped since. All indexes are the file's.

    ``reserve_map``: the promises it owns, None where it has none (shared, a fork's, without reserve).
    ``reserve_lost``: its owner took a page from it (copy-on-write without a page left): a missing page is SIGBUS now.
    ``seen``: where it has met the file's own page; only after ``reserve_lost`` does that make a difference.
    ``awaited``: pages it let go that others still hold. Their promises are used up until they are freed.
    ``payer``: who was charged for the promises it owns, used up or not.
    """

    def __init__(
        self,
        inode: Inode,
        where: PageRange,
        *,
        private: bool,
        writable: bool,
        owns_reserve: bool,
        payer: Payer = None,
    ) -> None:
        self.inode = inode
        self.where = where
        self.private = private
        self.writable = writable
        self.parts: RangeMap[bool] = RangeMap()
        self.parts.put(where, True)
        self.reserve_map = PrivateReserveMap() if owns_reserve else None
        self.payer = payer
        self.reserve_lost = False
        self.pages = PageIndex()  # private copies; the file's own pages need no entry here
        self.seen: RangeMap[bool] = RangeMap()
        self.awaited = PageIndex()

    @property
    def owns_reserve(self) -> bool:
        """Whether it was promised its pages itself."""
        return self.reserve_map is not None

    @property
    def pages_promised(self) -> int:
        """Promises it owns and has not used up."""
        if self.reserve_map is None:
            return 0
        return self.parts.pages - sum(self.reserve_map.count(part) for part, _ in self.parts.runs())


class PrivatePages:
    """What happens to private copies: made, shared by a fork, taken away."""

    def __init__(self, reservations: Reservations) -> None:
        self.reservations = reservations
        self.memmap = reservations.memmap

    def adopt(self, mapping: Mapping, indexes: PageRange, frames: PageRange) -> None:
        """New pages become the mapping's. A promise that was awaited for the same place is not needed any more."""
        self.reservations.unpromise(mapping.inode.superblock.subpool, self._stop_awaiting(mapping, indexes))
        mapping.pages.insert(indexes, frames.start)
        self.memmap.move(frames, PageState.PRIVATE)
        self.memmap.set_mapped(frames)

    def share(self, parent: Mapping, child: Mapping) -> None:
        """The child's mapping has the parent's pages. No promise, no charge, no counter moves."""
        for indexes, frames in parent.pages.runs():
            self.memmap.get(frames, mapped=1)
            child.pages.insert(indexes, frames.start)
        for run, _ in parent.seen.runs():
            child.seen.put(run, True)

    def split(self, mapping: Mapping, at: int) -> Mapping:
        """Everything from index ``at`` on becomes another mapping's: pages, promises, what was lost."""
        tail = PageRange(at, mapping.where.end)
        rest = Mapping(
            mapping.inode,
            tail,
            private=mapping.private,
            writable=mapping.writable,
            owns_reserve=mapping.owns_reserve,
            payer=mapping.payer,
        )
        mapping.where = PageRange(mapping.where.start, at)
        rest.reserve_lost = mapping.reserve_lost
        for gap in mapping.parts.gaps(tail):
            rest.parts.remove(gap)
        mapping.parts.remove(tail)
        for run, _ in mapping.seen.remove(tail):
            rest.seen.put(run, True)
        for ours, theirs in ((mapping.pages, rest.pages), (mapping.awaited, rest.awaited)):
            for indexes, frames in ours.remove(tail):
                theirs.insert(indexes, frames.start)
        if mapping.reserve_map is not None and rest.reserve_map is not None:
            for run, _ in mapping.reserve_map.entries.remove(tail):
                rest.reserve_map.entries.put(run, None)
        return rest

    def zap(self, mapping: Mapping, where: PageRange, *, restore: bool) -> None:
        """Take private copies away. ``restore``: the mapping stays, and its owner gets their promises back.

        A promise comes back when its page is freed. A fork or an I/O may hold the page for longer; until then the owner
        awaits it, for nobody could keep the promise. (Linux 6.18 hands the owner the promise at once, and Rsvd goes
        below zero where it is used.) Where the pool has surplus pages the caller asks for nothing back.
        """
        mapping.seen.remove(where)
        restorable = restore and mapping.reserve_map is not None
        for indexes, frames in mapping.pages.remove(where):
            if restorable:
                self._restore(mapping, indexes, frames)
            self.reservations.put_pages(frames, unmapped=True)

    def _restore(self, mapping: Mapping, indexes: PageRange, frames: PageRange) -> None:
        assert mapping.reserve_map is not None
        for run, page in self.memmap.runs(frames):
            self.memmap.set_restore_reserve(run)
            run_indexes = run.shift(indexes.start - frames.start)
            if page.references == 1:
                mapping.reserve_map.remove(run_indexes)
            else:
                mapping.awaited.insert(run_indexes, run.start)

    def settle(self, mapping: Mapping) -> None:
        """Open the promises that have come back since, with pages that others have freed."""
        for indexes, frames in mapping.awaited.runs():
            for freed in self.memmap.gaps(frames):
                mapping.awaited.remove(freed.shift(indexes.start - frames.start))
                if mapping.reserve_map is not None:
                    mapping.reserve_map.remove(freed.shift(indexes.start - frames.start))

    def _stop_awaiting(self, mapping: Mapping, where: PageRange) -> int:
        """No promise shall come back for these. Returns how many already have."""
        came_back = 0
        for _, frames in mapping.awaited.remove(where):
            held = self.memmap.runs(frames)
            for run, _ in held:
                self.memmap.set_restore_reserve(run, False)
            came_back += frames.pages - sum(run.pages for run, _ in held)
        return came_back

    def close(self, mapping: Mapping, where: PageRange) -> None:
        """A part of the mapping, without copies now, goes with its unused promises. Linux: hugetlb_vm_op_close."""
        for part, _ in mapping.parts.remove(where):
            if mapping.reserve_map is not None:
                unused = part.pages - mapping.reserve_map.count(part) + self._stop_awaiting(mapping, part)
                self.reservations.charger.uncharge_promises(mapping.payer, part.pages)
                self.reservations.unpromise(mapping.inode.superblock.subpool, unused)
