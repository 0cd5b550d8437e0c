"""Subpool: one mount's quota. It has a life of its own.

In 2011 a page found its quota through its file: page, inode, superblock, quota. A page that an I/O still held was freed
after inode and superblock, and wrote into freed memory. Holding the inode instead leaked every page of an unlinked
file. Since 2012 a page points to this small object, which lives until its mount *and* its last page or promise are
gone: neither the page nor the mount has to wait for the other.

Rule 1: ``pages_used`` counts what the mount was granted: its promises and its live pages.
Rule 2: ``pages_reserved`` are promises that the pool holds for the mount's minimum: max(0, min - used). What was
        charged but not granted by the pool yet (``pages_asked``) is no use of the minimum: the pool may still refuse.
Rule 3: whoever makes it unused and unmounted ends it, in that same step; nobody looks again later.

Linux: ``struct hugepage_subpool``, hugepage_subpool_get_pages/put_pages/put_subpool.
"""

from __future__ import annotations

from hugefs.core.pool import HugePool
from hugefs.errors import InvariantError, NoHugePages

__all__ = ["Subpool"]


class Subpool:
    """``pages_max`` and ``pages_min``: the limits, None for none. ``mounted``: its superblock is still there."""

    def __init__(self, pool: HugePool, pages_max: int | None, pages_min: int | None) -> None:
        """Raises NoHugePages where the pool cannot promise the minimum."""
        pool.reserve(pages_min or 0)
        self.pages_max = pages_max
        self.pages_min = pages_min
        self.pages_used = 0
        self.pages_asked = 0
        self.pages_reserved = pages_min or 0
        self.mounted = True
        self.ended = False

    @property
    def pages_left(self) -> int | None:
        """What the mount may still be granted, None for no limit."""
        return None if self.pages_max is None else self.pages_max - self.pages_used

    def get_pages(self, pages: int) -> int:
        """Charge pages. Returns how many of them the pool must promise or find: the rest comes from the minimum.

        What it answers is told to ``granted``, or to ``put_pages`` where it refuses.
        """
        self._must_live()
        left = self.pages_left
        if left is not None and pages > left:
            raise NoHugePages(f"{pages} pages wanted, {left} left under the mount's size", wanted=pages, available=left)
        self.pages_used += pages
        from_minimum = min(pages, self.pages_reserved)
        self.pages_reserved -= from_minimum
        self.pages_asked += pages - from_minimum
        return pages - from_minimum

    def granted(self, pages: int) -> int:
        """The pool has granted them. Returns how many promises it may drop: others may have filled the minimum."""
        self._must_live()
        self.pages_asked -= pages
        unneeded = self.pages_reserved - self._pages_to_hold
        self.pages_reserved -= unneeded
        return unneeded

    def put_pages(self, pages: int, promised: int | None = None) -> int:
        """Give back the charge for pages; ``promised`` of them come with a promise (all, unless the pool refused some).

        Returns how many promises the pool may drop. The minimum is filled up first. The last put after the unmount ends
        the subpool, and returns the minimum's promises too.
        """
        self._must_live()
        if promised is None:
            promised = pages
        self.pages_used -= pages
        self.pages_asked -= pages - promised
        if not self.mounted and self.pages_used == 0:
            return promised + self._end()
        refill = min(promised, self._pages_to_hold - self.pages_reserved)
        self.pages_reserved += refill
        return promised - refill

    def unmount(self) -> int:
        """The superblock goes. Returns how many promises the pool may drop: the minimum, if nothing is in use."""
        self._must_live()
        self.mounted = False
        return self._end() if self.pages_used == 0 else 0

    @property
    def _pages_to_hold(self) -> int:
        return max(0, (self.pages_min or 0) - (self.pages_used - self.pages_asked))

    def _end(self) -> int:
        self.ended = True
        reserved, self.pages_reserved = self.pages_reserved, 0
        return reserved

    def _must_live(self) -> None:
        if self.ended:
            raise InvariantError("a subpool was used after its end")
