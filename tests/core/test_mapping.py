"""mapping.py: promises of shared and private mappings, their parts, and promises that come back with their page."""

from __future__ import annotations

from functools import partial

import pytest

from hugefs.core.check import check
from hugefs.core.filesystem import Filesystem
from hugefs.core.mapping import Mapping
from hugefs.errors import BadHandle, BusError, InvalidRequest, NoHugePages, PermissionDenied
from tests.core.helpers import PAGE, counters, create, pages, refuses, world


def test_a_shared_promise_stays_with_the_file():
    """munmap is not unlink: the next to map it finds its pages promised still."""
    fs, mount = world()
    file = create(fs, mount)
    mapping = fs.map(file, 0, 3 * PAGE)
    fs.touch(mapping, pages(0, 1))
    fs.unmap(mapping)
    assert counters(fs) == (4, 3, 2, 0)
    fs.map(file, 0, 3 * PAGE)
    assert counters(fs) == (4, 3, 2, 0)


def test_a_private_promise_is_full_length_whatever_the_file_has():
    """Every page may be written, and each first store takes a page: also those the file has, also read-only."""
    fs, mount = world(6)
    file = create(fs, mount)
    fs.fallocate(file, 0, 2 * PAGE)
    fs.map(file, 0, 2 * PAGE, private=True)
    assert counters(fs) == (6, 4, 2, 0)
    fs.map(file, 0, 2 * PAGE, private=True, writable=False)
    assert counters(fs) == (6, 4, 4, 0)


def test_unmapping_a_part_gives_up_its_promises_only():
    """A part that is still mapped can still be touched, and must be."""
    fs, mount = world(6, size=6)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 6 * PAGE, private=True)
    fs.touch(mapping, pages(0, 2))
    fs.unmap(mapping, pages(1, 4))
    assert (counters(fs), mount.statfs().blocks_free) == ((6, 5, 2, 0), 3)
    assert mapping.pages_promised == 2
    fs.unmap(mapping, pages(2, 2))  # nothing
    fs.unmap(mapping, pages(40, 50))
    check(fs)
    refuses(fs, lambda: fs.touch(mapping, pages(0, 2)), InvalidRequest)
    refuses(fs, lambda: fs.touch(mapping, pages(0, 0)), InvalidRequest)
    refuses(fs, lambda: fs.discard(mapping, pages(3, 5)), InvalidRequest)
    refuses(fs, lambda: fs.pin(mapping, pages(3, 5)), InvalidRequest)
    fs.unmap(mapping)
    assert counters(fs) == (6, 6, 0, 0)


@pytest.mark.parametrize("call", ["touch", "discard", "unmap", "pin", "fork"])
@pytest.mark.parametrize("private", [False, True])
def test_an_unmapped_mapping_is_refused(call, private):
    """Also fork: a child with nothing mapped would be a user of the mount that never goes."""
    fs, mount = world()
    mapping = fs.map(create(fs, mount), 0, PAGE, private=private)
    fs.unmap(mapping)
    if private or call != "discard":
        refuses(fs, lambda: getattr(fs, call)(mapping), BadHandle)


