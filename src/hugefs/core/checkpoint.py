"""Where another task could step in, an allocation could fail, or a sleep would be wrong: marked, and nothing more.

The kernel has the same three idioms: ``cond_resched()``, ``should_fail()`` and ``might_sleep()``. On a server they do
nothing. The lab installs an observer that runs another task, raises, or complains. So the code that is explored is
the code that is shipped, and it stays ordinary functions (docs/decisions/0002-checkpoints.md has what was compared).

A checkpoint stands immediately *before* a group of accesses that the kernel makes under one lock: at that place a
task has decided nothing yet that it will not read again. Standing after the group would double the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Observer", "checkpoint", "may_fail", "might_sleep", "observed_by"]


class Observer:
    """Does nothing at any of the marks; the lab overrides what it needs."""

    def checkpoint(self, place: str) -> None:
        """Another task may run now. ``place`` names the lock section that comes next."""

    def may_fail(self, what: str) -> None:
        """Memory for bookkeeping is allocated here; an override may raise NoHugePages."""

    def might_sleep(self, what: str) -> None:
        """The kernel may sleep here, so it must not be in interrupt context."""


_observer = Observer()


def checkpoint(place: str) -> None:
    """Mark the place before a lock section."""
    _observer.checkpoint(place)


def may_fail(what: str) -> None:
    """Mark an allocation of memory for bookkeeping."""
    _observer.may_fail(what)


def might_sleep(what: str) -> None:
    """Mark something that must not happen in interrupt context."""
    _observer.might_sleep(what)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Let ``observer`` see the marks for a while. One at a time: the marks are the process's, as tracepoints are."""
    global _observer
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before
