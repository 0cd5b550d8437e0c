"""Counters: read, written, compared as the language says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugefs.scenario.counters import (
    UNSIGNED_MAX,
    CgroupCounters,
    Counters,
    InodeCounters,
    MountCounters,
    PoolCounters,
    differences,
    format_counters,
    parse_counters,
    unsigned,
)

values = st.one_of(st.integers(0, 2**40), st.integers(UNSIGNED_MAX - 1000, UNSIGNED_MAX))
bounded = st.integers(0, 2**40)
names = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)


@st.composite
def all_counters(draw):
    """Counters of everything, with the names of mounts and groups apart, as in any scenario."""
    mounts = draw(st.dictionaries(names.map("m{}".format), st.tuples(values, values, values), max_size=3))
    groups = draw(st.dictionaries(names.map("g{}/h".format), st.tuples(values, values), max_size=3))
    return Counters(
        PoolCounters(*draw(st.tuples(values, values, values, values))),
        {name: MountCounters(*three) for name, three in mounts.items()},
        {name: InodeCounters(*draw(st.tuples(bounded, bounded))) for name in mounts if draw(st.booleans())},
        {name: CgroupCounters(*two) for name, two in groups.items()},
        {name: draw(st.integers(1, 100)) for name in groups if draw(st.booleans())},
    )


@given(all_counters())
def test_counters_written_are_the_counters_read(counters):
    """Recorded files must read back as what they were, also where a counter went below zero."""
    assert parse_counters(format_counters(counters)) == counters
    assert differences(counters, counters) == []


def test_below_zero_is_written_as_the_language_says():
    """`MAX-0` is one below zero in the pool; in a mount the same raw value is -1: no limit."""
    counters = Counters(PoolCounters(4, 3, UNSIGNED_MAX, 0), {"m": MountCounters(UNSIGNED_MAX, 3, UNSIGNED_MAX - 1)})
    assert str(counters) == "4/3/MAX-0/0 m=-1/3/MAX-1"
    assert unsigned(-1) == UNSIGNED_MAX
    assert counters.as_json()["mounts"]["m"]["size"] == -1
    assert counters.as_json()["pool"]["reserved"] == UNSIGNED_MAX


def test_only_what_is_written_is_compared():
    """A line about the pool says nothing of mounts."""
    got = parse_counters("4/3/2/0 m=4/1/1 m.inodes=5/2 g=1/2 g.events=3")
    for text in ("4/3/2/0", "m=4/1/1", "m.inodes=5/2", "g=1/2", "g.events=3", "4/3/2/0 g=1/2"):
        assert differences(parse_counters(text), got) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("4/3/2/1", "pool 4/3/2/1 expected, got 4/3/2/0"),
        ("m=4/1/2", "m=4/1/2 expected, got 4/1/1"),
        ("n=4/1/2", "n=4/1/2 expected, got none"),
        ("m.inodes=5/1", "m.inodes=5/1 expected, got 5/2"),
        ("g=1/MAX-0", "g=1/MAX-0 expected, got 1/2"),
        ("g.events=0", "g.events=0 expected, got 3"),
    ],
)
def test_a_difference_says_both(text, complaint):
    """Expected and got stand side by side."""
    got = parse_counters("4/3/2/0 m=4/1/1 m.inodes=5/2 g=1/2 g.events=3")
    assert differences(parse_counters(text), got) == [complaint]


def test_a_group_that_met_no_limit_has_no_events():
    """Events are not written while 0, so their absence is 0."""
    assert differences(parse_counters("g.events=0"), parse_counters("1/1/0/0 g=0/0")) == []


def test_no_limit_of_inodes_is_zero_or_all_ones():
    """The kernel says -1 with a size= and 0 without; neither is a limit."""
    for text in ("m.inodes=0/0", "m.inodes=-1/-1"):
        assert differences(parse_counters(text), parse_counters("1/1/0/0 m=1/1/1")) == []


def test_where_touches_are_not_seen_only_what_is_available_counts():
    """A server does not know which promised pages are taken already."""
    expected, got = parse_counters("4/3/2/0"), parse_counters("4/4/3/0")
    assert differences(expected, got)
    assert differences(expected, got, sees_touches=False) == []
    assert differences(parse_counters("4/3/1/0"), got, sees_touches=False)
    below = parse_counters("4/3/MAX-0/0")
    assert differences(below, parse_counters("4/4/0/0"), sees_touches=False) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4/4/0",
        "4/4/0/0/0",
        "4/4/0/0 4/4/0/0",
        "m=1",
        "m=1/2/3/4",
        "m=1/1/1 m=1/1/1",
        "m.inodes=1/2/3",
        "x",
        "1/2/3/99999999999999999999",
    ],
)
def test_what_are_no_counters_is_refused(text):
    """A number too many or too few would be compared with the wrong counter."""
    with pytest.raises(ValueError, match=r"."):
        parse_counters(text)
