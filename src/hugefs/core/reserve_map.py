"""Reserve maps: which pages of a file are promised, which promises of a private mapping are used up.

Both are sets of page indexes with the same steps; what an entry *means* is opposite:

    of a file               an entry: promised, or taken already (then the page is in the cache)
    of a private mapping    an entry: the promise is used up; no entry: still open

Rule 1: adding has two halves, with the accounting in between: ``plan_add``, then ``commit_add`` or ``abort_add``.
        A plan that is neither committed nor aborted is an error.
Rule 2: ``commit_add`` looks again: what another task added meanwhile is not added twice. It returns what it did add.

Linux: ``struct resv_map``; region_chg, region_add, region_abort, region_del, vma_needs_reservation and its neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

from hugefs.core.charger import Payer
from hugefs.core.checkpoint import may_fail
from hugefs.core.ranges import PageRange, RangeMap
from hugefs.errors import InvariantError

__all__ = ["FileReserveMap", "Plan", "PrivateReserveMap", "ReserveMap"]


class Plan(NamedTuple):
    """An addition in the making: the range, and how many of its pages had no entry when it was planned."""

    where: PageRange
    pages: int


class ReserveMap:
    """The steps both kinds have in common."""

    def __init__(self) -> None:
        self.entries: RangeMap[Payer] = RangeMap()  # who was charged for the promise; None: nobody, or the page was
        self.plans_open = 0

    def plan_add(self, where: PageRange) -> Plan:
        """Look what is missing."""
        may_fail("region descriptors")
        self.plans_open += 1
        return Plan(where, where.pages - self.entries.count(where))

    def commit_add(self, plan: Plan, payer: Payer = None) -> int:
        """Add the entries that are missing, ``payer`` with each; returns how many were new."""
        self._close_plan()
        before = self.entries.pages
        for gap in self.entries.gaps(plan.where):
            self.entries.put(gap, payer)
        return self.entries.pages - before

    def abort_add(self, plan: Plan) -> None:
        """Leave it."""
        self._close_plan()

    def remove(self, where: PageRange) -> int:
        """Take entries out; returns how many there were."""
        return sum(run.pages for run, _ in self.entries.remove(where))

    def count(self, where: PageRange) -> int:
        """How many entries there are."""
        return self.entries.count(where)

    def first_run(self, where: PageRange) -> tuple[PageRange, bool]:
        """The pages at the beginning of ``where`` that are alike, and whether an untaken one of them has a promise."""
        entered = self.entries.first(where)
        if entered is None:
            return where, self._is_promise(False)
        if entered.start > where.start:
            return PageRange(where.start, entered.start), self._is_promise(False)
        return entered, self._is_promise(True)

    def _is_promise(self, entry: bool) -> bool:
        raise AssertionError("which it is, the two kinds of map say")

    def _close_plan(self) -> None:
        if self.plans_open == 0:
            raise InvariantError("an addition to a reserve map ended that was never planned")
        self.plans_open -= 1


class FileReserveMap(ReserveMap):
    """Of a file: an entry is a promise (until the page is taken)."""

    def _is_promise(self, entry: bool) -> bool:
        return entry


class PrivateReserveMap(ReserveMap):
    """Of the private mapping that owns the promise: an entry is a promise used up."""

    def _is_promise(self, entry: bool) -> bool:
        return not entry
