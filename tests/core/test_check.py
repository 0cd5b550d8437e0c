"""check.py: each invariant is broken by hand once, and must be named. A check that finds nothing holds nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hugefs.core.check import INVARIANTS, check, check_at_rest, dump
from hugefs.core.filesystem import Filesystem
from hugefs.core.inode import Inode
from hugefs.core.reserve_map import PrivateReserveMap
from hugefs.errors import InvariantError
from tests.core.helpers import PAGE, create, pages, world


def busy_world() -> Filesystem:
    """Every kind of thing at once: promises, pages, private copies, a fork, a pin, a minimum."""
    fs, mount = world(12, overcommit=2, size=9, minimum=2)
    file = create(fs, mount)
    fs.touch(fs.map(file, 0, 3 * PAGE), pages(0, 1))
    private = fs.map(file, 0, 3 * PAGE, private=True)
    fs.touch(private, pages(0, 2))
    fs.fork(private)
    fs.pin(private, pages(1, 2))
    return fs


def the_file(fs: Filesystem) -> Inode:
    """Its one file."""
    return list(next(iter(fs.superblocks)).inodes.values())[1]


def break_pool(fs: Filesystem) -> None:
    fs.pool.pages_free -= 1


def break_counters(fs: Filesystem) -> None:
    fs.pool.pages_surplus = -1


def break_promises(fs: Filesystem) -> None:
    fs.pool.pages_reserved += 1


def break_used(fs: Filesystem) -> None:
    next(iter(fs.subpools)).pages_used += 1


def break_minimum(fs: Filesystem) -> None:
    next(iter(fs.subpools)).pages_min = 50


def break_asked(fs: Filesystem) -> None:
    next(iter(fs.subpools)).pages_asked = 1


def break_backing(fs: Filesystem) -> None:
    lost = fs.pool.pages_available + 1
    fs.pool.pages_free -= lost
    fs.pool.pages_total -= lost


def private_map(fs: Filesystem) -> PrivateReserveMap:
    return next(mapping.reserve_map for mapping in the_file(fs).mappings if mapping.reserve_map)


def break_cache(fs: Filesystem) -> None:
    inode = the_file(fs)
    inode.reserve_map.remove(pages(0, 1))
    inode.reserve_map.commit_add(inode.reserve_map.plan_add(pages(5, 6)))


def break_size(fs: Filesystem) -> None:
    next(iter(fs.subpools)).pages_max = 1


def break_plan(fs: Filesystem) -> None:
    the_file(fs).reserve_map.plan_add(pages(0, 1))


def break_private_plan(fs: Filesystem) -> None:
    private_map(fs).plan_add(pages(0, 1))


def break_references(fs: Filesystem) -> None:
    fs.memmap.get(pages(0, 1))


def break_mapped(fs: Filesystem) -> None:
    (frames,) = [run for run, page in fs.memmap.runs() if page.mapped == 2 and page.references == 3]
    fs.memmap.put(frames)
    fs.memmap.get(frames, mapped=1)


def break_inode(fs: Filesystem) -> None:
    inode = the_file(fs)
    inode.links, inode.opens = 0, 0
    for mapping in list(inode.mappings):
        fs.unmap(mapping)
    inode.superblock.inodes[inode.number] = inode


def break_users(fs: Filesystem) -> None:
    next(iter(fs.superblocks)).users += 1


def break_attached(fs: Filesystem) -> None:
    mount = fs.mount("empty")
    mount.attached = False


def break_subpool(fs: Filesystem) -> None:
    next(iter(fs.subpools)).ended = True


BREAKS: list[tuple[str, Callable[[Filesystem], None]]] = [
    ("I1", break_pool),
    ("I2", break_counters),
    ("I3", break_promises),
    ("I4", break_used),
    ("I5", break_minimum),
    ("I5", break_asked),
    ("I6", break_backing),
    ("I7", break_cache),
    ("I8", break_size),
    ("I9", break_plan),
    ("I9", break_private_plan),
    ("I10", break_references),
    ("I10", break_mapped),
    ("I11", break_inode),
    ("I12", break_users),
    ("I12", break_attached),
    ("I13", break_subpool),
]


@pytest.mark.parametrize(("number", "break_it"), BREAKS, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_invariant_is_named_with_everything_around_it(number, break_it):
    """The message has number, sentence and the whole state: who sees it must not have to run it again."""
    fs = busy_world()
    check(fs)
    break_it(fs)
    with pytest.raises(InvariantError) as caught:
        check(fs)
    said = str(caught.value)
    assert said.startswith(f"{number} is broken: {INVARIANTS[number]}")
    assert dump(fs) in said


def test_every_invariant_is_broken_here_once():
    """A new invariant needs its own line above."""
    assert {number for number, _ in BREAKS} == INVARIANTS.keys()


@pytest.mark.parametrize("left", ["mount", "page", "surplus", "reserved"])
def test_what_is_left_behind_is_noticed(left):
    """At rest nothing may be left: one page a day is a machine that must be rebooted in a year."""
    fs = Filesystem(PAGE, 2)
    check_at_rest(fs)
    if left == "mount":
        fs.mount("m")
    elif left == "page":
        fs.memmap.allocate(1, None, restore_reserve=False)
        fs.pool.take_unpromised(1)
    elif left == "surplus":
        fs.pool.pages_surplus = 1
    else:
        fs.pool.reserve(1)
    with pytest.raises(InvariantError):
        check_at_rest(fs)


def test_the_dump_shows_everything():
    """One line for each thing there is."""
    text = dump(busy_world())
    for word in (
        "pool total=12",
        "subpool max=9",
        "mount m",
        "inode 2 file",
        "mapping {[0, 3): True}",
        "pin [",
        "frames",
    ):
        assert word in text
