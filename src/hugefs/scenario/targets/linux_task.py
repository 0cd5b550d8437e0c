"""A task of a scenario as a real process: it takes commands from a socket, does one system call for each, and answers.

Rule 1: nothing is imported that a fork would have to copy for nothing: no NumPy, no asyncio, no pathlib.
Rule 2: a command is a tuple (verb, arguments…) in marshal's format, one a message; so is the answer: (errno, value).
Rule 3: a signal kills the process, and its end of the socket closes: that is an outcome. So does the other end: a task
        whose runner is gone ends at once.
Rule 4: every mapping that the kernel may place gets a place of its own, far from any other, so that an index beyond its
        end reaches nothing.
"""

from __future__ import annotations

import array
import errno
import fcntl
import marshal
import os
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from hugefs.memory import _libc

__all__ = ["answer", "receive", "serve"]

PAGE_BYTES = 2 << 20
MESSAGE_BYTES_MAX = 1 << 16
_BASE_PAGE_BYTES = 4096
_PLACES_START = 0x1000_0000_0000
_GAP_BYTES = 64 << 20
_COPY_BYTES = 1 << 16
_VECTORS_MAX = 1024
_MFD_HUGE_2MB = 21 << _libc.HUGE_SHIFT
_PROTECTIONS = {"rw": _libc.PROT_READ | _libc.PROT_WRITE, "ro": _libc.PROT_READ, "none": _libc.PROT_NONE}
_SEALS = {"shrink": _libc.F_SEAL_SHRINK, "grow": _libc.F_SEAL_GROW, "write": _libc.F_SEAL_WRITE}
_ADVICES = {
    "dontneed": _libc.MADV_DONTNEED,
    "remove": _libc.MADV_REMOVE,
    "willneed": _libc.MADV_WILLNEED,
    "free": _libc.MADV_FREE,
    "cold": _libc.MADV_COLD,
    "dontfork": _libc.MADV_DONTFORK,
    "dofork": _libc.MADV_DOFORK,
    "soft_offline": _libc.MADV_SOFT_OFFLINE,
}
_FALLOCATE_MODES = {
    "": 0,
    "keep_size": _libc.FALLOC_FL_KEEP_SIZE,
    "punch_hole": _libc.FALLOC_FL_PUNCH_HOLE,
    "punch": _libc.FALLOC_FL_PUNCH_HOLE | _libc.FALLOC_FL_KEEP_SIZE,
    "zero_range": _libc.FALLOC_FL_ZERO_RANGE,
    "collapse_range": _libc.FALLOC_FL_COLLAPSE_RANGE,
    "insert_range": _libc.FALLOC_FL_INSERT_RANGE,
}

Span = tuple[int, int] | None
Place = tuple[str | None, int, bool] | None


def receive(sock: socket.socket) -> tuple[Any, int]:
    """The next command and the descriptor that came with it, -1 for none; an empty command at the end."""
    data, ancillary, _, _ = sock.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(4))
    fd = -1
    for _, _, content in ancillary:
        fds = array.array("i")
        fds.frombytes(content[: fds.itemsize])
        fd = fds[0]
    return (marshal.loads(data) if data else ()), fd


def answer(sock: socket.socket, number: int, value: Any = None) -> None:
    """Send an answer: an errno or 0, and a value."""
    sock.send(marshal.dumps((number, value)))


def serve(sock: socket.socket) -> NoReturn:
    """Be a task until the other end says exit or is gone."""
    try:
        _libc.prctl(_libc.PR_SET_DUMPABLE, 0)  # a task that dies leaves no core behind
        task = _Task(sock)
        while True:
            command, fd = receive(task.sock)
            if not command or command[0] == "exit":
                os._exit(0)
            _obey(task, command, fd)
    finally:
        os._exit(1)  # the runner has gone in the middle of an answer


def _obey(task: _Task, command: tuple[Any, ...], fd: int) -> None:
    """Do one command and answer it."""
    try:
        value = _COMMANDS[command[0]](task, fd, *command[1:])
    except OSError as error:
        answer(task.sock, error.errno or 0)
    except OverflowError:
        answer(task.sock, errno.EINVAL)  # a size that the call itself cannot be given: EINVAL
    else:
        if value is not _CHILD:
            answer(task.sock, 0, value)


_CHILD = object()


