"""The runner's side of a task: its socket and its pidfd; and the process from which tasks are forked.

Rule 1: a task that dies answers nothing: its socket closes. It is gone, with all that it held, when its pidfd says so.
Rule 2: nobody but the two ends has a task's socket: no end is inherited by a process that is not meant.
"""

from __future__ import annotations

import array
import marshal
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from typing import Any

__all__ = ["DEAD", "Process", "World", "end_all"]

DEAD = (-1, None)
"""The answer of a process that died instead."""

_ANSWER_SECONDS = 120
_MESSAGE_BYTES_MAX = 1 << 16
_TIMEOUT = struct.pack("ll", _ANSWER_SECONDS, 0)


class Process:
    """One task, or the process all tasks are forked from."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        self._sock = sock
        self.pid = 0
        self._pidfd = -1

    @classmethod
    def pair(cls) -> tuple[Process, socket.socket]:
        """This side, and the socket for the other."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def is_now(self, pid: int) -> None:
        """Which process it has become."""
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def call(self, *command: Any, fd: int = -1) -> tuple[int, Any]:
        """Send a command, wait for its answer: errno (0 for none) and value, or DEAD; it has two minutes."""
        ancillary = [] if fd < 0 else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            self._sock.sendmsg([marshal.dumps(command)], ancillary)
            data = self._sock.recv(_MESSAGE_BYTES_MAX)
        except (BrokenPipeError, ConnectionResetError):
            data = b""
        except BlockingIOError:
            self.signal_kill()  # whatever holds it there: a task that never answers again is a dead one
            data = b""
        if data:
            answer: tuple[int, Any] = marshal.loads(data)
            return answer
        self.wait()
        return DEAD

    def greeting(self) -> tuple[int, Any]:
        """What it says first, unasked."""
        data = self._sock.recv(_MESSAGE_BYTES_MAX)
        return marshal.loads(data) if data else (1, "the process ended at once")

    def hang_up(self) -> None:
        """It notices, and ends; wait for it."""
        self._sock.close()
        self.wait()

    def exit(self) -> None:
        """Let it end by itself, and wait for it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._sock.send(marshal.dumps(("exit",)))
        self.wait()

    def signal_kill(self) -> None:
        """SIGKILL, without waiting."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL, and wait for it."""
        self.signal_kill()
        self.wait()

    def wait(self) -> None:
        """Wait until it is gone and holds nothing any more."""
        if self._pidfd >= 0:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            poll.poll()
            os.close(self._pidfd)
            self._pidfd = -1
        self._sock.close()


def end_all(processes: list[Process]) -> None:
    """Kill them all, then wait for each."""
    for process in processes:
        process.signal_kill()
    for process in processes:
        process.wait()


class World:
    """The process that all tasks are forked from; it ends, and cleans up, when it is hung up on."""

    def __init__(self, process: Process, child: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._process = process
        self._child = child

    @classmethod
    def start(cls, program: str, *arguments: str) -> World:
        """Start it: a Python program that finds its socket's number as its first argument. Raises OSError."""
        process, theirs = Process.pair()
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-P", "-c", program, str(theirs.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
                cwd="/",
            )
        process.is_now(child.pid)
        number, value = process.greeting()
        if number:
            process.hang_up()
            child.wait()
            raise OSError(number, str(value))
        return cls(process, child)

    def call(self, *command: Any, fd: int = -1) -> Any:
        """Send a command; its value. Raises OSError as the call there did."""
        number, value = self._process.call(*command, fd=fd)
        if number:
            raise OSError(number, str(value))
        return value

    def new_task(self) -> Process:
        """A new task."""
        process, theirs = Process.pair()
        with theirs:
            process.is_now(self.call("task", fd=theirs.fileno()))
        return process

    def close(self) -> None:
        """Let it end; all that it held is gone afterwards. What is not its own the runner puts back itself."""
        self.call("leave")
        self._process.hang_up()
        self._child.wait()
