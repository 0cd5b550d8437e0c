"""A mount's minimum is filled up from any page that comes back, although pages in use still stand for it.

Without size= the kernel does not count what a mount uses, so it takes it for nothing. With size= it looks, but only
whether anything of the minimum is unused, not how much.
"""

from __future__ import annotations

from hugefs.core.subpool import Subpool
from hugefs.lab.bug import Bug

__all__ = ["BUG"]


def _put_pages(self: Subpool, pages: int, promised: int | None = None) -> int:
    """Linux: hugepage_subpool_put_pages, and hugetlb_reserve_pages where it puts back what the pool refused."""
    self._must_live()
    promised = pages if promised is None else promised
    self.pages_used -= promised
    used = 0 if self.pages_max is None else self.pages_used
    unneeded = promised
    if self.pages_min is not None and used < self.pages_min:
        unneeded = max(0, self.pages_reserved + promised - self.pages_min)
        self.pages_reserved = min(self.pages_reserved + promised, self.pages_min)
    self.pages_used -= pages - promised
    self.pages_asked -= pages - promised
    if not self.mounted and self.pages_used == 0:
        unneeded += self._end()
    return unneeded


def _granted(self: Subpool, pages: int) -> int:
    """Linux: nothing; nobody looks again."""
    self.pages_asked -= pages
    return 0


def _end(self: Subpool) -> int:
    """Linux: unlock_or_release_subpool: the whole minimum is given up, held or not."""
    self.ended = True
    self.pages_reserved = 0
    return self.pages_min or 0


BUG = Bug(
    name="a_minimum_is_held_twice",
    what="A page that is freed fills up the minimum of its mount (min_size=) although other pages in use still stand"
    " for that minimum.",
    linux="hugepage_subpool_put_pages, unlock_or_release_subpool",
    since="4.1",
    fixed="not yet; proposed in 2026",
    harm="Free pages stay promised to a mount that has its share already: other programs get ENOMEM with free pages in"
    " the pool. After an unmount under I/O the quota is freed too early (not simulated: a use after free).",
    shows="X-minsize",
    replaces={
        (Subpool, "put_pages"): _put_pages,
        (Subpool, "granted"): _granted,
        (Subpool, "_end"): _end,
    },
)
