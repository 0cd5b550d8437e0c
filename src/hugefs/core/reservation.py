"""Reservations: the only place where a reserve map, a subpool and the pool move together.

Rule 1: every function either completes or leaves all three as they were.
Rule 2: the order is map, subpool, charger, pool; undoing runs backwards. (A promise is charged before the subpool.)
Rule 3: freeing takes no lock that may sleep and looks at nothing but the page: it may run in an interrupt.

Each group of accesses that the kernel makes under one lock has its checkpoint before it.

Linux: mm/hugetlb.c, hugetlb_reserve_pages, hugetlb_unreserve_pages, alloc_hugetlb_folio, free_huge_folio.
"""

from __future__ import annotations

from typing import NamedTuple

from hugefs.core.charger import Charger, Payer
from hugefs.core.checkpoint import checkpoint
from hugefs.core.page import HugePage, Memmap
from hugefs.core.pool import HugePool
from hugefs.core.ranges import PageRange
from hugefs.core.reserve_map import ReserveMap
from hugefs.core.subpool import Subpool
from hugefs.errors import NoHugePages

__all__ = ["Allocation", "Payers", "Reservations"]


class Allocation(NamedTuple):
    """Pages that were allocated, indexes and frames run by run; and the error that ended it early, if one did."""

    runs: list[tuple[PageRange, PageRange]]
    shortage: NoHugePages | None


class Payers(NamedTuple):
    """Who was charged for pages that were taken."""

    for_pages: Payer
    for_promise: Payer


