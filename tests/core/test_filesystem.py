"""filesystem.py: mounts and unmounts, and that a refused call leaves everything as it was."""

from __future__ import annotations

import pytest

from hugefs.core.check import check, check_at_rest
from hugefs.core.filesystem import Filesystem
from hugefs.core.mount_options import MountOptions
from hugefs.errors import Busy, NoHugePages, NotFound
from tests.core.helpers import PAGE, counters, create, refuses, world


def test_an_unmount_takes_everything_with_it():
    """Named files have no other reason to live than their mount."""
    fs, mount = world(4, size=4, minimum=1)
    file = create(fs, mount)
    fs.fallocate(file, 0, 2 * PAGE)
    fs.close(file)
    fs.mkdir(mount, "d")
    fs.umount(mount)
    check_at_rest(fs)
    refuses(fs, lambda: fs.umount(mount), NotFound)


@pytest.mark.parametrize("use", ["open", "map"])
def test_a_mount_in_use_is_busy(use):
    """Open files and mappings hold it, each by itself; the message says how it can be had all the same."""
    fs, mount = world()
    file = create(fs, mount)
    if use == "map":
        fs.map(file, 0, PAGE)
        fs.close(file)
    error = refuses(fs, lambda: fs.umount(mount), Busy)
    assert isinstance(error, Busy)
    assert error.mount == "m"
    assert "lazy" in error.reason


def test_a_pin_does_not_make_it_busy():
    """It holds pages, and they find their quota without the mount. The minimum stays promised until they are freed."""
    fs, mount = world(4, size=3, minimum=2)
    file = create(fs, mount)
    mapping = fs.map(file, 0, PAGE)
    pin = fs.pin(mapping)
    fs.unmap(mapping)
    fs.close(file)
    fs.umount(mount)
    assert (counters(fs), len(fs.subpools), len(fs.superblocks)) == ((4, 3, 1, 0), 1, 0)
    check(fs)
    fs.unpin(pin)
    check_at_rest(fs)


def test_a_lazy_unmount_takes_the_names_now_and_the_rest_with_the_last_user():
    """Who has a file keeps it whole; nobody new comes in."""
    fs, mount = world(4, minimum=2)
    file, other = create(fs, mount), create(fs, mount, "g")
    fs.fallocate(other, 0, PAGE)
    fs.close(other)
    mapping = fs.map(file, 0, PAGE)
    fs.umount(mount, lazy=True)
    for call in (
        lambda: fs.open(mount, "f"),
        lambda: fs.open(mount, "h", create=True),
        lambda: fs.open_unnamed(mount),
        lambda: fs.unlink(mount, "g"),
        lambda: fs.mkdir(mount, "d"),
        lambda: fs.rmdir(mount, ""),
        lambda: fs.rename(mount, "f", "g"),
        lambda: fs.link(mount, "f", "h"),
        lambda: fs.umount(mount, lazy=True),
    ):
        refuses(fs, call, NotFound)
    fs.fallocate(file, PAGE, PAGE)
    again = fs.reopen(file.inode, writable=True)
    fs.close(file)
    fs.close(again)
    assert counters(fs) == (4, 2, 1, 0)
    fs.unmap(mapping)
    check_at_rest(fs)


def test_mounts_share_the_pool_and_nothing_else():
    """Two quotas, one pool: what one mount holds for its minimum the other cannot have."""
    fs, mount = world(4, minimum=2)
    other = fs.mount("n", MountOptions(pages_max=3))
    file = create(fs, other)
    with pytest.raises(OSError, match="3 pages wanted, 2 available"):
        fs.map(file, 0, 3 * PAGE)
    fs.map(file, 0, 2 * PAGE)
    fs.map(create(fs, mount), 0, 2 * PAGE)
    check(fs)
    assert counters(fs) == (4, 4, 4, 0)


def test_effects_are_drained_once():
    """A second drain must not free anything twice."""
    fs, mount = world()
    fs.fallocate(create(fs, mount), 0, PAGE)
    assert len(fs.drain_effects()) == 1
    assert fs.drain_effects() == []


def test_a_pool_may_be_empty():
    """A machine without huge pages: mounts and names work, pages do not."""
    fs = Filesystem(PAGE)
    mount = fs.mount("m")
    file = create(fs, mount)
    refuses(fs, lambda: fs.map(file, 0, PAGE), NoHugePages)
