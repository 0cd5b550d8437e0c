"""Faults: what a touch of mapped pages takes.

Rule 1: a promised page is never refused. Where none is promised, a free one is needed that is promised to nobody.
Rule 2: pages are touched in order; the first that cannot be had ends it with BusError, and those before stay.
Rule 3: a run of pages in the same situation is handled at once.

Linux: mm/hugetlb.c, hugetlb_fault, hugetlb_no_page, hugetlb_wp, unmap_ref_private.
"""

from __future__ import annotations

from hugefs.core.checkpoint import checkpoint
from hugefs.core.file_pages import FilePages
from hugefs.core.mapping import Mapping, PrivatePages
from hugefs.core.ranges import PageRange
from hugefs.core.reserve_map import ReserveMap
from hugefs.errors import BusError, NoHugePages

__all__ = ["Faults"]


class Faults:
    """Touches of mappings on one pool."""

    def __init__(self, files: FilePages, private: PrivatePages) -> None:
        self.files = files
        self.private = private
        self.reservations = files.reservations

    def touch(self, mapping: Mapping, where: PageRange, write: bool) -> None:
        """Touch each page of a range of the file through a mapping. Raises BusError where Linux sends SIGBUS."""
        if mapping.private:
            self._touch_private(mapping, where, write)
        else:
            for hole in mapping.inode.cache.holes(where):
                inside = self._before_end(mapping, hole)
                shortage = self.files.fill(mapping.inode, inside)
                if shortage:
                    raise self._bus_error(hole, shortage)
                self._must_be_inside(mapping, hole, inside)

    def _touch_private(self, mapping: Mapping, where: PageRange, write: bool) -> None:
        self.private.settle(mapping)
        situations = [(indexes, "own", frames) for indexes, frames in mapping.pages.runs(where)]
        for missing in mapping.pages.holes(where):
            for indexes, _ in mapping.inode.cache.runs(missing):
                situations += [(run, "file", run) for run, _ in mapping.seen.runs(indexes)]
                situations += [(gap, "unseen", gap) for gap in mapping.seen.gaps(indexes)]
            situations += [(hole, "hole", hole) for hole in mapping.inode.cache.holes(missing)]
        for indexes, situation, frames in sorted(situations):
            if mapping.reserve_lost and situation in ("hole", "unseen"):
                reason = f"page {indexes.start}: the owner of the promise took a page from here when none was left"
                raise BusError(reason, wanted=indexes.pages, available=0)
            if situation == "hole":
                self._fault_missing(mapping, indexes)
            elif situation != "own":
                self._fault_cached(mapping, indexes, write, seen=situation == "file")
            elif write:
                self._fault_write(mapping, indexes, frames)

    def _fault_missing(self, mapping: Mapping, hole: PageRange) -> None:
        """A private page where the file has none; reading and writing are alike. Linux: hugetlb_no_page."""
        inside = self._before_end(mapping, hole)
        if inside.pages:
            self._allocate(mapping, inside, mapping.reserve_map)
        self._must_be_inside(mapping, hole, inside)

    def _fault_cached(self, mapping: Mapping, indexes: PageRange, write: bool, seen: bool) -> None:
        """A page that the file has: read where it is, copied by a store. Linux: hugetlb_no_page, then hugetlb_wp."""
        mapping.seen.put(indexes, True)
        if not write:
            return
        try:
            self._allocate(mapping, indexes, mapping.reserve_map)
        except BusError:
            if not seen:  # the touch ended at the first page that has no copy: those behind it were never reached
                mapping.seen.remove(PageRange(mapping.pages.holes(indexes)[0].start + 1, indexes.end))
            raise

    def _fault_write(self, mapping: Mapping, indexes: PageRange, frames: PageRange) -> None:
        """Copy the pages that a fork has, too; those that only this mapping has are its own. Linux: hugetlb_wp."""
        for run, page in self.reservations.memmap.runs(frames):
            if page.mapped > 1:
                self._copy(mapping, run.shift(indexes.start - frames.start))

    def _copy(self, mapping: Mapping, indexes: PageRange) -> None:
        """A second copy has no promise. The owner, promised the first one, takes it from the children if need be."""
        while indexes.pages:
            got = self.reservations.allocate_pages(None, mapping.inode.superblock.subpool, indexes)
            for new_indexes, new_frames in got.runs:
                self.private.zap(mapping, new_indexes, restore=False)
                self.private.adopt(mapping, new_indexes, new_frames)
            if got.shortage is None:
                return
            if not mapping.owns_reserve:
                raise self._bus_error(indexes, got.shortage)
            refused = indexes.start + sum(run.pages for run, _ in got.runs)
            self._steal_from_children(mapping, PageRange(refused, refused + 1))
            indexes = PageRange(refused + 1, indexes.end)

    def _steal_from_children(self, owner: Mapping, indexes: PageRange) -> None:
        """Unmap the owner's pages from everyone who was promised nothing. Linux: unmap_ref_private."""
        for indexes_run, frames in owner.pages.runs(indexes):
            for other in list(owner.inode.mappings):  # a fork may end meanwhile
                if other is owner or not other.private or other.owns_reserve:
                    continue
                for run, their_frames in other.pages.runs(indexes_run):
                    if their_frames == frames.clip(their_frames):
                        other.reserve_lost = True
                        self.private.zap(other, run, restore=False)

    def _allocate(self, mapping: Mapping, indexes: PageRange, reserve_map: ReserveMap | None) -> None:
        checkpoint("fault")
        got = self.reservations.allocate_pages(reserve_map, mapping.inode.superblock.subpool, indexes)
        for run, frames in got.runs:
            self.private.adopt(mapping, run, frames)
        if got.shortage:
            raise self._bus_error(indexes, got.shortage)

    def _before_end(self, mapping: Mapping, hole: PageRange) -> PageRange:
        """The part of a hole below the last whole page of the file."""
        return hole.clip(PageRange(0, mapping.inode.size_bytes // mapping.inode.superblock.page_bytes))

    def _must_be_inside(self, mapping: Mapping, hole: PageRange, inside: PageRange) -> None:
        if inside.pages < hole.pages:
            first = hole.start + inside.pages
            raise BusError(f"page {first} is beyond the end of the file ({mapping.inode.size_bytes} bytes)")

    def _bus_error(self, indexes: PageRange, shortage: NoHugePages) -> BusError:
        return BusError(
            f"no page for a touch of pages {indexes.start} to {indexes.end - 1}: {shortage.reason}",
            wanted=shortage.wanted,
            available=shortage.available,
        )
