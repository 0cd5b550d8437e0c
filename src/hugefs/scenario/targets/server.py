"""The target ``server``: real client processes on a private server of hugefs.

Rule 1: a private server has one pool, as big as its one mount. What needs more cannot run here; the reason says what.
Rule 2: the memory is base pages: what is compared is the server's books, not where its bytes lie.
Rule 3: a file is refused as a whole, before it starts: nothing is done in part.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hugefs.client.mount import Mount, mount
from hugefs.core.mount_options import MountOptions, parse_mount_options
from hugefs.errors import HugefsError
from hugefs.linux.huge_page_settings import CannotRunHere
from hugefs.scenario import outcome, steps
from hugefs.scenario.counters import Counters, InodeCounters, MountCounters, PoolCounters, unsigned
from hugefs.scenario.on_server import why_not_on_private_server
from hugefs.scenario.outcome import KILLED, OK, SIGBUS, Outcome
from hugefs.scenario.scenario import Scenario
from hugefs.scenario.sizes import PAGE_BYTES
from hugefs.scenario.steps import Step, TaskStep
from hugefs.scenario.targets.process import DEAD, Process, World, end_all

__all__ = ["ServerTarget", "opened"]

_PROGRAM = "from hugefs.scenario.targets.server_task import main; main()"
_PATIENCE_SECONDS = 5.0


@contextmanager
def opened(profile: str | None = None) -> Iterator[ServerTarget]:
    """Private servers, one a file. A profile is the simulation's alone."""
    try:
        world = World.start(_PROGRAM)
    except OSError as error:
        raise CannotRunHere(f"no client processes can be started: {error}") from error
    try:
        yield ServerTarget(world)
    finally:
        world.close()


