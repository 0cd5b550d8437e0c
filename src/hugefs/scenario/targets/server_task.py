"""A task of a scenario as a real client of a server: it takes commands from a socket and does them through hugefs.

Rule 1: a touch asks the server first (Mapping.populate), which knows what would be a SIGBUS; only then it is real.
Rule 2: what a client tells the server without waiting is done before the answer: a question comes before it.
Rule 3: the first process forks tasks and is no client of anybody.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import hugefs
from hugefs.client.file import HugeFile
from hugefs.client.mapping import Mapping
from hugefs.client.mount import Mount
from hugefs.client.pin import Pin
from hugefs.errors import BusError, HugefsError, NoHugePages
from hugefs.scenario.targets.linux_task import PAGE_BYTES, answer, receive

__all__ = ["main"]

Span = tuple[int, int] | None
_CHILD = object()


def main() -> None:
    """Fork a task for each socket that comes along, until nobody is there any more."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    answer(sock, 0, os.getpid())
    while True:
        command, fd = receive(sock)
        if not command:
            return
        if command[0] == "leave":
            answer(sock, 0)
            continue
        pid = os.fork()
        if pid == 0:
            sock.close()
            _serve(socket.socket(fileno=fd))
        os.close(fd)
        answer(sock, 0, pid)


def _serve(sock: socket.socket) -> NoReturn:
    try:
        client = _Client(sock)
        while True:
            command, fd = receive(client.sock)
            if not command or command[0] == "exit":
                os._exit(0)
            _obey(client, command, fd)
    finally:
        os._exit(1)


def _obey(client: _Client, command: tuple[Any, ...], fd: int) -> None:
    verb, address, *arguments = command
    try:
        client.go_to(address)
        value = _COMMANDS[verb](client, fd, *arguments)
        client.settle()
    except (HugefsError, OSError) as error:
        answer(client.sock, getattr(error, "errno", None) or errno.EINVAL, str(error))
    else:
        if value is not _CHILD:
            answer(client.sock, 0, value)


class _Client:
    """What this process has of the server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._mount: Mount | None = None
        self._handles: dict[str, HugeFile] = {}
        self._mappings: dict[str, Mapping] = {}
        self._pins: dict[str, Pin] = {}

    def go_to(self, address: str) -> None:
        """The server has an address as soon as its mount was made."""
        if self._mount is None and address:
            self._mount = hugefs.connect(address)

    def settle(self) -> None:
        """Whatever was told is done when a question after it is answered."""
        if self._mount is not None:
            self._mount.meminfo()

    def _there(self) -> Mount:
        assert self._mount is not None
        return self._mount

    def open(self, _fd: int, handle: str, path: str, create: bool, readonly: bool, unlinked: bool, cut: bool) -> None:
        mount = self._there()
        if create and readonly:
            mount.open(path, "r+b", size=0).close()
        file = mount.open(path, "rb" if readonly else "r+b", size=0 if create and not readonly else None)
        if cut:
            file.truncate(0)
        if unlinked:
            mount.unlink(path)
        self._handles[handle] = file

    def close(self, _fd: int, handle: str) -> None:
        self._handles.pop(handle).close()

    def unlink(self, _fd: int, path: str) -> None:
        self._there().unlink(path)

    def mkdir(self, _fd: int, path: str) -> None:
        self._there().mkdir(path)

    def rename(self, _fd: int, path: str, new_path: str) -> None:
        self._there().rename(path, new_path)

    def link(self, _fd: int, path: str, new_path: str) -> None:
        self._there().link(path, new_path)

    def truncate(self, _fd: int, handle: str, size_bytes: int) -> None:
        self._handles[handle].truncate(size_bytes)

    def fallocate(self, _fd: int, handle: str, offset: int, length: int, keep_size: bool) -> None:
        self._handles[handle].fallocate(offset, length, keep_size=keep_size)

    def punch(self, _fd: int, handle: str, offset: int, length: int) -> None:
        self._handles[handle].punch_hole(offset, length)

    def mmap(self, _fd: int, mapping: str, handle: str, offset: int, length: int, access: str, populate: bool) -> None:
        self._mappings[mapping] = made = self._handles[handle].mmap(offset, length, access)
        if populate:
            self._touch(made, 0, made.pages)  # as MAP_POPULATE: what fails is not told

    def munmap(self, _fd: int, mapping: str) -> None:
        self._mappings.pop(mapping).close()

    def write(self, _fd: int, mapping: str, span: Span) -> None:
        there = self._mappings.get(mapping)
        if there is not None and there.access == "read":
            raise OSError(errno.EINVAL, "mapped for reading")
        self._touch_span(mapping, span, writes=True)

    def read(self, _fd: int, mapping: str, span: Span) -> None:
        self._touch_span(mapping, span, writes=False)

    def _touch_span(self, mapping: str, span: Span, *, writes: bool) -> None:
        there = self._mappings.get(mapping)
        if there is None:
            raise OSError(errno.ENOMEM, "unmapped")
        first, count = (0, there.pages) if span is None else (span[0] // PAGE_BYTES, span[1] // PAGE_BYTES)
        number = self._touch(there, first, min(count, there.pages - first), writes=writes)
        if number:
            raise OSError(number, os.strerror(number))
        if first + count > there.pages:
            raise OSError(errno.ENOMEM, "beyond the mapping")

    def _touch(self, mapping: Mapping, first: int, count: int, *, writes: bool = False) -> int:
        """Page after page, until one cannot be had; 0, or the errno."""
        for page_index in range(first, first + count):
            try:
                mapping.populate(page_index, 1)
            except (BusError, NoHugePages):
                return errno.EFAULT
            byte = mapping[page_index * PAGE_BYTES]
            if writes:
                mapping[page_index * PAGE_BYTES] = byte
        return 0

    def store(self, _fd: int, mapping: str, page_index: int, value: int) -> None:
        self._really(mapping, page_index)
        self._mappings[mapping][page_index * PAGE_BYTES] = value

    def load(self, _fd: int, mapping: str, page_index: int) -> int:
        self._really(mapping, page_index)
        return self._mappings[mapping][page_index * PAGE_BYTES]

    def _really(self, mapping: str, page_index: int) -> None:
        """What the kernel would answer with a signal, which the server's memory, always backed, never would."""
        there = self._mappings.get(mapping)
        if there is None or page_index >= there.pages or self._touch(there, page_index, 1):
            os.kill(os.getpid(), signal.SIGKILL)

    def pin(self, _fd: int, mapping: str, first: int, count: int, io: str) -> None:
        try:
            self._pins[io] = self._mappings[mapping].pin(first, count)
        except (HugefsError, KeyError) as error:
            raise OSError(errno.EFAULT, str(error)) from error

    def unpin(self, _fd: int, io: str) -> None:
        self._pins.pop(io).release()

    def fork(self, fd: int) -> Any:
        pid = os.fork()
        if pid:
            os.close(fd)
            return pid
        self.sock.close()
        self.sock = socket.socket(fileno=fd)
        self._pins.clear()
        return _CHILD


_COMMANDS: dict[str, Callable[..., Any]] = {
    name: method for name, method in vars(_Client).items() if callable(method) and not name.startswith("_")
}
