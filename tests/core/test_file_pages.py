"""file_pages.py and effects.py: a file's pages taken and given back, and exactly what memory must do for each call."""

from __future__ import annotations

import pytest

from hugefs.core.check import check
from hugefs.core.effects import Back, Clear, Drop, Forget
from hugefs.errors import BadHandle, InvalidRequest, NoSpace, TooBig
from tests.core.helpers import PAGE, counters, create, pages, refuses, world


def test_exact_effects_of_a_files_life():
    """In the order in which they must be carried out; whoever keeps the memory does just this and is never wrong."""
    fs, mount = world(8)
    file = create(fs, mount)
    number = file.inode.number
    assert fs.drain_effects() == []
    mapping = fs.map(file, 0, 4 * PAGE)
    assert fs.drain_effects() == [Back(number, pages(0, 4))]
    fs.map(file, 0, 5 * PAGE)
    assert fs.drain_effects() == [Back(number, pages(4, 5))]
    fs.touch(mapping, pages(1, 3))
    assert fs.drain_effects() == [Back(number, pages(1, 3))]
    fs.touch(mapping, pages(1, 3))
    assert fs.drain_effects() == []
    fs.fallocate(file, 2 * PAGE, 4 * PAGE)
    assert fs.drain_effects() == [Back(number, pages(3, 5)), Back(number, pages(5, 6))]
    fs.punch_hole(file, 0, 3 * PAGE)
    assert fs.drain_effects() == [Drop(number, pages(1, 3)), Clear(number, 0, PAGE)]
    fs.truncate(file, 4 * PAGE)
    assert fs.drain_effects() == [Drop(number, pages(4, 6))]
    fs.unlink(mount, "f")
    fs.close(file)
    fs.unmap(mapping)
    assert fs.drain_effects() == []  # the other mapping is still there
    fs.unmap(next(iter(file.inode.mappings)))
    assert fs.drain_effects() == [Forget(number)]


def test_private_pages_and_pins_have_no_effects():
    """Private copies are the process's own memory, or the kernel's; the books are all there is of them here."""
    fs, mount = world(8)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 2 * PAGE, private=True)
    fs.touch(mapping)
    fs.unpin(fs.pin(mapping))
    fs.fork(mapping)
    fs.discard(mapping)
    fs.unmap(mapping)
    assert fs.drain_effects() == []


def test_an_unmount_forgets_every_inode():
    """Whatever they had goes with them: one effect each, and no Drop before it."""
    fs, mount = world()
    file = create(fs, mount)
    fs.fallocate(file, 0, 2 * PAGE)
    fs.close(file)
    fs.drain_effects()
    fs.umount(mount)
    assert fs.drain_effects() == [Forget(1), Forget(file.inode.number)]


def test_an_eviction_keeps_the_effects_before_it():
    """What other files were granted in between must still be backed."""
    fs, mount = world()
    file, other = create(fs, mount), create(fs, mount, "g")
    fs.fallocate(other, 0, PAGE)
    fs.fallocate(file, 0, PAGE)
    fs.unlink(mount, "f")
    fs.close(file)
    assert fs.drain_effects() == [
        Back(other.inode.number, pages(0, 1)), Back(file.inode.number, pages(0, 1)), Forget(file.inode.number),
    ]  # fmt: skip


def test_what_was_kept_by_a_failing_call_is_backed():
    """fallocate that ran out keeps what it got: those pages must have memory like any others."""
    fs, mount = world(2)
    file = create(fs, mount)
    with pytest.raises(NoSpace):
        fs.fallocate(file, 0, 3 * PAGE)
    assert fs.drain_effects() == [Back(file.inode.number, pages(0, 2))]
    assert (counters(fs), file.inode.size_bytes) == ((2, 0, 0, 0), 0)


@pytest.mark.parametrize(
    ("offset", "length", "effects"),
    [
        (0, PAGE, [("drop", 0, 1)]),
        (1, PAGE, [(1, PAGE - 1), (PAGE, 1)]),
        (1, PAGE - 1, [(1, PAGE - 1)]),
        (5, 10, [(5, 10)]),
        (PAGE - 1, PAGE + 2, [("drop", 1, 2), (PAGE - 1, 1), (2 * PAGE, 1)]),
        (PAGE - 1, 2, [(PAGE - 1, 1), (PAGE, 1)]),
        (3 * PAGE + 7, 5 * PAGE, []),
        (PAGE, PAGE + 5, [("drop", 1, 2), (2 * PAGE, 5)]),
    ],
)
def test_a_hole_frees_whole_pages_and_clears_the_edges(offset, length, effects):
    """Bytes in the hole read as zeros afterwards, bytes beside it do not change: no byte more, none less."""
    fs, mount = world()
    file = create(fs, mount)
    number = file.inode.number
    fs.fallocate(file, 0, 3 * PAGE)
    fs.drain_effects()
    fs.punch_hole(file, offset, length)
    expected = [Drop(number, pages(*e[1:])) if e[0] == "drop" else Clear(number, *e) for e in effects]
    assert fs.drain_effects() == expected
    assert file.inode.size_bytes == 3 * PAGE


def test_a_hole_over_promises_clears_and_keeps_them():
    """The promise is the file's; its memory was there already and may have been written by a client."""
    fs, mount = world()
    file = create(fs, mount)
    mapping = fs.map(file, 0, 3 * PAGE)
    fs.touch(mapping, pages(1, 2))
    fs.drain_effects()
    fs.punch_hole(file, 5, 3 * PAGE - 10)
    number = file.inode.number
    assert counters(fs) == (4, 4, 2, 0)
    assert fs.drain_effects() == [
        Drop(number, pages(1, 2)), Clear(number, 5, PAGE - 5), Clear(number, 2 * PAGE, PAGE - 5),
    ]  # fmt: skip


