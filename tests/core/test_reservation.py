"""reservation.py: map, quota and pool move together or not at all. Each step is made to fail in turn."""

from __future__ import annotations

import pytest

from hugefs.core.checkpoint import Observer, observed_by
from hugefs.core.filesystem import Filesystem
from hugefs.core.inode import OpenFile
from hugefs.errors import BusError, HugefsError, NoHugePages, NoSpace
from tests.core.helpers import PAGE, Failing, Intruder, Recorder, counters, create, refuses, world


def reserved_world(size: int | None = None, minimum: int | None = None, total: int = 4) -> tuple[Filesystem, OpenFile]:
    """A file whose page 1 is promised."""
    fs, mount = world(total, size=size, minimum=minimum)
    file = create(fs, mount)
    fs.map(file, PAGE, PAGE)
    return fs, file


@pytest.mark.parametrize("minimum", [None, 1, 2])
@pytest.mark.parametrize("private", [False, True])
def test_a_promise_that_the_pool_refuses_is_undone(private, minimum):
    """The last of the three refuses: quota, minimum and map must be as before, for everyone else's sake."""
    fs, file = reserved_world(minimum=minimum, total=3)
    error = refuses(fs, lambda: fs.map(file, 0, 4 * PAGE, private=private), NoHugePages)
    assert isinstance(error, NoHugePages)
    assert error.mount == "m"
    assert error.wanted is not None
    assert error.available is not None
    assert error.available < error.wanted


@pytest.mark.parametrize("minimum", [None, 1, 2])
@pytest.mark.parametrize("private", [False, True])
def test_a_promise_that_the_quota_refuses_is_undone(private, minimum):
    """The second of the three refuses."""
    fs, file = reserved_world(size=2, minimum=minimum)
    error = refuses(fs, lambda: fs.map(file, 0, 3 * PAGE, private=private), NoHugePages)
    assert isinstance(error, NoHugePages)
    assert (error.wanted, error.available) == ((3, 1) if private else (2, 1))


def test_a_promise_without_memory_for_the_map_changes_nothing():
    """The first of the three refuses."""
    fs, file = reserved_world(size=3, minimum=2)
    with observed_by(Failing(0)):
        refuses(fs, lambda: fs.map(file, 0, 2 * PAGE), NoHugePages)


@pytest.mark.parametrize(("size", "minimum"), [(None, None), (4, None), (None, 2), (4, 2)])
def test_every_allocation_of_bookkeeping_memory_may_fail(size, minimum):
    """Each place in turn, over a story with every kind of call: an error there, the books whole, and the end clean."""
    which = 0
    while True:
        failing = Failing(which)
        fs, mount = world(4, size=size, minimum=minimum)
        file = create(fs, mount)
        shared = fs.map(file, 0, 2 * PAGE, reserve=False)
        calls = [
            lambda file=file, fs=fs: fs.map(file, 0, 2 * PAGE),
            lambda shared=shared, fs=fs: fs.touch(shared),
            lambda file=file, fs=fs: fs.fallocate(file, 2 * PAGE, PAGE),
            lambda file=file, fs=fs: fs.punch_hole(file, 0, PAGE),
            lambda file=file, fs=fs: fs.truncate(file, 0),
        ]
        refused = 0
        for call in calls:
            try:
                with observed_by(failing):
                    call()
            except (NoHugePages, BusError, NoSpace):
                refused += 1
        if len(failing.seen) <= which:
            break
        assert refused == 1
        which += 1
    assert which == 3


def test_a_fault_that_finds_no_page_gives_the_quota_back():
    """Linux 6.18 keeps the charge: statfs shows one page less with each failing touch, for ever."""
    fs, mount = world(1, size=3)
    file = create(fs, mount)
    fs.fallocate(file, 0, PAGE)
    mapping = fs.map(file, PAGE, PAGE, reserve=False)
    for _ in range(3):
        refuses(fs, lambda: fs.touch(mapping), BusError)
    assert mount.statfs().blocks_free == 2


@pytest.mark.parametrize("minimum", [0, 1, 2])
def test_an_allocation_that_the_pool_refuses_is_undone(minimum):
    """The pages that could be had stay; the refused one leaves no charge, no plan and no missing promise."""
    fs, mount = world(2, minimum=minimum)
    file, other = create(fs, mount), create(fs, mount, "g")
    fs.fallocate(other, 0, PAGE)
    with pytest.raises(NoSpace):
        fs.fallocate(file, 0, 2 * PAGE)
    assert counters(fs) == (2, 0, 0, 0)
    refuses(fs, lambda: fs.fallocate(file, 0, 2 * PAGE), NoSpace)


class Ambush(Observer):
    """Takes the pool away between the look at what can be had and the taking of it."""

    def __init__(self, fs: Filesystem, place: str) -> None:
        self.fs = fs
        self.place = place

    def checkpoint(self, place: str) -> None:
        if place == self.place:
            self.fs.pool.resize(0)


@pytest.mark.parametrize("place", ["subpool", "pool"])
def test_the_pool_may_empty_itself_while_a_page_is_taken(place):
    """What was obtainable at the look may be gone at the taking: a refusal then, and everything put back."""
    fs, mount = world(3, size=3)
    file = create(fs, mount)
    with observed_by(Ambush(fs, place)), pytest.raises(NoSpace):
        fs.fallocate(file, 0, 2 * PAGE)
    assert counters(fs) == (0, 0, 0, 0)
    assert mount.statfs().blocks_free == 3
    assert file.inode.reserve_map.plans_open == 0


