"""A session: one connected process, and everything it holds.

Rule 1: what a session holds is held for as long as its socket is open, and dropped the moment it ends, however it ends.
Rule 2: who is at the other end is read from the socket. A clone was made by the server itself, so its child's first
        word (Introduce) brings the kernel's credentials along.
Rule 3: nothing waits for a client: what the socket does not take is kept, and until it is taken nothing more is read.
Rule 4: no answer is lost in silence: who cannot be answered is hung up on.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable

from hugefs.core.inode import OpenFile
from hugefs.core.mapping import Mapping
from hugefs.core.pin import Pin
from hugefs.errors import RemoteProtocolError
from hugefs.wire.codec import decode_request, encode_reply
from hugefs.wire.messages import MESSAGE_BYTES_MAX, Reply, Request

__all__ = ["Session", "peer_of"]

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_TIMESPEC = struct.Struct("2q")  # struct timespec
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not have it
_ANCILLARY_BYTES = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_TIMESPEC.size)


def peer_of(sock: socket.socket) -> tuple[int, int, int]:
    """pid, uid and gid of the process that made the other end."""
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, gid


class Session:
    """``files``, ``mappings``, ``pins``: what it holds, by the numbers the client knows them under.

    ``when_stuck``: called when an answer has to wait for the client to read, whoever gave it and when.
    """

    def __init__(self, sock: socket.socket, pid: int, uid: int, gid: int) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # without it, requests of one moment are served in any order
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket = sock
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self.greeted = False
        self.introduced = True
        self.ended = False
        self.files: dict[int, OpenFile] = {}
        self.mappings: dict[int, Mapping] = {}
        self.pins: dict[int, Pin] = {}
        self.unanswered: set[int] = set()  # requests that wait for memory or for a busy file
        self.cancelled: set[int] = set()  # those of them that the client has given up
        self.when_stuck: Callable[[Session], None] = lambda session: None
        self._next_number = 1
        self._outgoing: deque[tuple[bytes, int | None]] = deque()

    def clone(self, sock: socket.socket) -> Session:
        """A session for a child about to be forked; its holdings are copied by whoever keeps the books."""
        child = Session(sock, self.pid, self.uid, self.gid)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        child.greeted = True
        child.introduced = False
        child._next_number = self._next_number
        return child

    def new_number(self) -> int:
        """A number for something it is granted; never used twice in a session and its clones."""
        number, self._next_number = self._next_number, self._next_number + 1
        return number

    # --- messages -------------------------------------------------------------------------------------------------

    def receive(self) -> tuple[int, Request] | None:
        """The next request and when it was sent (nanoseconds); None where none has come.

        Raises EOFError at the end, RemoteProtocolError for nonsense.
        """
        try:
            packet, ancillary, _, _ = self.socket.recvmsg(MESSAGE_BYTES_MAX + 1, _ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise EOFError(str(error)) from None
        _close_descriptors(ancillary)
        if not packet:
            raise EOFError("closed by the client")
        if len(packet) > MESSAGE_BYTES_MAX:
            raise RemoteProtocolError(f"a message of more than {MESSAGE_BYTES_MAX} bytes")
        sent = 0
        for level, kind, data in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                sent = seconds * 1_000_000_000 + nanoseconds
            elif kind == socket.SCM_CREDENTIALS and not self.introduced and len(data) == _CREDENTIALS.size:
                self._introduce(*_CREDENTIALS.unpack(data))
        return sent, decode_request(packet)

    def _introduce(self, pid: int, uid: int, gid: int) -> None:
        self.pid, self.uid, self.gid = pid, uid, gid
        self.introduced = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)

    def answer(self, reply: Reply, descriptor: int | None = None, *, close_after: bool = False) -> None:
        """Send, or keep until the socket takes it. ``descriptor`` stays the caller's unless ``close_after``."""
        if self.ended:
            if close_after and descriptor is not None:
                socket.close(descriptor)
            return
        packet = encode_reply(reply)
        if not self._outgoing and self._send(packet, descriptor):
            if close_after and descriptor is not None:
                socket.close(descriptor)
            return
        try:
            kept = descriptor if descriptor is None or close_after else socket.dup(descriptor)
        except OSError:  # no descriptor left to keep it with
            self._hang_up()
            return
        self._outgoing.append((packet, kept))
        self.when_stuck(self)

    @property
    def has_outgoing(self) -> bool:
        """Whether answers wait for the client to read."""
        return bool(self._outgoing)

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._outgoing and self._send(*self._outgoing[0]):
            _, descriptor = self._outgoing.popleft()
            if descriptor is not None:
                socket.close(descriptor)

    def close(self) -> None:
        """No more messages."""
        self.ended = True
        for _, descriptor in self._outgoing:
            if descriptor is not None:
                socket.close(descriptor)
        self._outgoing.clear()
        self.socket.close()

    def _send(self, packet: bytes, descriptor: int | None) -> bool:
        try:
            if descriptor is None:
                self.socket.send(packet)
            else:
                socket.send_fds(self.socket, [packet], [descriptor])
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._hang_up()  # the client is gone, or the kernel takes no more descriptors for it
        return True

    def _hang_up(self) -> None:
        """No more answers. That this session has ended is noticed at the next receive."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


def _close_descriptors(ancillary: list[tuple[int, int, bytes]]) -> None:
    """Nobody asked for the descriptors that a client sends along."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            for number in numbers:
                socket.close(number)
