"""fault.py: what a touch takes, and from whom."""

from __future__ import annotations

from functools import partial

import pytest

from hugefs.core.check import check
from hugefs.core.checkpoint import observed_by
from hugefs.errors import BusError
from tests.core.helpers import PAGE, Recorder, counters, create, pages, refuses, world


@pytest.mark.parametrize("write", [False, True])
def test_a_promised_page_is_never_refused(write):
    """Rule 1, while everyone else takes all that is left."""
    fs, mount = world(4)
    file, other = create(fs, mount), create(fs, mount, "g")
    mapping = fs.map(file, 0, 2 * PAGE)
    thief = fs.map(other, 0, 4 * PAGE, reserve=False)
    with pytest.raises(BusError):
        fs.touch(thief)
    assert counters(fs) == (4, 2, 2, 0)
    fs.touch(mapping, write=write)
    assert counters(fs) == (4, 0, 0, 0)


def test_pages_before_the_missing_one_stay():
    """Rule 2: a store to the fifth page that fails does not undo the first four; the error names the page's place."""
    fs, mount = world(3)
    mapping = fs.map(create(fs, mount), 0, 5 * PAGE, reserve=False)
    with pytest.raises(BusError) as caught:
        fs.touch(mapping)
    assert (counters(fs), caught.value.available) == ((3, 0, 0, 0), 0)
    assert mapping.inode.cache.runs()[0][0] == pages(0, 3)


@pytest.mark.parametrize("private", [False, True])
def test_beyond_the_end_of_the_file_is_a_bus_error(private):
    """Also where the page is promised: the size decides. What lies before the end is touched."""
    fs, mount = world(4)
    file = create(fs, mount)
    fs.truncate(file, PAGE)
    mapping = fs.map(file, 0, 3 * PAGE, private=private, writable=False)
    with pytest.raises(BusError, match="page 1 is beyond the end"):
        fs.touch(mapping, write=False)
    assert counters(fs) == (4, 3, 2, 0)
    refuses(fs, lambda: fs.touch(mapping, pages(1, 3), write=False), BusError)


def test_a_size_between_pages():
    """fallocate may leave one. A page that exists at the end can be touched, a hole there cannot: Linux compares whole
    pages of the size."""
    fs, mount = world(3)
    file = create(fs, mount)
    fs.fallocate(file, 0, PAGE + 1)
    assert file.inode.size_bytes == PAGE + 1
    mapping = fs.map(file, 0, 2 * PAGE, writable=False)
    fs.touch(mapping, write=False)
    fs.punch_hole(file, PAGE, PAGE)
    refuses(fs, lambda: fs.touch(mapping, pages(1, 2), write=False), BusError)
    fs.map(file, 0, 2 * PAGE)
    assert file.inode.size_bytes == 2 * PAGE
    fs.touch(mapping, pages(1, 2), write=False)


def test_a_private_read_of_a_hole_takes_a_page():
    """hugetlb has no zero page: reading a hole costs a page, and the file does not get it."""
    fs, mount = world()
    file = create(fs, mount)
    mapping = fs.map(file, 0, 2 * PAGE, private=True)
    fs.touch(mapping, write=False)
    assert (counters(fs), file.inode.cache.pages) == ((4, 2, 0, 0), 0)
    fs.touch(mapping)
    assert counters(fs) == (4, 2, 0, 0)


def test_a_private_read_of_a_file_page_takes_nothing():
    """Until it is written it is the file's own."""
    fs, mount = world()
    file = create(fs, mount)
    fs.fallocate(file, 0, PAGE)
    mapping = fs.map(file, 0, PAGE, private=True)
    fs.touch(mapping, write=False)
    assert counters(fs) == (4, 3, 1, 0)
    fs.touch(mapping)
    assert (counters(fs), file.inode.cache.pages) == ((4, 2, 0, 0), 1)


def test_copy_on_write_of_the_child_takes_only_what_is_spare():
    """The child's copy is nobody's promise; with no spare page it gets a bus error, and the owner keeps his page."""
    fs, mount = world(2)
    mapping = fs.map(create(fs, mount), 0, PAGE, private=True)
    fs.touch(mapping)
    child = fs.fork(mapping)
    fs.touch(child)
    assert counters(fs) == (2, 0, 0, 0)
    third = fs.fork(child)
    refuses(fs, lambda: fs.touch(third), BusError)


def test_the_last_one_needs_no_copy():
    """Once the others are gone a store needs no page."""
    fs, mount = world(1)
    mapping = fs.map(create(fs, mount), 0, PAGE, private=True)
    fs.touch(mapping)
    child = fs.fork(mapping)
    fs.unmap(mapping)
    fs.touch(child)
    assert counters(fs) == (1, 0, 0, 0)


def test_an_io_does_not_break_copy_on_write():
    """A page under I/O is stored to where it is, as in Linux: mappings make a copy necessary, references do not."""
    fs, mount = world(2)
    mapping = fs.map(create(fs, mount), 0, PAGE, private=True)
    pin = fs.pin(mapping)
    fs.touch(mapping)
    assert counters(fs) == (2, 1, 0, 0)
    assert [frames for _, frames in pin.runs] == [frames for _, frames in mapping.pages.runs()]