def test_a_refusal_names_what_can_be_had():
    """Who asks for less next time must know how much less."""
    fs, mount = world(4, size=3)
    file = create(fs, mount)
    with pytest.raises(HugefsError) as caught:
        fs.fallocate(file, 0, 9 * PAGE)
    assert isinstance(caught.value, NoSpace)
    assert (caught.value.wanted, caught.value.available, caught.value.mount) == (6, 0, "m")


@pytest.mark.parametrize(
    ("size", "minimum", "obtainable"), [(None, None, 5), (2, None, 2), (None, 3, 5), (4, 3, 4), (9, 9, 5)]
)
def test_what_can_be_obtained_is_quota_and_pool_together(size, minimum, obtainable):
    """The mount's minimum is obtainable to it and to nobody else; a page that can be made is obtainable, too."""
    fs, mount = world(4, overcommit=1, size=size, minimum=min(minimum, 4) if minimum else minimum)
    assert fs.reservations.pages_obtainable(mount.subpool) == obtainable
    assert fs.reservations.pages_obtainable(None) == 5 - (min(minimum, 4) if minimum else 0)


def test_the_places_of_a_reserve_and_of_a_fault():
    """The kernel's lock sections in their order: map, quota, pool, and the answer back. The lab interleaves these."""
    fs, mount = world(4, size=4)
    file = create(fs, mount)
    recorder = Recorder()
    with observed_by(recorder):
        mapping = fs.map(file, 0, PAGE)
    assert recorder.places == [
        "reserve map", "may fail: region descriptors", "subpool", "pool", "subpool", "reserve map",
    ]  # fmt: skip
    recorder.places.clear()
    with observed_by(recorder):
        fs.touch(mapping)
    assert recorder.places == ["reserve map", "may fail: region descriptors", "pool", "reserve map", "page cache"]
    recorder.places.clear()
    with observed_by(recorder):
        fs.fallocate(file, PAGE, PAGE)
    assert recorder.places == [
        "reserve map", "may fail: region descriptors", "subpool", "pool", "subpool", "reserve map", "page cache",
    ]  # fmt: skip


def test_the_places_of_a_refusal_and_of_a_truncate():
    """Undoing is done under locks as well, in the opposite order; a place that is not marked is not explored."""
    fs, mount = world(2, minimum=1)
    file = create(fs, mount)
    recorder = Recorder()
    with observed_by(recorder), pytest.raises(NoHugePages):
        fs.map(file, 0, 3 * PAGE)
    plan = ["reserve map", "may fail: region descriptors"]
    assert recorder.places == [*plan, "subpool", "pool", "subpool", "reserve map"]
    fs.fallocate(file, 0, 2 * PAGE)
    recorder.places.clear()
    with observed_by(recorder):
        fs.truncate(file, PAGE)
    free = ["page references", "pool", "subpool", "pool"]
    assert recorder.places == ["might sleep: truncate", "page cache", *free, "reserve map"]


def test_a_grant_that_comes_late_gives_up_what_is_too_much():
    """While the pool was asked, another task's page filled the minimum: now one promise is too many, and it goes."""
    fs, mount = world(3, minimum=1)
    file, other = create(fs, mount), create(fs, mount, "g")
    fs.fallocate(other, 0, PAGE)
    recorder = Recorder()

    def step_in() -> None:
        with observed_by(Observer()):
            fs.punch_hole(other, 0, PAGE)

    class Late(Intruder):
        def checkpoint(self, place: str) -> None:
            recorder.checkpoint(place)
            super().checkpoint(place)

    with observed_by(Late(2, step_in)):
        fs.map(file, 0, PAGE)
    assert recorder.places == ["reserve map", "subpool", "pool", "subpool", "pool", "reserve map"]
    assert counters(fs) == (3, 3, 1, 0)


def test_freeing_never_sleeps():
    """Rule 3: the last reference may be put in an interrupt: two spinlocks, and nothing that may wait."""
    fs, mount = world(4, size=4, minimum=1)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 2 * PAGE)
    pin = fs.pin(mapping)
    fs.unmap(mapping)
    fs.unlink(mount, "f")
    fs.close(file)
    fs.umount(mount)
    recorder = Recorder()
    with observed_by(recorder):
        fs.unpin(pin)
    assert recorder.places == ["page references", "pool", "subpool", "pool"]
    assert counters(fs) == (4, 4, 0, 0)


def test_pages_come_back_with_a_promise_before_the_quota_decides():
    """Freeing runs backwards: pool, then quota. A minimum that was filled first would hand out a promise that the pool
    does not know yet."""
    fs, mount = world(2, minimum=1)
    file = create(fs, mount)
    fs.fallocate(file, 0, PAGE)
    seen = []

    class Look(Observer):
        def checkpoint(self, place: str) -> None:
            seen.append((place, fs.pool.pages_reserved >= sum(subpool.pages_reserved for subpool in fs.subpools)))

    with observed_by(Look()):
        fs.punch_hole(file, 0, PAGE)
    assert ("subpool", True) in seen
    assert all(covered for _, covered in seen)
