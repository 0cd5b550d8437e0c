"""The kernel's own hugetlbfs, seen from outside: its counters, and its settings for the time of a test."""

from __future__ import annotations

from hugefs.linux.counters import MemInfo, PoolCounters, SmapsCounters, meminfo, page_sizes, pool, smaps
from hugefs.linux.huge_page_settings import CannotRunHere, huge_page_settings

__all__ = [
    "CannotRunHere",
    "MemInfo",
    "PoolCounters",
    "SmapsCounters",
    "huge_page_settings",
    "meminfo",
    "page_sizes",
    "pool",
    "smaps",
]