def test_the_owner_takes_his_page_from_his_children():
    """He was promised a page he can write: where none is left for a copy, all of his forks lose theirs."""
    fs, mount = world(2)
    mapping = fs.map(create(fs, mount), 0, 2 * PAGE, private=True)
    fs.touch(mapping)
    child, grandchild = fs.fork(mapping), fs.fork(mapping)
    fs.touch(mapping, pages(0, 1))
    assert counters(fs) == (2, 0, 0, 0)
    for lost in (child, grandchild):
        assert lost.reserve_lost
        refuses(fs, partial(fs.touch, lost, pages(0, 1), write=False), BusError)
        fs.touch(lost, pages(1, 2), write=False)
    assert not mapping.reserve_lost
    check(fs)


def test_a_copy_of_ones_own_is_not_taken():
    """What the child has copied before is the child's; only the owner's own page is taken back."""
    fs, mount = world(3)
    mapping = fs.map(create(fs, mount), 0, 2 * PAGE, private=True)
    fs.touch(mapping)
    child = fs.fork(mapping)
    fs.touch(child, pages(0, 1))
    fs.touch(mapping)
    assert child.pages.count(pages(0, 2)) == 1
    fs.touch(child, pages(0, 1))
    refuses(fs, lambda: fs.touch(child, pages(1, 2)), BusError)
    check(fs)


def test_what_another_child_copied_is_left_alone():
    """Two children: one has the page still, the other its own copy. Only the first one's is the owner's page."""
    fs, mount = world(2)
    mapping = fs.map(create(fs, mount), 0, PAGE, private=True)
    fs.touch(mapping)
    has_it, copied = fs.fork(mapping), fs.fork(mapping)
    fs.touch(copied)
    assert counters(fs) == (2, 0, 0, 0)
    fs.touch(mapping)
    assert (has_it.reserve_lost, copied.reserve_lost, copied.pages.pages) == (True, False, 1)
    check(fs)


def test_only_touched_pages_are_taken_from_children():
    """One copy can be had, the next page is taken back; what was not touched stays where it is."""
    fs, mount = world(5)
    mapping = fs.map(create(fs, mount), 0, 4 * PAGE, private=True)
    fs.touch(mapping)
    child = fs.fork(mapping)
    fs.touch(mapping, pages(2, 4))
    assert [run for run, _ in child.pages.runs()] == [pages(0, 3)]
    check(fs)


def test_the_places_of_a_private_touch():
    """Taking a private page is a fault of its own: another task may run before it, and before each lock in it."""
    fs, mount = world()
    mapping = fs.map(create(fs, mount), 0, PAGE, private=True)
    recorder = Recorder()
    with observed_by(recorder):
        fs.touch(mapping)
    assert recorder.places == ["fault", "reserve map", "may fail: region descriptors", "pool", "reserve map"]


def test_who_lost_a_page_does_not_find_the_file_instead():
    """The child's page was taken; the file has a page at the same place, with other content. To read that one would be
    silent corruption: Linux sends SIGBUS. A page of the file that the child had mapped before stays readable."""
    fs, mount = world(4)
    file = create(fs, mount)
    fs.fallocate(file, 0, 3 * PAGE)
    mapping = fs.map(file, 0, PAGE, private=True)
    fs.touch(mapping)
    fs.unmap(mapping)
    other = fs.map(file, 0, 3 * PAGE, private=True, reserve=False)
    owner = fs.map(file, 0, PAGE, private=True)
    fs.touch(owner)
    child = fs.fork(owner)
    fs.touch(owner)
    assert child.reserve_lost
    refuses(fs, lambda: fs.touch(child, write=False), BusError)
    assert not other.reserve_lost


def test_a_file_page_seen_before_the_loss_stays_readable():
    """It was mapped when the fork was made; only missing pages are refused."""
    fs, mount = world(5)
    file = create(fs, mount)
    fs.fallocate(file, 0, 2 * PAGE)
    owner = fs.map(file, 0, 3 * PAGE, private=True)
    fs.touch(owner, pages(0, 1))
    fs.touch(owner, pages(1, 2), write=False)
    child = fs.fork(owner)
    create_all = fs.map(create(fs, mount, "g"), 0, 5 * PAGE, reserve=False)
    with pytest.raises(BusError):
        fs.touch(create_all)
    fs.touch(owner, pages(0, 1))
    assert child.reserve_lost
    fs.touch(child, pages(1, 2), write=False)
    refuses(fs, lambda: fs.touch(child, pages(0, 1), write=False), BusError)
    fs.punch_hole(file, PAGE, PAGE)
    refuses(fs, lambda: fs.touch(child, pages(1, 2), write=False), BusError)


def test_the_owners_second_copy_may_come_from_the_minimum():
    """The minimum is the mount's, promised or not to a mapping."""
    fs, mount = world(2, minimum=2)
    mapping = fs.map(create(fs, mount), 0, PAGE, private=True)
    fs.touch(mapping)
    fs.fork(mapping)
    assert counters(fs) == (2, 1, 1, 0)
    fs.touch(mapping)
    assert counters(fs) == (2, 0, 0, 0)
    check(fs)