class ServerTarget:
    """Scenarios on a server. Made by ``opened``."""

    name = "server"
    sees_touches = False

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: dict[str, Process] = {}
        self._pages = 0
        self._mount: Mount | None = None
        self._mount_name = ""
        self._options = MountOptions()
        self._pins: dict[str, str] = {}

    def why_not(self, scenario: Scenario) -> str | None:
        """What a private server has not."""
        return why_not_on_private_server(scenario)

    def begin(self, scenario: Scenario) -> None:
        """There is no server until its mount is made."""
        self._pages = 0

    def perform(self, step: Step) -> Outcome:
        """One step."""
        try:
            return _PERFORM[type(step)](self, step)
        except (HugefsError, OSError) as error:
            return outcome.failed(getattr(error, "errno", None) or errno.EIO)

    def counters(self) -> Counters:
        """The server's own; before it is there, the pool it is going to have."""
        if self._mount is None:
            return Counters(PoolCounters(self._pages, self._pages, 0, 0))
        info = self._mount.meminfo()
        pool = PoolCounters(info.pages_total, info.pages_free, info.pages_reserved, info.pages_surplus)
        if not self._mount_name:
            return Counters(pool)
        status = self._mount.statvfs()
        blocks = MountCounters(*map(unsigned, (status.f_blocks, status.f_bfree, status.f_bavail)))
        inodes = {}
        if self._options.inodes_max is not None:
            inodes[self._mount_name] = InodeCounters(status.f_files, status.f_ffree)
        return Counters(pool, {self._mount_name: blocks}, inodes)

    def end(self) -> str | None:
        """The clients end, and with the last of them their server."""
        end_all(list(self._tasks.values()))
        self._tasks.clear()
        self._pins.clear()
        if self._mount is not None:
            self._mount.close()
        self._mount, self._mount_name = None, ""
        return None

    # ── Tasks ──

    def _call(self, name: str, *command: Any, fd: int = -1) -> tuple[int, Any]:
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = self._world.new_task()
        verb, *arguments = command
        answer = task.call(verb, self._mount.address if self._mount else "", *arguments, fd=fd)
        if answer is DEAD:
            self._gone(name)
        return answer

    def _plain(self, step: TaskStep, *arguments: Any) -> Outcome:
        number, _ = self._call(step.task, step.verb, *arguments)
        return OK if number == 0 else KILLED if number < 0 else outcome.failed(number)

    def _touch(self, step: steps.Write | steps.Read) -> Outcome:
        number, _ = self._call(step.task, step.verb, step.mapping, _span(step.span))
        if number == errno.EFAULT:
            return SIGBUS
        return OK if number == 0 else KILLED if number < 0 else outcome.failed(number)

    def _load(self, step: steps.Load) -> Outcome:
        number, value = self._call(step.task, "load", step.mapping, step.page_index)
        return outcome.number(value) if number == 0 else KILLED if number < 0 else outcome.failed(number)

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
        if step.task in self._tasks:
            self._tasks[step.task].exit()
            self._gone(step.task)
        return OK

    def _kill(self, step: steps.Kill) -> Outcome:
        if step.task in self._tasks:
            self._tasks[step.task].kill()
            self._gone(step.task)
        return OK

    def _gone(self, name: str) -> None:
        """A task has ended; the server hears of it in its own time, so wait until it holds nothing there."""
        pid = self._tasks.pop(name).pid
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._mount is not None and any(holder.pid == pid for holder in self._mount.holders()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server still lists task {name}, which has ended")
            time.sleep(0.001)

    # ── The world ──

    def _resize(self, step: steps.Pool) -> Outcome:
        self._pages = step.pages
        return OK

    def _make_mount(self, step: steps.Mount) -> Outcome:
        options = parse_mount_options(step.options, page_bytes=PAGE_BYTES, pages_configured=self._pages)
        self._options = options
        self._mount = mount(
            (options.pages_max or 0) * PAGE_BYTES,
            min_size=None if options.pages_min is None else options.pages_min * PAGE_BYTES,
            nr_inodes=options.inodes_max,
            huge="off",
        )
        self._mount_name = step.mount
        return OK

    def _umount(self, step: steps.Umount) -> Outcome:
        assert self._mount is not None
        self._mount.umount(step.lazy)
        self._mount_name = ""
        return OK

    def _mmap(self, step: steps.Mmap) -> Outcome:
        access = "private" if not step.shared else "read" if step.protection == "ro" else "shared"
        return self._plain(step, step.mapping, step.handle, step.offset_bytes, step.length_bytes, access, step.populate)

    def _pin(self, step: steps.Pin) -> Outcome:
        span = step.span or steps.Span(0, 0)
        done = self._plain(
            step, step.mapping, span.start_bytes // PAGE_BYTES, -(-span.length_bytes // PAGE_BYTES), step.io
        )
        if done == OK:
            self._pins[step.io] = step.task
        return done

    def _unpin(self, step: steps.Unpin) -> Outcome:
        task = self._pins.pop(step.io, None)
        if task is not None:
            self._call(task, "unpin", step.io)
        return OK


def _span(span: steps.Span | None) -> tuple[int, int] | None:
    return None if span is None else (span.start_bytes, span.length_bytes)


def _on_two_paths(target: ServerTarget, step: Any) -> Outcome:
    return target._plain(step, step.path.name, step.new_path.name)


_PERFORM: dict[type[Step], Callable[[ServerTarget, Any], Outcome]] = {
    steps.Pool: ServerTarget._resize,
    steps.Overcommit: lambda target, step: OK,
    steps.Mount: ServerTarget._make_mount,
    steps.Umount: ServerTarget._umount,
    steps.Unpin: ServerTarget._unpin,
    steps.Open: lambda target, step: target._plain(
        step, step.handle, step.path.name, step.create, step.readonly, step.unlinked, step.truncate
    ),
    steps.Close: lambda target, step: target._plain(step, step.handle),
    steps.Unlink: lambda target, step: target._plain(step, step.path.name),
    steps.Mkdir: lambda target, step: target._plain(step, step.path.name),
    steps.Rename: _on_two_paths,
    steps.Link: _on_two_paths,
    steps.Truncate: lambda target, step: target._plain(step, step.handle, step.size_bytes),
    steps.Fallocate: lambda target, step: target._plain(
        step, step.handle, step.offset_bytes, step.length_bytes, step.mode == "keep_size"
    ),
    steps.Punch: lambda target, step: target._plain(step, step.handle, step.offset_bytes, step.length_bytes),
    steps.Mmap: ServerTarget._mmap,
    steps.Munmap: lambda target, step: target._plain(step, step.mapping),
    steps.Write: ServerTarget._touch,
    steps.Read: ServerTarget._touch,
    steps.Store: lambda target, step: target._plain(step, step.mapping, step.page_index, step.value),
    steps.Load: ServerTarget._load,
    steps.Fork: ServerTarget._fork,
    steps.Exit: ServerTarget._exit,
    steps.Kill: ServerTarget._kill,
    steps.Pin: ServerTarget._pin,
}
