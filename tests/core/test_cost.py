"""Cost grows with runs, not with pages: counted, not timed, so that it holds on any machine.

Why: a terabyte is 524,288 pages of 2 MiB. Page by page each call would take a second, and a server does one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hugefs.core.check import check, check_at_rest
from hugefs.core.ranges import RangeMap
from tests.core.helpers import PAGE, create, pages, world

GIB = (1 << 30) // PAGE
TIB = (1 << 40) // PAGE


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Counts the operations of every RangeMap, and the runs they walk over."""
    work = {"operations": 0, "runs": 0}
    originals = {name: getattr(RangeMap, name) for name in ("put", "remove", "runs", "_insert", "_delete")}

    def counting(name: str) -> Any:
        def call(self: RangeMap[Any], *arguments: Any) -> Any:
            work["operations"] += 1
            result = originals[name](self, *arguments)
            if name == "runs":
                work["runs"] += len(result)
            return result

        return call

    try:
        for name in originals:
            setattr(RangeMap, name, counting(name))
        yield work
    finally:
        for name, original in originals.items():
            setattr(RangeMap, name, original)


def story(count: int) -> dict[str, int]:
    """Create, promise, fill, fork, write, pin, punch, unlink, unmount: a whole life of a file of ``count`` pages."""
    fs, mount = world(4 * count, size=4 * count, minimum=count // 2)
    with counted() as work:
        file = create(fs, mount)
        shared = fs.map(file, 0, count * PAGE)
        fs.touch(shared)
        private = fs.map(file, 0, count * PAGE, private=True)
        fs.touch(private, pages(0, count // 2))
        child = fs.fork(private)
        fs.touch(child)
        pin = fs.pin(shared)
        fs.discard(private, pages(0, count // 4))
        fs.punch_hole(file, PAGE, (count - 2) * PAGE)
        fs.fallocate(file, 0, count * PAGE)
        check(fs)
        fs.truncate(file, count // 2 * PAGE)
        for mapping in (private, child, shared):
            fs.unmap(mapping)
        fs.unlink(mount, "f")
        fs.close(file)
        fs.umount(mount)
        fs.unpin(pin)
    check_at_rest(fs)
    return work


def test_a_terabyte_costs_what_a_gigabyte_costs():
    """The same number of map operations over the same number of runs, to the last one."""
    assert story(TIB) == story(GIB)


@pytest.mark.parametrize("count", [GIB, TIB])
def test_a_uniform_file_is_one_run_everywhere(count):
    """Promised, filled, filled piece by piece: equal neighbours always grow together."""
    fs, mount = world(2 * count)
    file = create(fs, mount)
    mapping = fs.map(file, 0, count * PAGE)
    for quarter in range(4):
        fs.touch(mapping, pages(quarter * count // 4, (quarter + 1) * count // 4))
    inode = file.inode
    assert len(list(inode.reserve_map.entries.runs())) == len(inode.cache.runs()) == len(fs.memmap.runs()) == 1
    assert inode.cache.pages == count


def test_a_torn_file_costs_what_its_holes_cost():
    """Every second page punched out: that many runs, no more; and filled again it is whole in map and books."""
    fs, mount = world(64)
    file = create(fs, mount)
    fs.fallocate(file, 0, 32 * PAGE)
    for index in range(0, 32, 2):
        fs.punch_hole(file, index * PAGE, PAGE)
    assert len(file.inode.cache.runs()) == 16
    fs.fallocate(file, 0, 32 * PAGE)
    assert len(list(file.inode.reserve_map.entries.runs())) == 1
