"""From making an array to having its memory back, and reaching it from another process.

The reference is multiprocessing.shared_memory. An hugefs array is done only when the server has its pages back: each
round ends with asking it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

import hugefs
from hugefs.bench.timing import Contender, Timed, interleave, percentile, seconds_of
from hugefs.memory.backing import Backing
from hugefs.memory.mapped import MappedPages
from hugefs.memory.memory_file import MemoryFile

__all__ = ["attach", "create_fill_destroy", "small_arrays"]

_BASE_PAGE = 4096
_WAIT_SECONDS = 10.0


def _shared_memory_life(size_bytes: int) -> None:
    block = SharedMemory(create=True, size=size_bytes)
    array = np.ndarray((size_bytes,), "u1", buffer=block.buf)
    array.fill(1)
    del array
    block.close()
    block.unlink()


def _hugefs_life(mount: hugefs.Mount, size_bytes: int) -> None:
    array = mount.empty((size_bytes,), "u1")
    array.fill(1)
    del array
    _until_all_is_back(mount)


def _until_all_is_back(mount: hugefs.Mount) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        info = mount.meminfo()
        if info.pages_free == info.pages_total:
            return


def _life_by_hand(backing: Backing, page_bytes: int, size_bytes: int) -> None:
    """The same memory without a server, a quota, or anybody else: what the kernel and the memory cost."""
    with MemoryFile.create("bench", page_bytes, backing, size_bytes=size_bytes, fixed=True) as file:
        file.back(0, size_bytes)
        pages = MappedPages.shared(file.fd, 0, size_bytes, True, backing, page_bytes)
    array = np.frombuffer(pages, "u1")
    array.fill(1)
    del array
    pages.close()


def create_fill_destroy(mount: hugefs.Mount, size_bytes: int, rounds: int) -> list[Timed]:
    """Make an array, fill it with ones, let it go. First the reference, then hugefs, then the memory by hand."""
    backing = Backing(mount.backing)
    return interleave(
        [
            Contender("shared_memory", lambda: _shared_memory_life(size_bytes)),
            Contender("hugefs", lambda: _hugefs_life(mount, size_bytes)),
            Contender("by hand", lambda: _life_by_hand(backing, mount.page_size, size_bytes)),
        ],
        rounds,
    )


def small_arrays(mount: hugefs.Mount, size_bytes: int, count: int) -> dict[str, dict[str, float]]:
    """Make, write one byte, let go; many times, in five passes that take turns. Seconds at p50 and p99."""

    def shared_memory() -> None:
        block = SharedMemory(create=True, size=size_bytes)
        memoryview(block.buf or b"")[0] = 1
        block.close()
        block.unlink()

    def hugefs_array() -> None:
        array = mount.empty((size_bytes,), "u1")
        array[0] = 1
        del array

    taken: dict[str, list[float]] = {"shared_memory": [], "hugefs": []}
    for _ in range(5):
        for name, run in (("shared_memory", shared_memory), ("hugefs", hugefs_array)):
            taken[name] += [seconds_of(run) for _ in range(max(1, count // 5))]
    return {name: {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99)} for name, times in taken.items()}


# --- from a second process ------------------------------------------------------------------------------------------


def _read_a_byte_of_each_page(array: np.ndarray[Any, Any]) -> int:
    return int(array[::_BASE_PAGE].sum(dtype="u8"))


def _attacher(connection: Connection, mount: hugefs.Mount) -> None:
    """The second process: opens what it is told, reads a byte of each base page, closes, and says how long it took."""
    while (order := connection.recv()) is not None:
        kind, name = order
        began = time.perf_counter()
        if kind == "shared_memory":
            block = SharedMemory(name=name)
            array = np.ndarray((block.size,), "u1", buffer=block.buf)
            total = _read_a_byte_of_each_page(array)
            del array
            block.close()
        else:
            total = _read_a_byte_of_each_page(np.asarray(mount.get(name)))
        connection.send((time.perf_counter() - began, total))


@contextmanager
def _second_process(mount: hugefs.Mount) -> Iterator[Connection]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_attacher, args=(theirs, mount))
    process.start()
    try:
        yield ours
        ours.send(None)
        process.join(_WAIT_SECONDS)
    finally:
        if process.is_alive():
            process.kill()
        process.join()


def attach(mount: hugefs.Mount, size_bytes: int, rounds: int) -> list[Timed]:
    """Open an array of another process, read a byte of each 4 KiB, close it."""
    block = SharedMemory(create=True, size=size_bytes)
    array = mount.empty((size_bytes,), "u1", name="attach")
    array.fill(1)
    shared = np.ndarray((size_bytes,), "u1", buffer=block.buf)
    shared.fill(1)
    try:
        with _second_process(mount) as connection:

            def ask(kind: str, name: str) -> float:
                connection.send((kind, name))
                seconds, total = connection.recv()
                if total != -(-size_bytes // _BASE_PAGE):
                    raise AssertionError(f"{kind}: the second process read {total}")
                return float(seconds)

            return interleave(
                [
                    Contender("shared_memory", lambda: ask("shared_memory", block.name)),
                    Contender("hugefs", lambda: ask("hugefs", "attach")),
                ],
                rounds,
            )
    finally:
        mount.unlink("attach")
        del array, shared
        block.close()
        block.unlink()
