"""What several stories need: children that may be killed, and patience until their end is in the books."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import hugefs

PAGE = 2 << 20


def eventually(what: Callable[[], object], seconds: float = 10.0) -> None:
    """It must become true soon: a killed process is noticed at the end of its socket."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def everything_came_back(mount: hugefs.Mount) -> bool:
    """No page is used, promised or held."""
    info = mount.meminfo()
    return (info.pages_free, info.pages_reserved, info.pages_available) == (
        info.pages_total,
        0,
        info.pages_total,
    ) and not mount.holders()


def fork(work: Callable[[], object]) -> int:
    """A child that does the work and ends with 0, or with 1 and a word on stderr. Its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except Exception as error:  # noqa: BLE001 (a child has nobody to raise it to)
            os.write(2, f"child: {error!r}\n".encode())
        finally:
            os._exit(status)
    return pid


def ended_well(pid: int) -> bool:
    """Wait for a child."""
    return os.waitpid(pid, 0)[1] == 0


def kill(pid: int) -> None:
    """Kill a child and wait for its end."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class Signpost:
    """A pipe over which processes tell each other how far they are."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def reached(self, word: str = "x") -> None:
        """Tell."""
        os.write(self._write, word.encode())

    def wait(self, words: int = 1) -> str:
        """Until it was told so often; what was told."""
        return "".join(os.read(self._read, 1).decode() for _ in range(words))

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)


def server_of(address: str) -> int:
    """The pid of the server behind an address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect("\0" + address.removeprefix("@"))
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")


def runs(pid: int) -> bool:
    """Whether a process is there (and is no zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
