"""The whole file system once more, the naive way: every page an object, one page at a time, every count counted anew.

Nothing here is stored that can be counted: what a mount has used, what the pool has promised, what is free. So a
forgotten refund, the usual error of the real thing, cannot be made here. What a page's end does is a rule about pages
and promises, not about counters.

Rule 1: a mount's use is its open promises and its live pages; the pool holds max(0, minimum - use) for it on top.
Rule 2: free pages that nobody was promised are never surplus: ``settle`` lets surplus pages go until that is so.
Rule 3: refusals are raised as Refused with the name of the class that the real one raises.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NaiveFile", "NaiveMap", "NaiveMount", "NaivePin", "NaiveWorld", "Page", "Refused"]


class Refused(Exception):
    """The request was refused; its text is the name of the error's class."""


class Page:
    """One page in use: its holders (files, mappings, pins), its quota, and whose promise its end brings back."""

    def __init__(self, quota: Quota | None) -> None:
        self.quota = quota
        self.holders: list[object] = []
        self.owed: tuple[NaiveMap, int] | None = None


class Quota:
    """A mount's limits."""

    def __init__(self, maximum: int | None, minimum: int | None) -> None:
        self.maximum = maximum
        self.minimum = minimum or 0
        self.mounted = True


class NaiveMount:
    """A mount: its quota, its files, whether its names can be used."""

    def __init__(self, quota: Quota | None, inodes_max: int | None) -> None:
        self.quota = quota
        self.inodes_max = inodes_max
        self.names: dict[str, NaiveFile] = {}
        self.files: list[NaiveFile] = []
        self.attached = True
        self.gone = False


class NaiveFile:
    """A file: ``promised`` are the indexes promised and not taken, ``cached`` those taken."""

    def __init__(self, mount: NaiveMount) -> None:
        self.mount = mount
        self.size = 0  # in pages; sizes between pages are tested elsewhere
        self.links = 0
        self.opens = 0
        self.maps: list[NaiveMap] = []
        self.promised: set[int] = set()
        self.cached: dict[int, Page] = {}


class NaiveMap:
    """A mapping: ``open`` are the indexes whose own promise is not used up (owner of a private mapping only)."""

    def __init__(self, file: NaiveFile, indexes: Iterable[int], private: bool) -> None:
        self.file = file
        self.private = private
        self.owner = False
        self.parts = set(indexes)
        self.open: set[int] = set()
        self.pages: dict[int, Page] = {}
        self.seen: set[int] = set()
        self.lost = False


class NaivePin:
    """An I/O in flight: the pages it holds."""

    def __init__(self, pages: list[Page]) -> None:
        self.pages = pages


