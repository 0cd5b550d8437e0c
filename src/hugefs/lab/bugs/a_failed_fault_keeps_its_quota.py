"""A touch that gets no page has charged its mount's quota, and does not give it back."""

from __future__ import annotations

from hugefs.core.reservation import Payers, Reservations
from hugefs.core.subpool import Subpool
from hugefs.errors import NoHugePages
from hugefs.lab.bug import Bug

__all__ = ["BUG"]


def _take_unpromised(self: Reservations, subpool: Subpool | None, pages: int) -> Payers:
    """Linux: alloc_hugetlb_folio, out_subpool_put: only what came out of the minimum is put back."""
    from_pool = subpool.get_pages(pages) if subpool else pages
    try:
        payers = self._take_charged(pages, from_pool)
    except NoHugePages:
        if subpool and from_pool == 0:
            self.unpromise(subpool, pages)
        elif subpool:
            subpool.pages_asked -= from_pool
            if subpool.pages_max is None:
                subpool.pages_used -= from_pool  # never counted there
        raise
    self._granted(subpool, from_pool)
    return payers


BUG = Bug(
    name="a_failed_fault_keeps_its_quota",
    what="A touch without a promise charges its mount first; where no page can be had, or a control group refuses, the"
    " charge stays.",
    linux="alloc_hugetlb_folio",
    since="6.15",
    fixed="not yet; several patches in 2026",
    harm="Each such SIGBUS, and each fallocate that fails, makes a mount with size= smaller, until nothing fits in it;"
    " only a new mount helps.",
    shows="a-failed-fault-keeps-its-quota",
    replaces={(Reservations, "_take_unpromised"): _take_unpromised},
)
