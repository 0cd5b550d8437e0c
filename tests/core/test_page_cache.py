"""page_cache.py: which frame stands at which index. Random events: tests/models/test_twins.py."""

from __future__ import annotations

from hugefs.core.page_cache import PageCache, PageIndex
from tests.core.helpers import pages


def test_consecutive_frames_are_one_run():
    """A file that was filled from its start to its end is one run, however it was cut into calls."""
    index = PageIndex()
    index.insert(pages(0, 2), 10)
    index.insert(pages(2, 4), 12)
    index.insert(pages(6, 7), 50)
    assert index.runs() == [(pages(0, 4), pages(10, 14)), (pages(6, 7), pages(50, 51))]
    assert (index.pages, index.count(pages(3, 7)), index.holes(pages(0, 8))) == (5, 2, [pages(4, 6), pages(7, 8)])


def test_a_part_is_found_and_removed_with_its_own_frames():
    """What is cut out of the middle keeps its numbers, and so does what is left on both sides."""
    cache = PageCache()
    cache.insert(pages(0, 6), 10)
    assert cache.runs(pages(2, 4)) == [(pages(2, 4), pages(12, 14))]
    assert cache.remove(pages(2, 4)) == [(pages(2, 4), pages(12, 14))]
    assert cache.runs() == [(pages(0, 2), pages(10, 12)), (pages(4, 6), pages(14, 16))]
    assert cache.remove(pages(2, 4)) == []
