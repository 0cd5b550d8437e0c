"""The kernel's own hugetlbfs, seen from outside: its counters; and, for tests and demos, its settings for a while.

Changing settings is not offered here but in its own module, ``hugefs.linux.huge_page_settings``: not by chance.
"""

from __future__ import annotations

from hugefs.linux.counters import MemInfo, PoolCounters, SmapsCounters, meminfo, page_sizes, pool, smaps

__all__ = [
    "MemInfo",
    "PoolCounters",
    "SmapsCounters",
    "meminfo",
    "page_sizes",
    "pool",
    "smaps",
]
