"""inode.py and pin.py: how long a file lives, and that an I/O keeps pages and nothing else.

Why every order: in 2011 and again in later years it was one order of the last steps that leaked or wrote into freed
memory, and always one that nobody had tried.
"""

from __future__ import annotations

from itertools import permutations

import pytest

from hugefs.core.check import check, check_at_rest
from hugefs.core.filesystem import Filesystem
from hugefs.errors import BadHandle, BusError, IsDirectory, StaleHandle
from tests.core.helpers import PAGE, counters, create, pages, refuses, world

STEPS = ("unlink", "unmap", "close", "umount", "unpin", "unpin 2")


@pytest.mark.parametrize("private", [False, True], ids=["shared", "private"])
@pytest.mark.parametrize("limits", [{}, {"minimum": 3}, {"size": 3, "minimum": 1}], ids=str)
def test_every_order_of_the_last_steps(limits, private):
    """Unlink, unmap, close, lazy umount, two unpins: 720 orders; the books right after each step and empty at last."""
    for order in permutations(STEPS):
        fs, mount = world(4, **limits)
        file = create(fs, mount)
        mapping = fs.map(file, 0, 3 * PAGE, private=private)
        first, second = fs.pin(mapping, pages(0, 2)), fs.pin(mapping, pages(1, 3))
        steps = {
            "unlink": lambda fs=fs, mount=mount: fs.unlink(mount, "f") if mount.attached else None,
            "unmap": lambda fs=fs, mapping=mapping: fs.unmap(mapping),
            "close": lambda fs=fs, file=file: fs.close(file),
            "umount": lambda fs=fs, mount=mount: fs.umount(mount, lazy=True),
            "unpin": lambda fs=fs, pin=first: fs.unpin(pin),
            "unpin 2": lambda fs=fs, pin=second: fs.unpin(pin),
        }
        for step in order:
            steps[step]()
            check(fs)
        check_at_rest(fs)
        assert counters(fs) == (4, 4, 0, 0), order


def needed_by(fs: Filesystem, number: int) -> bool:
    """Whether the inode is still alive."""
    return any(number in superblock.inodes for superblock in fs.superblocks)


@pytest.mark.parametrize("order", list(permutations(("unlink", "close", "unmap"))), ids=" ".join)
def test_a_file_lives_until_the_last_of_name_open_and_mapping(order):
    """Rule 1: evicted with the last of the three, neither before nor after."""
    fs, mount = world()
    file = create(fs, mount)
    mapping = fs.map(file, 0, PAGE)
    pin = fs.pin(mapping)
    steps = {
        "unlink": lambda: fs.unlink(mount, "f"),
        "close": lambda: fs.close(file),
        "unmap": lambda: fs.unmap(mapping),
    }
    for step in order:
        assert needed_by(fs, file.inode.number)
        steps[step]()
    assert not needed_by(fs, file.inode.number)
    assert counters(fs) == (4, 3, 0, 0)
    fs.unpin(pin)
    assert counters(fs) == (4, 4, 0, 0)


def test_an_unnamed_file_goes_with_its_last_user():
    """O_TMPFILE: it never had a name to lose."""
    fs, mount = world(inodes=2)
    file = fs.open_unnamed(mount)
    fs.fallocate(file, 0, PAGE)
    again = fs.reopen(file.inode, writable=False)
    fs.close(file)
    assert counters(fs) == (4, 3, 0, 0)
    fs.close(again)
    assert (counters(fs), mount.inodes_free) == ((4, 4, 0, 0), 1)


def test_what_is_gone_cannot_be_opened_again():
    """A file that was evicted has no pages to give, and its mount may be gone."""
    fs, mount = world()
    file = fs.open_unnamed(mount)
    fs.close(file)
    refuses(fs, lambda: fs.reopen(file.inode, writable=True), StaleHandle)
    assert mount.root is not None
    root = mount.root
    refuses(fs, lambda: fs.reopen(root, writable=False), IsDirectory)


@pytest.mark.parametrize("call", ["close", "truncate", "fallocate", "punch_hole", "map"])
def test_a_closed_file_is_refused(call):
    """EBADF, also for a second close: the number may belong to another file by then."""
    fs, mount = world()
    file = create(fs, mount)
    fs.close(file)
    arguments = {"close": (), "truncate": (0,)}.get(call, (0, PAGE))
    refuses(fs, lambda: getattr(fs, call)(file, *arguments), BadHandle)


def test_a_pin_reads_and_holds():
    """It faults in what is missing, as get_user_pages does, and keeps each page once."""
    fs, mount = world(4)
    file = create(fs, mount)
    fs.fallocate(file, 0, PAGE)
    mapping = fs.map(file, 0, 3 * PAGE, private=True)
    fs.touch(mapping, pages(1, 2))
    pin = fs.pin(mapping)
    assert (pin.pages, counters(fs), pin.origin) == (3, (4, 1, 1, 0), file.inode)
    assert sorted(run for run, _ in pin.runs) == [pages(0, 1), pages(1, 3)]
    fs.unpin(pin)
    refuses(fs, lambda: fs.unpin(pin), BadHandle)


def test_a_pin_holds_all_or_nothing():
    """A page that cannot be had: the I/O does not start. What was read in stays, as after a read."""
    fs, mount = world(2)
    mapping = fs.map(create(fs, mount), 0, 3 * PAGE, reserve=False)
    with pytest.raises(BusError):
        fs.pin(mapping)
    assert not fs.pins
    assert counters(fs) == (2, 0, 0, 0)
    check(fs)
    refuses(fs, lambda: fs.pin(mapping), BusError)


def test_two_pins_on_one_page():
    """The last one frees it, and gives the mount its page back."""
    fs, mount = world(3, size=3)
    file = fs.open_unnamed(mount)
    mapping = fs.map(file, 0, 3 * PAGE)
    first, second = fs.pin(mapping, pages(0, 2)), fs.pin(mapping, pages(1, 3))
    fs.unmap(mapping)
    fs.close(file)
    assert (counters(fs), mount.statfs().blocks_free) == ((3, 0, 0, 0), 0)
    fs.unpin(first)
    assert (counters(fs), mount.statfs().blocks_free) == ((3, 1, 0, 0), 1)
    fs.unpin(second)
    assert (counters(fs), mount.statfs().blocks_free) == ((3, 3, 0, 0), 3)
