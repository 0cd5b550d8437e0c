"""Hugetlb control groups: two counters each, with limits, that a charge must pass from the group up to the root.

Rule 1: a charge goes to the group of the task that acts, and to every group above it, or to none.
Rule 2: a limit that is met is an event of the charging group and of every group above it.
Rule 3: a removed group's pages are charged to its parent from then on. Promises stay with the dead group, and still
        count above it, until they are given back.

Linux: mm/hugetlb_cgroup.c; ``struct page_counter``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import cast

from hugefs.core.charger import Charger, Payer
from hugefs.errors import NoHugePages

__all__ = ["Group", "GroupCharger"]


class Group:
    """``pages``: in use (hugetlb.2MB.current). ``promises``: hugetlb.2MB.rsvd.current. None is no limit.

    ``divided``: groups were made inside; it can have no tasks any more (cgroup.subtree_control).
    """

    def __init__(self, name: str, parent: Group | None) -> None:
        self.name = name
        self.parent = parent
        self.pages = 0
        self.promises = 0
        self.pages_max: int | None = None
        self.promises_max: int | None = None
        self.events = 0
        self.tasks = 0
        self.children = 0
        self.divided = False

    def and_above(self) -> Iterator[Group]:
        """This group and those it lies in."""
        group: Group | None = self
        while group is not None:
            yield group
            group = group.parent

    def pages_left(self) -> int:
        """How many pages may be charged here."""
        return min(sys.maxsize if g.pages_max is None else g.pages_max - g.pages for g in self.and_above())

    def promises_left(self) -> int:
        """How many promises may be charged here."""
        return min(sys.maxsize if g.promises_max is None else g.promises_max - g.promises for g in self.and_above())

    def met_a_limit(self, wanted: int, left: int) -> NoHugePages:
        """Count the event; the error to raise."""
        for group in self.and_above():
            group.events += 1
        return NoHugePages(f"control group {self.name}: {wanted} pages wanted, {left} left", wanted=wanted)


class GroupCharger(Charger):
    """Charges the group of the task that acts now: ``group``; None is the root, which has no limit."""

    def __init__(self) -> None:
        self.group: Group | None = None

    def pages_chargeable(self, promised: bool) -> int:
        """As in Charger."""
        if self.group is None:
            return sys.maxsize
        left = self.group.pages_left()
        return left if promised else min(left, self.group.promises_left())

    def charge_promises(self, pages: int) -> Payer:
        """As in Charger."""
        if self.group is not None:
            left = self.group.promises_left()
            if pages > left:
                raise self.group.met_a_limit(pages, left)
            for group in self.group.and_above():
                group.promises += pages
        return self.group

    def charge_pages(self, pages: int) -> Payer:
        """As in Charger."""
        if self.group is not None:
            left = self.group.pages_left()
            if pages > left:
                raise self.group.met_a_limit(pages, left)
            for group in self.group.and_above():
                group.pages += pages
        return self.group

    def uncharge_promises(self, payer: Payer, pages: int) -> None:
        """As in Charger."""
        if payer is not None:
            for group in cast("Group", payer).and_above():
                group.promises -= pages

    def uncharge_pages(self, payer: Payer, pages: int) -> None:
        """As in Charger."""
        if payer is not None:
            for group in cast("Group", payer).and_above():
                group.pages -= pages
