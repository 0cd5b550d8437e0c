"""Settings are put back: after an exception, after SIGTERM, after SIGKILL, and never changed without the lock."""

from __future__ import annotations

import mmap
import os
import signal
import time

import pytest

from hugefs.linux import huge_page_settings as settings
from hugefs.linux.counters import PoolCounters, pool
from hugefs.linux.huge_page_settings import CannotRunHere, huge_page_settings
from tests.memory import children

PAGE_BYTES = 2 << 20


@pytest.fixture(autouse=True)
def can_change_settings():
    """Skips by name where they cannot be had; the value to come back to otherwise."""
    try:
        with huge_page_settings(1):
            pass
    except CannotRunHere as error:
        pytest.skip(f"huge pages cannot be set up: {error}")


def settled() -> PoolCounters:
    """The pool while nobody has it changed: read under the lock, which also puts back what a killed holder left."""
    with huge_page_settings():
        return pool(PAGE_BYTES)


def held_by_others(counters: PoolCounters) -> int:
    """Pages that are in use or promised: what is asked for comes on top."""
    return counters.pages_total - counters.pages_free + counters.pages_reserved


class Bang(Exception):
    """Something went wrong in the block."""


def test_an_exception_puts_everything_back():
    """The plain case."""
    before = settled()
    seen = []

    def fail():
        with huge_page_settings(3, pages_overcommit=2):
            seen.append(pool(PAGE_BYTES))
            raise Bang

    with pytest.raises(Bang):
        fail()
    during = seen[0]
    assert (during.pages_total, during.pages_overcommit) == (held_by_others(before) + 3, 2)
    assert settled() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_holder_leaves_nothing_behind(number):
    """SIGTERM unwinds; after SIGKILL the journal is found by the next who takes the lock."""
    before = settled()
    read_end, write_end = os.pipe()

    def hold():
        with huge_page_settings(5):
            os.write(write_end, b"x")
            time.sleep(30)

    pid = children.start(hold)
    os.read(read_end, 1)
    assert pool(PAGE_BYTES).pages_total == held_by_others(before) + 5
    os.kill(pid, number)
    os.waitpid(pid, 0)
    assert settled() == before
    os.close(read_end)
    os.close(write_end)


def test_what_cannot_be_had_is_said_and_undone(monkeypatch):
    """A setting the kernel refuses, a page size it has not, and a pool that got fewer pages than were written."""
    before = settled()
    with (
        pytest.raises(CannotRunHere, match="cannot be set to nonsense"),
        huge_page_settings(2, shmem_enabled="nonsense"),
    ):
        raise AssertionError("never reached")
    assert settled() == before
    with pytest.raises(CannotRunHere, match="no /sys"), huge_page_settings(1, page_bytes=3 << 20):
        raise AssertionError("never reached")
    # Asking for more than the machine has would take all memory from everybody else for a moment; so it is acted.
    read = settings._read_setting
    total = held_by_others(before)
    monkeypatch.setattr(settings, "_read_setting", lambda path: str(int(read(path)) - (int(read(path)) > total)))
    with pytest.raises(CannotRunHere, match="wanted, the kernel gave"), huge_page_settings(3):
        raise AssertionError("never reached")
    monkeypatch.undo()
    assert settled() == before


def test_pages_still_in_use_do_not_stay_for_good():
    """A page in use when its pool shrinks becomes surplus and counts in nr_hugepages; it must go in the end."""
    before = settled()
    with huge_page_settings(1):
        pages = mmap.mmap(-1, PAGE_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x40000)
        pages[0] = 1
    with huge_page_settings(3):
        pass
    pages.close()
    assert settled() == before


def test_an_ordinary_user_is_told():
    """Not root is a reason, not a traceback from sysfs."""

    def attempt():
        with pytest.raises(CannotRunHere, match="needs root"), huge_page_settings(1):
            raise AssertionError("never reached")

    children.run(attempt, uid=65534)
