"""The server is killed under its clients: what they map stays, and every question gets an answer at once."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time

import pytest

import hugefs
from hugefs import ServerGone
from tests.stories.aid import PAGE, ended_well, eventually, fork, runs, server_of


def test_what_is_mapped_stays_usable():
    """Arrays, mappings and files' bytes; forks; and closing them is no error."""
    mount = hugefs.mount("32M", huge="off")
    array = mount.full(10, 7, name="a")
    file = mount.open("f", "w+b")
    file.write(b"hello")
    pages = file.mmap()
    waiting = []

    def wait():
        try:
            mount.zeros(15 * PAGE, "u1", wait=60)
        except ServerGone as error:
            waiting.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: mount.meminfo().waiting == 1)
    server = server_of(mount.address)
    os.kill(server, signal.SIGKILL)
    eventually(lambda: not runs(server))
    thread.join(10)
    assert len(waiting) == 1
    start = time.monotonic()
    for ask in (mount.meminfo, lambda: mount.zeros(3), mount.holders, lambda: file.size, pages.pin, mount.listdir):
        with pytest.raises(ServerGone):
            ask()
    assert time.monotonic() - start < 1
    array[:] = 8
    assert array.sum() == 80
    assert pages[:5] == b"hello"

    def child():
        array[0] = 1
        with pytest.raises(ServerGone):
            mount.meminfo()

    assert ended_well(fork(child))
    assert array[0] == 1
    handle = pickle.dumps(array)
    pages.close()
    file.close()
    array = None  # type: ignore[assignment]
    gc.collect()
    with pytest.raises(ServerGone):
        pickle.loads(handle)
    mount.close()
