"""Sequences that leave the kernel's counters wrong until reboot, or can crash it; found in a file before it runs.

Rule 1: each rule is a method that says what happens and why; the first line that breaks one is the reason.
Rule 2: in doubt a file is refused, but what the file's own outcomes and counters show to be harmless is not in doubt.
Rule 3: whoever wants to see these does it in a throw-away virtual machine, with a target of their own.
Linux: mm/hugetlb.c, hugetlb_vm_op_close, clear_vma_resv_huge_pages, alloc_hugetlb_folio, hugepage_put_subpool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hugefs.core.mount_options import MountOptions, parse_mount_options
from hugefs.errors import HugefsError
from hugefs.scenario import steps
from hugefs.scenario.address_ranges import Range, Space
from hugefs.scenario.counters import Counters
from hugefs.scenario.outcome import KILLED, SIGBUS, Outcome
from hugefs.scenario.scenario import Line, Scenario
from hugefs.scenario.sizes import PAGE_BYTES
from hugefs.scenario.steps import Span, Step

__all__ = ["why_dangerous"]

_NONE_LEFT = {"ENOMEM", "ENOSPC", "EFAULT", SIGBUS.word, KILLED.word}


def why_dangerous(scenario: Scenario) -> str | None:
    """The first line of this file that could harm the kernel, and how; None where there is none."""
    watch = _Watch()
    for line in scenario:
        reason = watch.see(line)
        if reason is not None:
            return f"line {line.number} ({line.text}) could harm this kernel for good: {reason}"
    return None


@dataclass
class _Mounted:
    """A mount and what could be on it: ``pages`` is the most that its files could hold."""

    options: MountOptions
    pages: int = 0
    lazily_gone: bool = False

    @property
    def is_limited(self) -> bool:
        return self.options.pages_max is not None or self.options.pages_min is not None


@dataclass(frozen=True)
class _Mapped:
    """What a mapping's name stands for: a range of addresses, and the file that was mapped there first."""

    mount: _Mounted | None
    where: Range
    is_private: bool

    @property
    def pages(self) -> int:
        return self.where.end - self.where.start

    def part(self, span: Span | None) -> Range:
        """The pages that a span meets."""
        if span is None:
            return self.where
        start = self.where.start + span.start_bytes // PAGE_BYTES
        return Range(self.where.area, start, start + _pages(span.start_bytes % PAGE_BYTES + span.length_bytes))


@dataclass
class _Pinned:
    mount: _Mounted | None
    pages: int
    is_private: bool


