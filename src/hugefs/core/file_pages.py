"""A file's pages: promised, taken, given back. What mmap, fallocate, truncate and eviction have in common.

Rule 1: every page in the cache is in the file's reserve map (docs/invariants.md, I7).
Rule 2: taking pages goes in the order of the file and keeps what it got when it ends early, as fallocate does.
"""

from __future__ import annotations

from hugefs.core.checkpoint import checkpoint, might_sleep
from hugefs.core.effects import Back, Drop, Effect, Forget
from hugefs.core.inode import Inode
from hugefs.core.page import PageState
from hugefs.core.ranges import PageRange
from hugefs.core.reservation import Reservations
from hugefs.errors import NoHugePages

__all__ = ["INDEX_MAX", "FilePages"]

INDEX_MAX = 2**51  # pages; beyond what any file size in bytes can reach


class FilePages:
    """The pages of files on one pool; what they need of real memory goes into ``effects``."""

    def __init__(self, reservations: Reservations, effects: list[Effect]) -> None:
        self.reservations = reservations
        self.memmap = reservations.memmap
        self.effects = effects

    def reserve(self, inode: Inode, where: PageRange) -> int:
        """Promise a range. Returns how many pages were promised anew. Raises NoHugePages, and then changed nothing."""
        missing = inode.reserve_map.entries.gaps(where)
        added = self.reservations.reserve_pages(inode.reserve_map, inode.superblock.subpool, where)
        self.effects.extend(Back(inode.number, gap) for gap in missing)
        return added

    def fill(self, inode: Inode, where: PageRange) -> NoHugePages | None:
        """Take a page for each hole of a range. Returns what ended it early, None where every hole was filled."""
        for hole in inode.cache.holes(where):
            got = self.reservations.allocate_pages(inode.reserve_map, inode.superblock.subpool, hole)
            for indexes, frames in got.runs:
                checkpoint("page cache")
                inode.cache.insert(indexes, frames.start)
                self.memmap.move(frames, PageState.CACHED)
                self.effects.append(Back(inode.number, indexes))
            if got.shortage:
                return got.shortage
        return None

    def punch(self, inode: Inode, where: PageRange) -> int:
        """Take cached pages out; untaken promises stay. Returns how many left. Linux: remove_inode_hugepages."""
        removed = self._uncache(inode, where)
        for indexes in removed:
            self.reservations.unreserve_pages(inode.reserve_map, inode.superblock.subpool, indexes, indexes.pages)
            self.effects.append(Drop(inode.number, indexes))
        return sum(indexes.pages for indexes in removed)

    def cut(self, inode: Inode, first: int) -> None:
        """Take everything out from index ``first`` on: pages and promises. Linux: the truncate half of the same."""
        might_sleep("truncate")
        where = PageRange(first, INDEX_MAX)
        backed = [run for run, _ in inode.reserve_map.entries.runs(where)]
        freed = sum(indexes.pages for indexes in self._uncache(inode, where))
        self.reservations.unreserve_pages(inode.reserve_map, inode.superblock.subpool, where, freed)
        self.effects.extend(Drop(inode.number, run) for run in backed)

    def evict(self, inode: Inode) -> None:
        """Nothing needs the file any more. Pages that an I/O holds stay behind, without a way back to it."""
        might_sleep("evict")
        before = len(self.effects)
        self.cut(inode, 0)
        del self.effects[before:]  # what the file had goes with it
        del inode.superblock.inodes[inode.number]
        self.effects.append(Forget(inode.number))

    def _uncache(self, inode: Inode, where: PageRange) -> list[PageRange]:
        removed = []
        checkpoint("page cache")
        for indexes, frames in inode.cache.remove(where):
            removed.append(indexes)
            self.reservations.put_pages(frames, uncached=True)
        return removed
