"""The simulation as a target: each step is a call on a simulated machine; errors come back as outcomes.

Rule 1: every scenario can run here.
Rule 2: a file gets a machine of its own; ``verify`` checks every invariant after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from hugefs.errors import BusError
from hugefs.lab.profile import classes_of
from hugefs.scenario import steps
from hugefs.scenario.counters import (
    UNSIGNED_MAX,
    CgroupCounters,
    Counters,
    InodeCounters,
    MountCounters,
    PoolCounters,
    unsigned,
)
from hugefs.scenario.outcome import KILLED, OK, SIGBUS, Outcome, facts, failed, number
from hugefs.scenario.scenario import Scenario
from hugefs.tasks import advice, mmap, mremap, protection, shm, touch
from hugefs.tasks.machine import Machine
from hugefs.tasks.task import Killed, Stat, Task
from hugefs.tasks.vma import PAGE_BYTES

__all__ = ["SimTarget", "opened"]

_Perform: TypeAlias = Callable[[Machine, Any], Outcome | None]


@contextmanager
def opened(profile: str | None = None) -> Iterator[SimTarget]:
    """The simulation, behaving as ``profile`` says: "ideal" (also for None), or a kernel's with its mistakes."""
    yield SimTarget(profile)


class SimTarget:
    """``classes``: what the profile replaces. ``verify``: check everything after every step; only for the ideal one."""

    name = "sim"
    sees_touches = True

    def __init__(self, profile: str | None = None, *, verify: bool = False) -> None:
        self.classes: Mapping[type, type] = classes_of(profile or "ideal")
        self._verify = verify
        self.machine = Machine(self.classes)

    def why_not(self, scenario: Scenario) -> str | None:
        """Nothing: everything in the language can be simulated."""
        return None

    def begin(self, scenario: Scenario | None = None) -> None:
        """A new machine."""
        self.machine = Machine(self.classes)

    def perform(self, step: steps.Step) -> Outcome:
        """Carry out one step."""
        machine = self.machine
        try:
            outcome = _PERFORM[type(step)](machine, step) or OK
        except Killed:
            outcome = KILLED
        except BusError as error:
            outcome = SIGBUS if isinstance(step, steps.Write | steps.Read) else failed(error.errno or 0)
        except OSError as error:
            outcome = failed(error.errno or 0)
        machine.carry_out()
        if self._verify:
            machine.verify()
        return outcome

    def counters(self) -> Counters:
        """The counters now."""
        machine = self.machine
        mounts, inodes, groups, events = {}, {}, {}, {}
        for name, superblock in machine.mounts.items():
            _, size, free, available, inodes_total, inodes_free = superblock.statfs()
            mounts[name] = MountCounters(size & UNSIGNED_MAX, free & UNSIGNED_MAX, available & UNSIGNED_MAX)
            if inodes_total > 0:
                inodes[name] = InodeCounters(inodes_total, inodes_free)
        for name, group in machine.groups.items():
            groups[name] = CgroupCounters(unsigned(group.pages), unsigned(group.promises))
            if group.events:
                events[name] = group.events
        total, free, reserved, surplus = machine.pool_counters()
        pool = PoolCounters(total, free & UNSIGNED_MAX, reserved & UNSIGNED_MAX, surplus & UNSIGNED_MAX)
        return Counters(pool, mounts, inodes, groups, events)

    def end(self) -> str | None:
        """End everything. What the profile's mistakes left behind is no complaint."""
        self.machine.end()
        if self._verify:
            self.machine.verify()
        return None


# ── The world ──


def _pool(machine: Machine, step: steps.Pool) -> None:
    machine.fs.pool.resize(step.pages)


def _overcommit(machine: Machine, step: steps.Overcommit) -> None:
    machine.fs.pool.set_overcommit(step.pages)


def _mount(machine: Machine, step: steps.Mount) -> None:
    machine.mount(step.mount, step.options)


def _remount(machine: Machine, step: steps.Remount) -> None:
    machine.remount(step.mount, step.options)


def _umount(machine: Machine, step: steps.Umount) -> None:
    machine.umount(step.mount, lazy=step.lazy)


def _cgroup(machine: Machine, step: steps.Cgroup) -> None:
    machine.set_group(step.group, step.pages_max, step.pages_reserved_max)


def _rmcgroup(machine: Machine, step: steps.RemoveCgroup) -> None:
    machine.remove_group(step.group)


def _unpin(machine: Machine, step: steps.Unpin) -> None:
    machine.unpin(step.io)


