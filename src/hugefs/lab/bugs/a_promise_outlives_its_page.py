"""A page that comes back with a promise is destroyed if any page of the pool is surplus.

Whether a promise needs it is not asked. So more may be promised than is free: min_size= kept by surplus pages is kept
by nothing once they were used.
"""

from __future__ import annotations

from hugefs.core.page import HugePage
from hugefs.core.pool import HugePool
from hugefs.core.reservation import Reservations
from hugefs.lab.bug import Bug

__all__ = ["BUG"]


def _free_run(self: Reservations, pages: int, page: HugePage) -> None:
    """Linux: free_huge_folio: the quota is asked first; what it keeps is promised again, page by page."""
    self.charger.uncharge_pages(page.payer, pages)
    self.charger.uncharge_promises(page.promise_payer, pages)
    for _ in range(pages):
        restore = page.restore_reserve
        if page.subpool and not restore:
            unneeded = page.subpool.put_pages(1)
            held = (page.subpool.pages_min or 0) if page.subpool.ended else 0
            self.pool.unreserve(held)
            restore = unneeded == held
        self.pool.give_back(1, promised=int(restore))


def _give_back(self: HugePool, pages: int, promised: int = 0) -> None:
    """Linux: __free_huge_folio, ``else if (h->surplus_huge_pages_node[nid])``."""
    self.pages_reserved += promised
    destroyed = min(pages, self.pages_surplus)
    self.pages_free += pages - destroyed
    self._unmake_surplus(destroyed)


def _unreserve(self: HugePool, pages: int) -> None:
    """Linux: return_unused_surplus_pages: as many free pages go as promises, while there is surplus."""
    self.pages_reserved -= pages
    destroyed = min(pages, self.pages_surplus, self.pages_free)
    self.pages_free -= destroyed
    self._unmake_surplus(destroyed)


BUG = Bug(
    name="a_promise_outlives_its_page",
    what="A freed page is destroyed when the pool has surplus pages, although its promise has just been restored.",
    linux="free_huge_folio, return_unused_surplus_pages",
    since="4.1",
    fixed="not yet",
    harm="A mount's min_size= is an empty word after its surplus pages were used once; whoever maps its files without"
    " an error can still die of SIGBUS.",
    shows="X-minsize-overcommit",
    replaces={
        (Reservations, "_free_run"): _free_run,
        (HugePool, "give_back"): _give_back,
        (HugePool, "unreserve"): _unreserve,
    },
)