class _Task:
    """What this process has: descriptors by handle, address ranges by mapping."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._handles: dict[str, int] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        self._next = _PLACES_START

    def _place(self, length_bytes: int) -> int:
        """A free huge-aligned address with room behind it."""
        address = self._next
        self._next += max(0, -(-length_bytes // _GAP_BYTES)) * _GAP_BYTES + _GAP_BYTES
        return address

    def _address(self, place: Place, length_bytes: int) -> tuple[int, int]:
        """Where, and MAP_FIXED where it must be there."""
        if place is None:
            return self._place(length_bytes), 0
        mapping, offset, is_hint = place
        start = self._place(length_bytes) if mapping is None else self._ranges[mapping][0]
        return start + offset, 0 if is_hint else _libc.MAP_FIXED

    def _span(self, mapping: str, span: Span) -> tuple[int, int]:
        address, length = self._ranges[mapping]
        return (address, length) if span is None else (address + span[0], span[1])

    # ── Files ──

    def open(self, _fd: int, handle: str, path: str, flags: int, unlinked: bool) -> None:
        fd = os.open(path, flags | os.O_CLOEXEC)
        self._handles[handle] = fd
        if unlinked:
            os.unlink(path)

    def memfd(self, _fd: int, handle: str, sealable: bool) -> None:
        flags = _libc.MFD_HUGETLB | _MFD_HUGE_2MB | _libc.MFD_CLOEXEC
        self._handles[handle] = os.memfd_create(handle, flags | (_libc.MFD_ALLOW_SEALING if sealable else 0))

    def seal(self, _fd: int, handle: str, seal: str) -> None:
        fcntl.fcntl(self._handles[handle], _libc.F_ADD_SEALS, _SEALS[seal])

    def close(self, _fd: int, handle: str) -> None:
        os.close(self._handles.pop(handle))

    def truncate(self, _fd: int, handle: str, size_bytes: int) -> None:
        os.ftruncate(self._handles[handle], size_bytes)

    def fallocate(self, _fd: int, handle: str, offset: int, length: int, mode: str) -> None:
        _libc.fallocate_mode(self._handles[handle], _FALLOCATE_MODES[mode], offset, length)

    def punch(self, _fd: int, handle: str, offset: int, length: int) -> None:
        self.fallocate(_fd, handle, offset, length, "punch")

    def fadvise(self, _fd: int, handle: str, offset: int, length: int) -> None:
        os.posix_fadvise(self._handles[handle], offset, length, os.POSIX_FADV_WILLNEED)

    def readahead(self, _fd: int, handle: str, offset: int, length: int) -> None:
        _libc.readahead(self._handles[handle], offset, length)

    def pread(self, _fd: int, handle: str, offset: int, length: int) -> int:
        return self._copy(os.preadv, handle, offset, length)

    def pwrite(self, _fd: int, handle: str, offset: int, length: int) -> int:
        return self._copy(os.pwritev, handle, offset, length)

    def _copy(self, call: Callable[[int, list[bytearray], int], int], handle: str, offset: int, length: int) -> int:
        """One pread or pwrite; a long one as many short buffers of the same memory, which is one call all the same."""
        if length < 0:
            raise OverflowError(length)
        buffer = bytearray(min(length, _COPY_BYTES))
        total = 0
        while True:
            parts = [buffer] * min(_VECTORS_MAX, (length - total) // _COPY_BYTES)
            wanted = len(parts) * _COPY_BYTES
            if not parts:
                parts, wanted = [buffer[: length - total]], length - total
            count = call(self._handles[handle], parts, offset + total)
            total += count
            if count < wanted or total >= length:
                return total

    def stat(self, _fd: int, handle: str | None, path: str) -> tuple[int, ...]:
        status = os.stat(path if handle is None else self._handles[handle])
        return (
            status.st_size,
            status.st_blocks * 512 // PAGE_BYTES,
            status.st_nlink,
            status.st_mode,
            status.st_uid,
            status.st_gid,
        )

    # ── Memory ──

    def mmap(
        self,
        _fd: int,
        mapping: str,
        source: str,
        handle: str,
        offset: int,
        length: int,
        words: tuple[bool, bool, bool, bool],
        protection: str,
        place: Place,
    ) -> None:
        shared, noreserve, populate, locked = words
        address, flags = self._address(place, length)
        flags |= _libc.MAP_SHARED if shared else _libc.MAP_PRIVATE
        if source != "file":
            flags |= _libc.MAP_ANONYMOUS
        if source == "anon":
            flags |= _libc.MAP_HUGETLB | _MFD_HUGE_2MB
        for wanted, flag in (
            (noreserve, _libc.MAP_NORESERVE),
            (populate, _libc.MAP_POPULATE),
            (locked, _libc.MAP_LOCKED),
        ):
            flags |= flag if wanted else 0
        fd = self._handles[handle] if source == "file" else -1
        got = _libc.mmap(address, length % 2**64, _PROTECTIONS[protection], flags, fd, offset)
        self._ranges[mapping] = (got, -(-length // PAGE_BYTES) * PAGE_BYTES)

    def munmap(self, _fd: int, mapping: str, span: Span) -> None:
        address, length = self._span(mapping, span)
        _libc.munmap(address, length % 2**64)

    def write(self, _fd: int, mapping: str, span: Span) -> None:
        self._touch(mapping, span, _libc.MADV_POPULATE_WRITE)

    def read(self, _fd: int, mapping: str, span: Span) -> None:
        self._touch(mapping, span, _libc.MADV_POPULATE_READ)

    def _touch(self, mapping: str, span: Span, advice: int) -> None:
        """Page after page: asked for several at once, the kernel tries the first that fails a second time."""
        address, length = self._span(mapping, span)
        for offset in range(0, length, PAGE_BYTES):
            _libc.madvise(address + offset, min(PAGE_BYTES, length - offset), advice)

    def store(self, _fd: int, mapping: str, page_index: int, value: int) -> None:
        _libc.store_byte(self._ranges[mapping][0] + page_index * PAGE_BYTES, value)

    def load(self, _fd: int, mapping: str, page_index: int) -> int:
        return _libc.load_byte(self._ranges[mapping][0] + page_index * PAGE_BYTES)

    def madvise(self, _fd: int, mapping: str, span: Span, advice: str) -> None:
        address, length = self._span(mapping, span)
        _libc.madvise(address, length % 2**64, _ADVICES[advice])

    def mprotect(self, _fd: int, mapping: str, span: Span, protection: str) -> None:
        address, length = self._span(mapping, span)
        _libc.mprotect(address, length, _PROTECTIONS[protection])

    def mlock(self, _fd: int, mapping: str) -> None:
        _libc.mlock(*self._ranges[mapping])

    def munlock(self, _fd: int, mapping: str) -> None:
        _libc.munlock(*self._ranges[mapping])

    def mremap(
        self, _fd: int, mapping: str, old: int, new: int, words: tuple[bool, bool], place: Place, new_mapping: str
    ) -> None:
        maymove, dontunmap = words
        flags = (_libc.MREMAP_MAYMOVE if maymove else 0) | (_libc.MREMAP_DONTUNMAP if dontunmap else 0)
        target = None
        if place is not None:
            flags |= _libc.MREMAP_FIXED
            target, _ = self._address(place, new)
        got = _libc.mremap(self._ranges[mapping][0], old % 2**64, new % 2**64, flags, target)
        self._ranges[new_mapping] = (got, -(-new // PAGE_BYTES) * PAGE_BYTES)

    def pin(self, fd: int, mapping: str, span: Span) -> int:
        """Put a base page of each huge page into the pipe; how many bytes went before one could not be had."""
        address, length = self._span(mapping, span)
        starts = list(range(address, address + length, PAGE_BYTES))
        try:
            return sum(
                _libc.vmsplice_starts(fd, starts[first : first + _VECTORS_MAX], _BASE_PAGE_BYTES)
                for first in range(0, len(starts), _VECTORS_MAX)
            )
        finally:
            os.close(fd)

    def dio(self, fd: int, mapping: str, span: Span) -> int:
        address, length = self._span(mapping, span)
        try:
            return _libc.write_from(fd, address, length % 2**64)
        finally:
            os.close(fd)

    # ── Tasks and System V memory ──

    def fork(self, fd: int) -> Any:
        """The child takes the socket that came along; only the parent answers."""
        pid = os.fork()
        if pid:
            os.close(fd)
            return pid
        self.sock.close()
        self.sock = socket.socket(fileno=fd)
        return _CHILD

    def shmget(self, _fd: int, size_bytes: int, noreserve: bool) -> int:
        flags = _libc.SHM_HUGETLB | _MFD_HUGE_2MB | _libc.IPC_CREAT | 0o600
        return _libc.shmget(size_bytes % 2**64, flags | (_libc.SHM_NORESERVE if noreserve else 0))

    def shmat(self, _fd: int, mapping: str, segment: int, size_bytes: int, readonly: bool) -> None:
        flags = _libc.SHM_RDONLY if readonly else 0
        self._ranges[mapping] = (_libc.shmat(segment, self._place(size_bytes), flags), size_bytes)

    def shmdt(self, _fd: int, mapping: str) -> None:
        _libc.shmdt(self._ranges[mapping][0])

    def shmrm(self, _fd: int, segment: int) -> None:
        _libc.shm_remove(segment)

    # ── Names on mounts ──

    def unlink(self, _fd: int, path: str) -> None:
        os.unlink(path)

    def rename(self, _fd: int, path: str, new_path: str) -> None:
        os.rename(path, new_path)

    def link(self, _fd: int, path: str, new_path: str) -> None:
        os.link(path, new_path)

    def mkdir(self, _fd: int, path: str) -> None:
        os.mkdir(path)


_COMMANDS: dict[str, Callable[..., Any]] = {
    name: method for name, method in vars(_Task).items() if callable(method) and not name.startswith("_")
}