# ── Files ──


def _enter(machine: Machine, step: steps.Enter) -> None:
    machine.task(step.task).enter(step.group)


def _open(machine: Machine, step: steps.Open) -> None:
    machine.task(step.task).open(
        step.handle,
        step.path.mount,
        step.path.name,
        create=step.create,
        readonly=step.readonly,
        unlinked=step.unlinked,
        truncate=step.truncate,
    )


def _memfd(machine: Machine, step: steps.Memfd) -> None:
    machine.task(step.task).memfd(step.handle, sealable=step.sealable)


def _seal(machine: Machine, step: steps.Seal) -> None:
    machine.task(step.task).seal(step.handle, step.seal)


def _close(machine: Machine, step: steps.Close) -> None:
    machine.task(step.task).close(step.handle)


def _unlink(machine: Machine, step: steps.Unlink) -> None:
    machine.task(step.task).unlink(step.path.mount, step.path.name)


def _mkdir(machine: Machine, step: steps.Mkdir) -> None:
    machine.task(step.task).mkdir(step.path.mount, step.path.name)


def _rename(machine: Machine, step: steps.Rename) -> None:
    machine.task(step.task).rename((step.path.mount, step.path.name), (step.new_path.mount, step.new_path.name))


def _link(machine: Machine, step: steps.Link) -> None:
    machine.task(step.task).link((step.path.mount, step.path.name), (step.new_path.mount, step.new_path.name))


def _truncate(machine: Machine, step: steps.Truncate) -> None:
    machine.task(step.task).truncate(step.handle, step.size_bytes)


def _fallocate(machine: Machine, step: steps.Fallocate) -> None:
    machine.task(step.task).fallocate(step.handle, step.offset_bytes, step.length_bytes, step.mode)


def _punch(machine: Machine, step: steps.Punch) -> None:
    machine.task(step.task).punch(step.handle, step.offset_bytes, step.length_bytes)


def _advise_file(machine: Machine, step: steps.Fadvise | steps.Readahead) -> None:
    machine.task(step.task).advise_file(step.handle, step.offset_bytes, step.length_bytes)


def _pread(machine: Machine, step: steps.Pread) -> Outcome:
    return number(machine.task(step.task).pread(step.handle, step.offset_bytes, step.length_bytes))


def _pwrite(machine: Machine, step: steps.Pwrite) -> Outcome:
    return number(machine.task(step.task).pwrite(step.handle, step.offset_bytes, step.length_bytes))


def _stat(machine: Machine, step: steps.Stat) -> Outcome:
    task = machine.task(step.task)
    if step.path is not None:
        return _facts(task.stat_path(step.path.mount, step.path.name))
    assert step.handle is not None
    return _facts(task.stat(task.file(step.handle).inode))


def _facts(stat: Stat) -> Outcome:
    return facts(
        size_bytes=stat.size_bytes,
        pages=stat.pages,
        links=stat.links,
        mode=stat.mode,
        uid=stat.uid,
        gid=stat.gid,
    )


# ── Memory ──


def _mmap(machine: Machine, step: steps.Mmap) -> None:
    task = machine.task(step.task)
    where = step.place
    place = None if where is None else mmap.Place(where.mapping, where.offset_bytes, where.hint)
    how = mmap.How(step.shared, step.protection, not step.noreserve, step.populate or step.locked)
    if step.source == "file":
        assert step.handle is not None
        mmap.map_file(task, step.mapping, step.handle, step.offset_bytes, step.length_bytes, how, place)
    elif step.source == "anon":
        mmap.map_anonymous(task, step.mapping, step.length_bytes, how, place)
    else:
        mmap.map_ordinary(task, step.mapping, step.length_bytes, how, place, locked=step.locked)


def _span(task: Task, mapping: str, span: steps.Span | None) -> tuple[int, int]:
    """A part of a mapping's range as address and length."""
    start, length = task.ranges[mapping]
    return (start, length) if span is None else (start + span.start_bytes, span.length_bytes)


def _munmap(machine: Machine, step: steps.Munmap) -> None:
    task = machine.task(step.task)
    mmap.unmap(task, *_span(task, step.mapping, step.span))


def _touch(machine: Machine, step: steps.Write | steps.Read) -> None:
    task = machine.task(step.task)
    start, length = _span(task, step.mapping, step.span)
    touch.touch(task, start, start + length, write=isinstance(step, steps.Write))


def _store(machine: Machine, step: steps.Store) -> None:
    touch.store(machine.task(step.task), step.mapping, step.page_index, step.value)


