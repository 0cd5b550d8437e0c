"""A forked child holds what it inherited from before the fork on: in no moment it maps what nobody holds."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest

import hugefs
from tests.stories.aid import Signpost, ended_well, eventually, everything_came_back, fork, kill


def my_pages(mount: hugefs.Mount) -> int:
    """What the books say that this process maps."""
    return sum(holder.pages for holder in mount.holders() if holder.pid == os.getpid() and holder.how == "mapped")


def held_by(mount: hugefs.Mount, processes: int) -> None:
    """Wait until so many processes hold something."""
    eventually(lambda: len(mount.holders()) == processes)


def test_a_parent_that_is_killed_right_after_the_fork(m):
    """The child's pages stay in the books, and the child can ask."""
    for _ in range(20):
        told = Signpost()

        def parent(told=told):
            array = m.full(3 << 20, 9, "u1")

            def child():
                while os.getppid() == me:
                    time.sleep(0.001)
                assert array.sum() == 9 * (3 << 20)
                assert my_pages(m) == 2
                assert m.meminfo().pages_free == 14
                told.reached("y")

            me = os.getpid()
            fork(child)
            os.kill(me, signal.SIGKILL)

        os.waitpid(fork(parent), 0)
        assert told.wait() == "y"
        eventually(lambda: everything_came_back(m))


def test_a_child_that_ends_takes_nothing_from_its_parent(m):
    """However it ends: by itself, by a signal, by an exception, forgetting its array first."""
    array = m.full(10, 3, "i8")
    assert ended_well(fork(lambda: None))
    kill(fork(lambda: time.sleep(100)))

    def forget():
        nonlocal array
        array = None
        eventually(lambda: my_pages(m) == 0)

    assert ended_well(fork(forget))
    eventually(lambda: {holder.pid for holder in m.holders()} == {os.getpid()})
    assert array.tolist() == [3] * 10
    assert my_pages(m) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_a_family_ends_in_any_order(m, order):
    """Parent, child and grandchild hold one page each on their own account; it goes with the last of them."""
    gates = [Signpost() for _ in range(3)]
    ready = Signpost()
    gone = Signpost()

    def parent():
        array = m.zeros(10, name="shared")
        m.unlink("shared")

        def grandchild():
            ready.reached()
            gates[2].wait()
            assert not array.any()
            gone.reached()

        def child():
            fork(grandchild)
            ready.reached()
            gates[1].wait()
            gone.reached()

        fork(child)
        ready.reached()
        gates[0].wait()
        gone.reached()

    first = fork(parent)
    ready.wait(3)
    for left, member in zip((3, 2, 1), order, strict=True):
        held_by(m, left)
        assert m.meminfo().pages_free == 15
        gates[member].reached()
        gone.wait()
    assert ended_well(first)
    eventually(lambda: everything_came_back(m))


def test_parent_and_child_go_their_own_ways(m):
    """What one makes, forgets or opens after the fork is its own."""
    shared = m.zeros(10, "i8")
    f = m.open("f", "w+b")
    f.write(b"parent")

    def child():
        shared[0] = 5
        mine = m.full(10, 7, "i8", name="from the child")
        assert f.pread(6, 0) == b"parent"
        f.pwrite(b"child ", 0)
        f.close()
        assert mine.sum() == 70

    assert ended_well(fork(child))
    assert shared[0] == 5
    assert f.pread(6, 0) == b"child "
    assert m.get("from the child").tolist() == [7] * 10
    m.unlink("from the child")
    m.unlink("f")
    f.close()


def test_forks_while_other_threads_make_and_forget_arrays(m):
    """At every fork the child's books say exactly what it maps: what was in the making is given back there."""
    stop = threading.Event()

    def busy(number):
        while not stop.is_set():
            array = m.full(100, number, "u1")
            assert array.sum() == 100 * number
            view = np.asarray(array)[5:]
            del array
            assert view[0] == number

    before = maps_of_memory()
    kept = [m.full(10, number, "u1") for number in range(2)]
    threads = [threading.Thread(target=busy, args=(number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()

    def child():
        # Mappings that other threads' frames held stay mapped in a child, as all their objects do; the books have them.
        assert my_pages(m) == maps_of_memory() - before
        assert [int(array[0]) for array in kept] == [0, 1]
        m.full(10, 1, "u1")

    try:
        for _ in range(60):
            assert ended_well(fork(child))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    kept.clear()


def maps_of_memory() -> int:
    """How many files of a mount this process really maps, as the kernel sees it."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        return sum("memfd:hugefs" in line for line in maps)
