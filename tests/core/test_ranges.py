"""ranges.py: half-open ranges, and the map whose cost grows with runs. Random events: tests/models/test_twins.py."""

from __future__ import annotations

import pytest

from hugefs.core.ranges import PageRange, RangeMap
from tests.core.helpers import pages


def test_a_range_is_half_open():
    """[2, 5) is three pages; nothing is said twice at a border, so ranges can be laid end to end."""
    assert pages(2, 5).pages == 3
    assert pages(2, 5).shift(10) == pages(12, 15)


@pytest.mark.parametrize(
    ("other", "common"),
    [((0, 9), (2, 5)), ((3, 4), (3, 4)), ((0, 3), (2, 3)), ((4, 9), (4, 5)), ((5, 9), (5, 5)), ((0, 2), (2, 2))],
)
def test_clip_is_the_common_part(other, common):
    """Where nothing is common the result is empty, never inverted: an inverted range has a negative number of pages."""
    assert pages(2, 5).clip(PageRange(*other)) == PageRange(*common)


def test_equal_neighbours_are_one_run():
    """Rule 2: the number of runs tells how varied the content is; that is what makes a terabyte cheap."""
    entries: RangeMap[str] = RangeMap()
    entries.put(pages(0, 2), "a")
    entries.put(pages(4, 6), "a")
    entries.put(pages(2, 4), "a")
    assert list(entries.runs()) == [(pages(0, 6), "a")]
    entries.put(pages(2, 3), "b")
    assert repr(entries) == "{[0, 2): 'a', [2, 3): 'b', [3, 6): 'a'}"
    assert (entries.pages, entries.at(2), entries.at(6), entries.at(-1)) == (6, "b", None, None)


def test_remove_returns_what_was_there_and_splits():
    """What a caller takes out of one place he often puts into another: he must be told what it was."""
    entries: RangeMap[str] = RangeMap()
    entries.put(pages(0, 6), "a")
    assert entries.remove(pages(2, 4)) == [(pages(2, 4), "a")]
    assert list(entries.runs()) == [(pages(0, 2), "a"), (pages(4, 6), "a")]
    assert entries.gaps(pages(0, 8)) == [pages(2, 4), pages(6, 8)]
    assert (entries.count(pages(1, 5)), entries.pages, bool(entries)) == (2, 4, True)
    entries.remove(pages(0, 9))
    assert not entries


@pytest.mark.parametrize("where", [(3, 3), (4, 2), (0, 0), (9, 9)])
def test_an_empty_range_is_nothing(where):
    """An empty range in the middle of a run must neither be found there nor split it."""
    entries: RangeMap[str] = RangeMap()
    entries.put(pages(0, 6), "a")
    empty = PageRange(*where)
    entries.put(empty, "b")
    assert list(entries.runs(empty)) == []
    assert entries.remove(empty) == []
    assert (entries.count(empty), entries.gaps(empty)) == (0, [])
    assert list(entries.runs()) == [(pages(0, 6), "a")]
