"""What the bookkeeping costs without memory and server, and a round trip with nothing to do."""

from __future__ import annotations

import multiprocessing
import socket
import time

import hugefs
from hugefs.bench.timing import percentile
from hugefs.core.filesystem import Filesystem
from hugefs.core.mount_options import MountOptions

__all__ = ["life_of_a_file", "round_trips"]

_PAGE = 2 << 20


def life_of_a_file(size_bytes: int, rounds: int) -> float:
    """Create, fill, map, unmap, unlink a file in the books; the median in seconds."""
    pages = size_bytes // _PAGE
    fs = Filesystem(_PAGE, pages)
    mount = fs.mount("bench", MountOptions(pages_max=pages))
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        file = fs.open(mount, "file", create=True)
        fs.fallocate(file, 0, size_bytes)
        mapping = fs.map(file, 0, size_bytes)
        fs.close(file)
        fs.unlink(mount, "file")
        fs.unmap(mapping)
        fs.drain_effects()
        taken.append(time.perf_counter() - began)
    if fs.pool.pages_free != pages:
        raise AssertionError("the books do not balance")
    return percentile(taken, 0.5)


def round_trips(mount: hugefs.Mount, count: int) -> dict[str, float]:
    """Requests that do nothing but ask for the counters: how many a second, p50 and p99 in seconds."""
    taken = []
    began = time.perf_counter()
    for _ in range(count):
        one = time.perf_counter()
        mount.meminfo()
        taken.append(time.perf_counter() - one)
    total = time.perf_counter() - began
    floor = _two_context_switches(max(1, count // 10))
    return {"per_second": count / total, "p50": percentile(taken, 0.5), "p99": percentile(taken, 0.99), "floor": floor}


def _two_context_switches(count: int) -> float:
    """The floor of a round trip: a byte to another process, over the same kind of socket, and back; p50 in seconds."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    echo = multiprocessing.get_context("fork").Process(target=_echo, args=(ours, theirs))
    echo.start()
    theirs.close()
    taken = []
    for _ in range(count):
        one = time.perf_counter()
        ours.send(b"x")
        ours.recv(1)
        taken.append(time.perf_counter() - one)
    ours.close()
    echo.join()
    return percentile(taken, 0.5)


def _echo(parents: socket.socket, sock: socket.socket) -> None:
    parents.close()
    while byte := sock.recv(1):
        sock.send(byte)
