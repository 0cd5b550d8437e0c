"""Whoever starts a private server may be killed at any moment: nothing stays, and nobody else is harmed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hugefs
from tests.stories.aid import eventually, runs, server_of

PROGRAM = """
import sys, time, hugefs
mount = hugefs.mount("32M", huge="off")
array = mount.zeros(3 << 20, "u1", name="weights")
with mount.open("file", "w+b", size="2M") as file, file.mmap(access="private") as pages, pages.pin():
    print(mount.address, flush=True)
    time.sleep(100)
"""


def start() -> tuple[subprocess.Popen[str], str]:
    """A program with a mount of its own, and the mount's address."""
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert program.stdout
    return program, program.stdout.readline().strip()


def kill(program: subprocess.Popen[str]) -> None:
    """The signal that no program can prepare for."""
    program.send_signal(signal.SIGKILL)
    program.communicate()


def test_no_process_no_address_no_file():
    """Also where it held pages in every way there is."""
    before = set(os.listdir("/dev/shm"))
    program, address = start()
    server = server_of(address)
    assert runs(server)
    kill(program)
    eventually(lambda: not runs(server))
    assert address not in Path("/proc/net/unix").read_text(encoding="utf-8")
    assert set(os.listdir("/dev/shm")) <= before


def test_the_server_lives_on_for_who_is_left():
    """Another process uses the mount: it loses nothing, and gets what the killed one had."""
    program, address = start()
    mount = hugefs.connect(address)
    array = mount.get("weights", writable=True)
    kill(program)
    array[:] = 7
    eventually(lambda: {holder.pid for holder in mount.holders() if holder.pid} == {os.getpid()})
    mount.unlink("file")
    eventually(lambda: mount.meminfo().pages_available == 14)
    server = server_of(address)
    assert array.sum() == 7 * (3 << 20)
    mount.close()
    assert runs(server)
    del array
    eventually(lambda: not runs(server))


@pytest.mark.slow
def test_killed_while_it_starts():
    """At every moment of the start, where nobody is connected yet, or half."""
    before = servers()
    for _ in range(25):
        program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
        time.sleep(random.uniform(0.05, 0.5))
        kill(program)
    eventually(lambda: servers() <= before)


def servers() -> set[int]:
    """Every server on this machine, by its command line."""
    found = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"hugefs.server" in words and runs(int(pid)):
            found.add(int(pid))
    return found
