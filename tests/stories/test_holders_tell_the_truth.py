"""``holders()`` after every step of a life: who, which file, how many pages, how."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

import hugefs
from tests.stories.aid import PAGE, Signpost, ended_well, eventually, fork


def told(mount: hugefs.Mount, path: str | None = None) -> set[tuple[int, str | None, int, str]]:
    """The holders, without what is the same for all."""
    holders = mount.holders(path)
    assert {holder.uid for holder in holders} <= {os.getuid()}
    return {(holder.pid, holder.path, holder.pages, holder.how) for holder in holders}


def test_a_life_in_one_process(m):
    """Named, mapped, opened, privately mapped, pinned, unlinked, forgotten."""
    me = os.getpid()
    assert told(m) == set()
    array = m.zeros(3 * PAGE, "u1", name="a")
    assert told(m) == {(me, "a", 3, "mapped")}
    assert m.holders()[0].command == Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    view = np.asarray(array)[::2]
    del array
    assert told(m) == {(me, "a", 3, "mapped")}
    f = m.open("a")
    assert told(m, "a") == {(me, "a", 3, "mapped"), (me, "a", 3, "open")}
    own = f.mmap(PAGE, PAGE, access="private")
    pin = own.pin()
    m.unlink("a")
    gone = "a (deleted)"
    assert told(m) == {
        (me, gone, 3, "mapped"),
        (me, gone, 3, "open"),
        (me, gone, 1, "private"),
        (me, gone, 1, "pinned"),
    }
    f.close()
    del view
    own.close()
    assert {how for _, _, _, how in told(m)} == {"pinned"}
    pin.release()
    assert told(m) == set()


def test_several_processes(m):
    """Each by its own pid, from the moment it holds something to the moment it is gone."""
    array = m.zeros(PAGE, "u1", name="a")
    ready, go = Signpost(), Signpost()

    def child():
        own = m.zeros(2 * PAGE, "u1")
        array[0] = 1
        ready.reached()
        go.wait()
        assert not own.any()

    children = [fork(child) for _ in range(3)]
    ready.wait(3)
    me = os.getpid()
    expected = {(pid, "a", 1, "mapped") for pid in [me, *children]} | {(pid, None, 2, "mapped") for pid in children}
    assert told(m) == expected
    assert told(m, "a") == {(pid, "a", 1, "mapped") for pid in [me, *children]}
    for _ in children:
        go.reached()
    assert all(map(ended_well, children))
    eventually(lambda: told(m) == {(me, "a", 1, "mapped")})
    m.unlink("a")
    array = None


def test_a_file_that_only_its_name_keeps(m):
    """Nobody uses it, and its pages are taken all the same: it is listed, so that somebody can remove it."""
    m.zeros(2 * PAGE, "u1", name="forgotten")
    (holder,) = m.holders()
    assert (holder.path, holder.pages, holder.pid) == ("forgotten", 2, 0)
    m.unlink("forgotten")