@pytest.mark.parametrize(
    ("offset", "length", "error"),
    [
        (-PAGE, PAGE, InvalidRequest),
        (1, PAGE, InvalidRequest),
        (PAGE // 2, PAGE, InvalidRequest),
        (0, 0, InvalidRequest),
        (0, -1, InvalidRequest),
        (0, 2**63, InvalidRequest),
        (2**62, 2**62, InvalidRequest),
        (0, 5 * PAGE, NoHugePages),
        (0, 2**62, NoHugePages),
    ],
)
def test_impossible_mappings_are_refused(offset, length, error):
    """Nothing is rounded that mmap would not round; the size of the file does not grow by a failed mapping."""
    fs, mount = world(size=4)
    file = create(fs, mount)
    for private in (False, True):
        refuses(fs, partial(fs.map, file, offset, length, private=private), error)


def test_a_length_is_rounded_up_and_a_writable_mapping_makes_the_file_longer():
    """As hugetlbfs' mmap does, with whole pages; a read-only one leaves the size."""
    fs, mount = world()
    file = create(fs, mount)
    fs.map(file, PAGE, 1, writable=False)
    assert (file.inode.size_bytes, counters(fs)) == (0, (4, 4, 1, 0))
    fs.map(file, PAGE, 1, private=True)
    assert file.inode.size_bytes == 2 * PAGE
    fs.map(file, 0, PAGE)
    assert file.inode.size_bytes == 2 * PAGE


def test_rights_come_from_the_open_file():
    """Shared and writable needs a file that was opened so; private stores reach nobody else."""
    fs, mount = world()
    create(fs, mount)
    file = fs.open(mount, "f", writable=False)
    refuses(fs, lambda: fs.map(file, 0, PAGE), PermissionDenied)
    fs.map(file, 0, PAGE, private=True)
    fs.map(file, 0, PAGE, writable=False)
    fs.close(file)
    refuses(fs, lambda: fs.map(file, 0, PAGE), BadHandle)


def test_a_fork_has_the_pages_and_no_promise():
    """The promise was made to one process; its child may find no page, the owner always does."""
    fs, mount = world(2)
    mapping = fs.map(create(fs, mount), 0, 2 * PAGE, private=True)
    fs.unmap(mapping, pages(1, 2))
    fs.touch(mapping, pages(0, 1))
    before = counters(fs)
    child = fs.fork(mapping)
    assert counters(fs) == before
    assert (child.owns_reserve, child.pages_promised, child.parts.pages) == (False, 0, 1)
    assert child.pages.runs() == mapping.pages.runs()
    fs.unmap(mapping)
    assert counters(fs) == (2, 1, 0, 0)
    fs.unmap(child)
    assert counters(fs) == (2, 2, 0, 0)


def test_discard_gives_the_owner_his_promise_back():
    """What he let go he may touch again: nobody else can take the page meanwhile."""
    fs, mount = world(2, size=2)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 2 * PAGE, private=True)
    fs.touch(mapping)
    fs.discard(mapping, pages(0, 1))
    assert (counters(fs), mount.statfs().blocks_free) == ((2, 1, 1, 0), 0)
    refuses(fs, lambda: fs.map(file, 0, PAGE, private=True), NoHugePages)
    fs.touch(mapping)


def test_discard_restores_nothing_to_a_fork_nor_over_surplus():
    """A fork was promised nothing; and where the pool has surplus pages Linux lets the page go for good."""
    fs, mount = world(1, overcommit=1)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 2 * PAGE, private=True)
    fs.touch(mapping)
    fs.discard(mapping, pages(0, 1))
    assert counters(fs) == (1, 0, 0, 0)
    fs.discard(mapping, pages(1, 2))
    assert counters(fs) == (1, 1, 1, 0)
    child = fs.fork(mapping)
    fs.discard(child)
    assert counters(fs) == (1, 1, 1, 0)
    check(fs)


def test_discard_of_a_shared_mapping_changes_nothing():
    """The pages are the file's."""
    fs, mount = world()
    mapping = fs.map(create(fs, mount), 0, PAGE)
    fs.touch(mapping)
    fs.discard(mapping)
    assert counters(fs) == (4, 3, 0, 0)


@pytest.mark.parametrize("holder", ["fork", "pin"])
def test_a_promise_comes_back_when_its_page_does(holder):
    """Linux gives it back before the page is free, and promises more than there is. Here the owner waits: until the
    page comes nothing is promised to him, then it is, and it is his."""
    fs, mount = world(2, size=2)
    fs.fallocate(create(fs, mount, "g"), 0, PAGE)  # so that index and frame are different numbers
    mapping = fs.map(create(fs, mount), PAGE, PAGE, private=True)
    fs.touch(mapping)
    child, pin = (fs.fork(mapping), None) if holder == "fork" else (None, fs.pin(mapping))
    fs.discard(mapping)
    assert counters(fs) == (2, 0, 0, 0)
    refuses(fs, lambda: fs.touch(mapping), BusError)
    if child:
        fs.unmap(child)
    if pin:
        fs.unpin(pin)
    assert (counters(fs), mount.statfs().blocks_free) == ((2, 1, 1, 0), 0)
    check(fs)
    fs.touch(mapping)
    assert counters(fs) == (2, 0, 0, 0)
    check(fs)
    fs.unmap(mapping)
    assert (counters(fs), mount.statfs().blocks_free) == ((2, 1, 0, 0), 1)


@pytest.mark.parametrize("meanwhile", ["touch", "unmap", "come back and unmap"])
def test_a_promise_that_is_awaited_can_be_given_up(meanwhile):
    """The owner found another page, or left: the old page's end brings no promise then, for nobody would take it."""
    fs, mount = world(3, size=3)
    mapping = fs.map(create(fs, mount), 0, PAGE, private=True)
    fs.touch(mapping)
    child = fs.fork(mapping)
    fs.discard(mapping)
    if meanwhile == "come back and unmap":
        fs.unmap(child)
        assert counters(fs) == (3, 3, 1, 0)
    getattr(fs, meanwhile.split()[-1])(mapping)
    check(fs)
    if child.parts:
        fs.unmap(child)
    check(fs)
    assert counters(fs) == ((3, 2, 0, 0) if meanwhile == "touch" else (3, 3, 0, 0))


