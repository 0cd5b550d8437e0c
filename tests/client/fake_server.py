"""A server for the connection's own tests: it answers what the test tells it to, when the test tells it to."""

from __future__ import annotations

import gc
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from hugefs.client.connection import Connection
from hugefs.errors import RemoteProtocolError
from hugefs.wire import messages as m
from hugefs.wire.codec import decode_request, encode_reply

Said = m.Reply | tuple[m.Reply, int] | None
PAGE_BYTES = 2 << 20


class FakeServer:
    """One thread, any number of sessions. ``received``: what came, in order, as (session number, request).

    ``on[kind]``: a function of the request that returns the reply, or (reply, descriptor), or None to leave it open.
    """

    def __init__(self) -> None:
        self.received: list[tuple[int, Any]] = []
        self.ended: set[int] = set()
        self.on: dict[type, Callable[[Any], Said]] = {
            m.Hello: lambda request: m.Welcome(request.id, b"s" * 16, "@fake", "fake", PAGE_BYTES, 512),
            m.Statvfs: lambda request: m.StatvfsReply(request.id, PAGE_BYTES, 1, 1, 1, 1),
            m.Meminfo: lambda request: m.MeminfoReply(request.id, 1, 1, 0, 0, 1, "base", 0),
            m.Create: lambda request: granted(request.id, request.size_bytes),
            m.Cancel: lambda request: m.Done(request.id),
            m.Clone: self._clone,
        }
        self.paused = threading.Event()
        self._sockets: dict[int, socket.socket] = {}
        self._stop_read, self._stop_write = os.pipe()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = False

    def connection(self) -> Connection:
        """A greeted connection to it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sockets[len(self._sockets)] = theirs
        connection = Connection(ours)
        if not self._started:
            self._started = True
            self._thread.start()
        connection.greet()
        return connection

    def _clone(self, request: m.Clone) -> Said:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sockets[len(self._sockets)] = ours
        return m.Cloned(request.id), theirs.detach()

    def say(self, reply: m.Reply | bytes, descriptor: int | None = None, session: int = 0) -> None:
        """Send something now. The descriptor is closed here."""
        packet = reply if isinstance(reply, bytes) else encode_reply(reply)
        if descriptor is None:
            self._sockets[session].send(packet)
        else:
            socket.send_fds(self._sockets[session], [packet], [descriptor])
            os.close(descriptor)

    def kinds(self, session: int = 0) -> list[str]:
        """What came on a session, by name."""
        return [type(request).__name__ for number, request in list(self.received) if number == session]

    def wait_for(self, what: Callable[[], object], seconds: float = 10) -> None:
        """Until it is true; looked at after each message."""
        with self._changed:
            assert self._changed.wait_for(what, seconds), f"did not come; came: {self.received}"

    def hang_up(self, session: int = 0) -> None:
        """Close a session."""
        self._sockets[session].close()

    def stop(self) -> None:
        """No more."""
        os.write(self._stop_write, b"x")
        if self._started:
            self._thread.join(10)
        for sock in self._sockets.values():
            sock.close()
        os.close(self._stop_read)
        os.close(self._stop_write)

    def _run(self) -> None:
        while True:
            while self.paused.is_set():
                time.sleep(0.01)
            open_sockets = {
                sock.fileno(): number
                for number, sock in list(self._sockets.items())
                if number not in self.ended and sock.fileno() >= 0
            }
            try:
                ready, _, _ = select.select([*open_sockets, self._stop_read], [], [], 0.05)
            except OSError:
                continue  # hung up on just now
            if self._stop_read in ready:
                return
            for fd in ready:
                self._serve(open_sockets[fd])

    def _serve(self, number: int) -> None:
        try:
            packet = self._sockets[number].recv(m.MESSAGE_BYTES_MAX)
            request: Any = decode_request(packet) if packet else None
        except (OSError, RemoteProtocolError):
            request = None
        with self._changed:
            if request is None:
                self.ended.add(number)
            else:
                self.received.append((number, request))
            self._changed.notify_all()
        answer = self.on.get(type(request))
        said = answer(request) if answer is not None and request is not None and request.id else None
        if isinstance(said, tuple):
            self.say(*said, session=number)
        elif said is not None:
            self.say(said, session=number)


def granted(request_id: int, size_bytes: int = PAGE_BYTES, mapping: int = 7) -> tuple[m.Granted, int]:
    """A grant of a new memfd."""
    fd = os.memfd_create("fake")
    os.ftruncate(fd, -(-size_bytes // PAGE_BYTES) * PAGE_BYTES)
    return m.Granted(request_id, mapping, m.FileRef(5, b"k" * 16), size_bytes, b"", "base"), fd


def descriptors() -> set[str]:
    """The descriptors this process has open, each with what it is."""
    gc.collect()  # what earlier tests left in cycles
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name}:{os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # the listing's own
    return found