class NaiveWorld:
    """The pool and everything on it."""

    def __init__(self, total: int, overcommit: int) -> None:
        self.persistent = total
        self.configured = total
        self.surplus = 0
        self.overcommit = overcommit
        self.mounts: list[NaiveMount] = []
        self.quotas: list[Quota] = []
        self.live: list[Page] = []

    # --- counting -------------------------------------------------------------------------------------------------

    def open_promises(self, quota: Quota | None) -> int:
        files = [file for mount in self.mounts if mount.quota is quota for file in mount.files]
        return sum(len(file.promised) + sum(len(mapping.open) for mapping in file.maps) for file in files)

    def used(self, quota: Quota) -> int:
        return self.open_promises(quota) + sum(page.quota is quota for page in self.live)

    def held(self, quota: Quota) -> int:
        """What the pool holds for a minimum; an unmounted and unused one holds nothing any more."""
        used = self.used(quota)
        return max(0, quota.minimum - used) if quota.mounted or used else 0

    @property
    def reserved(self) -> int:
        return sum(self.open_promises(quota) + self.held(quota) for quota in self.quotas) + self.open_promises(None)

    @property
    def free(self) -> int:
        return self.persistent + self.surplus - len(self.live)

    def counters(self) -> tuple[int, int, int, int]:
        return self.persistent + self.surplus, self.free, self.reserved, self.surplus

    # --- pages ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        while self.surplus > 0 and self.free > self.reserved:
            self.surplus -= 1

    def charge(self, quota: Quota | None) -> None:
        """May this mount have one page or promise more?"""
        if quota is not None and quota.maximum is not None and self.used(quota) >= quota.maximum:
            raise Refused("NoHugePages")

    def back_promises(self) -> None:
        """A promise was just made: there must be a page for it, a surplus one if need be."""
        while self.reserved > self.free:
            if self.surplus >= self.overcommit:
                raise Refused("NoHugePages")
            self.surplus += 1

    def promise(self, quota: Quota | None, wanted: list[int], promises: set[int]) -> None:
        """All of ``wanted``, or none."""
        surplus, before = self.surplus, set(promises)
        try:
            for index in wanted:
                self.charge(quota)
                promises.add(index)
                self.back_promises()
        except Refused:
            self.surplus = surplus
            promises.intersection_update(before)
            raise

    def take(self, quota: Quota | None, promises: set[int], index: int) -> Page:
        """One page: the promised one, or one from the minimum, or one that nobody was promised."""
        if index in promises:
            promises.remove(index)
        else:
            self.charge(quota)
            from_minimum = quota is not None and self.held(quota) > 0
            if not from_minimum and self.free <= self.reserved:
                if self.surplus >= self.overcommit:
                    raise Refused("NoHugePages")
                self.surplus += 1
        page = Page(quota)
        self.live.append(page)
        return page

    def drop(self, page: Page, holder: object) -> None:
        page.holders.remove(holder)
        if not page.holders:
            self.live.remove(page)
            if page.owed:
                mapping, index = page.owed
                mapping.open.add(index)

    def nothing_is_owed(self, mapping: NaiveMap, index: int) -> None:
        for page in self.live:
            if page.owed == (mapping, index):
                page.owed = None

    # --- mounts ---------------------------------------------------------------------------------------------------

    def mount(self, maximum: int | None, minimum: int | None, inodes_max: int | None) -> NaiveMount:
        if maximum is not None and minimum is not None and minimum > maximum:
            raise Refused("InvalidRequest")
        if inodes_max == 0:
            raise Refused("NoHugePages")
        quota = None if maximum is None and minimum is None else Quota(maximum, minimum)
        surplus = self.surplus
        if quota is not None:
            self.quotas.append(quota)
            try:
                self.back_promises()
            except Refused:
                self.quotas.remove(quota)
                self.surplus = surplus
                raise
        mount = NaiveMount(quota, inodes_max)
        self.mounts.append(mount)
        self.new_file(mount).links = 1  # the root directory
        return mount

    def users(self, mount: NaiveMount) -> int:
        return sum(file.opens + len(file.maps) for file in mount.files)

    def umount(self, mount: NaiveMount, lazy: bool) -> None:
        if not mount.attached:
            raise Refused("NotFound")
        if self.users(mount) and not lazy:
            raise Refused("Busy")
        mount.attached = False
        self.end_mount(mount)

    def end_mount(self, mount: NaiveMount) -> None:
        if mount.attached or self.users(mount) or mount.gone:
            return
        for file in list(mount.files):
            self.evict(file)
        mount.gone = True
        self.mounts.remove(mount)
        if mount.quota:
            mount.quota.mounted = False
        self.settle()

    # --- files ----------------------------------------------------------------------------------------------------

    def new_file(self, mount: NaiveMount) -> NaiveFile:
        if mount.inodes_max is not None and len(mount.files) >= mount.inodes_max:
            raise Refused("NoSpace")
        file = NaiveFile(mount)
        mount.files.append(file)
        return file

    def named(self, mount: NaiveMount, name: str) -> NaiveFile:
        if not mount.attached or name not in mount.names:
            raise Refused("NotFound")
        return mount.names[name]

    def open(self, mount: NaiveMount, name: str) -> NaiveFile:
        if not mount.attached:
            raise Refused("NotFound")
        if name not in mount.names:
            mount.names[name] = self.new_file(mount)
            mount.names[name].links = 1
        mount.names[name].opens += 1
        return mount.names[name]

    def close(self, file: NaiveFile) -> None:
        file.opens -= 1
        self.release(file)

    def release(self, file: NaiveFile) -> None:
        """Something that needed the file is gone."""
        if not file.links and not file.opens and not file.maps and file in file.mount.files:
            self.evict(file)
        self.end_mount(file.mount)

    def evict(self, file: NaiveFile) -> None:
        for page in file.cached.values():
            self.drop(page, file)
        file.cached.clear()
        file.promised.clear()
        file.mount.files.remove(file)
        self.settle()

    def unlink(self, mount: NaiveMount, name: str) -> None:
        file = self.named(mount, name)
        del mount.names[name]
        file.links -= 1
        self.release(file)

    def link(self, mount: NaiveMount, source: str, target: str) -> None:
        file = self.named(mount, source)
        if target in mount.names:
            raise Refused("Exists")
        mount.names[target] = file
        file.links += 1

    def rename(self, mount: NaiveMount, source: str, target: str) -> None:
        file = self.named(mount, source)
        victim = mount.names.get(target)
        if victim is file:
            return
        if victim is not None:
            victim.links -= 1
        del mount.names[source]
        mount.names[target] = file
        if victim is not None:
            self.release(victim)

    def truncate(self, file: NaiveFile, size: int) -> None:
        file.size = size
        self.zap_everywhere(file, range(size, 2**60))
        for index in [index for index in file.cached if index >= size]:
            self.drop(file.cached.pop(index), file)
        file.promised = {index for index in file.promised if index < size}
        self.settle()

    def punch(self, file: NaiveFile, start: int, end: int) -> None:
        self.zap_everywhere(file, range(start, end))
        for index in [index for index in file.cached if start <= index < end]:
            self.drop(file.cached.pop(index), file)
        self.settle()

    def fallocate(self, file: NaiveFile, start: int, end: int, keep_size: bool) -> None:
        for index in range(start, end):
            try:
                self.cache(file, index)
            except Refused:
                raise Refused("NoSpace") from None
        if not keep_size:
            file.size = max(file.size, end)

    def cache(self, file: NaiveFile, index: int) -> None:
        if index not in file.cached:
            file.cached[index] = self.take(file.mount.quota, file.promised, index)
            file.cached[index].holders.append(file)

    # --- mappings -------------------------------------------------------------------------------------------------

    def map(self, file: NaiveFile, start: int, end: int, private: bool, writable: bool, reserve: bool) -> NaiveMap:
        mapping = NaiveMap(file, range(start, end), private)
        file.maps.append(mapping)
        try:
            if reserve and private:
                self.promise(file.mount.quota, list(range(start, end)), mapping.open)
                mapping.owner = True
            elif reserve:
                missing = [
                    index for index in range(start, end) if index not in file.cached | dict.fromkeys(file.promised)
                ]
                self.promise(file.mount.quota, missing, file.promised)
        except Refused:
            file.maps.remove(mapping)
            raise
        if writable:
            file.size = max(file.size, end)
        return mapping

    def fork(self, mapping: NaiveMap) -> NaiveMap:
        child = NaiveMap(mapping.file, mapping.parts, mapping.private)
        child.seen = set(mapping.seen)
        for index, page in mapping.pages.items():
            page.holders.append(child)
            child.pages[index] = page
        mapping.file.maps.append(child)
        return child

    def split(self, mapping: NaiveMap, at: int) -> NaiveMap:
        rest = NaiveMap(mapping.file, [index for index in mapping.parts if index >= at], mapping.private)
        rest.owner, rest.lost = mapping.owner, mapping.lost
        for index in rest.parts:
            mapping.parts.remove(index)
            for ours, theirs in ((mapping.open, rest.open), (mapping.seen, rest.seen)):
                if index in ours:
                    ours.remove(index)
                    theirs.add(index)
            if index in mapping.pages:
                rest.pages[index] = mapping.pages.pop(index)
                rest.pages[index].holders.remove(mapping)
                rest.pages[index].holders.append(rest)
        for page in self.live:
            if page.owed and page.owed[0] is mapping and page.owed[1] in rest.parts:
                page.owed = (rest, page.owed[1])
        mapping.file.maps.append(rest)
        return rest

    def zap_everywhere(self, file: NaiveFile, indexes: Iterable[int]) -> None:
        for mapping in file.maps:
            if mapping.private:
                self.zap(mapping, indexes, restore=True)

    def zap(self, mapping: NaiveMap, indexes: Iterable[int], restore: bool) -> None:
        restorable = restore and mapping.owner and self.surplus == 0
        gone = [index for index in mapping.parts if index in indexes]
        for index in gone:
            mapping.seen.discard(index)
            if index in mapping.pages:
                page = mapping.pages.pop(index)
                if restorable:
                    page.owed = (mapping, index)
                self.drop(page, mapping)
        self.settle()

    def unmap(self, mapping: NaiveMap, start: int, end: int) -> None:
        self.zap(mapping, range(start, end), restore=False)
        for index in range(start, end):
            if index in mapping.parts:
                mapping.parts.remove(index)
                mapping.open.discard(index)
                self.nothing_is_owed(mapping, index)
        self.settle()
        if not mapping.parts:
            mapping.file.maps.remove(mapping)
            self.release(mapping.file)

    def touch(self, mapping: NaiveMap, start: int, end: int, write: bool) -> None:
        for index in range(start, end):
            try:
                if mapping.private:
                    self.touch_private(mapping, index, write)
                elif index not in mapping.file.cached:
                    self.must_be_inside(mapping.file, index)
                    self.cache(mapping.file, index)
            except Refused:
                raise Refused("BusError") from None

    def must_be_inside(self, file: NaiveFile, index: int) -> None:
        if index >= file.size:
            raise Refused("BusError")

    def touch_private(self, mapping: NaiveMap, index: int, write: bool) -> None:
        file = mapping.file
        if index in mapping.pages:
            if write:
                self.store(mapping, index, mapping.pages[index])
            return
        if mapping.lost and not (index in file.cached and index in mapping.seen):
            raise Refused("BusError")
        if index in file.cached:
            mapping.seen.add(index)
            if not write:
                return
        else:
            self.must_be_inside(file, index)
        self.own(mapping, index, self.take(file.mount.quota, mapping.open, index))

    def own(self, mapping: NaiveMap, index: int, page: Page) -> None:
        self.nothing_is_owed(mapping, index)
        mapping.seen.discard(index)
        mapping.pages[index] = page
        page.holders.append(mapping)

    def store(self, mapping: NaiveMap, index: int, page: Page) -> None:
        sharers = [holder for holder in page.holders if isinstance(holder, NaiveMap)]
        if len(sharers) == 1:
            return
        try:
            copy = self.take(mapping.file.mount.quota, set(), index)
        except Refused:
            if not mapping.owner:
                raise
            for other in sharers:
                if other is not mapping:
                    other.lost = True
                    del other.pages[index]
                    self.drop(page, other)
            return
        self.drop(page, mapping)
        self.own(mapping, index, copy)

    # --- pins -----------------------------------------------------------------------------------------------------

    def pin(self, mapping: NaiveMap, start: int, end: int) -> NaivePin:
        self.touch(mapping, start, end, write=False)
        pin = NaivePin([mapping.pages.get(index) or mapping.file.cached[index] for index in range(start, end)])
        for page in pin.pages:
            page.holders.append(pin)
        return pin

    def unpin(self, pin: NaivePin) -> None:
        for page in pin.pages:
            self.drop(page, pin)
        self.settle()

    # --- the pool -------------------------------------------------------------------------------------------------

    def resize(self, count: int) -> None:
        """Page by page, as far as free pages that nobody was promised allow; the rest is relabelled."""
        while self.persistent < count:
            self.persistent += 1
            if self.surplus:
                self.surplus -= 1
        while self.persistent > count and self.free > self.reserved and self.free > 0:
            self.persistent -= 1
        while self.persistent > count:
            self.persistent -= 1
            self.surplus += 1
        self.configured = self.persistent
