"""The process from which the tasks of a scenario are forked, and which holds their world: mounts and System V segments.

It lives in namespaces of its own, so that nothing of it is seen outside and all of it goes with its last process.
It outlives a runner that was killed just long enough to clean up: tasks end, groups go, the pool is put back.

Rule 1: it answers commands like a task does: ("task",) with a socket, ("mount", …), ("umount", …), ("segment", id).
Rule 2: started as a program of its own: the runner may be large, and what is forked often should be small.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hugefs.memory import _libc
from hugefs.scenario.targets import linux_task

__all__ = ["main"]


def main() -> None:
    """Serve the socket whose number is the first argument; the second is a directory to mount over, in private."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    place = sys.argv[2]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has ended is gone; the runner watches by pidfd
    try:
        _settle(place)
    except OSError as error:
        linux_task.answer(sock, error.errno or 1, str(error))
        return
    linux_task.answer(sock, 0, os.getpid())
    world = _World(sock, place)
    while True:
        command, fd = linux_task.receive(sock)
        if not command:
            break
        try:
            value = _COMMANDS[command[0]](world, fd, *command[1:])
        except OSError as error:
            linux_task.answer(sock, error.errno or 0, str(error))
        else:
            linux_task.answer(sock, 0, value)
    world.clean_up()


def _settle(place: str) -> None:
    """Take namespaces, and an empty directory that only this process and its children see."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc.prctl(_libc.PR_SET_CHILD_SUBREAPER, 1)
    _libc.unshare(_libc.CLONE_NEWNS | _libc.CLONE_NEWIPC)
    _libc.mount("none", "/", None, _libc.MS_REC | _libc.MS_PRIVATE, None)
    _libc.mount("hugefs-scenario", place, "tmpfs", 0, "size=1M,mode=700")
    os.umask(0o022)
    os.chdir("/")


class _World:
    """Mounts, segments and the first tasks."""

    def __init__(self, sock: socket.socket, place: str) -> None:
        self._sock = sock
        self._place = place
        self._groups = ""
        self._control = ""
        self._leaves = False

    def leave(self, _fd: int) -> None:
        """The runner ends in good order and does the rest itself."""
        self._leaves = True

    def task(self, fd: int) -> int:
        """A new task behind the socket that came along; its pid."""
        pid = os.fork()
        if pid == 0:
            self._sock.close()
            linux_task.serve(socket.socket(fileno=fd))
        os.close(fd)
        return pid

    def mount(self, _fd: int, path: str, options: str, *, kind: str = "hugetlbfs") -> None:
        """A new directory, and a mount on it."""
        os.mkdir(path)
        try:
            _libc.mount("none", path, kind, 0, options)
        except OSError:
            os.rmdir(path)
            raise

    def remount(self, _fd: int, path: str, options: str) -> None:
        """MS_REMOUNT."""
        _libc.mount("none", path, None, _libc.MS_REMOUNT, options)

    def umount(self, _fd: int, path: str, lazy: bool) -> None:
        """The mount goes, and its directory."""
        _libc.umount(path, _libc.MNT_DETACH if lazy else 0)
        os.rmdir(path)

    def mount_groups(self, _fd: int, kind: str, options: str) -> str:
        """Mount a cgroup hierarchy; where."""
        path = f"{self._place}/cgroups "  # no mount of a scenario can have that name
        self.mount(-1, path, options, kind=kind)
        return path

    def own_groups(self, _fd: int, group: str, control: str) -> None:
        """This group is ours to remove if the runner dies, and the controller in that file ours to take back."""
        self._groups = group
        self._control = control

    def segment(self, _fd: int, segment: int) -> None:
        """Remove a segment that a scenario left."""
        _libc.shm_remove(segment)

    def clean_up(self) -> None:
        """The runner has gone: all tasks see that too, so wait for them; then put back what namespaces do not."""
        with suppress(ChildProcessError):
            while True:
                os.wait()
        if self._leaves:
            return
        for folder, _, _ in os.walk(self._groups, topdown=False) if self._groups else ():
            with suppress(OSError):  # somebody is in it who is not ours
                os.rmdir(folder)
        if self._control:
            with suppress(OSError), open(self._control, "w", encoding="ascii") as control:
                control.write("-hugetlb")
        from hugefs.linux.huge_page_settings import CannotRunHere, huge_page_settings

        with suppress(CannotRunHere), huge_page_settings():
            pass  # who takes the lock puts back what a killed holder left in its journal


_COMMANDS: dict[str, Callable[..., Any]] = {
    name: method for name, method in vars(_World).items() if callable(method) and not name.startswith("_")
}
