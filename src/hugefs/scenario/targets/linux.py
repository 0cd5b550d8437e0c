"""The target ``linux``: real processes on the kernel's own hugetlbfs.

Rule 1: a touch is MADV_POPULATE_READ or _WRITE: what would be a SIGBUS is an outcome. ``store`` and ``load`` are real.
Rule 2: an I/O in flight is a base page of each huge page in a pipe that only the runner holds.
Rule 3: everything lives in namespaces of its own; the pool is the machine's, held under its one lock and put back.
Rule 4: what is known to leave the kernel's counters wrong for good, or to crash it, is refused before it starts.
Rule 5: an ``irq`` at unpin changes nothing here: the last reference is dropped by this process, as a task.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hugefs.linux.huge_page_settings import CannotRunHere
from hugefs.scenario import outcome, steps
from hugefs.scenario.counters import UNSIGNED_MAX, Counters, InodeCounters, MountCounters, unsigned
from hugefs.scenario.dangerous import why_dangerous
from hugefs.scenario.outcome import KILLED, OK, SIGBUS, Outcome
from hugefs.scenario.scenario import Scenario
from hugefs.scenario.sizes import PAGE_BYTES
from hugefs.scenario.steps import Step, TaskStep
from hugefs.scenario.targets.linux_groups import Groups
from hugefs.scenario.targets.linux_pool import Pool, taken, why_too_big
from hugefs.scenario.targets.process import DEAD, Process, World, end_all

__all__ = ["LinuxTarget", "opened"]

_PLACES = ("/media", "/srv", "/opt", "/mnt", "/home", "/tmp")
_BASE_PAGE_BYTES = 4096
_PIPE_PAGES = 16
_PIPE_PAGES_MAX = 256  # /proc/sys/fs/pipe-max-size, as it is everywhere
_BARE = ("hugefs", "hugefs.memory")
_WORLD = """
import sys, types
for name, place in {packages!r}.items():
    sys.modules[name] = module = types.ModuleType(name)
    module.__path__ = [place]
from hugefs.scenario.targets.linux_world import main
main()
"""
_NO_LIMIT = (0, UNSIGNED_MAX)


@contextmanager
def opened(profile: str | None = None) -> Iterator[LinuxTarget]:
    """The kernel of this machine, for any number of files. A profile is the simulation's alone."""
    if _huge_pages_are_memory():
        raise CannotRunHere("huge pages are charged to memory cgroups here (memory_hugetlb_accounting)")
    place = _empty_directory()
    with taken() as pool:
        try:
            world = World.start(_program(), place)
        except OSError as error:
            raise CannotRunHere(f"a scenario needs namespaces of its own: {error}") from error
        target = LinuxTarget(pool, world, place)
        try:
            yield target
        finally:
            target.close()


