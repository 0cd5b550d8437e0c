"""A client without manners: it speaks the protocol directly, and wrongly where a test wants that."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import hugefs.errors
from hugefs.wire import messages as m
from hugefs.wire.codec import decode_reply, encode_request

PAGE = 2 << 20


class RawClient:
    """One session; ``ask`` returns the answer and the descriptors that came with it."""

    all: ClassVar[list[RawClient]] = []  # so that a test need not close each of them

    def __init__(self, sock: socket.socket) -> None:
        self.all.append(self)
        self.socket = sock
        sock.settimeout(20)
        self._next_id = 1
        self.welcome: Any = None

    @classmethod
    def connect(cls, address: str) -> RawClient:
        """A session of a running server, greeted."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect("\0" + address[1:])
        client = cls(sock)
        client.greet()
        return client

    def greet(self) -> Any:
        """Say Hello."""
        self.welcome, _ = self.ask(m.Hello, m.VERSION)
        return self.welcome

    def send(self, kind: type[Any], *fields: Any, **named: Any) -> int:
        """Send a request; returns its id."""
        number, self._next_id = self._next_id, self._next_id + 1
        self.socket.send(encode_request(kind(number, *fields, **named)))
        return number

    def receive(self) -> tuple[Any, list[int]]:
        """The next answer. Raises EOFError where the server hung up."""
        packet, descriptors, _, _ = socket.recv_fds(self.socket, m.MESSAGE_BYTES_MAX + 1, 4)
        if not packet:
            raise EOFError
        return decode_reply(packet), list(descriptors)

    def ask(self, kind: type[Any], *fields: Any, **named: Any) -> tuple[Any, list[int]]:
        """Send a request and wait for its answer."""
        number = self.send(kind, *fields, **named)
        reply, descriptors = self.receive()
        assert reply.id == number, (reply, number)
        return reply, descriptors

    def get(self, kind: type[Any], *fields: Any, **named: Any) -> Any:
        """The answer alone; descriptors are closed."""
        reply, descriptors = self.ask(kind, *fields, **named)
        for descriptor in descriptors:
            os.close(descriptor)
        return reply

    def free(self) -> int:
        """HugePages_Free."""
        return int(self.get(m.Meminfo).pages_free)

    def until_free(self, pages: int) -> bool:
        """Wait, for a few seconds at most, until so many pages are free."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.free() == pages:
                return True
            time.sleep(0.002)
        return False

    def until_hung_up(self) -> list[Any]:
        """All answers until the server hangs up."""
        replies = []
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                replies.append(self.receive()[0])
        return replies

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


@contextlib.contextmanager
def running_server(pages: int, *extra: str, huge: str = "off", verify: bool = True) -> Iterator[RawClient]:
    """A private server with a mount of so many pages on base pages, and its first session."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    package = str(Path(hugefs.errors.__file__).resolve().parent.parent)
    command = [sys.executable, "-P", "-m", "hugefs.server", "--session-fd", str(theirs.fileno())]
    command += ["--pages-max", str(pages), "--page-bytes", str(PAGE), "--huge", huge, *extra]
    environment = {**os.environ, "PYTHONPATH": package} | ({"HUGEFS_VERIFY": "1"} if verify else {})
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, cwd="/")
    theirs.close()
    assert process.wait(30) == 0
    client = RawClient(ours)
    try:
        yield client
    finally:
        while RawClient.all:
            RawClient.all.pop().close()


def server_pid(client: RawClient) -> int | None:
    """The server's process, found by its address in /proc/net/unix and the sockets it has; None where it is gone."""
    name = client.welcome.address
    inodes = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(name)}
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for link in (directory / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link).removeprefix("socket:[").removesuffix("]") in inodes:
                        return int(directory.name)
    return None
