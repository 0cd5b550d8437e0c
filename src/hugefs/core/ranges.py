"""Runs of pages: half-open ranges, and a map from pages to values whose cost grows with runs, not with pages.

Rule 1: a range is [start, end), in pages; an empty one is never stored.
Rule 2: neighbouring runs of a RangeMap with equal values are one run. So the number of runs tells how varied the
        content is, and a file of a million equal pages costs what a file of one page costs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, NamedTuple, TypeVar

__all__ = ["PageRange", "RangeMap"]

V = TypeVar("V")


class PageRange(NamedTuple):
    """The pages from ``start`` up to, and without, ``end``."""

    start: int
    end: int

    @property
    def pages(self) -> int:
        """How many they are."""
        return self.end - self.start

    def clip(self, other: PageRange) -> PageRange:
        """The part that lies in ``other``; where there is none, an empty range."""
        start = max(self.start, other.start)
        return PageRange(start, max(start, min(self.end, other.end)))

    def shift(self, pages: int) -> PageRange:
        """The same range, ``pages`` further on."""
        return PageRange(self.start + pages, self.end + pages)


class RangeMap(Generic[V]):
    """Values by page number, kept as sorted, disjoint runs in three parallel lists."""

    __slots__ = ("_ends", "_starts", "_values", "pages")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._values: list[V] = []
        self.pages = 0  # in all runs together

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"[{r.start}, {r.end}): {v!r}" for r, v in self.runs()) + "}"

    def at(self, index: int) -> V | None:
        """The value of one page, None where there is none."""
        i = bisect_right(self._starts, index) - 1
        return self._values[i] if i >= 0 and index < self._ends[i] else None

    def runs(self, within: PageRange | None = None) -> list[tuple[PageRange, V]]:
        """The runs in order, cut to ``within``."""
        if within is None:
            return list(zip(map(PageRange, self._starts, self._ends), self._values, strict=True))
        first, end = within
        found: list[tuple[PageRange, V]] = []
        if end <= first or not self._starts:
            return found
        for i in range(bisect_right(self._ends, first), len(self._starts)):
            start, stop = self._starts[i], self._ends[i]
            if start >= end:
                break
            found.append((PageRange(max(start, first), min(stop, end)), self._values[i]))
        return found

    def first(self, within: PageRange) -> PageRange | None:
        """The first run in ``within``, cut to it; None where there is none."""
        i = bisect_right(self._ends, within.start)
        if i == len(self._starts) or self._starts[i] >= within.end or within.end <= within.start:
            return None
        return PageRange(max(self._starts[i], within.start), min(self._ends[i], within.end))

    def gaps(self, within: PageRange) -> list[PageRange]:
        """The parts of ``within`` that have no value."""
        gaps = []
        at = within.start
        for run, _ in self.runs(within):
            if at < run.start:
                gaps.append(PageRange(at, run.start))
            at = run.end
        if at < within.end:
            gaps.append(PageRange(at, within.end))
        return gaps

    def count(self, within: PageRange) -> int:
        """How many pages of ``within`` have a value."""
        if not self._starts:
            return 0
        return sum(run.pages for run, _ in self.runs(within))

    def put(self, where: PageRange, value: V) -> None:
        """Set the value of every page of ``where``."""
        start, end = where
        if end <= start:
            return
        self.remove(where)
        i = bisect_left(self._starts, start)
        if i < len(self._starts) and self._starts[i] == end and self._values[i] == value:
            end = self._ends[i]
            self._delete(i)
        if i > 0 and self._ends[i - 1] == start and self._values[i - 1] == value:
            self.pages += end - start
            self._ends[i - 1] = end
        else:
            self._insert(i, start, end, value)

    def remove(self, where: PageRange) -> list[tuple[PageRange, V]]:
        """Take out every page of ``where``; returns the runs that were there."""
        if not self._starts:
            return []
        start, end = where
        i = bisect_right(self._ends, start)
        if i == len(self._starts) or self._starts[i] >= end or end <= start:
            return []
        if self._starts[i] == start and self._ends[i] == end:
            return [(where, self._delete(i))]
        removed = self.runs(where)
        self._cut(start)
        self._cut(end)
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        del self._starts[first:last], self._ends[first:last], self._values[first:last]
        self.pages -= sum(run.pages for run, _ in removed)
        return removed

    def _cut(self, at: int) -> None:
        """Make ``at`` a boundary between runs."""
        i = bisect_right(self._starts, at) - 1
        if i >= 0 and self._starts[i] < at < self._ends[i]:
            end, self._ends[i] = self._ends[i], at
            self._starts.insert(i + 1, at)
            self._ends.insert(i + 1, end)
            self._values.insert(i + 1, self._values[i])

    def _insert(self, i: int, start: int, end: int, value: V) -> None:
        self._starts.insert(i, start)
        self._ends.insert(i, end)
        self._values.insert(i, value)
        self.pages += end - start

    def _delete(self, i: int) -> V:
        self.pages -= self._ends.pop(i) - self._starts.pop(i)
        return self._values.pop(i)
