"""The kernel's 2 MiB pool for scenarios: set, read after every step, found empty and left empty.

Rule 1: the counter files stay open; reading them is one system call each.
Rule 2: within ``taken`` the pool is this runner's: the machine's lock is held, and a journal knows what was there.
Linux: mm/hugetlb.c, nr_hugepages_store, free_hugepages_show; Documentation/admin-guide/mm/hugetlbpage.rst.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hugefs.linux.counters import meminfo
from hugefs.linux.huge_page_settings import CannotRunHere, huge_page_settings
from hugefs.scenario.counters import PoolCounters
from hugefs.scenario.sizes import PAGE_BYTES

__all__ = ["Pool", "taken", "why_too_big"]

_DIRECTORY = Path("/sys/kernel/mm/hugepages") / f"hugepages-{PAGE_BYTES // 1024}kB"
_COUNTERS = ("nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages")
_COMPACT = Path("/proc/sys/vm/compact_memory")
_EMPTY = PoolCounters(0, 0, 0, 0)
_PATIENCE_SECONDS = 2.0
_TRIES = 3
_SHARE_MAX = 0.8


class Pool:
    """The pool's counters and its two settings."""

    def __init__(self) -> None:
        self._files = [os.open(_DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC) for name in _COUNTERS]

    def counters(self) -> PoolCounters:
        """The four counters now."""
        return PoolCounters(*(int(os.pread(fd, 32, 0)) for fd in self._files))

    def resize(self, pages: int) -> None:
        """Write nr_hugepages; memory is compacted where the kernel found fewer pages than it was asked for."""
        for attempt in range(_TRIES):
            _write("nr_hugepages", pages)
            there = self.counters()
            if there.pages_total - there.pages_surplus >= pages or attempt == _TRIES - 1:
                return
            _COMPACT.write_text("1")

    def overcommit(self, pages: int) -> None:
        """Write nr_overcommit_hugepages."""
        _write("nr_overcommit_hugepages", pages)

    def empty(self) -> PoolCounters | None:
        """No overcommit and no pages; the counters that do not come back to zero, or None."""
        self.overcommit(0)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            _write("nr_hugepages", 0)
            there = self.counters()
            if there == _EMPTY:
                return None
            if time.monotonic() > deadline:
                return there
            time.sleep(0.01)

    def close(self) -> None:
        """Close the files."""
        for fd in self._files:
            os.close(fd)
        self._files.clear()


def why_too_big(pages: int) -> str | None:
    """Why this machine should not be asked for so many pages: the kernel would take all it has for them."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    available = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)
    if available is None or pages * PAGE_BYTES <= available * _SHARE_MAX:
        return None
    return f"a pool of {pages} pages is more than this machine can spare; it has {available // PAGE_BYTES} available"


def _write(name: str, pages: int) -> None:
    (_DIRECTORY / name).write_text(str(pages))


@contextmanager
def taken() -> Iterator[Pool]:
    """The pool, empty and ours; as it was before, afterwards. Raises CannotRunHere with the reason."""
    if os.geteuid() != 0:
        raise CannotRunHere("scenarios on the kernel change the pool of huge pages, and that needs root")
    if meminfo().page_bytes != PAGE_BYTES:
        raise CannotRunHere(f"the default huge page of this kernel has {meminfo().page_bytes} bytes, not {PAGE_BYTES}")
    # Who else takes the lock gives everything back; so what is in use while we have it is somebody's own.
    with huge_page_settings():
        pool = Pool()
        there = pool.counters()
        pool.close()
    if there.pages_free != there.pages_total or there.pages_reserved:
        raise CannotRunHere(
            f"the pool of huge pages is in use by others: of {there.pages_total} pages {there.pages_free} are free and"
            f" {there.pages_reserved} promised"
        )
    with huge_page_settings(0, pages_overcommit=0):
        pool = Pool()
        try:
            yield pool
        finally:
            pool.close()
