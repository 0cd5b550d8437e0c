"""What a mount says about itself, as programs and as people read it."""

from __future__ import annotations

import pytest

from hugefs.client.reports import Holder, MemInfo


def test_the_counters_have_their_names_here_and_the_kernels_names():
    """Who knows /proc/meminfo finds the same names; who does not finds words."""
    info = MemInfo(10, 6, 2, 1, 4, 2 << 20, "thp", 0)
    assert (info.total, info.free, info.reserved, info.surplus, info.available, info.used) == (10, 6, 2, 1, 4, 6)
    names = ("HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp")
    assert [info[name] for name in names] == [10, 6, 2, 1]
    assert str(info).splitlines()[:4] == [
        "HugePages_Total:       10",
        "HugePages_Free:         6",
        "HugePages_Rsvd:         2",
        "HugePages_Surp:         1",
    ]
    with pytest.raises(KeyError):
        assert info["HugePages_Lost"]


def test_a_holder_reads_as_a_sentence():
    """One page is not 1 pages, and a nameless file is called so."""
    assert str(Holder(7, 0, "python", None, 1, "mapped")) == "python (pid 7, uid 0): 1 page of a nameless file, mapped"
    assert str(Holder(7, 0, "python", "a", 2, "open")) == "python (pid 7, uid 0): 2 pages of a, open"
