"""HugePool: the machine's huge pages of one size, and the promises made on them.

Rule 1: a promise is a count, not a page: ``pages_reserved`` of the free pages are spoken for, no one says which.
Rule 2: with overcommit the pool makes *surplus* pages when the persistent ones are gone, and gives them up when they
        are freed and no promise needs them.
Rule 3: every method completes or raises NoHugePages and leaves the counters as they were.

Linux: ``struct hstate`` in mm/hugetlb.c; shown as HugePages_Total/Free/Rsvd/Surp.
"""

from __future__ import annotations

from hugefs.errors import InvalidRequest, NoHugePages

__all__ = ["HugePool"]


class HugePool:
    """Four counters, all in pages, and the two settings an administrator has.

    ``pages_total``       persistent and surplus pages, free or in use
    ``pages_free``        those in nobody's hands
    ``pages_reserved``    free pages that are promised
    ``pages_surplus``     pages beyond the persistent ones
    ``pages_overcommit``  how many surplus pages may be made
    ``pages_configured``  persistent pages after the last resize: what ``size=50%`` is a percentage of
    """

    def __init__(self, pages_total: int = 0, pages_overcommit: int = 0) -> None:
        self.pages_total = pages_total
        self.pages_free = pages_total
        self.pages_reserved = 0
        self.pages_surplus = 0
        self.pages_overcommit = pages_overcommit
        self.pages_configured = pages_total

    @property
    def pages_persistent(self) -> int:
        """The pages that stay when they are freed."""
        return self.pages_total - self.pages_surplus

    @property
    def pages_available(self) -> int:
        """Free and not promised."""
        return self.pages_free - self.pages_reserved

    @property
    def pages_obtainable(self) -> int:
        """Available now, or to be made under the overcommit limit."""
        return max(0, self.pages_available) + self._pages_makable

    @property
    def _pages_makable(self) -> int:
        return max(0, self.pages_overcommit - self.pages_surplus)

    def reserve(self, pages: int) -> None:
        """Promise pages, making surplus ones where too few are free. Linux: hugetlb_acct_memory."""
        missing = self.pages_reserved + pages - self.pages_free
        if missing > 0:
            if pages == 0:
                return
            self._make_surplus(missing, wanted=pages)
            self.pages_free += missing
        self.pages_reserved += pages

    def unreserve(self, pages: int) -> None:
        """Take promises back; surplus pages that were kept for them go. Linux: return_unused_surplus_pages."""
        self.pages_reserved -= pages
        unneeded = max(0, min(pages, self.pages_surplus, self.pages_available))
        self.pages_free -= unneeded
        self._unmake_surplus(unneeded)

    def take_promised(self, pages: int) -> None:
        """Hand out pages that were promised. Linux: dequeue_hugetlb_folio with a reservation."""
        missing = pages - self.pages_free
        if missing > 0:  # a promise that lost its page: only where a replaced function broke the books before
            self._make_surplus(missing, wanted=pages)
            self.pages_free += missing
        self.pages_free -= pages
        self.pages_reserved -= pages

    def take_unpromised(self, pages: int) -> None:
        """Hand out pages that nobody was promised, making surplus ones if need be. Linux: alloc_hugetlb_folio."""
        from_free = min(pages, max(0, self.pages_available))
        self._make_surplus(pages - from_free, wanted=pages)
        self.pages_free -= from_free

    def give_back(self, pages: int, promised: int = 0) -> None:
        """Take pages back; ``promised`` of them carry a promise again. Linux: free_huge_folio.

        A surplus page goes for good unless a promise needs it. (Linux 6.18 lets it go all the same, so that a promise
        may be left without a page.)
        """
        self.pages_reserved += promised
        unneeded = max(0, min(pages, self.pages_surplus, self.pages_available + pages))
        self.pages_free += pages - unneeded
        self._unmake_surplus(unneeded)

    def resize(self, pages: int) -> None:
        """Set the number of persistent pages, as far as promises and use allow. Linux: set_max_huge_pages.

        Growing adopts surplus pages first. Shrinking stops at what is promised or in use; the rest becomes surplus,
        whatever the overcommit limit says.
        """
        if pages < 0:
            raise InvalidRequest(f"a pool cannot have {pages} pages")
        if pages > self.pages_persistent:
            self.pages_surplus -= min(self.pages_surplus, pages - self.pages_persistent)
            new = pages - self.pages_persistent
            self.pages_total += new
            self.pages_free += new
        else:
            persistent_free = self.pages_free
            if self.pages_free > self.pages_persistent:
                persistent_free = max(0, self.pages_free - self.pages_surplus)
            floor = self._shrink_floor(pages, persistent_free)
            unneeded = max(0, min(self.pages_persistent - floor, self.pages_free))
            self.pages_total -= unneeded
            self.pages_free -= unneeded
            self.pages_surplus += self.pages_persistent - pages
        self.pages_configured = self.pages_persistent

    def _shrink_floor(self, pages: int, persistent_free: int) -> int:
        """How small the pool may become: not below what is promised or in use."""
        return max(pages, self.pages_reserved + self.pages_persistent - persistent_free)

    def retire_free_page(self) -> None:
        """A free page leaves the machine for good. Linux: dissolve_free_hugetlb_folio."""
        self.pages_total -= 1
        self.pages_free -= 1
        self.pages_surplus -= self.pages_surplus > 0
        self.pages_configured -= 1

    def set_overcommit(self, pages: int) -> None:
        """Set how many surplus pages may be made from now on."""
        if pages < 0:
            raise InvalidRequest(f"an overcommit of {pages} pages makes no sense")
        self.pages_overcommit = pages

    def _make_surplus(self, pages: int, wanted: int) -> None:
        if pages > self._pages_makable:
            raise NoHugePages(
                f"{wanted} pages wanted, {self.pages_obtainable} available in the pool",
                wanted=wanted,
                available=self.pages_obtainable,
            )
        self.pages_total += pages
        self.pages_surplus += pages

    def _unmake_surplus(self, pages: int) -> None:
        self.pages_total -= pages
        self.pages_surplus -= pages
