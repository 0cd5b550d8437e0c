"""Extents: which byte ranges of a file are backed. Half-open [start, end), sorted, never touching each other.

A file has few extents (most have one), so every operation simply walks the list.
"""

from __future__ import annotations


class Extents:
    """A set of bytes, kept as runs."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def total_bytes(self) -> int:
        """How many bytes are in the set."""
        return sum(end - start for start, end in self._runs)

    def inside(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are in the set."""
        return [(max(a, start), min(b, end)) for a, b in self._runs if a < end and b > start]

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are not in the set."""
        holes = []
        at = start
        for a, b in self.inside(start, end):
            if at < a:
                holes.append((at, a))
            at = b
        if at < end:
            holes.append((at, end))
        return holes

    def add(self, start: int, end: int) -> None:
        """Put [start, end) into the set; parts already there are no error."""
        if start >= end:
            return
        touching = [(a, b) for a, b in self._runs if a <= end and b >= start]
        others = [run for run in self._runs if run not in touching]
        merged = (min([start, *(a for a, _ in touching)]), max([end, *(b for _, b in touching)]))
        self._runs = sorted([*others, merged])

    def remove(self, start: int, end: int) -> None:
        """Take [start, end) out of the set; parts not there are no error."""
        kept = []
        for a, b in self._runs:
            kept += [(a, min(b, start)), (max(a, end), b)]
        self._runs = [(a, b) for a, b in kept if a < b]
