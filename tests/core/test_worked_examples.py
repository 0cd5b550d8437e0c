"""Five small stories, number by number. Whoever changes the core can check them with pencil and paper.

A pool of four pages each. The counters are total, free, reserved, surplus.
"""

from __future__ import annotations

import pytest

from hugefs.core.check import check, check_at_rest
from hugefs.core.filesystem import Filesystem
from hugefs.core.mount_options import MountOptions
from hugefs.errors import BusError, NoHugePages
from tests.core.helpers import PAGE, counters, create, pages, world


def now(fs: Filesystem, *expected: int) -> None:
    """The four counters, and every invariant, after each step."""
    check(fs)
    assert counters(fs) == expected


def test_the_minimum_is_used_before_the_pool():
    """min_size= of two pages: three are promised to a file, and only one of them is a new promise of the pool."""
    fs, mount = world(4, minimum=2)
    assert mount.subpool is not None
    now(fs, 4, 4, 2, 0)
    assert mount.subpool.pages_reserved == 2
    file = create(fs, mount)
    mapping = fs.map(file, 0, 3 * PAGE)
    now(fs, 4, 4, 3, 0)
    assert mount.subpool.pages_reserved == 0
    fs.touch(mapping, pages(0, 1))
    now(fs, 4, 3, 2, 0)
    fs.unlink(mount, "f")
    now(fs, 4, 3, 2, 0)
    fs.unmap(mapping)
    now(fs, 4, 3, 2, 0)
    fs.close(file)
    now(fs, 4, 4, 2, 0)
    assert mount.subpool.pages_reserved == 2
    fs.umount(mount)
    now(fs, 4, 4, 0, 0)
    check_at_rest(fs)


def test_the_childs_copy_is_charged_to_the_mount():
    """size= of two pages, both private and touched: the child's copy would be a third."""
    fs, mount = world(4, size=2)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 2 * PAGE, private=True)
    now(fs, 4, 4, 2, 0)
    assert mount.statfs().blocks_free == 0
    fs.touch(mapping)
    now(fs, 4, 2, 0, 0)
    child = fs.fork(mapping)
    now(fs, 4, 2, 0, 0)
    with pytest.raises(BusError):
        fs.touch(child, pages(0, 1))
    now(fs, 4, 2, 0, 0)
    assert mount.subpool is not None
    assert mount.subpool.pages_used == 2


def test_a_punched_page_has_no_promise_any_more():
    """Two promised, one taken and punched out: the other's promise stays, the punched one's is gone."""
    fs, mount = world(4, size=4)
    mapping = fs.map(file := create(fs, mount), 0, 2 * PAGE)
    now(fs, 4, 4, 2, 0)
    fs.touch(mapping, pages(0, 1))
    now(fs, 4, 3, 1, 0)
    fs.punch_hole(file, 0, PAGE)
    now(fs, 4, 4, 1, 0)
    assert mount.statfs().blocks_free == 3
    others = fs.mount("n")
    rest = fs.map(create(fs, others), 0, 3 * PAGE)
    now(fs, 4, 4, 4, 0)
    with pytest.raises(BusError):
        fs.touch(mapping, pages(0, 1))
    fs.unmap(rest)
    fs.unlink(others, "f")
    now(fs, 4, 4, 4, 0)  # still open
    assert mount.statfs().blocks_free == 3


def test_a_shrinking_pool_keeps_what_is_in_use():
    """Four pages made one while three are in use: two of them are surplus, and go when they are freed."""
    fs, mount = world(4)
    file = create(fs, mount)
    fs.fallocate(file, 0, 3 * PAGE)
    now(fs, 4, 1, 0, 0)
    fs.pool.resize(1)
    now(fs, 3, 0, 0, 2)
    fs.punch_hole(file, 0, PAGE)
    now(fs, 2, 0, 0, 1)
    fs.punch_hole(file, PAGE, PAGE)
    now(fs, 1, 0, 0, 0)
    fs.punch_hole(file, 2 * PAGE, PAGE)
    now(fs, 1, 1, 0, 0)


def test_dontneed_brings_the_promise_back():
    """A private page let go: the page is free again *and* promised, so that others can have only three."""
    fs, mount = world(4)
    mapping = fs.map(create(fs, mount), 0, PAGE, private=True)
    now(fs, 4, 4, 1, 0)
    fs.touch(mapping)
    now(fs, 4, 3, 0, 0)
    fs.discard(mapping)
    now(fs, 4, 4, 1, 0)
    second = fs.map(create(fs, mount, "g"), 0, 4 * PAGE, reserve=False)
    with pytest.raises(BusError):
        fs.touch(second)
    now(fs, 4, 1, 1, 0)


def test_a_minimum_is_nobody_elses():
    """The first story from the other side: what a mount's minimum holds, no other mount can promise."""
    fs, _ = world(4, minimum=2)
    other = fs.mount("n", MountOptions())
    with pytest.raises(NoHugePages):
        fs.map(create(fs, other), 0, 3 * PAGE)
    now(fs, 4, 4, 2, 0)