def _load(machine: Machine, step: steps.Load) -> Outcome:
    return number(touch.load(machine.task(step.task), step.mapping, step.page_index))


def _madvise(machine: Machine, step: steps.Madvise) -> None:
    task = machine.task(step.task)
    advice.advise(task, step.advice, *_span(task, step.mapping, step.span))


def _mprotect(machine: Machine, step: steps.Mprotect) -> None:
    task = machine.task(step.task)
    protection.protect(task, *_span(task, step.mapping, step.span), step.protection)


def _mlock(machine: Machine, step: steps.Mlock) -> None:
    task = machine.task(step.task)
    protection.lock(task, *_span(task, step.mapping, None))


def _munlock(machine: Machine, step: steps.Munlock) -> None:
    task = machine.task(step.task)
    protection.unlock(task, *_span(task, step.mapping, None))


def _mremap(machine: Machine, step: steps.Mremap) -> None:
    task = machine.task(step.task)
    to = None
    if step.place is not None:
        to, _ = mmap.resolve(
            task, mmap.Place(step.place.mapping, step.place.offset_bytes), max(step.new_bytes, step.old_bytes)
        )
    start, _ = task.ranges[step.mapping]
    move = mremap.Move(start, step.old_bytes, step.new_bytes, step.maymove, step.dontunmap, to)
    task.ranges[step.new_mapping] = (mremap.remap(task, move), -(-step.new_bytes // PAGE_BYTES) * PAGE_BYTES)


def _pin(machine: Machine, step: steps.Pin) -> None:
    task = machine.task(step.task)
    start, length = _span(task, step.mapping, step.span)
    touch.pin(task, start, start + length, step.io)


def _dio(machine: Machine, step: steps.Dio) -> Outcome:
    task = machine.task(step.task)
    return number(touch.direct_io(task, *_span(task, step.mapping, step.span)))


# ── Tasks and System V memory ──


def _fork(machine: Machine, step: steps.Fork) -> None:
    machine.task(step.task).fork(step.child)


def _exit(machine: Machine, step: steps.Exit | steps.Kill) -> None:
    machine.task(step.task).exit()


def _shmget(machine: Machine, step: steps.Shmget) -> None:
    shm.get(machine.task(step.task), step.segment, step.size_bytes, reserve=not step.noreserve)


def _shmat(machine: Machine, step: steps.Shmat) -> None:
    shm.attach(machine.task(step.task), step.mapping, step.segment, readonly=step.readonly)


def _shmdt(machine: Machine, step: steps.Shmdt) -> None:
    shm.detach(machine.task(step.task), step.mapping)


def _shmrm(machine: Machine, step: steps.Shmrm) -> None:
    shm.remove(machine.task(step.task), step.segment)


_PERFORM: dict[type[steps.Step], _Perform] = {
    steps.Pool: _pool,
    steps.Overcommit: _overcommit,
    steps.Mount: _mount,
    steps.Remount: _remount,
    steps.Umount: _umount,
    steps.Cgroup: _cgroup,
    steps.RemoveCgroup: _rmcgroup,
    steps.Unpin: _unpin,
    steps.Enter: _enter,
    steps.Open: _open,
    steps.Memfd: _memfd,
    steps.Seal: _seal,
    steps.Close: _close,
    steps.Unlink: _unlink,
    steps.Mkdir: _mkdir,
    steps.Rename: _rename,
    steps.Link: _link,
    steps.Truncate: _truncate,
    steps.Fallocate: _fallocate,
    steps.Punch: _punch,
    steps.Fadvise: _advise_file,
    steps.Readahead: _advise_file,
    steps.Pread: _pread,
    steps.Pwrite: _pwrite,
    steps.Stat: _stat,
    steps.Mmap: _mmap,
    steps.Munmap: _munmap,
    steps.Write: _touch,
    steps.Read: _touch,
    steps.Store: _store,
    steps.Load: _load,
    steps.Madvise: _madvise,
    steps.Mprotect: _mprotect,
    steps.Mlock: _mlock,
    steps.Munlock: _munlock,
    steps.Mremap: _mremap,
    steps.Pin: _pin,
    steps.Dio: _dio,
    steps.Fork: _fork,
    steps.Exit: _exit,
    steps.Kill: _exit,
    steps.Shmget: _shmget,
    steps.Shmat: _shmat,
    steps.Shmdt: _shmdt,
    steps.Shmrm: _shmrm,
}