class LinuxTarget:
    """Scenarios on the kernel. Made by ``opened``."""

    name = "linux"
    sees_touches = True

    def __init__(self, pool: Pool, world: World, place: str) -> None:
        self._pool = pool
        self._world = world
        self._place = place
        self._visible = f"/proc/{world.pid}/root{place}"
        self._groups: Groups | None = None
        self._tasks: dict[str, Process] = {}
        self._mounts: list[str] = []
        self._pins: dict[str, list[int]] = {}
        self._segments: dict[str, tuple[int, int]] = {}

    def why_not(self, scenario: Scenario) -> str | None:
        """What would harm this machine."""
        return why_too_big(max((_pages_asked(line.step) for line in scenario), default=0)) or why_dangerous(scenario)

    def begin(self, scenario: Scenario) -> None:
        """An empty pool. Raises CannotRunHere where somebody uses it, or cgroups are wanted and cannot be had.

        What is dangerous is refused here too: whoever forgets to ask must not pay for it with a reboot.
        """
        danger = self.why_not(scenario)
        if danger is not None:
            raise CannotRunHere(danger)
        left = self._pool.empty()
        if left is not None:
            raise CannotRunHere(f"the pool of huge pages is in use by others: {Counters(left)}")
        if self._groups is None and any(isinstance(line.step, steps.Cgroup) for line in scenario):
            self._groups = Groups(self._world)

    def perform(self, step: Step) -> Outcome:
        """One step."""
        try:
            return _PERFORM[type(step)](self, step)
        except OSError as error:
            return outcome.failed(error.errno or errno.EIO)

    def counters(self) -> Counters:
        """Everything now."""
        mounts: dict[str, MountCounters] = {}
        inodes: dict[str, InodeCounters] = {}
        for mount in self._mounts:
            status = os.statvfs(f"{self._visible}/{mount}")
            # Python shows the kernel's unsigned numbers as signed ones.
            blocks = (status.f_blocks, status.f_bfree, status.f_bavail)
            mounts[mount] = MountCounters(*map(unsigned, blocks))
            if unsigned(status.f_files) not in _NO_LIMIT:
                inodes[mount] = InodeCounters(unsigned(status.f_files), unsigned(status.f_ffree))
        charges, events = self._groups.counters() if self._groups else ({}, {})
        return Counters(self._pool.counters(), mounts, inodes, charges, events)

    def end(self) -> str | None:
        """Everything goes, in the order that harms no kernel: I/Os, tasks, segments, mounts, groups, pages."""
        for io in list(self._pins):
            self._unpin(io)
        end_all(list(self._tasks.values()))
        self._tasks.clear()
        for segment, _ in self._segments.values():
            with suppress(OSError):
                self._world.call("segment", segment)
        self._segments.clear()
        for mount in reversed(self._mounts):
            with suppress(OSError):
                self._world.call("umount", f"{self._place}/{mount}", True)
        self._mounts.clear()
        left = self._groups.end() if self._groups else []
        wrong = self._pool.empty()
        if wrong is not None:
            left.append(f"the kernel's counters did not come back: {Counters(wrong)} with nothing in use")
        return "; ".join(left) or None

    def close(self) -> None:
        """The world ends."""
        if self._groups is not None:
            self._groups.close()
        self._world.close()

    # ── Tasks ──

    def _task(self, name: str) -> Process:
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = self._world.new_task()
        return task

    def _call(self, name: str, *command: Any, fd: int = -1) -> tuple[int, Any]:
        """A command of a task; one that dies of it is gone afterwards."""
        answer = self._task(name).call(*command, fd=fd)
        if answer is DEAD:
            del self._tasks[name]
        return answer

    def _plain(self, step: TaskStep, *arguments: Any) -> Outcome:
        """A command that answers nothing but whether it worked."""
        number, _ = self._call(step.task, step.verb, *arguments)
        return OK if number == 0 else KILLED if number < 0 else outcome.failed(number)

    def _number(self, step: TaskStep, *arguments: Any, fd: int = -1) -> Outcome:
        """A command that answers a number."""
        number, value = self._call(step.task, step.verb, *arguments, fd=fd)
        return outcome.number(value) if number == 0 else KILLED if number < 0 else outcome.failed(number)

    def _touch(self, step: steps.Write | steps.Read) -> Outcome:
        """MADV_POPULATE says EFAULT where a touch would be a SIGBUS."""
        number, _ = self._call(step.task, step.verb, step.mapping, _span(step.span))
        if number == errno.EFAULT:
            return SIGBUS
        return OK if number == 0 else KILLED if number < 0 else outcome.failed(number)

    def _fork(self, step: steps.Fork) -> Outcome:
        child, theirs = Process.pair()
        with theirs:
            number, pid = self._call(step.task, "fork", fd=theirs.fileno())
        if number:
            return KILLED if number < 0 else outcome.failed(number)
        child.is_now(pid)
        self._tasks[step.child] = child
        return OK

    def _exit(self, step: steps.Exit) -> Outcome:
        self._task(step.task).exit()
        del self._tasks[step.task]
        return OK

    def _kill(self, step: steps.Kill) -> Outcome:
        self._task(step.task).kill()
        del self._tasks[step.task]
        return OK

    # ── The world ──

    def _resize(self, step: steps.Pool) -> Outcome:
        self._pool.resize(step.pages)
        return OK

    def _overcommit(self, step: steps.Overcommit) -> Outcome:
        self._pool.overcommit(step.pages)
        return OK

    def _mount(self, step: steps.Mount) -> Outcome:
        self._world.call("mount", f"{self._place}/{step.mount}", step.options)
        self._mounts.append(step.mount)
        return OK

    def _remount(self, step: steps.Remount) -> Outcome:
        self._world.call("remount", f"{self._place}/{step.mount}", step.options)
        return OK

    def _umount(self, step: steps.Umount) -> Outcome:
        self._world.call("umount", f"{self._place}/{step.mount}", step.lazy)
        self._mounts.remove(step.mount)
        return OK

    def _cgroup(self, step: steps.Cgroup) -> Outcome:
        self._of_groups().make(step.group, step.pages_max, step.pages_reserved_max)
        return OK

    def _remove_cgroup(self, step: steps.RemoveCgroup) -> Outcome:
        self._of_groups().remove(step.group)
        return OK

    def _enter(self, step: steps.Enter) -> Outcome:
        self._of_groups().enter(step.group, self._task(step.task).pid)
        return OK

    def _of_groups(self) -> Groups:
        assert self._groups is not None, "begin saw no cgroup step"
        return self._groups

    # ── I/O and System V memory ──

    def _pin(self, step: steps.Pin) -> Outcome:
        """A pipe a few hundred pages, all or none."""
        if step.span is None:
            raise OSError(errno.EINVAL, "a pin names its pages")
        held: list[int] = []
        start, end = step.span.start_bytes, step.span.start_bytes + step.span.length_bytes
        self._pins[step.io] = held
        for first in range(start, end, _PIPE_PAGES_MAX * PAGE_BYTES):
            length = min(end - first, _PIPE_PAGES_MAX * PAGE_BYTES)
            pages = -(-length // PAGE_BYTES)
            receiver, sender = os.pipe2(os.O_CLOEXEC)
            held += (receiver, sender)
            if pages > _PIPE_PAGES:
                fcntl.fcntl(sender, fcntl.F_SETPIPE_SZ, _PIPE_PAGES_MAX * _BASE_PAGE_BYTES)
            number, count = self._call(step.task, "pin", step.mapping, (first, length), fd=sender)
            if number or count != pages * _BASE_PAGE_BYTES:
                self._unpin(step.io)
                return KILLED if number < 0 else outcome.failed(number or errno.EFAULT)
        return OK

    def _unpin(self, io: str) -> Outcome:
        for fd in self._pins.pop(io, []):
            os.close(fd)
        return OK

    def _dio(self, step: steps.Dio) -> Outcome:
        scratch = _scratch_file()
        try:
            return self._number(step, step.mapping, _span(step.span), fd=scratch)
        finally:
            os.close(scratch)

    def _shmget(self, step: steps.Shmget) -> Outcome:
        number, segment = self._call(step.task, "shmget", step.size_bytes, step.noreserve)
        if number:
            return KILLED if number < 0 else outcome.failed(number)
        self._segments[step.segment] = (segment, -(-step.size_bytes // PAGE_BYTES) * PAGE_BYTES)
        return OK

    def _stat(self, step: steps.Stat) -> Outcome:
        path = "" if step.path is None else self._path(step.path)
        number, value = self._call(step.task, "stat", step.handle, path)
        if number:
            return KILLED if number < 0 else outcome.failed(number)
        size_bytes, pages, links, mode, uid, gid = value
        return outcome.facts(size_bytes=size_bytes, pages=pages, links=links, mode=mode, uid=uid, gid=gid)

    def _open(self, step: steps.Open) -> Outcome:
        flags = os.O_RDONLY if step.readonly else os.O_RDWR
        flags |= (os.O_CREAT if step.create else 0) | (os.O_TRUNC if step.truncate else 0)
        return self._plain(step, step.handle, self._path(step.path), flags, step.unlinked)

    def _path(self, path: steps.FilePath) -> str:
        return f"{self._place}/{path}"


def _span(span: steps.Span | None) -> tuple[int, int] | None:
    return None if span is None else (span.start_bytes, span.length_bytes)


def _at(place: steps.Place | None) -> tuple[str | None, int, bool] | None:
    return None if place is None else (place.mapping, place.offset_bytes, place.hint)


def _mmap(target: LinuxTarget, step: steps.Mmap) -> Outcome:
    words = (step.shared, step.noreserve, step.populate, step.locked)
    return target._plain(
        step,
        step.mapping,
        step.source,
        step.handle,
        step.offset_bytes,
        step.length_bytes,
        words,
        step.protection,
        _at(step.place),
    )


def _mremap(target: LinuxTarget, step: steps.Mremap) -> Outcome:
    words = (step.maymove, step.dontunmap)
    return target._plain(step, step.mapping, step.old_bytes, step.new_bytes, words, _at(step.place), step.new_mapping)


def _on_range(target: LinuxTarget, step: Any) -> Outcome:
    return target._plain(step, step.handle, step.offset_bytes, step.length_bytes)


def _on_two_paths(target: LinuxTarget, step: Any) -> Outcome:
    return target._plain(step, target._path(step.path), target._path(step.new_path))


_PERFORM: dict[type[Step], Callable[[LinuxTarget, Any], Outcome]] = {
    steps.Pool: LinuxTarget._resize,
    steps.Overcommit: LinuxTarget._overcommit,
    steps.Mount: LinuxTarget._mount,
    steps.Remount: LinuxTarget._remount,
    steps.Umount: LinuxTarget._umount,
    steps.Cgroup: LinuxTarget._cgroup,
    steps.RemoveCgroup: LinuxTarget._remove_cgroup,
    steps.Enter: LinuxTarget._enter,
    steps.Unpin: lambda target, step: target._unpin(step.io),
    steps.Open: LinuxTarget._open,
    steps.Memfd: lambda target, step: target._plain(step, step.handle, step.sealable),
    steps.Seal: lambda target, step: target._plain(step, step.handle, step.seal),
    steps.Close: lambda target, step: target._plain(step, step.handle),
    steps.Unlink: lambda target, step: target._plain(step, target._path(step.path)),
    steps.Mkdir: lambda target, step: target._plain(step, target._path(step.path)),
    steps.Rename: _on_two_paths,
    steps.Link: _on_two_paths,
    steps.Truncate: lambda target, step: target._plain(step, step.handle, step.size_bytes),
    steps.Fallocate: lambda target, step: target._plain(
        step, step.handle, step.offset_bytes, step.length_bytes, step.mode
    ),
    steps.Punch: _on_range,
    steps.Fadvise: _on_range,
    steps.Readahead: _on_range,
    steps.Pread: lambda target, step: target._number(step, step.handle, step.offset_bytes, step.length_bytes),
    steps.Pwrite: lambda target, step: target._number(step, step.handle, step.offset_bytes, step.length_bytes),
    steps.Stat: LinuxTarget._stat,
    steps.Mmap: _mmap,
    steps.Munmap: lambda target, step: target._plain(step, step.mapping, _span(step.span)),
    steps.Write: LinuxTarget._touch,
    steps.Read: LinuxTarget._touch,
    steps.Store: lambda target, step: target._plain(step, step.mapping, step.page_index, step.value),
    steps.Load: lambda target, step: target._number(step, step.mapping, step.page_index),
    steps.Madvise: lambda target, step: target._plain(step, step.mapping, _span(step.span), step.advice),
    steps.Mprotect: lambda target, step: target._plain(step, step.mapping, _span(step.span), step.protection),
    steps.Mlock: lambda target, step: target._plain(step, step.mapping),
    steps.Munlock: lambda target, step: target._plain(step, step.mapping),
    steps.Mremap: _mremap,
    steps.Fork: LinuxTarget._fork,
    steps.Exit: LinuxTarget._exit,
    steps.Kill: LinuxTarget._kill,
    steps.Pin: LinuxTarget._pin,
    steps.Dio: LinuxTarget._dio,
    steps.Shmget: LinuxTarget._shmget,
    steps.Shmat: lambda target, step: target._plain(step, step.mapping, *target._segments[step.segment], step.readonly),
    steps.Shmdt: lambda target, step: target._plain(step, step.mapping),
    steps.Shmrm: lambda target, step: target._plain(step, target._segments[step.segment][0]),
}


def _pages_asked(step: Step) -> int:
    return step.pages if isinstance(step, steps.Pool | steps.Overcommit) else 0


def _program() -> str:
    """What the first process runs. It loads single modules of ours and not what their packages load: NumPy, for one."""
    source = Path(__file__).parents[3]
    return _WORLD.format(packages={name: str(source.joinpath(*name.split("."))) for name in _BARE})


def _empty_directory() -> str:
    """A directory with nothing in it to mount over; what is hidden is hidden from the tasks alone."""
    there = [place for place in _PLACES if os.path.isdir(place) and not os.path.islink(place)]
    for place in there:
        if not os.listdir(place):
            return place
    if not there:
        raise CannotRunHere(f"none of the directories {', '.join(_PLACES)} exists to mount over")
    return there[-1]


def _huge_pages_are_memory() -> bool:
    with suppress(OSError):
        return "memory_hugetlb_accounting" in Path("/proc/self/mounts").read_text()
    return False


def _scratch_file() -> int:
    """A nameless file for direct I/O."""
    flags = os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC
    for directory in (os.environ.get("TMPDIR"), "/var/tmp", tempfile.gettempdir(), os.getcwd()):
        if directory:
            with suppress(OSError):
                return os.open(directory, flags | os.O_TMPFILE, 0o600)
    raise CannotRunHere("no file system here takes direct I/O (O_DIRECT and O_TMPFILE); set TMPDIR to one that does")
