"""What the tests of the core have in common: a page size, small worlds, and the two halves of every refusal."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from hugefs.core import check
from hugefs.core.charger import Charger, Payer
from hugefs.core.checkpoint import Observer
from hugefs.core.filesystem import Filesystem
from hugefs.core.inode import OpenFile
from hugefs.core.mount_options import MountOptions
from hugefs.core.pool import HugePool
from hugefs.core.ranges import PageRange
from hugefs.core.superblock import Superblock
from hugefs.errors import HugefsError, NoHugePages

PAGE = 2 * 1024 * 1024

COUNTERS_OF_NAMES = {"_next_inode"}
"""A number that was given out and not used is no change: numbers only have to differ."""


def pages(start: int, end: int) -> PageRange:
    """A range, short to write."""
    return PageRange(start, end)


def world(
    pages_total: int = 4,
    *,
    overcommit: int = 0,
    size: int | None = None,
    minimum: int | None = None,
    inodes: int | None = None,
) -> tuple[Filesystem, Superblock]:
    """A pool and one mount ``m``."""
    fs = Filesystem(PAGE, pages_total, overcommit)
    return fs, fs.mount("m", MountOptions(pages_max=size, pages_min=minimum, inodes_max=inodes))


def create(fs: Filesystem, superblock: Superblock, path: str = "f") -> OpenFile:
    """A new file."""
    return fs.open(superblock, path, create=True, exclusive=True)


def counters(fs: Filesystem) -> tuple[int, int, int, int]:
    """Total, free, reserved, surplus: in the order in which everyone writes them."""
    return counters_of(fs.pool)


def counters_of(pool: HugePool) -> tuple[int, int, int, int]:
    """The same of a pool alone."""
    return pool.pages_total, pool.pages_free, pool.pages_reserved, pool.pages_surplus


def digest(thing: Any) -> Any:
    """Everything that can be reached from ``thing``, as nested tuples: two are equal only where nothing differs.

    Objects are numbered in the order in which they are met, so that the shape of the graph counts as well.
    """
    numbers: dict[int, int] = {}

    def walk(value: Any) -> Any:
        if value is None or isinstance(value, bool | int | str | bytes | type):
            return value
        if isinstance(value, Enum):
            return value.name
        if isinstance(value, list | tuple):
            return (type(value).__name__, *(walk(item) for item in value))
        if isinstance(value, dict):
            return tuple((walk(key), walk(item)) for key, item in value.items())
        if id(value) in numbers:
            return f"#{numbers[id(value)]}"
        numbers[id(value)] = len(numbers)
        fields = {name: getattr(value, name) for name in getattr(value, "__slots__", ())} or vars(value)
        return (type(value).__name__, *((name, walk(fields[name])) for name in fields if name not in COUNTERS_OF_NAMES))

    return walk(thing)


def refuses(fs: Filesystem, operation: Callable[[], object], error: type[HugefsError]) -> HugefsError:
    """An illegal request has two halves: the right error, *and* nothing changed, pending effects included."""
    before = digest(fs)
    with pytest.raises(error) as caught:
        operation()
    assert type(caught.value) is error, f"{caught.value!r} is a relative of the error that was meant"
    assert digest(fs) == before, "the refused call changed something"
    check.check(fs)
    return caught.value


class Purse(Charger):
    """Pays for everyone and counts what it is owed. ``limit``: pages, and promises, that it would pay for."""

    def __init__(self, limit: int = 2**60) -> None:
        self.limit = limit
        self.pages = 0
        self.promises = 0

    def __repr__(self) -> str:
        return "purse"

    def pages_chargeable(self, promised: bool) -> int:
        return self.limit - (self.pages if promised else max(self.pages, self.promises))

    def charge_promises(self, pages: int) -> Payer:
        if self.promises + pages > self.limit:
            raise NoHugePages("the purse is empty", wanted=pages, available=self.limit - self.promises)
        self.promises += pages
        return self

    def charge_pages(self, pages: int) -> Payer:
        if self.pages + pages > self.limit:
            raise NoHugePages("the purse is empty", wanted=pages, available=self.limit - self.pages)
        self.pages += pages
        return self

    def uncharge_promises(self, payer: Payer, pages: int) -> None:
        assert payer in (None, self)
        self.promises -= pages if payer else 0

    def uncharge_pages(self, payer: Payer, pages: int) -> None:
        assert payer in (None, self)
        self.pages -= pages if payer else 0

    def settled_with(self, fs: Filesystem) -> bool:
        """Whether it paid for exactly what is there: each page once, each promise where it is remembered."""
        inodes = [inode for superblock in fs.superblocks for inode in superblock.inodes.values()]
        mappings = [mapping for inode in inodes for mapping in inode.mappings]
        promises = sum(run.pages for inode in inodes for run, payer in inode.reserve_map.entries.runs() if payer)
        promises += sum(mapping.parts.pages for mapping in mappings if mapping.payer)
        promises += sum(run.pages for run, page in fs.memmap.runs() if page.promise_payer)
        return (self.pages, self.promises) == (fs.memmap.pages_allocated, promises)


class Failing(Observer):
    """Fails the allocation of bookkeeping memory number ``which`` (counted from 0)."""

    def __init__(self, which: int) -> None:
        self.which = which
        self.seen: list[str] = []

    def may_fail(self, what: str) -> None:
        self.seen.append(what)
        if len(self.seen) == self.which + 1:
            raise NoHugePages(f"no memory for {what}", wanted=1, available=0)


class Recorder(Observer):
    """Writes down every mark that is passed."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def checkpoint(self, place: str) -> None:
        self.places.append(place)

    def may_fail(self, what: str) -> None:
        self.places.append(f"may fail: {what}")

    def might_sleep(self, what: str) -> None:
        self.places.append(f"might sleep: {what}")


class Intruder(Observer):
    """Runs something else at checkpoint number ``which``, as if another task had stepped in there."""

    def __init__(self, which: int, action: Callable[[], object]) -> None:
        self.which = which
        self.action = action
        self.passed = 0

    def checkpoint(self, place: str) -> None:
        self.passed += 1
        if self.passed == self.which + 1:
            self.action()

    @property
    def came(self) -> bool:
        """Whether there was such a checkpoint."""
        return self.passed > self.which


def end_everything(fs: Filesystem) -> None:
    """Drop pins, mappings, open files and mounts, in that order, whatever is there."""
    for pin in list(fs.pins):
        fs.unpin(pin)
    for superblock in list(fs.superblocks):
        for inode in list(superblock.inodes.values()):
            for mapping in list(inode.mappings):
                fs.unmap(mapping)
