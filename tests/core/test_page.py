"""page.py: the life of a page, and that nobody uses one after its end. docs/page-life.md draws LEGAL_MOVES."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hugefs.core.page import LEGAL_MOVES, HugePage, Memmap, PageState
from hugefs.errors import InvariantError
from tests.core.helpers import pages

PAGE_LIFE = Path(__file__).parents[2] / "docs" / "page-life.md"
STATES = {state.name: state for state in PageState}


def memmap(state: PageState = PageState.HELD, *, count: int = 4) -> Memmap:
    """Some pages in one state."""
    made = Memmap()
    frames = made.allocate(count, None, restore_reserve=True)
    if state is not PageState.HELD:
        made.move(frames, PageState.CACHED if state is PageState.ORPHANED else state)
    if state is PageState.ORPHANED:
        made.get(frames)
        made.put(frames, uncached=True)
    return made


@pytest.mark.parametrize("before", PageState)
@pytest.mark.parametrize("after", PageState)
def test_a_move_is_legal_or_changes_nothing(before, after):
    """Both halves: the table is what may happen, and what may not happen leaves the page as it was."""
    made = memmap(before)
    known = made.runs()
    if (before, after) in LEGAL_MOVES:
        made.move(pages(0, 4), after)
        assert [page.state for _, page in made.runs()] == [after]
    else:
        with pytest.raises(InvariantError):
            made.move(pages(0, 4), after)
        assert made.runs() == known


def test_the_document_draws_the_table():
    """Who reads the picture must see the program's own table: every move, no other, and every state in its words."""
    text = PAGE_LIFE.read_text(encoding="utf-8")
    listed = re.findall(r"^\| (free|[A-Z]+) \| (free|[A-Z]+) \|", text, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert {(STATES.get(a), STATES.get(b)) for a, b in listed} == LEGAL_MOVES
    drawn = re.findall(r"^    (free|[A-Z]+) -+> (.*)$", text, flags=re.MULTILINE)
    arrows = {(STATES.get(a), STATES.get(b)) for a, targets in drawn for b in re.findall(r"free|[A-Z]+", targets)}
    assert arrows == LEGAL_MOVES
    for state in PageState:
        assert f"**{state.name}**: {state.value}" in text


def test_becoming_visible_uses_the_promise_up():
    """A page in a file or mapping has nothing to restore when it is freed: its promise was kept."""
    for state in (PageState.CACHED, PageState.PRIVATE):
        assert [page.restore_reserve for _, page in memmap(state).runs()] == [False]


def test_the_last_put_frees_whatever_it_was():
    """Rule 4: cache, mapping and I/O are equals."""
    made = memmap(PageState.CACHED)
    made.get(pages(0, 2))
    assert made.put(pages(0, 4), uncached=True) == [(pages(2, 4), HugePage(PageState.CACHED, 1, 0, None, False))]
    assert [(run, page.state, page.references) for run, page in made.runs()] == [(pages(0, 2), PageState.ORPHANED, 1)]
    assert made.gaps(pages(0, 4)) == [pages(2, 4)]
    assert [run for run, _ in made.put(pages(0, 2))] == [pages(0, 2)]
    assert made.pages_allocated == 0


def test_a_private_page_is_orphaned_with_its_last_mapping():
    """A fork's mapping keeps it private; an I/O alone does not."""
    made = memmap(PageState.PRIVATE)
    made.set_mapped(pages(0, 4))
    made.get(pages(0, 4), mapped=1)
    made.get(pages(0, 4))
    made.put(pages(0, 4), unmapped=True)
    assert [(page.state, page.mapped, page.references) for _, page in made.runs()] == [(PageState.PRIVATE, 1, 2)]
    made.put(pages(0, 4), unmapped=True)
    assert [(page.state, page.mapped, page.references) for _, page in made.runs()] == [(PageState.ORPHANED, 0, 1)]


def test_an_io_that_ends_first_orphans_nothing():
    """Only who takes a page out of its file or mapping makes it an orphan."""
    made = memmap(PageState.CACHED)
    made.get(pages(0, 4))
    made.put(pages(0, 4))
    assert [page.state for _, page in made.runs()] == [PageState.CACHED]


@pytest.mark.parametrize(
    "use",
    [
        lambda made: made.get(pages(0, 4)),
        lambda made: made.put(pages(0, 4)),
        lambda made: made.move(pages(0, 4), PageState.CACHED),
        lambda made: made.set_mapped(pages(0, 4)),
        lambda made: made.set_restore_reserve(pages(0, 4)),
    ],
)
def test_use_after_free_is_noticed(use):
    """Rule 1: numbers are given out once, so a stale one never means somebody else's page."""
    made = memmap()
    made.put(pages(1, 2))
    made.allocate(1, None, restore_reserve=False)
    with pytest.raises(InvariantError, match="after it was freed"):
        use(made)
