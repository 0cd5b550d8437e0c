"""Exceptions out of signal handlers, and kills, at random moments: afterwards the books are as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress

import pytest

import hugefs
from tests.client.fake_server import descriptors
from tests.stories.aid import PAGE, eventually, fork, kill


class Interrupted(BaseException):
    """As KeyboardInterrupt, but nobody else's."""


def life(mount: hugefs.Mount, names: random.Random) -> None:
    """A bit of everything that takes and gives back."""
    name = f"file{names.randrange(3)}"
    with suppress(hugefs.HugefsError):
        array = mount.full(names.randrange(1, 3 * PAGE), 1, "u1", name=names.choice([None, name]))
        view = array[5:] if array.size > 5 else array
        del array
        other = hugefs.connect(mount.address).put(view) if names.random() < 0.1 else None
        assert view.all()
        del view, other
    with suppress(hugefs.HugefsError), mount.open(name, "r+b", size=names.randrange(2 * PAGE)) as file:
        file.pwrite(b"x" * 100, 0)
        with file.mmap(access=names.choice(["shared", "private", "read"])) as pages, pages.pin():
            pages.populate()
    with suppress(hugefs.HugefsError):
        mount.unlink(name)


def remove_all(mount: hugefs.Mount) -> bool:
    """Every name that is there now."""
    for name in mount.listdir():
        with suppress(hugefs.NotFound):
            mount.unlink(name)
    return True


@pytest.mark.slow
def test_interrupts_at_random_moments(m, monkeypatch):
    """No descriptor, page, open file or name of an interrupted call stays, and the connection goes on to work."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    names = random.Random(seed)
    life(m, names)
    open_before = descriptors()
    armed = False

    def interrupt(*_):
        if armed:
            raise Interrupted

    # In a finaliser Python swallows the exception and tells this hook, with all the finaliser saw; pytest's keeps it.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, names.uniform(1e-5, 4e-3))
                life(m, names)
                armed = False
            except Interrupted:
                armed = False
                interrupted += 1
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 100
    eventually(lambda: remove_all(m) and not m.holders())  # answers may still come, and are given back
    assert descriptors() == open_before


@pytest.mark.slow
@pytest.mark.parametrize("children", [100])
def test_kills_at_random_moments(m, children):
    """A hundred processes, each killed somewhere in its life."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    when = random.Random(seed)

    def live():
        names = random.Random(os.getpid())
        while True:
            life(m, names)

    for _ in range(children):
        pid = fork(live)
        time.sleep(when.uniform(0, 0.02))
        kill(pid)
    eventually(lambda: {holder.pid for holder in m.holders()} <= {0, os.getpid()})
    eventually(lambda: remove_all(m) and not m.holders())
