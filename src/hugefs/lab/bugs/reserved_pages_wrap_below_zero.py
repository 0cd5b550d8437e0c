"""The pool's counters are unsigned, and what is compared with them is not prepared for one that wrapped.

A page may be had without a promise unless *exactly* none is available; so once more is promised than is free, or Rsvd
is below zero, promised pages are given to whoever asks. A pool with Rsvd below zero may not shrink at all.
"""

from __future__ import annotations

from hugefs.core.pool import HugePool
from hugefs.core.ranges import PageRange
from hugefs.core.reservation import Reservations
from hugefs.core.subpool import Subpool
from hugefs.errors import NoHugePages
from hugefs.lab.bug import Bug

__all__ = ["BUG"]

_UNSIGNED = 2**64


def _take_unpromised(self: HugePool, pages: int) -> None:
    """Linux: dequeue_hugetlb_folio_vma, ``if (gbl_chg && !available_huge_pages(h))``; then a surplus page."""
    for _ in range(pages):
        if self.pages_available != 0 and self.pages_free > 0:
            self.pages_free -= 1
        else:
            self._make_surplus(1, wanted=1)


def _obtainable_part(self: Reservations, subpool: Subpool | None, run: PageRange, promised: bool) -> PageRange:
    """Linux: pages are taken one by one; how many can be had, nobody knows before."""
    return PageRange(run.start, run.start + 1)


def _reserve(self: HugePool, pages: int) -> None:
    """Linux: hugetlb_acct_memory: gather_surplus_pages, then a second look that compares with the free pages alone."""
    if pages == 0:
        return
    missing = self.pages_reserved + pages - self.pages_free
    if missing > 0:
        self._make_surplus(missing, wanted=pages)
        self.pages_free += missing
    self.pages_reserved += pages
    if pages > self.pages_free:
        self.unreserve(pages)
        raise NoHugePages(f"{pages} pages wanted, {self.pages_free} free", wanted=pages, available=self.pages_free)


def _shrink_floor(self: HugePool, pages: int, persistent_free: int) -> int:
    """Linux: set_max_huge_pages, min_count."""
    return max(pages, (self.pages_reserved + self.pages_persistent - persistent_free) % _UNSIGNED)


BUG = Bug(
    name="reserved_pages_wrap_below_zero",
    what="Sums and comparisons of the pool's unsigned counters are wrong once more is promised than is free, or the"
    " promises have gone below zero.",
    linux="dequeue_hugetlb_folio_vma, hugetlb_acct_memory, set_max_huge_pages",
    since="2.6",
    fixed="not yet",
    harm="It makes other mistakes worse: promised pages go to programs that were promised nothing, and those who were"
    " promised them may die of SIGBUS; a pool cannot be made smaller.",
    shows="PIN-03-anon-munmap",
    replaces={
        (HugePool, "take_unpromised"): _take_unpromised,
        (HugePool, "reserve"): _reserve,
        (HugePool, "_shrink_floor"): _shrink_floor,
        (Reservations, "_obtainable_part"): _obtainable_part,
    },
)
