"""The real file system and its naive twin, side by side: every call goes to both, every observable is compared.

What is compared: the outcome; the four counters; statfs of every mount; of every file its size, names, promised and
taken pages; of every mapping its pages and open promises; which of all these places share a page; and, from the
effects, which pages have memory. After each call the numbered invariants are checked as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from hugefs.core.check import check, check_at_rest, dump
from hugefs.core.effects import Back, Drop, Effect, Forget
from hugefs.core.filesystem import Filesystem
from hugefs.core.inode import OpenFile
from hugefs.core.mapping import Mapping
from hugefs.core.mount_options import MountOptions
from hugefs.core.pin import Pin
from hugefs.core.ranges import PageRange
from hugefs.core.superblock import Superblock
from hugefs.errors import HugefsError
from tests.core.helpers import PAGE, Purse, counters
from tests.models.naive import NaiveFile, NaiveMap, NaiveMount, NaivePin, NaiveWorld, Page, Refused

__all__ = ["NAMES", "Both", "Pair"]

NAMES = ["a", "b", "c"]
PAGES_OF_FILE = 6

R = TypeVar("R")
N = TypeVar("N")


class Both(NamedTuple, Generic[R, N]):
    """A thing and its twin."""

    real: R
    twin: N


class Pair:
    """Both worlds. The lists hold what a caller can still use."""

    def __init__(self, pages_total: int, pages_overcommit: int) -> None:
        self.purse = Purse()
        self.fs = Filesystem(PAGE, pages_total, pages_overcommit, charger=self.purse)
        self.twin = NaiveWorld(pages_total, pages_overcommit)
        self.mounts: list[Both[Superblock, NaiveMount]] = []
        self.files: list[Both[OpenFile, NaiveFile]] = []
        self.maps: list[Both[Mapping, NaiveMap]] = []
        self.pins: list[Both[Pin, NaivePin]] = []
        self.memory: dict[int, set[int]] = {}  # which pages of which inode have memory, by the effects
        self.effects: list[Effect] = []
        self.log = [f"pair = Pair({pages_total}, {pages_overcommit})"]

    # --- calls ----------------------------------------------------------------------------------------------------

    def mount(self, size: int | None, minimum: int | None, inodes_max: int | None) -> None:
        options = MountOptions(size, minimum, inodes_max)
        made = self.both(
            f"mount({size}, {minimum}, {inodes_max})",
            lambda: self.fs.mount("m", options),
            lambda: self.twin.mount(size, minimum, inodes_max),
        )
        if made:
            self.mounts.append(made)

    def umount(self, which: int, lazy: bool) -> None:
        real, twin = mount = self.mounts[which]
        call = f"umount({which}, {lazy})"
        if self.both(call, lambda: self.fs.umount(real, lazy=lazy), lambda: self.twin.umount(twin, lazy)):
            self.mounts.remove(mount)

    def open(self, which: int, name: str) -> None:
        real, twin = self.mounts[which]
        made = self.both(
            f"open({which}, {name!r})",
            lambda: self.fs.open(real, name, create=True),
            lambda: self.twin.open(twin, name),
        )
        if made:
            self.files.append(made)

    def close(self, which: int) -> None:
        real, twin = self.files.pop(which)
        self.both(f"close({which})", lambda: self.fs.close(real), lambda: self.twin.close(twin))

    def unlink(self, which: int, name: str) -> None:
        real, twin = self.mounts[which]
        call = f"unlink({which}, {name!r})"
        self.both(call, lambda: self.fs.unlink(real, name), lambda: self.twin.unlink(twin, name))

    def link(self, which: int, source: str, target: str) -> None:
        real, twin = self.mounts[which]
        call = f"link({which}, {source!r}, {target!r})"
        self.both(call, lambda: self.fs.link(real, source, target), lambda: self.twin.link(twin, source, target))

    def rename(self, which: int, source: str, target: str) -> None:
        real, twin = self.mounts[which]
        call = f"rename({which}, {source!r}, {target!r})"
        self.both(call, lambda: self.fs.rename(real, source, target), lambda: self.twin.rename(twin, source, target))

    def truncate(self, which: int, size: int) -> None:
        real, twin = self.files[which]
        call = f"truncate({which}, {size})"
        self.both(call, lambda: self.fs.truncate(real, size * PAGE), lambda: self.twin.truncate(twin, size))

    def fallocate(self, which: int, start: int, end: int, keep_size: bool) -> None:
        real, twin = self.files[which]
        self.both(
            f"fallocate({which}, {start}, {end}, {keep_size})",
            lambda: self.fs.fallocate(real, start * PAGE, (end - start) * PAGE, keep_size=keep_size),
            lambda: self.twin.fallocate(twin, start, end, keep_size),
        )

    def punch(self, which: int, start: int, end: int) -> None:
        real, twin = self.files[which]
        self.both(
            f"punch({which}, {start}, {end})",
            lambda: self.fs.punch_hole(real, start * PAGE, (end - start) * PAGE),
            lambda: self.twin.punch(twin, start, end),
        )

    def map(self, which: int, start: int, end: int, private: bool, writable: bool, reserve: bool) -> None:
        real, twin = self.files[which]
        offset, length = start * PAGE, (end - start) * PAGE
        made = self.both(
            f"map({which}, {start}, {end}, {private}, {writable}, {reserve})",
            lambda: self.fs.map(real, offset, length, private=private, writable=writable, reserve=reserve),
            lambda: self.twin.map(twin, start, end, private, writable, reserve),
        )
        if made:
            self.maps.append(made)

    def fork(self, which: int) -> None:
        real, twin = self.maps[which]
        made = self.both(f"fork({which})", lambda: self.fs.fork(real), lambda: self.twin.fork(twin))
        if made:
            self.maps.append(made)

    def split(self, which: int, at: int) -> None:
        """Where something is mapped on both sides; a mapping of nothing is not made."""
        real, twin = self.maps[which]
        if min(twin.parts) < at <= max(twin.parts):
            made = self.both(
                f"split({which}, {at})", lambda: self.fs.split(real, at), lambda: self.twin.split(twin, at)
            )
            if made:
                self.maps.append(made)

    def unmap(self, which: int, start: int, end: int) -> None:
        real, twin = self.maps[which]
        self.both(
            f"unmap({which}, {start}, {end})",
            lambda: self.fs.unmap(real, PageRange(start, end)),
            lambda: self.twin.unmap(twin, start, end),
        )
        self.maps = [mapping for mapping in self.maps if mapping.real.parts]

    def touch(self, which: int, start: int, end: int, write: bool) -> None:
        real, twin = self.maps[which]
        if self.is_mapped(twin, start, end):
            self.both(
                f"touch({which}, {start}, {end}, {write})",
                lambda: self.fs.touch(real, PageRange(start, end), write=write),
                lambda: self.twin.touch(twin, start, end, write),
            )

    def discard(self, which: int, start: int, end: int) -> None:
        real, twin = self.maps[which]
        if self.is_mapped(twin, start, end):
            self.both(
                f"discard({which}, {start}, {end})",
                lambda: self.fs.discard(real, PageRange(start, end)),
                lambda: self.twin.zap(twin, range(start, end), restore=True) if twin.private else None,
            )

    def pin(self, which: int, start: int, end: int) -> None:
        real, twin = self.maps[which]
        if self.is_mapped(twin, start, end):
            made = self.both(
                f"pin({which}, {start}, {end})",
                lambda: self.fs.pin(real, PageRange(start, end)),
                lambda: self.twin.pin(twin, start, end),
            )
            if made:
                self.pins.append(made)

    def unpin(self, which: int) -> None:
        real, twin = self.pins.pop(which)
        self.both(f"unpin({which})", lambda: self.fs.unpin(real), lambda: self.twin.unpin(twin))

    def resize(self, count: int) -> None:
        self.both(f"resize({count})", lambda: self.fs.pool.resize(count), lambda: self.twin.resize(count))

    def set_overcommit(self, count: int) -> None:
        def twin() -> None:
            self.twin.overcommit = count

        self.both(f"set_overcommit({count})", lambda: self.fs.pool.set_overcommit(count), twin)

    def end(self) -> None:
        """End everything, pins last where that is the hardest, and see that nothing is left."""
        while self.maps:
            mapping = self.maps[0].real
            self.unmap(0, mapping.where.start, mapping.where.end)
        while self.files:
            self.close(0)
        while self.mounts:
            self.umount(0, lazy=False)
        while self.pins:
            self.unpin(0)
        # Shrinking below what is in use makes surplus pages; the last put lets them go.
        check_at_rest(self.fs)
        assert (self.purse.pages, self.purse.promises) == (0, 0)

    def is_mapped(self, twin: NaiveMap, start: int, end: int) -> bool:
        """Whether every page of the range is still mapped; anything else is refused, and tested elsewhere."""
        return start < end and all(index in twin.parts for index in range(start, end))

    # --- comparing ------------------------------------------------------------------------------------------------

    def both(self, call: str, real: Callable[[], R], twin: Callable[[], N]) -> Both[R, N] | None:
        """Make the call on both; compare outcome and everything else. None where both refused."""
        self.log.append(f"pair.{call}")
        try:
            real_result, real_outcome = real(), "ok"
        except HugefsError as error:
            real_outcome = type(error).__name__
        try:
            twin_result, twin_outcome = twin(), "ok"
        except Refused as refusal:
            twin_outcome = str(refusal)
        try:
            assert real_outcome == twin_outcome, f"outcome {real_outcome}, the twin says {twin_outcome}"
            self.compare()
        except AssertionError as error:
            script = "\n".join(self.log)
            raise AssertionError(f"{error}\n\nto reproduce:\n{script}\n\n{dump(self.fs)}") from None
        return Both(real_result, twin_result) if real_outcome == "ok" else None

    def compare(self) -> None:
        """Everything that can be observed."""
        check(self.fs)
        fs, twin = self.fs, self.twin
        assert counters(fs) == twin.counters(), f"counters {counters(fs)}, the twin says {twin.counters()}"
        assert fs.pool.pages_configured == twin.configured
        assert self.purse.settled_with(fs), "somebody pays for what is not there, or nobody for what is"
        for quota in twin.quotas[:]:
            if not quota.mounted and not twin.used(quota):
                twin.quotas.remove(quota)
        assert [(subpool.pages_used, subpool.pages_reserved) for subpool in fs.subpools] == [
            (twin.used(quota), twin.held(quota)) for quota in twin.quotas
        ]
        self.carry_out_effects()
        frames: dict[int, Page] = {}
        assert len(fs.superblocks) == len(twin.mounts)
        for real_mount, twin_mount in zip(fs.superblocks, twin.mounts, strict=True):
            self.compare_mount(real_mount, twin_mount, frames)
        for pin, twin_pin in self.pins:
            pinned = {
                index: frame for run, taken in pin.runs for index, frame in zip(range(*run), range(*taken), strict=True)
            }
            for index, page in zip(sorted(pinned), twin_pin.pages, strict=True):
                assert frames.setdefault(pinned[index], page) is page, "a pin holds another page"
        assert len({id(page) for page in frames.values()}) == len(frames), "two frames for one page"

    def compare_mount(self, real: Superblock, twin: NaiveMount, frames: dict[int, Page]) -> None:
        quota = twin.quota
        said = real.statfs()
        if quota is None:
            assert said[1:] == (0, 0, 0, 0, 0)
        else:
            limits = (-1, -1) if quota.maximum is None else (quota.maximum, quota.maximum - self.twin.used(quota))
            left = (-1, -1) if twin.inodes_max is None else (twin.inodes_max, twin.inodes_max - len(twin.files))
            assert said[1:] == (*limits, limits[1], *left)
        assert real.attached == twin.attached
        assert len(real.inodes) == len(twin.files)
        for inode, file in zip(real.inodes.values(), twin.files, strict=True):
            taken = {
                index: frame
                for run, out in inode.cache.runs()
                for index, frame in zip(range(*run), range(*out), strict=True)
            }
            entries = {index for run, _ in inode.reserve_map.entries.runs() for index in range(*run)}
            assert inode.size_bytes == file.size * PAGE, "sizes differ"
            assert (inode.links, inode.opens) == (file.links, file.opens), "links or opens differ"
            assert taken.keys() == file.cached.keys(), "cached pages differ"
            assert entries == file.promised | file.cached.keys(), "promised pages differ"
            assert self.memory.get(inode.number, set()) == entries, "what has memory is not what was granted"
            self.compare_pages(taken, file.cached, frames)
            for real_map, twin_map in zip(inode.mappings, file.maps, strict=True):
                self.compare_map(real_map, twin_map, frames)

    def compare_map(self, real: Mapping, twin: NaiveMap, frames: dict[int, Page]) -> None:
        taken = {
            index: frame
            for run, out in real.pages.runs()
            for index, frame in zip(range(*run), range(*out), strict=True)
        }
        assert {index for run, _ in real.parts.runs() for index in range(*run)} == twin.parts, "mapped parts differ"
        assert taken.keys() == twin.pages.keys(), "private pages differ"
        assert real.reserve_lost == twin.lost
        came_back = sum(freed.pages for _, out in real.awaited.runs() for freed in self.fs.memmap.gaps(out))
        assert real.pages_promised + came_back == len(twin.open), "a mapping's open promises differ"
        self.compare_pages(taken, twin.pages, frames)

    def compare_pages(self, taken: dict[int, int], pages: dict[int, Page], frames: dict[int, Page]) -> None:
        """One frame is one page of the twin's, wherever it is met."""
        for index, frame in taken.items():
            assert frames.setdefault(frame, pages[index]) is pages[index], f"frame {frame} is two pages"

    def carry_out_effects(self) -> None:
        drained = self.fs.drain_effects()
        self.effects += drained
        for effect in drained:
            if isinstance(effect, Back):
                self.memory.setdefault(effect.inode, set()).update(range(*effect.pages))
            elif isinstance(effect, Drop):
                gone = self.memory[effect.inode]
                gone -= {index for index in gone if effect.pages.start <= index < effect.pages.end}
            elif isinstance(effect, Forget):
                self.memory.pop(effect.inode, None)