class Reservations:
    """Promises made, kept and taken back, on one pool."""

    def __init__(self, pool: HugePool, memmap: Memmap, charger: Charger | None = None) -> None:
        self.pool = pool
        self.memmap = memmap
        self.charger = charger or Charger()

    # --- promises -------------------------------------------------------------------------------------------------

    def reserve_pages(self, reserve_map: ReserveMap, subpool: Subpool | None, where: PageRange) -> int:
        """Promise every page of a file's range that is not promised yet. Returns how many that were.

        Raises NoHugePages. Linux: hugetlb_reserve_pages, the shared case.
        """
        checkpoint("reserve map")
        plan = reserve_map.plan_add(where)
        try:
            payer = self.promise(subpool, plan.pages)
        except NoHugePages:
            checkpoint("reserve map")
            reserve_map.abort_add(plan)
            raise
        checkpoint("reserve map")
        added = reserve_map.commit_add(plan, payer)
        if added < plan.pages:  # another task entered some of them meanwhile, and was charged for them
            self.charger.uncharge_promises(payer, plan.pages - added)
            self.unpromise(subpool, plan.pages - added)
        return added

    def promise(self, subpool: Subpool | None, pages: int) -> Payer:
        """Charge pages to the mount and promise them; the minimum's promises are used first. Raises NoHugePages.

        Returns who was charged for the promises.
        """
        if pages == 0:
            return None
        payer = self.charger.charge_promises(pages)
        try:
            self._promise_charged(subpool, pages)
        except NoHugePages:
            self.charger.uncharge_promises(payer, pages)
            raise
        return payer

    def _promise_charged(self, subpool: Subpool | None, pages: int) -> None:
        checkpoint("subpool")
        from_pool = subpool.get_pages(pages) if subpool else pages
        checkpoint("pool")
        try:
            self.pool.reserve(from_pool)
        except NoHugePages:
            self._uncharge(subpool, pages, promised=pages - from_pool)
            raise
        self._granted(subpool, from_pool)

    def unpromise(self, subpool: Subpool | None, pages: int) -> None:
        """Take back promises that were not used. Linux: hugepage_subpool_put_pages, hugetlb_acct_memory(-)."""
        if pages:
            self._uncharge(subpool, pages, promised=pages)

    def unreserve_pages(self, reserve_map: ReserveMap, subpool: Subpool | None, where: PageRange, freed: int) -> None:
        """Forget a file's range, of which ``freed`` pages were taken: they give their quota back when they are freed.

        Linux: hugetlb_unreserve_pages.
        """
        checkpoint("reserve map")
        for run, payer in reserve_map.entries.runs(where):
            self.charger.uncharge_promises(payer, run.pages)
        self.unpromise(subpool, reserve_map.remove(where) - freed)

    def _granted(self, subpool: Subpool | None, pages: int) -> None:
        """The pool has granted what the mount was charged for."""
        if subpool and pages:
            checkpoint("subpool")
            unneeded = subpool.granted(pages)
            if unneeded:
                checkpoint("pool")
                self.pool.unreserve(unneeded)

    def _uncharge(self, subpool: Subpool | None, pages: int, promised: int) -> None:
        checkpoint("subpool")
        unneeded = subpool.put_pages(pages, promised) if subpool else promised
        if unneeded:
            checkpoint("pool")
            self.pool.unreserve(unneeded)

    # --- pages ----------------------------------------------------------------------------------------------------

    def allocate_pages(self, reserve_map: ReserveMap | None, subpool: Subpool | None, where: PageRange) -> Allocation:
        """Allocate a page for each index, in order, as far as it goes: promised ones, and others that can be had.

        ``reserve_map`` None: nothing is promised (a forked child, MAP_NORESERVE, the owner's second copy of a page).
        Linux: alloc_hugetlb_folio, once per page.
        """
        runs: list[tuple[PageRange, PageRange]] = []
        cut_short = False
        while where.pages:
            run, promised = where, False
            if reserve_map:
                checkpoint("reserve map")
                run, promised = reserve_map.first_run(where)
            part = self._obtainable_part(subpool, run, promised)
            try:
                runs.append((part, self._allocate_run(reserve_map, subpool, part, promised)))
            except NoHugePages as refusal:
                return Allocation(runs, self._shortage(subpool, run.pages) if cut_short else refusal)
            cut_short = part.end < run.end
            where = PageRange(part.end, where.end)
        return Allocation(runs, None)

    def _obtainable_part(self, subpool: Subpool | None, run: PageRange, promised: bool) -> PageRange:
        """As much of a run as can be had; at least a page, for the refusal comes from who decides it."""
        obtainable = run.pages if promised else min(run.pages, self.pages_obtainable(subpool))
        obtainable = min(obtainable, self.charger.pages_chargeable(promised))
        return PageRange(run.start, run.start + max(obtainable, 1))

    def pages_obtainable(self, subpool: Subpool | None) -> int:
        """How many pages could be allocated now without a promise of one's own."""
        if subpool is None:
            return self.pool.pages_obtainable
        obtainable = subpool.pages_reserved + self.pool.pages_obtainable
        return obtainable if subpool.pages_left is None else min(subpool.pages_left, obtainable)

    def _allocate_run(
        self, reserve_map: ReserveMap | None, subpool: Subpool | None, where: PageRange, promised: bool
    ) -> PageRange:
        plan = reserve_map.plan_add(where) if reserve_map else None
        try:
            payers = self._take_promised(where.pages) if promised else self._take_unpromised(subpool, where.pages)
        except NoHugePages:
            if reserve_map and plan:
                reserve_map.abort_add(plan)
            raise
        frames = self.memmap.allocate(where.pages, subpool, promised, *payers)
        if reserve_map and plan:
            checkpoint("reserve map")
            entered = reserve_map.entries.runs(where)
            added = reserve_map.commit_add(plan)
            if not promised and added < plan.pages:  # an mmap promised this page meanwhile: its promise is not needed
                self.unpromise(subpool, plan.pages - added)
                for run, _ in entered:
                    self.charger.uncharge_promises(payers.for_promise, run.pages)
                    self.memmap.pay_promise(run.shift(frames.start - where.start), None)
        return frames

    def _take_promised(self, pages: int) -> Payers:
        payer = self.charger.charge_pages(pages)
        checkpoint("pool")
        try:
            self.pool.take_promised(pages)
        except NoHugePages:
            self.charger.uncharge_pages(payer, pages)
            raise
        return Payers(payer, None)

    def _take_unpromised(self, subpool: Subpool | None, pages: int) -> Payers:
        checkpoint("subpool")
        from_pool = subpool.get_pages(pages) if subpool else pages
        try:
            payers = self._take_charged(pages, from_pool)
        except NoHugePages:
            self._uncharge(subpool, pages, promised=pages - from_pool)
            raise
        self._granted(subpool, from_pool)
        return payers

    def _take_charged(self, pages: int, from_pool: int) -> Payers:
        """Pages out of the pool, ``from_pool`` of them not promised to the mount, paid for by whoever acts."""
        promise_payer = self.charger.charge_promises(pages)
        try:
            payer = self.charger.charge_pages(pages)
            checkpoint("pool")
            try:
                self.pool.take_unpromised(from_pool)
            except NoHugePages:
                self.charger.uncharge_pages(payer, pages)
                raise
        except NoHugePages:
            self.charger.uncharge_promises(promise_payer, pages)
            raise
        if pages > from_pool:
            self.pool.take_promised(pages - from_pool)
        return Payers(payer, promise_payer)

    def _shortage(self, subpool: Subpool | None, pages: int) -> NoHugePages:
        available = self.pages_obtainable(subpool)
        return NoHugePages(f"{pages} more pages wanted, {available} available", wanted=pages, available=available)

    def put_pages(self, frames: PageRange, unmapped: bool = False, uncached: bool = False) -> int:
        """Drop one reference to each page, and free those that lost their last one. Returns how many were freed."""
        checkpoint("page references")
        freed = self.memmap.put(frames, unmapped, uncached)
        for run, page in freed:
            self._free_run(run.pages, page)
        return sum(run.pages for run, _ in freed)

    def _free_run(self, pages: int, page: HugePage) -> None:
        """The pages go back to the pool, the charge to the quota they point to. Linux: free_huge_folio.

        With a quota they come back with a promise each, and the quota says afterwards which of those nobody needs: so a
        minimum never hands out a promise that the pool does not know yet. (Linux asks the quota first.)
        """
        self.charger.uncharge_pages(page.payer, pages)
        self.charger.uncharge_promises(page.promise_payer, pages)
        checkpoint("pool")
        self.pool.give_back(pages, promised=pages if page.subpool or page.restore_reserve else 0)
        if page.subpool and not page.restore_reserve:  # restored: the quota stays charged, for the promise now
            self.unpromise(page.subpool, pages)
