"""pool.py: four counters. Every move of pages and promises, and that a refused one moved nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hugefs.core.pool import HugePool
from hugefs.errors import InvalidRequest, NoHugePages
from tests.core.helpers import counters_of


def pool(total: int, *, overcommit: int = 0, reserved: int = 0, taken: int = 0) -> HugePool:
    """A pool with some of it promised and some taken."""
    made = HugePool(total, overcommit)
    made.take_unpromised(taken)
    made.reserve(reserved)
    return made


def unchanged(made: HugePool, call: Callable[[], None], wanted: int, available: int) -> None:
    """The call is refused, says what was wanted and what there is, and moved nothing."""
    before = vars(made).copy()
    with pytest.raises(NoHugePages) as caught:
        call()
    assert (caught.value.wanted, caught.value.available) == (wanted, available)
    assert vars(made) == before


def test_a_promise_is_a_count():
    """Promising takes no page; it only makes free pages unavailable to others."""
    made = pool(4, reserved=3)
    assert counters_of(made) == (4, 4, 3, 0)
    assert (made.pages_available, made.pages_obtainable) == (1, 1)
    made.take_promised(2)
    assert counters_of(made) == (4, 2, 1, 0)
    made.unreserve(1)
    assert counters_of(made) == (4, 2, 0, 0)


def test_too_many_promises_are_refused():
    """Who was refused must be able to tell how much he could have had."""
    made = pool(4, reserved=3)
    unchanged(made, lambda: made.reserve(2), 2, 1)
    unchanged(made, lambda: made.take_unpromised(2), 2, 1)
    made.reserve(0)
    made.take_unpromised(0)
    assert counters_of(made) == (4, 4, 3, 0)


def test_surplus_pages_are_made_for_promises_and_go_with_them():
    """Overcommit: the pool grows while it is needed, and not a moment longer."""
    made = pool(2, overcommit=3, reserved=4)
    assert counters_of(made) == (4, 4, 4, 2)
    unchanged(made, lambda: made.reserve(2), 2, 1)
    made.take_promised(4)
    made.take_unpromised(1)
    assert counters_of(made) == (5, 0, 0, 3)
    made.give_back(2)
    assert counters_of(made) == (3, 0, 0, 1)
    made.give_back(2)
    assert counters_of(made) == (2, 1, 0, 0)


def test_unreserve_lets_only_idle_surplus_go():
    """A surplus page in use stays counted until it is freed."""
    made = pool(1, overcommit=2, reserved=3)
    made.take_promised(1)
    made.unreserve(1)
    assert counters_of(made) == (2, 1, 1, 1)
    made.unreserve(1)
    assert counters_of(made) == (1, 0, 0, 0)


def test_a_surplus_page_that_a_promise_needs_stays():
    """Linux 6.18 lets it go, and has a promise without a page; a promise must be kept."""
    made = pool(0, overcommit=1, reserved=1)
    made.take_promised(1)
    made.give_back(1, promised=1)
    assert counters_of(made) == (1, 1, 1, 1)
    made.take_promised(1)
    made.give_back(1)
    assert counters_of(made) == (0, 0, 0, 0)


def test_growing_adopts_surplus_first():
    """No page needs to be found for what is there already."""
    made = pool(1, overcommit=2, reserved=3)
    made.resize(2)
    assert counters_of(made) == (3, 3, 3, 1)
    made.resize(5)
    assert counters_of(made) == (5, 5, 3, 0)
    assert made.pages_configured == 5


def test_shrinking_stops_at_what_is_promised_or_in_use():
    """The administrator's wish cannot break a promise; the rest of the wish is remembered as surplus."""
    made = pool(4, reserved=1, taken=2)
    made.resize(0)
    assert counters_of(made) == (3, 1, 1, 3)
    assert made.pages_configured == 0
    made.give_back(2)
    assert counters_of(made) == (1, 1, 1, 1)


def test_resize_as_in_the_worked_example():
    """Four pages, three in use, made one: free pages go at once, those in use when they are freed."""
    made = pool(4, taken=3)
    made.resize(1)
    assert counters_of(made) == (3, 0, 0, 2)
    made.give_back(1)
    assert counters_of(made) == (2, 0, 0, 1)


@pytest.mark.parametrize("setting", ["resize", "set_overcommit"])
def test_negative_settings_are_refused(setting):
    """A slip of an administrator's script; nothing is rounded up to zero."""
    made = pool(2, overcommit=1)
    before = vars(made).copy()
    with pytest.raises(InvalidRequest):
        getattr(made, setting)(-1)
    assert vars(made) == before


def test_the_overcommit_limit_concerns_new_surplus_only():
    """Lowering it takes nothing away from anyone."""
    made = pool(0, overcommit=2, reserved=2)
    made.set_overcommit(0)
    assert (counters_of(made), made.pages_obtainable) == ((2, 2, 2, 2), 0)


def test_a_promise_that_lost_its_page_finds_another_or_is_refused():
    """Only a replaced function can bring the pool there; the pool itself must stay whole even then."""
    made = pool(1, overcommit=1)
    made.pages_reserved, made.pages_free, made.pages_total = 1, 0, 0
    made.take_promised(1)
    assert counters_of(made) == (1, 0, 0, 1)
    made.pages_reserved = 1
    unchanged(made, lambda: made.take_promised(1), 1, 0)
