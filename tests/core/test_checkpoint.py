"""checkpoint.py: marks that do nothing, and an observer that sees them; and what may happen at them.

The second half is the point: at every checkpoint of a call another task's call is let in, and the books must be right
at the end. The lab explores every order; this finds the plain mistakes in a second.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product

import pytest

from hugefs.core.check import check
from hugefs.core.checkpoint import Observer, checkpoint, may_fail, might_sleep, observed_by
from hugefs.core.filesystem import Filesystem
from hugefs.core.superblock import Superblock
from hugefs.errors import BusError, NoHugePages, NoSpace
from tests.core.helpers import PAGE, Intruder, Recorder, create, pages, world

REFUSALS = (NoHugePages, NoSpace, BusError)


def test_marks_do_nothing_on_their_own():
    """On a server they are a function call each."""
    for mark in (checkpoint, may_fail, might_sleep):
        mark("anywhere")
    observer = Observer()
    observer.may_fail("x")
    observer.might_sleep("x")


def test_an_observer_sees_for_a_while():
    """Also where an error ends it, and one within another."""
    outer, inner = Recorder(), Recorder()
    with observed_by(outer):
        checkpoint("a")
        with suppress(ValueError), observed_by(inner):
            may_fail("b")
            raise ValueError
        might_sleep("c")
    checkpoint("d")
    assert (outer.places, inner.places) == (["a", "might sleep: c"], ["may fail: b"])


def test_whatever_evicts_may_sleep():
    """So no interrupt may do it: the places are marked where the kernel would complain."""
    fs, mount = world()
    file = create(fs, mount)
    recorder = Recorder()
    with observed_by(recorder):
        fs.truncate(file, 0)
        fs.close(file)
        fs.umount(mount)
    assert [place for place in recorder.places if place.startswith("might sleep")] == [
        "might sleep: truncate", "might sleep: kill_sb",
        *["might sleep: evict", "might sleep: truncate"] * 2,
    ]  # fmt: skip


Call = Callable[[], object]


def calls(fs: Filesystem, mount: Superblock, name: str) -> dict[str, Callable[[], Call]]:
    """Calls on a file of its own, each with what must be there first."""
    file = create(fs, mount, name)

    def touched(private: bool = False) -> Call:
        mapping = fs.map(file, 0, 2 * PAGE, private=private)
        fs.touch(mapping, pages(0, 1 if private else 2))
        return lambda: fs.unmap(mapping)

    def touch(reserve: bool) -> Call:
        mapping = fs.map(file, 0, 2 * PAGE, reserve=reserve)
        return lambda: fs.touch(mapping)

    def after_touching(call: Call, private: bool = False) -> Call:
        touched(private)
        return call

    return {
        "map": lambda: lambda: fs.map(file, 0, 2 * PAGE),
        "map private": lambda: lambda: fs.map(file, 0, 2 * PAGE, private=True),
        "fallocate": lambda: lambda: fs.fallocate(file, 0, 2 * PAGE),
        "touch": lambda: touch(reserve=True),
        "touch noreserve": lambda: touch(reserve=False),
        "truncate": lambda: after_touching(lambda: fs.truncate(file, 0)),
        "punch": lambda: after_touching(lambda: fs.punch_hole(file, 0, PAGE)),
        "discard": lambda: after_touching(lambda: fs.discard(next(iter(file.inode.mappings))), private=True),
        "unmap private": lambda: touched(private=True),
    }


NAMES = sorted(calls(*world(), "f"))


def let_in(outer: Call, inner: Call, which: int) -> bool:
    """Run ``outer`` and let ``inner`` in at its checkpoint number ``which``; False where it has none of that number."""

    def step_in() -> None:
        with suppress(*REFUSALS):
            inner()

    intruder = Intruder(which, step_in)
    with observed_by(intruder), suppress(*REFUSALS):
        outer()
    return intruder.came


@pytest.mark.parametrize("outer", NAMES)
def test_another_files_call_may_come_in_at_every_checkpoint(outer):
    """Two files of one mount share its quota and the pool, and no lock between them: every call, every other, every
    place. A minimum that was given up while a refused call still held its charge was found so."""
    for inner, limits in product(
        NAMES, [(1, 1, None, 1), (2, 0, 2, 1), (3, 1, None, 2), (4, 0, 3, 2), (6, 0, None, None)]
    ):
        total, overcommit, size, minimum = limits
        which, came = 0, True
        while came:
            fs, mount = world(total, overcommit=overcommit, size=size, minimum=minimum)
            first, second = calls(fs, mount, "f"), calls(fs, mount, "g")
            try:
                run, intrude = first[outer](), second[inner]()
            except REFUSALS:
                break
            came = let_in(run, intrude, which)
            check(fs)
            which += 1


@pytest.mark.parametrize("mapped_first", [False, True])
@pytest.mark.parametrize("mapped_bytes", [PAGE, 2 * PAGE])
@pytest.mark.parametrize("limits", [(4, 0, 4, None), (2, 0, None, None), (3, 1, None, 1), (3, 0, 3, 2), (1, 1, 2, 1)])
def test_a_fault_and_an_mmap_of_the_same_pages(limits, mapped_bytes, mapped_first):
    """The one pair on one file that no lock keeps apart in the kernel: a page may be promised and taken at once."""
    total, overcommit, size, minimum = limits
    which, came = 0, True
    while came:
        fs, mount = world(total, overcommit=overcommit, size=size, minimum=minimum)
        file = create(fs, mount)
        mapping = fs.map(file, 0, 2 * PAGE, reserve=False)
        both: list[Call] = [
            lambda fs=fs, mapping=mapping: fs.touch(mapping),  # type: ignore[misc]
            lambda fs=fs, file=file: fs.map(file, 0, mapped_bytes),  # type: ignore[misc]
        ]
        came = let_in(both[mapped_first], both[not mapped_first], which)
        check(fs)
        which += 1


LETTING_GO = ["touch", "discard", "discard, touch", "discard, unmap", "unmap", "truncate", "punch", "fork", "end"]


@pytest.mark.parametrize("steps", LETTING_GO)
@pytest.mark.parametrize("private", [False, True], ids=["shared", "private"])
@pytest.mark.parametrize("last_holder", ["pin", "fork"])
def test_the_last_reference_may_be_put_at_any_moment(last_holder, private, steps):
    """An I/O ends in an interrupt, a child exits: neither asks whether the owner is in the middle of a call."""
    for size, minimum, total in [(None, None, 4), (4, None, 4), (4, 2, 4), (None, 3, 4), (3, 1, 3)]:
        which, came = 0, True
        while came:
            fs, mount = world(total, size=size, minimum=minimum)
            file = create(fs, mount)
            mapping = fs.map(file, 0, 2 * PAGE, private=private)
            fs.touch(mapping)
            put: Call = (
                partial(fs.unpin, fs.pin(mapping)) if last_holder == "pin" else partial(fs.unmap, fs.fork(mapping))
            )
            do: dict[str, Call] = {
                "touch": partial(fs.touch, mapping),
                "discard": partial(fs.discard, mapping),
                "unmap": partial(fs.unmap, mapping),
                "truncate": partial(fs.truncate, file, 0),
                "punch": partial(fs.punch_hole, file, 0, PAGE),
                "fork": partial(fs.fork, mapping),
                "end": lambda fs=fs, mount=mount, file=file, mapping=mapping: (  # type: ignore[misc]
                    fs.unlink(mount, "f"), fs.close(file), fs.umount(mount, lazy=True), fs.unmap(mapping),
                ),
            }  # fmt: skip
            came = let_in(lambda do=do: [do[step]() for step in steps.split(", ")], put, which)  # type: ignore[misc]
            check(fs)
            which += 1
