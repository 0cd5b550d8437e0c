"""reserve_map.py: two maps with the same steps and the opposite meaning."""

from __future__ import annotations

import pytest

from hugefs.core.checkpoint import observed_by
from hugefs.core.reserve_map import FileReserveMap, PrivateReserveMap, ReserveMap
from hugefs.errors import InvariantError, NoHugePages
from tests.core.helpers import Failing, digest, pages


def filled(kind: type[ReserveMap]) -> ReserveMap:
    """Entries at 2 and 3."""
    made = kind()
    made.commit_add(made.plan_add(pages(2, 4)))
    return made


def test_a_plan_says_what_is_missing_and_adds_nothing():
    """Between the halves stands the accounting, which may refuse."""
    made = filled(FileReserveMap)
    plan = made.plan_add(pages(0, 6))
    assert (plan.pages, made.count(pages(0, 6)), made.plans_open) == (4, 2, 1)
    made.abort_add(plan)
    assert (made.count(pages(0, 6)), made.plans_open) == (2, 0)


def test_commit_looks_again():
    """Rule 2: what another task added meanwhile was charged to it; the caller must hear that it added less."""
    made = FileReserveMap()
    plan, other = made.plan_add(pages(0, 4)), made.plan_add(pages(1, 2))
    assert made.commit_add(other) == 1
    assert made.commit_add(plan) == 3
    assert made.plans_open == 0


def test_remove_counts():
    """Each removed entry is a promise or a page to be accounted for."""
    made = filled(FileReserveMap)
    assert made.remove(pages(3, 9)) == 1
    assert made.remove(pages(3, 9)) == 0


def test_the_meanings_are_opposite():
    """A file's entry is a promise; an entry of a private mapping is one used up."""
    for kind, promised in ((FileReserveMap, True), (PrivateReserveMap, False)):
        made = filled(kind)
        assert made.first_run(pages(0, 6)) == (pages(0, 2), not promised)
        assert made.first_run(pages(2, 6)) == (pages(2, 4), promised)
        assert made.first_run(pages(3, 4)) == (pages(3, 4), promised)
        assert made.first_run(pages(4, 6)) == (pages(4, 6), not promised)
    with pytest.raises(AssertionError):
        filled(ReserveMap).first_run(pages(0, 1))


@pytest.mark.parametrize("end", ["commit_add", "abort_add"])
def test_a_plan_ends_once(end):
    """Linux's adds_in_progress went wrong this way; here it is noticed."""
    made = FileReserveMap()
    plan = made.plan_add(pages(0, 1))
    made.abort_add(plan)
    with pytest.raises(InvariantError):
        getattr(made, end)(plan)


def test_no_memory_for_a_plan_leaves_the_map_alone():
    """Linux: region_chg may fail with ENOMEM; then there is nothing to abort."""
    made = filled(FileReserveMap)
    before = digest(made)
    with observed_by(Failing(0)), pytest.raises(NoHugePages):
        made.plan_add(pages(0, 6))
    assert digest(made) == before
