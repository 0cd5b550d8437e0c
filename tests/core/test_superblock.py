"""superblock.py: a mount's limits, and statfs as the kernel fills it in."""

from __future__ import annotations

import pytest

from hugefs.core.mount_options import MountOptions
from hugefs.core.superblock import Statfs
from hugefs.errors import InvalidRequest, NoHugePages, NoSpace
from tests.core.helpers import PAGE, counters, create, refuses, world


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (0, 0, 0, 0, 0)),
        ({"inodes": 5}, (0, 0, 0, 0, 0)),  # without a subpool Linux says nothing at all
        ({"size": 3}, (3, 3, 3, -1, -1)),
        ({"size": 3, "minimum": 2, "inodes": 5}, (3, 3, 3, 5, 4)),
        ({"minimum": 2}, (-1, -1, -1, -1, -1)),
        ({"minimum": 0}, (-1, -1, -1, -1, -1)),
        ({"size": 0}, (0, 0, 0, -1, -1)),
    ],
)
def test_statfs_of_an_empty_mount(options, expected):
    """Programs read these numbers from the kernel's hugetlbfs today; -1 is its 2**64 - 1."""
    _, mount = world(**options)
    assert mount.statfs() == Statfs(PAGE, *expected)


def test_statfs_counts_promises_as_used():
    """Free is what may still be asked for, not what lies idle."""
    fs, mount = world(10, size=4)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 3 * PAGE)
    assert mount.statfs().blocks_free == 1
    fs.touch(mapping)
    assert mount.statfs()[1:4] == (4, 1, 1)


def test_inodes_run_out_and_come_back():
    """nr_inodes counts the root, and files that are open and have no name any more."""
    fs, mount = world(inodes=3, size=2)
    file = create(fs, mount, "a")
    fs.close(create(fs, mount, "b"))
    for call in (
        lambda: create(fs, mount, "c"),
        lambda: fs.mkdir(mount, "c"),
        lambda: fs.open_unnamed(mount),
    ):
        error = refuses(fs, call, NoSpace)
        assert isinstance(error, NoSpace)
        assert (error.wanted, error.available, error.mount) == (1, 0, "m")
    fs.unlink(mount, "a")
    assert mount.statfs().inodes_free == 0
    fs.close(file)
    assert mount.statfs().inodes_free == 1
    create(fs, mount, "c")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (MountOptions(inodes_max=0), NoHugePages),  # ENOMEM, as hugetlbfs says where the root's inode fails
        (MountOptions(pages_min=5), NoHugePages),
        (MountOptions(pages_min=2, inodes_max=0), NoHugePages),
        (MountOptions(pages_max=1, pages_min=2), InvalidRequest),
    ],
)
def test_a_mount_that_fails_leaves_nothing(options, error):
    """Neither a promise of its minimum, nor a quota that nobody will ever end."""
    fs, _ = world(4)
    refuses(fs, lambda: fs.mount("n", options), error)


def test_a_minimum_may_be_made_of_surplus_pages():
    """min_size= is a promise like any other: overcommit may keep it."""
    fs, mount = world(1, overcommit=2, minimum=3)
    assert counters(fs) == (3, 3, 3, 2)
    fs.umount(mount)
    assert counters(fs) == (1, 1, 0, 0)


def test_size_zero_refuses_everything():
    """Promises at mmap, pages at the touch."""
    fs, mount = world(size=0)
    file = create(fs, mount)
    refuses(fs, lambda: fs.map(file, 0, PAGE), NoHugePages)
    refuses(fs, lambda: fs.fallocate(file, 0, PAGE), NoSpace)
