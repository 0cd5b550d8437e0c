"""Charger: who pays for pages and promises besides the mount. Here nobody does; simulated tasks have control groups.

Rule 1: a promise is charged when it is made, a page when it is taken. A page that was taken without a promise is
        charged as a promise too, for as long as it lives.
Rule 2: whoever was charged is remembered where the charge is: with the promise in its reserve map, with the private
        mapping, or with the page. That one pays back, whoever frees it later, and in whatever group he is then.

Linux: mm/hugetlb_cgroup.c, hugetlb_cgroup_charge_cgroup and its neighbours; the second counter there is "rsvd".
"""

from __future__ import annotations

import sys
from typing import TypeAlias

__all__ = ["Charger", "Payer"]

Payer: TypeAlias = object | None


class Charger:
    """Charges nobody, and never refuses."""

    def pages_chargeable(self, promised: bool) -> int:
        """How many pages could be charged now; ``promised``: their promise has been charged already."""
        return sys.maxsize

    def charge_promises(self, pages: int) -> Payer:
        """Charge promises to the one who acts. Raises NoHugePages where his limit is met."""
        return None

    def charge_pages(self, pages: int) -> Payer:
        """Charge pages to the one who acts. Raises NoHugePages where his limit is met."""
        return None

    def uncharge_promises(self, payer: Payer, pages: int) -> None:
        """Promises, or pages taken without one, are gone."""

    def uncharge_pages(self, payer: Payer, pages: int) -> None:
        """Pages are free."""
