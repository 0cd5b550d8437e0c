"""Profiles: whose behaviour a simulation shows. ``ideal`` is right everywhere; a kernel's has its mistakes."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

from hugefs.lab.bug import Bug, classes_with
from hugefs.lab.bugs import (
    a_failed_fault_keeps_its_quota,
    a_minimum_is_held_twice,
    a_partial_move_strips_the_rest,
    a_promise_comes_back_before_its_page,
    a_promise_outlives_its_page,
    reserved_pages_wrap_below_zero,
)

__all__ = ["PROFILES", "classes_of"]

PROFILES: dict[str, tuple[Bug, ...]] = {
    "ideal": (),
    "linux-6.18": (
        a_promise_comes_back_before_its_page.BUG,
        reserved_pages_wrap_below_zero.BUG,
        a_promise_outlives_its_page.BUG,
        a_minimum_is_held_twice.BUG,
        a_failed_fault_keeps_its_quota.BUG,
        a_partial_move_strips_the_rest.BUG,
    ),
}


@cache
def classes_of(profile: str) -> MappingProxyType[type, type]:
    """What stands for which class in a profile. Raises ValueError for one that there is not."""
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
    return MappingProxyType(classes_with(PROFILES[profile]))
