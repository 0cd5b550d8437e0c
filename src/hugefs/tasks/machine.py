"""Machine: one simulated machine: a pool, mounts, control groups, tasks, and I/O in flight.

Rule 1: deterministic: the same calls give the same state, in every interpreter.
Rule 2: ``task(name)`` says who acts: what is charged until the next one is charged to his group.
Rule 3: files without a name (memfd, System V, anonymous mappings) live on the kernel's own mount, which has no quota.

A call that the kernel would refuse raises the error with the kernel's errno; SIGBUS is BusError, a signal that kills
is Killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import cast

from hugefs.core import check
from hugefs.core.effects import Clear
from hugefs.core.filesystem import Filesystem
from hugefs.core.inode import Inode
from hugefs.core.mount_options import parse_mount_options
from hugefs.core.pin import Pin
from hugefs.core.superblock import Superblock
from hugefs.errors import Busy, Exists, NotFound
from hugefs.tasks.address_space import AddressSpace
from hugefs.tasks.cgroup import Group, GroupCharger
from hugefs.tasks.contents import Contents
from hugefs.tasks.shm import Segment
from hugefs.tasks.task import Task
from hugefs.tasks.vma import PAGE_BYTES

__all__ = ["Machine"]

_FIRST_ADDRESS = 1 << 40
_GAP_BYTES = 1 << 30  # behind every fresh range nothing is found for a while


class Machine:
    """``classes``: what stands for a class of the core or of this room; a profile of a kernel replaces some."""

    def __init__(self, classes: Mapping[type, type] | None = None) -> None:
        self.classes = dict(classes or {})
        self.charger = GroupCharger()
        filesystem = cast("type[Filesystem]", self.classes.get(Filesystem, Filesystem))
        self.fs = filesystem(PAGE_BYTES, charger=self.charger, classes=self.classes)
        self.internal = self.fs.mount("the kernel's own")
        self.mounts: dict[str, Superblock] = {}
        self.groups: dict[str, Group] = {}
        self.tasks: dict[str, Task] = {}
        self.pins: dict[str, list[Pin]] = {}
        self.segments: dict[str, Segment] = {}
        self.seals: dict[Inode, set[str]] = {}
        self.contents = Contents(self.fs)
        self._next_address = _FIRST_ADDRESS

    def task(self, name: str) -> Task:
        """The task of that name, which acts now. A new name is a new task, in the root group."""
        task = self.tasks.get(name)
        if task is None:
            task = self.tasks[name] = Task(self, name, self.new_address_space(), None)
        self.charger.group = task.group
        return task

    def new_address_space(self) -> AddressSpace:
        """One without anything in it."""
        return cast("type[AddressSpace]", self.classes.get(AddressSpace, AddressSpace))(self.fs)

    def fresh_address(self, length: int) -> int:
        """The address of a free range that no task has had, nor will be given again; a huge page's."""
        address = self._next_address
        self._next_address += -(-length // PAGE_BYTES) * PAGE_BYTES + _GAP_BYTES
        return address

    def carry_out(self) -> None:
        """Do what the last call asked of memory: of contents only bytes are kept, so that is little."""
        for effect in self.fs.drain_effects():
            if isinstance(effect, Clear) and self.contents:
                self.contents.clear(effect)

    # --- the world ------------------------------------------------------------------------------------------------

    def mount(self, name: str, options: str) -> None:
        """Mount with an option string. Raises InvalidRequest, NoHugePages."""
        if name in self.mounts:
            raise Busy(f"{name} is mounted already", mount=name)
        configured = self.fs.pool.pages_configured
        parsed = parse_mount_options(options, page_bytes=PAGE_BYTES, pages_configured=configured)
        self.mounts[name] = self.fs.mount(name, parsed)

    def remount(self, name: str, options: str) -> None:
        """Take other options, and change nothing. Linux: hugetlbfs has no reconfigure."""
        self.superblock(name)
        parse_mount_options(options, page_bytes=PAGE_BYTES, pages_configured=self.fs.pool.pages_configured)

    def umount(self, name: str, *, lazy: bool = False) -> None:
        """Unmount. Raises Busy."""
        self.fs.umount(self.superblock(name), lazy=lazy)
        del self.mounts[name]

    def superblock(self, name: str) -> Superblock:
        """The mount of that name. Raises NotFound."""
        if name not in self.mounts:
            raise NotFound(f"{name} is not mounted", mount=name)
        return self.mounts[name]

    def set_group(self, name: str, pages_max: int | None, promises_max: int | None) -> None:
        """Make a group, or give one other limits. Raises Busy where its tasks or its charges forbid it."""
        group = self.groups.get(name)
        if group is None:
            above = name.rpartition("/")[0]
            if above and above not in self.groups:
                raise NotFound(f"there is no group {above}")
            parent = self.groups[above] if above else None
            if parent is not None:
                if parent.tasks:
                    raise Busy(f"group {above} has tasks: it cannot have groups inside")
                parent.children += 1
                parent.divided = True
            group = self.groups[name] = Group(name, parent)
        if pages_max is not None:
            if pages_max < group.pages:
                raise Busy(f"group {name} has {group.pages} pages")
            group.pages_max = pages_max
        if promises_max is not None:
            if promises_max < group.promises:
                raise Busy(f"group {name} has {group.promises} promises")
            group.promises_max = promises_max

    def remove_group(self, name: str) -> None:
        """Remove a group without tasks and groups inside. Its pages' charges move up. Raises NotFound, Busy."""
        group = self.groups.get(name)
        if group is None:
            raise NotFound(f"there is no group {name}")
        if group.tasks or group.children:
            raise Busy(f"group {name} has {group.tasks} tasks and {group.children} groups inside")
        self.fs.memmap.move_charges(group, group.parent)
        if group.parent is not None:
            group.parent.children -= 1
        del self.groups[name]

    def pin_as(self, name: str, pins: list[Pin]) -> None:
        """An I/O that holds pages until ``unpin``."""
        if name in self.pins:
            raise Exists(f"an I/O {name} is in flight already")
        self.pins[name] = pins

    def unpin(self, name: str) -> None:
        """The I/O ends; one that could not have its pages holds nothing."""
        for pin in self.pins.pop(name, []):
            self.fs.unpin(pin)

    # --- what can be seen -----------------------------------------------------------------------------------------

    def pool_counters(self) -> tuple[int, int, int, int]:
        """Total, free, reserved, surplus; below zero where an unsigned counter went there."""
        pool = self.fs.pool
        return pool.pages_total, pool.pages_free, pool.pages_reserved, pool.pages_surplus

    # --- the end, and checks --------------------------------------------------------------------------------------

    def end(self) -> None:
        """End tasks, drop pins, remove segments, unmount: nothing is left of what was done."""
        for task in list(self.tasks.values()):
            if task.alive:
                task.exit()
        for name in list(self.pins):
            self.unpin(name)
        for segment in self.segments.values():
            segment.remove()
        for name in list(self.mounts):
            self.umount(name)
        for name in sorted(self.groups, key=lambda name: -name.count("/")):
            self.remove_group(name)
        self.carry_out()

    def verify(self) -> None:
        """Check every invariant of the core, and that the address spaces agree with it. Raises InvariantError."""
        check.check(self.fs)
        for task in self.tasks.values():
            task.verify()

    def digest(self) -> str:
        """A fingerprint of the whole state; equal for equal states, in every interpreter."""
        return hashlib.sha256("\n".join(self.state()).encode()).hexdigest()

    def state(self) -> Iterator[str]:
        """The whole state, line by line, without anything that differs between interpreters."""
        yield f"pool {self.pool_counters()} {self.fs.pool.pages_overcommit} {self.fs.pool.pages_configured}"
        for superblock in self.fs.superblocks:
            yield f"mount {superblock.name} {superblock.statfs()}"
            for inode in superblock.inodes.values():
                yield f" inode {inode.number} {inode.size_bytes} {inode.links} {inode.cache.runs()}"
                yield f"  promised {[run for run, _ in inode.reserve_map.entries.runs()]}"
        yield from (f"frames {run} {page.references} {page.state.name}" for run, page in self.fs.memmap.runs())
        for group in self.groups.values():
            yield f"group {group.name} {group.pages} {group.promises} {group.events} {group.tasks}"
        for task in self.tasks.values():
            yield f"task {task.name} alive={task.alive} handles={sorted(task.handles)} ranges={task.ranges}"
            for vma in task.space.vmas:
                yield f"  {vma.start:#x} {vma.end:#x} {vma.protection} {type(vma).__name__}"
        for name, pins in self.pins.items():
            yield f"pin {name} {[pin.runs for pin in pins]}"
        yield f"contents {sorted(self.contents.bytes.items())}"
