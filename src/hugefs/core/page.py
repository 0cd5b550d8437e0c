"""HugePage and Memmap: what is known of every page that is not free.

Rule 1: a page is a *frame number*. Numbers are given out once and never again, so that a stale one is always noticed.
Rule 2: what is known of a page is a value (HugePage); the Memmap keeps one per run of equal neighbours.
Rule 3: a page points to its quota (``subpool``) and to nothing else: not to its file, not to its mount.
Rule 4: the page is freed by whoever puts the last reference, whatever that was: cache, mapping or I/O.

Linux: ``struct folio`` and the memmap; folio_get, folio_put.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from hugefs.core.charger import Payer
from hugefs.core.ranges import PageRange, RangeMap
from hugefs.core.subpool import Subpool
from hugefs.errors import InvariantError

__all__ = ["LEGAL_MOVES", "HugePage", "Memmap", "PageState"]


class PageState(Enum):
    """The life of a page. A free page is in no state: the Memmap does not know it."""

    HELD = "allocated, not yet visible to anyone but its allocator"
    CACHED = "in a file's page cache"
    PRIVATE = "a private copy, reachable only through mappings"
    ORPHANED = "taken out of its file or mapping, and still referenced by someone"


# None is the free page. ORPHANED is the state in which use-after-free and leaks live.
LEGAL_MOVES: frozenset[tuple[PageState | None, PageState | None]] = frozenset(
    {
        (None, PageState.HELD),
        (PageState.HELD, None),
        (PageState.HELD, PageState.CACHED),
        (PageState.HELD, PageState.PRIVATE),
        (PageState.CACHED, PageState.ORPHANED),
        (PageState.CACHED, None),
        (PageState.PRIVATE, PageState.ORPHANED),
        (PageState.PRIVATE, None),
        (PageState.ORPHANED, None),
    }
)


class HugePage(NamedTuple):
    """``references``: cache, mappings and I/O together. ``mapped``: how many private mappings have it (not the pins).

    ``restore_reserve``: freeing it brings a promise back instead of giving up the quota.
    ``payer``: who was charged for it; ``promise_payer``: who was charged because it was taken without a promise.
    """

    state: PageState
    references: int
    mapped: int
    subpool: Subpool | None
    restore_reserve: bool
    payer: Payer = None
    promise_payer: Payer = None


class Memmap:
    """Every page that is not free, by frame number."""

    def __init__(self) -> None:
        self._pages: RangeMap[HugePage] = RangeMap()
        self._next_frame = 0

    @property
    def pages_allocated(self) -> int:
        """How many there are."""
        return self._pages.pages

    def runs(self, frames: PageRange | None = None) -> list[tuple[PageRange, HugePage]]:
        """What is known, run by run."""
        return self._pages.runs(frames)

    def gaps(self, frames: PageRange) -> list[PageRange]:
        """Which of these pages have been freed."""
        return self._pages.gaps(frames)

    def allocate(
        self,
        pages: int,
        subpool: Subpool | None,
        restore_reserve: bool,
        payer: Payer = None,
        promise_payer: Payer = None,
    ) -> PageRange:
        """Frame numbers for new pages, each with its allocator's reference."""
        frames = PageRange(self._next_frame, self._next_frame + pages)
        self._next_frame = frames.end
        self._pages.put(frames, HugePage(PageState.HELD, 1, 0, subpool, restore_reserve, payer, promise_payer))
        return frames

    def move(self, frames: PageRange, state: PageState) -> None:
        """Change the state. A page that becomes visible has used its promise up, and has nothing to restore."""
        for run, page in self._known(frames):
            if (page.state, state) not in LEGAL_MOVES:
                raise InvariantError(f"page {run.start} cannot go from {page.state} to {state}")
            self._pages.put(run, page._replace(state=state, restore_reserve=False))

    def set_restore_reserve(self, frames: PageRange, restore: bool = True) -> None:
        """Freeing these pages shall bring their promises back, or no longer."""
        for run, page in self._known(frames):
            self._pages.put(run, page._replace(restore_reserve=restore))

    def pay_promise(self, frames: PageRange, payer: Payer) -> None:
        """Another one was charged for the promise of these pages."""
        for run, page in self._known(frames):
            self._pages.put(run, page._replace(promise_payer=payer))

    def move_charges(self, payer: Payer, heir: Payer) -> None:
        """Whatever ``payer`` was charged for pages is the heir's now. Linux: hugetlb_cgroup_css_offline."""
        for run, page in self._pages.runs():
            if page.payer is payer:
                self._pages.put(run, page._replace(payer=heir))

    def get(self, frames: PageRange, mapped: int = 0) -> None:
        """One more reference to each; ``mapped=1`` where it is a private mapping's."""
        for run, page in self._known(frames):
            self._pages.put(run, page._replace(references=page.references + 1, mapped=page.mapped + mapped))

    def set_mapped(self, frames: PageRange) -> None:
        """The allocator's reference to a new private page becomes its mapping's."""
        for run, page in self._known(frames):
            self._pages.put(run, page._replace(mapped=1))

    def put(
        self, frames: PageRange, unmapped: bool = False, uncached: bool = False
    ) -> list[tuple[PageRange, HugePage]]:
        """One reference less to each: a private mapping's (``unmapped``), the cache's (``uncached``) or an I/O's.

        Returns the runs that lost their last one, which are known no more.
        """
        freed = []
        for run, page in self._known(frames):
            if page.references == 1:
                self._pages.remove(run)
                freed.append((run, page))
                continue
            left = page._replace(references=page.references - 1, mapped=page.mapped - unmapped)
            if uncached or (unmapped and left.mapped == 0):
                left = left._replace(state=PageState.ORPHANED)
            self._pages.put(run, left)
        return freed

    def _known(self, frames: PageRange) -> list[tuple[PageRange, HugePage]]:
        runs = self._pages.runs(frames)
        if sum(run.pages for run, _ in runs) != frames.pages:
            raise InvariantError(f"a page of frames {frames.start}..{frames.end} was used after it was freed")
        return runs