def test_a_page_punched_out_lost_its_promise():
    """Touching it again needs a page that nobody was promised."""
    fs, mount = world(4, size=4)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 2 * PAGE)
    fs.touch(mapping, pages(0, 1))
    fs.punch_hole(file, 0, PAGE)
    assert (counters(fs), mount.statfs().blocks_free) == ((4, 4, 1, 0), 3)


def test_truncate_sets_the_size_and_takes_no_page():
    """Up: only the size. Down: pages, promises and private copies beyond it."""
    fs, mount = world(8)
    file = create(fs, mount)
    fs.truncate(file, 4 * PAGE)
    assert (file.inode.size_bytes, counters(fs)) == (4 * PAGE, (8, 8, 0, 0))
    shared, private = fs.map(file, 0, 4 * PAGE), fs.map(file, 0, 4 * PAGE, private=True)
    fs.touch(shared, pages(0, 2))
    fs.touch(private, pages(1, 3))
    assert counters(fs) == (8, 4, 4, 0)
    fs.truncate(file, PAGE)
    assert counters(fs) == (8, 7, 4, 0)  # one page of the file; four promises of the private mapping
    fs.truncate(file, 8 * PAGE)
    assert counters(fs) == (8, 7, 4, 0)


def test_truncating_up_drops_what_lay_beyond():
    """Pages that KEEP_SIZE put beyond the new size go, as in the kernel."""
    fs, mount = world()
    file = create(fs, mount)
    fs.fallocate(file, 0, 3 * PAGE, keep_size=True)
    assert (file.inode.size_bytes, counters(fs)) == (0, (4, 1, 0, 0))
    fs.truncate(file, PAGE)
    assert counters(fs) == (4, 3, 0, 0)


@pytest.mark.parametrize("size", [-PAGE, -1, 1, PAGE - 1, PAGE + 1])
def test_a_size_between_pages_is_refused(size):
    """EINVAL, and nothing is cut."""
    fs, mount = world()
    file = create(fs, mount)
    fs.fallocate(file, 0, 2 * PAGE)
    refuses(fs, lambda: fs.truncate(file, size), InvalidRequest)


@pytest.mark.parametrize(
    ("offset", "length", "error"),
    [
        (0, 0, InvalidRequest),
        (0, -1, InvalidRequest),
        (-1, PAGE, InvalidRequest),
        (2**63 - 1, 1, TooBig),
        (0, 2**63, TooBig),
    ],
)
def test_impossible_ranges_are_refused(offset, length, error):
    """The same for taking and for giving back."""
    fs, mount = world()
    file = create(fs, mount)
    fs.fallocate(file, 0, PAGE)
    refuses(fs, lambda: fs.fallocate(file, offset, length), error)
    refuses(fs, lambda: fs.punch_hole(file, offset, length), error)


def test_sizes_beyond_what_a_file_can_have():
    """EFBIG, as the kernel's: not a wrapped number, and not a wait of days."""
    fs, mount = world()
    file = create(fs, mount)
    refuses(fs, lambda: fs.truncate(file, 2**63), TooBig)
    fs.truncate(file, 2**63 - PAGE)
    assert file.inode.size_bytes == 2**63 - PAGE
    fs.punch_hole(file, 0, 2**63 - 1)


def test_a_file_opened_read_only_is_not_changed():
    """ftruncate(2) says EINVAL, fallocate(2) says EBADF."""
    fs, mount = world()
    create(fs, mount)
    file = fs.open(mount, "f", writable=False)
    refuses(fs, lambda: fs.truncate(file, 0), InvalidRequest)
    refuses(fs, lambda: fs.fallocate(file, 0, PAGE), BadHandle)
    refuses(fs, lambda: fs.punch_hole(file, 0, PAGE), BadHandle)


def test_open_may_truncate():
    """O_TRUNC is a truncate to nothing, also for those who have the file open or mapped."""
    fs, mount = world()
    file = create(fs, mount)
    fs.fallocate(file, 0, 2 * PAGE)
    mapping = fs.map(file, 0, 3 * PAGE)
    fs.drain_effects()
    fs.open(mount, "f", truncate=True)
    assert (counters(fs), file.inode.size_bytes) == ((4, 4, 0, 0), 0)
    assert fs.drain_effects() == [Drop(file.inode.number, pages(0, 3))]
    assert mapping.parts.pages == 3


@pytest.mark.parametrize("minimum", [None, 1, 3])
def test_a_grant_can_be_taken_back(minimum):
    """Memory could not be had after all: pages and promises of that range go, and only of that range."""
    fs, mount = world(8, size=8, minimum=minimum)
    file = create(fs, mount)
    before = counters(fs)
    mapping = fs.map(file, 0, 4 * PAGE)
    fs.touch(mapping, pages(1, 3))
    fs.drain_effects()
    fs.retract(file.inode, pages(0, 2))
    check(fs)
    assert [run for run, _ in file.inode.reserve_map.entries.runs()] == [pages(2, 4)]
    assert fs.drain_effects() == [Drop(file.inode.number, pages(1, 2))]
    assert mount.statfs().blocks_free == 6
    fs.retract(file.inode, pages(0, 4))
    assert (counters(fs), mount.statfs().blocks_free) == (before, 8)
