"""PageCache: a file's pages by index.

Linux: ``struct address_space`` (inode->i_mapping); the name "address space" is left to the task's.
"""

from __future__ import annotations

from hugefs.core.ranges import PageRange, RangeMap

__all__ = ["PageCache", "PageIndex"]


class PageIndex:
    """Which frame stands at which index. A run of consecutive frames is one run: its value is frame minus index."""

    def __init__(self) -> None:
        self._distance: RangeMap[int] = RangeMap()

    @property
    def pages(self) -> int:
        """How many indexes have a page."""
        return self._distance.pages

    def insert(self, indexes: PageRange, first_frame: int) -> None:
        """Put consecutive frames at consecutive indexes."""
        self._distance.put(indexes, first_frame - indexes.start)

    def remove(self, indexes: PageRange) -> list[tuple[PageRange, PageRange]]:
        """Take pages out; returns what was there: indexes and frames, run by run."""
        return [(run, run.shift(distance)) for run, distance in self._distance.remove(indexes)]

    def runs(self, indexes: PageRange | None = None) -> list[tuple[PageRange, PageRange]]:
        """What is there: indexes and frames, run by run."""
        return [(run, run.shift(distance)) for run, distance in self._distance.runs(indexes)]

    def holes(self, indexes: PageRange) -> list[PageRange]:
        """Where nothing is."""
        return self._distance.gaps(indexes)

    def count(self, indexes: PageRange) -> int:
        """How many of these indexes have a page."""
        return self._distance.count(indexes)


class PageCache(PageIndex):
    """The pages of a file; each holds one reference of its page."""
