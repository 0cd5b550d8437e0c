"""The kernel's counters, read as they are: pages as pages, kB as bytes, and what is missing as missing."""

from __future__ import annotations

import mmap
import os

import pytest

from hugefs.errors import NotFound
from hugefs.linux import meminfo, page_sizes, pool, smaps
from hugefs.linux.huge_page_settings import CannotRunHere, huge_page_settings


def test_meminfo_and_sysfs_agree():
    """Two views of one pool."""
    try:
        seen = meminfo()
    except NotFound:
        pytest.skip("this kernel was built without hugetlb")
    counters = pool(seen.page_bytes)
    assert seen.page_bytes in page_sizes()
    assert (seen.pages_total, seen.pages_surplus) == (counters.pages_total, counters.pages_surplus)


def test_the_counters_follow_a_mapping():
    """Reserved when it is mapped, used when it is touched, free when it is gone."""
    try:
        with huge_page_settings(4, pages_overcommit=0):
            before = pool(2 << 20)
            others = before.pages_reserved  # promised to somebody else, if anything is
            assert before.pages_free - others == 4
            with mmap.mmap(-1, 2 << 21, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x40000) as pages:
                assert (pool(2 << 20).pages_free, pool(2 << 20).pages_reserved) == (4 + others, 2 + others)
                pages[0] = 1
                assert (pool(2 << 20).pages_free, pool(2 << 20).pages_reserved) == (3 + others, 1 + others)
                seen = smaps()
                assert seen.shared_hugetlb_bytes + seen.private_hugetlb_bytes >= 2 << 20
                assert 2 << 20 in seen.kernel_page_bytes
            assert pool(2 << 20) == before
    except CannotRunHere as error:
        pytest.skip(f"huge pages cannot be set up: {error}")


def test_what_does_not_exist_is_not_found():
    """Never zeros for a page size or a process that is not there."""
    with pytest.raises(NotFound):
        pool(3 << 20)
    with pytest.raises(NotFound):
        smaps(2**22 + 1)


def test_smaps_looks_only_at_the_range():
    """Sums over one mapping, or over all."""
    assert smaps(os.getpid()).rss_bytes > 0
    assert smaps(None, 0, 4096).mappings == 0
