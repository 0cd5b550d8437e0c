"""``wait=``: first come, first served; who gives up or dies leaves the queue; nobody holds pages while waiting."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import hugefs
from hugefs import NoHugePages, WaitTimeout
from tests.stories.aid import PAGE, Signpost, ended_well, eventually, fork, kill


def waiting(mount: hugefs.Mount) -> int:
    """How many are in the queue."""
    return mount.meminfo().waiting


def queue_has(mount: hugefs.Mount, requests: int) -> None:
    """Wait until so many wait."""
    eventually(lambda: waiting(mount) == requests)


def child_that_wants(mount: hugefs.Mount, pages: int, told: Signpost, word: str = "y") -> tuple[int, Signpost]:
    """A child that asks for pages when it is let go. Made before there is anything that it could inherit."""
    go = Signpost()

    def want():
        go.wait()
        array = mount.zeros(pages * PAGE, "u1", wait=60)
        told.reached(word)
        time.sleep(0.05)
        assert not array.any()

    return fork(want), go


def test_the_first_is_served_first(m):
    """Also when a later one wants less: a big wish would never be granted otherwise."""
    told = Signpost()
    children = [child_that_wants(m, pages, told, word) for word, pages in zip("abcd", (10, 8, 16, 1), strict=True)]
    held = m.zeros(14 * PAGE, "u1")
    for number, (_, go) in enumerate(children):
        go.reached()
        queue_has(m, number + 1)
    assert m.meminfo().pages_free == 2  # who waits holds nothing
    assert sorted(holder.how for holder in m.holders()) == ["mapped", "waiting", "waiting", "waiting", "waiting"]
    assert sum(holder.pages for holder in m.holders() if holder.how == "waiting") == 35
    with pytest.raises(NoHugePages, match="waiting"):
        m.zeros(1)  # nobody passes the queue
    del held
    assert told.wait(4) == "abcd"
    assert all(ended_well(pid) for pid, _ in children)


def test_who_has_waited_long_enough_is_told(m):
    """With what was wanted and what there was; and the next in the queue has its turn."""
    held = m.zeros(15 * PAGE, "u1")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(m.zeros, 4 * PAGE, "u1", None, 0.3)
        queue_has(m, 1)
        second = pool.submit(m.zeros, PAGE, "u1", None, 30)
        with pytest.raises(WaitTimeout) as caught:
            first.result(10)
        assert (caught.value.wanted, caught.value.available) == (4, 1)
        assert isinstance(caught.value, TimeoutError)
        assert second.result(10).mapping.pages == 1
    assert waiting(m) == 0
    del held, second


def test_who_is_killed_leaves_the_queue(m):
    """The next one is served at once."""
    told = Signpost()
    first, go_first = child_that_wants(m, 8, told, "1")
    second, go_second = child_that_wants(m, 2, told, "2")
    held = m.zeros(14 * PAGE, "u1")
    go_first.reached()
    queue_has(m, 1)
    go_second.reached()
    queue_has(m, 2)
    kill(first)
    assert told.wait() == "2"
    assert ended_well(second)
    assert waiting(m) == 0
    del held


def test_who_is_killed_at_the_moment_it_is_served_keeps_nothing(m):
    """The grant is on its way to a process that is not there any more."""
    for _ in range(20):
        child, go = child_that_wants(m, 8, Signpost())
        held = m.zeros(15 * PAGE, "u1")
        go.reached()
        queue_has(m, 1)
        del held
        kill(child)
        eventually(lambda: m.meminfo().pages_free == 16)


def test_a_wait_for_more_than_there_can_ever_be_fails_at_once(m):
    """Nobody could make it come true."""
    start = time.monotonic()
    with pytest.raises(NoHugePages):
        m.zeros(17 * PAGE, "u1", wait=30)
    assert time.monotonic() - start < 5


def test_one_thread_waits_and_the_others_work(m):
    """A process is not held up by one of its wishes, and forks meanwhile as it likes."""
    held = m.zeros(14 * PAGE, "u1")
    with ThreadPoolExecutor(1) as pool:
        wish = pool.submit(m.zeros, 8 * PAGE, "u1", None, 30)
        queue_has(m, 1)
        for _ in range(10):
            assert ended_well(fork(m.meminfo))
        del held
        assert wish.result(10).mapping.pages == 8
        del wish