def split_world() -> tuple[Filesystem, Mapping, Mapping]:
    """Six private pages: 0 and 3 taken, 4 let go and held by a fork, 1, 2 and 5 promised; and then two mappings."""
    fs, mount = world(12, size=12)
    fs.fallocate(create(fs, mount, "g"), 0, PAGE)
    mapping = fs.map(create(fs, mount), 0, 6 * PAGE, private=True)
    for index in (0, 3, 4):
        fs.touch(mapping, pages(index, index + 1))
    child = fs.fork(mapping)
    fs.unmap(child, pages(0, 4))
    fs.discard(mapping, pages(4, 5))
    before = counters(fs)
    rest = fs.split(mapping, 3)
    assert counters(fs) == before == (12, 8, 3, 0)
    check(fs)
    return fs, mapping, rest


def test_a_mapping_splits_with_all_that_is_in_it():
    """Pages, used promises, awaited promises: each half has its own, and no counter has moved."""
    fs, mapping, rest = split_world()
    assert (mapping.where, rest.where) == (pages(0, 3), pages(3, 6))
    assert (mapping.pages_promised, rest.pages_promised) == (2, 1)
    assert ([run for run, _ in mapping.pages.runs()], [run for run, _ in rest.pages.runs()]) == (
        [pages(0, 1)],
        [pages(3, 4)],
    )
    refuses(fs, lambda: fs.touch(mapping, pages(3, 4)), InvalidRequest)
    fs.touch(mapping)
    fs.touch(rest)
    assert counters(fs) == (12, 4, 0, 0)
    check(fs)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("child_first", [False, True])
def test_halves_end_in_any_order(first, child_first):
    """Each half gives back its own; what was awaited comes back to the half it is in."""
    fs, *halves = split_world()
    child = next(mapping for mapping in halves[0].inode.mappings if mapping not in halves)
    if child_first:
        fs.unmap(child)
        check(fs)
        assert counters(fs) == (12, 9, 4, 0)
    fs.unmap(halves[first])
    check(fs)
    fs.unmap(halves[1 - first])
    check(fs)
    if not child_first:
        fs.unmap(child)
    assert counters(fs) == (12, 11, 0, 0)


def test_a_half_keeps_what_was_lost_and_seen():
    """A robbed child that is split is robbed in both halves, and may still read what it had met before."""
    fs, mount = world(6)
    file = create(fs, mount)
    fs.fallocate(file, 0, 3 * PAGE)
    owner = fs.map(file, 0, 3 * PAGE, private=True)
    fs.touch(owner, pages(0, 1))
    fs.touch(owner, pages(1, 3), write=False)
    child = fs.fork(owner)
    fs.pool.resize(0)
    fs.touch(owner, pages(0, 1))
    assert child.reserve_lost
    rest = fs.split(child, 2)
    assert rest.reserve_lost
    fs.touch(child, pages(1, 2), write=False)
    fs.touch(rest, write=False)
    refuses(fs, lambda: fs.touch(child, pages(0, 1), write=False), BusError)
    fs.punch_hole(file, 2 * PAGE, PAGE)
    refuses(fs, lambda: fs.touch(rest, write=False), BusError)


@pytest.mark.parametrize("at", [-1, 0, 3, 4])
def test_a_split_must_be_inside(at):
    """A half of nothing would be a mapping that nobody can unmap."""
    fs, mount = world()
    mapping = fs.map(create(fs, mount), 0, 3 * PAGE)
    refuses(fs, lambda: fs.split(mapping, at), InvalidRequest)
    fs.unmap(mapping)
    refuses(fs, lambda: fs.split(mapping, 1), BadHandle)


@pytest.mark.parametrize("call", ["truncate", "punch"])
def test_a_fork_does_not_cost_the_owner_his_promise(call):
    """Both lose the page by a truncate or a punch: it is freed in that moment, and its promise is the owner's again."""
    fs, mount = world(2)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 2 * PAGE, private=True)
    fs.touch(mapping)
    fs.fork(mapping)
    if call == "truncate":
        fs.truncate(file, 0)
        fs.truncate(file, 2 * PAGE)
    else:
        fs.punch_hole(file, 0, 2 * PAGE)
    assert counters(fs) == (2, 2, 2, 0)
    fs.touch(mapping)
    assert counters(fs) == (2, 0, 0, 0)