@dataclass
class _Watch:
    """The file as far as it was read."""

    pool_pages: int = 0
    pages: int = 0
    has_group_limits: bool = False
    counters: Counters = field(default_factory=Counters)
    mounts: dict[str, _Mounted] = field(default_factory=dict)
    handles: dict[str, _Mounted | None] = field(default_factory=dict)
    mappings: dict[str, _Mapped] = field(default_factory=dict)
    pins: dict[str, _Pinned] = field(default_factory=dict)
    spaces: dict[str, Space] = field(default_factory=dict)
    areas: int = 0

    def see(self, line: Line) -> str | None:
        """Take one line; why it is dangerous, or None."""
        step = line.step
        rule = _RULES.get(type(step))
        reason = rule(self, step, line.expected_outcome) if rule else None
        self.counters = line.expected_counters or Counters()
        return reason

    # ── Keeping track ──

    def pool(self, step: steps.Pool, _outcome: Outcome | None) -> None:
        self.pool_pages = step.pages

    def cgroup(self, step: steps.Cgroup, _outcome: Outcome | None) -> None:
        self.has_group_limits |= step.pages_max is not None or step.pages_reserved_max is not None

    def mount(self, step: steps.Mount, _outcome: Outcome | None) -> None:
        try:
            options = parse_mount_options(step.options, page_bytes=PAGE_BYTES, pages_configured=self.pool_pages)
        except HugefsError:
            return  # the kernel refuses it as well
        self.mounts[step.mount] = _Mounted(options)

    def open(self, step: steps.Open, _outcome: Outcome | None) -> None:
        self.handles[step.handle] = self.mounts.get(step.path.mount)

    def memfd(self, step: steps.Memfd, _outcome: Outcome | None) -> None:
        self.handles[step.handle] = None

    def fork(self, step: steps.Fork, _outcome: Outcome | None) -> None:
        """A child has the same ranges, and can take a page of its own for each private one."""
        self.spaces[step.child] = self._space(step.task).copy()
        for mapping in list(self.mappings.values()):
            if mapping.is_private:
                self._more(mapping.mount, mapping.pages)

    def fallocate(self, step: steps.Fallocate, outcome: Outcome | None) -> str | None:
        pages = _pages(step.length_bytes)
        mount = self.handles.get(step.handle)
        self._more(mount, pages)
        return self._may_leak(mount, pages, outcome)

    def mmap(self, step: steps.Mmap, outcome: Outcome | None) -> str | None:
        pages = _pages(step.length_bytes)
        mount = self.handles.get(step.handle or "")
        where = self._place(step.place, pages)
        is_private_huge = not step.shared and step.source != "ordinary"
        if outcome is None or outcome.succeeded:
            self._space(step.task).put(where, is_private_huge=is_private_huge, is_sure=outcome is not None)
        else:
            self._space(step.task).cut(where)
        if step.source != "ordinary":
            self._more(mount, pages)
        self.mappings[step.mapping] = _Mapped(mount, where, is_private_huge)
        return self._may_leak(mount, pages, outcome)

    def shmat(self, step: steps.Shmat, _outcome: Outcome | None) -> None:
        self.mappings[step.mapping] = _Mapped(None, self._place(None, 0), is_private=False)

    def shmget(self, step: steps.Shmget, _outcome: Outcome | None) -> None:
        self._more(None, _pages(step.size_bytes))

    def munmap(self, step: steps.Munmap, outcome: Outcome | None) -> None:
        mapping = self.mappings.get(step.mapping)
        if mapping is None:
            return
        if outcome is not None and outcome.succeeded:
            self._space(step.task).remove(mapping.part(step.span))
        else:
            self._space(step.task).cut(mapping.part(step.span))

    def protect(self, step: steps.Mprotect | steps.Madvise, _outcome: Outcome | None) -> None:
        """What names a part of a mapping may cut it in two; most advice does not."""
        mapping = self.mappings.get(step.mapping)
        if isinstance(step, steps.Madvise) and step.advice not in ("dontfork", "dofork"):
            return
        if mapping is not None:
            self._space(step.task).cut(mapping.part(step.span))

    def touch(self, step: Any, outcome: Outcome | None) -> str | None:
        mapping = self.mappings.get(step.mapping)
        return self._may_leak(mapping.mount, 1, outcome) if mapping is not None else None

    def unpin(self, step: steps.Unpin, _outcome: Outcome | None) -> None:
        self.pins.pop(step.io, None)

    def _space(self, task: str) -> Space:
        return self.spaces.setdefault(task, Space())

    def _place(self, place: steps.Place | None, pages: int) -> Range:
        """Where a mapping goes: into another's range, or into an area of its own."""
        target = None if place is None or place.mapping is None else self.mappings.get(place.mapping)
        if place is None or target is None:
            self.areas += 1
            return Range(self.areas, 0, pages)
        start = target.where.start + place.offset_bytes // PAGE_BYTES
        return Range(target.where.area, start, start + pages + (place.offset_bytes % PAGE_BYTES > 0))

    def _more(self, mount: _Mounted | None, pages: int) -> None:
        self.pages += pages
        if mount is not None:
            mount.pages += pages

    # ── The rules ──

    def mremap(self, step: steps.Mremap, outcome: Outcome | None) -> str | None:
        """A moved part takes the reservations of the whole with it; those of the rest are never given back."""
        mapping = self.mappings.get(step.mapping)
        if mapping is None:
            return None
        space = self._space(step.task)
        source = Range(mapping.where.area, mapping.where.start, mapping.where.start + _pages(step.old_bytes))
        moves = step.place is not None or step.dontunmap
        if moves and space.has_part(source):
            return "a part of a private mapping moves, and what is promised for the rest is never given back"
        is_private_huge = space.has_private_huge(source)
        is_sure = outcome is not None and outcome.succeeded
        pages = _pages(step.new_bytes)
        if moves:
            where = self._place(step.place, pages)
            if is_sure:
                space.remove(source)
        else:
            where = Range(source.area, source.start, source.start + pages)
            space.cut(where)
        if moves and (outcome is None or is_sure):
            space.put(where, is_private_huge=is_private_huge, is_sure=is_sure)
        elif moves:
            space.cut(where)
        self.mappings[step.new_mapping] = _Mapped(mapping.mount, where, mapping.is_private)
        return None

    def _may_leak(self, mount: _Mounted | None, pages: int, outcome: Outcome | None) -> str | None:
        """On a mount with size= and min_size= a request that the pool refuses leaves its quota charged for ever.

        One that the quota itself refuses changes nothing: that is known where the line before shows room in the pool.
        """
        if mount is None or mount.options.pages_max is None or mount.options.pages_min is None:
            return None
        if outcome is None:
            fails = self.pages > self.pool_pages or self.has_group_limits
        else:
            fails = outcome.word in _NONE_LEFT and not self._has_room(pages)
        if fails:
            return "a page or promise that the pool refuses on a mount with size= and min_size= stays charged for ever"
        return None

    def _has_room(self, pages: int) -> bool:
        pool = self.counters.pool
        if pool is None or self.has_group_limits:
            return False
        return pool.pages_reserved <= pool.pages_free and pool.pages_free - pool.pages_reserved >= pages

    def pin(self, step: steps.Pin, outcome: Outcome | None) -> str | None:
        """A pin on a mount that is lazily gone is as one across its umount."""
        mapping = self.mappings.get(step.mapping)
        if mapping is None:
            return None
        pages = mapping.pages if step.span is None else _pages(step.span.length_bytes)
        self.pins[step.io] = _Pinned(mapping.mount, pages, mapping.is_private)
        if mapping.mount is not None and mapping.mount.lazily_gone:
            return self._across_umount(mapping.mount)
        return self._may_leak(mapping.mount, 1, outcome)

    def umount(self, step: steps.Umount, outcome: Outcome | None) -> str | None:
        if outcome is not None and not outcome.succeeded:
            return None
        mount = self.mounts.pop(step.mount, None)
        if mount is None:
            return None
        mount.lazily_gone = step.lazy
        return self._across_umount(mount)

    def _across_umount(self, mount: _Mounted) -> str | None:
        """Pinned pages outlive their mount, and its quota must outlive them."""
        pins = [pin for pin in self.pins.values() if pin.mount is mount]
        if not pins or not mount.is_limited:
            return None
        if any(pin.is_private for pin in pins):
            return "a private page is pinned while its limited mount goes: its quota is freed before it"
        pages = max(sum(pin.pages for pin in pins), mount.pages)
        if mount.options.pages_max is None and pages > (mount.options.pages_min or 0):
            return "more pages may be pinned than the min_size= of a mount that goes: its quota is freed twice"
        return None


def _pages(length_bytes: int) -> int:
    return max(0, -(-length_bytes // PAGE_BYTES))


_RULES: dict[type[Step], Callable[[_Watch, Any, Outcome | None], str | None]] = {
    steps.Pool: _Watch.pool,
    steps.Cgroup: _Watch.cgroup,
    steps.Mount: _Watch.mount,
    steps.Umount: _Watch.umount,
    steps.Open: _Watch.open,
    steps.Memfd: _Watch.memfd,
    steps.Fork: _Watch.fork,
    steps.Fallocate: _Watch.fallocate,
    steps.Mmap: _Watch.mmap,
    steps.Mremap: _Watch.mremap,
    steps.Shmget: _Watch.shmget,
    steps.Shmat: _Watch.shmat,
    steps.Munmap: _Watch.munmap,
    steps.Mprotect: _Watch.protect,
    steps.Madvise: _Watch.protect,
    **dict.fromkeys((steps.Write, steps.Read, steps.Store, steps.Load), _Watch.touch),
    steps.Pin: _Watch.pin,
    steps.Unpin: _Watch.unpin,
}
