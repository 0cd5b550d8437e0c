"""subpool.py: one mount's quota, and its end exactly when the last of mount, pages and promises is gone."""

from __future__ import annotations

import pytest

from hugefs.core.pool import HugePool
from hugefs.core.subpool import Subpool
from hugefs.errors import InvariantError, NoHugePages
from tests.core.helpers import counters_of


def quota(maximum: int | None, minimum: int | None = None, total: int = 10) -> Subpool:
    """A subpool of a pool with enough pages."""
    return Subpool(HugePool(total), maximum, minimum)


def test_the_maximum_is_a_limit_on_pages_and_promises_together():
    """Otherwise a mount could promise what it may not take."""
    made = quota(3)
    assert made.get_pages(2) == 2
    made.granted(2)
    with pytest.raises(NoHugePages) as caught:
        made.get_pages(2)
    assert (caught.value.wanted, caught.value.available) == (2, 1)
    assert (made.pages_used, made.pages_asked, made.pages_left) == (2, 0, 1)
    assert made.put_pages(2) == 2
    assert made.pages_left == 3


def test_no_maximum_is_no_limit():
    """Only min_size= was given: everything is counted, nothing is limited."""
    made = quota(None, 1)
    assert made.get_pages(100) == 99
    assert made.pages_left is None


def test_the_minimum_is_promised_at_once_used_first_and_filled_first():
    """min_size= is a promise to the mount: its pages are spoken for before anyone wants them."""
    pool = HugePool(4)
    made = Subpool(pool, 4, 2)
    assert counters_of(pool) == (4, 4, 2, 0)
    assert made.get_pages(1) == 0
    assert made.get_pages(2) == 1
    assert made.granted(1) == 0
    assert made.put_pages(1) == 1  # two are still used: the minimum holds nothing
    assert made.put_pages(1) == 0
    assert made.put_pages(1) == 0
    assert made.pages_reserved == 2


def test_a_minimum_that_cannot_be_promised_is_no_subpool():
    """The mount fails, and the pool is as it was."""
    pool = HugePool(1)
    with pytest.raises(NoHugePages):
        Subpool(pool, None, 2)
    assert counters_of(pool) == (1, 1, 0, 0)


def test_refused_by_the_pool_gives_back_what_was_charged():
    """Two wanted, one from the minimum, the pool refuses the other: both charges go, one promise comes back."""
    made = quota(None, 1)
    assert made.get_pages(2) == 1
    assert made.put_pages(2, promised=1) == 0
    assert (made.pages_used, made.pages_asked, made.pages_reserved) == (0, 0, 1)


def test_what_is_only_asked_for_does_not_use_the_minimum():
    """While one task asks the pool, another gives a page back: its promise belongs to the minimum, for the pool may
    refuse. Where it grants, one promise is too many, and is given up."""
    made = quota(None, 1, total=2)
    assert made.get_pages(1) == 0  # the other's page, from the minimum
    assert made.get_pages(1) == 1  # asked
    assert made.put_pages(1) == 0
    assert made.pages_reserved == 1
    assert made.granted(1) == 1
    assert made.pages_reserved == 0


@pytest.mark.parametrize("minimum", [None, 0, 2])
def test_it_ends_with_the_later_of_mount_and_last_page(minimum):
    """Neither has to wait for the other; a quota that died with its mount was written to after its end, in 2011."""
    made = quota(3, minimum)
    made.get_pages(1)
    assert made.unmount() == 0
    assert not made.ended
    assert made.put_pages(1) == (minimum or 0) + (0 if minimum else 1)
    assert made.ended
    other = quota(3, minimum)
    assert other.unmount() == (minimum or 0)
    assert other.ended


@pytest.mark.parametrize(
    "use", [lambda s: s.get_pages(0), lambda s: s.granted(0), lambda s: s.put_pages(0), lambda s: s.unmount()]
)
def test_use_after_the_end_is_noticed(use):
    """The bug of 2011, seen at once instead of as somebody else's broken memory."""
    made = quota(1)
    made.unmount()
    with pytest.raises(InvariantError):
        use(made)
