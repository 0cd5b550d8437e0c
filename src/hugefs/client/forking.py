"""Fork: a child holds what it inherited from before the fork on.

The server counts what each *session* holds, and a session is a socket. A forked child inherits the socket, and two
processes on one session would steal each other's answers; so the session is cloned first. The clone holds all that
its original holds, and its socket is inherited with everything else. When the fork has happened the parent forgets the
clone, the child the original. There is no moment in which one of them is not in the books, whoever is killed when.

Rule 1: between the clone and the fork this process neither takes nor gives back anything: else the child would map what
        its session does not hold, or hold what nobody can give back. Each connection holds its sending and receiving
        still; and what turns an answer into a mapping, or a mapping into a message, runs inside ``undivided``.
Rule 2: inside ``undivided`` nobody waits for a server or for a connection's locks.
Rule 3: a fork is never refused and never waits without end. Where a session could not be cloned the child keeps the
        inherited socket only to hold, and every request of it says why.

Python's own forks (os.fork, os.forkpty, multiprocessing) run these hooks. A fork behind Python's back does not; each
connection therefore also knows the process it belongs to.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from typing import Any, Protocol
from weakref import WeakSet

from hugefs.client.calls import Call
from hugefs.client.descriptor import Descriptor

__all__ = ["PATIENCE_SECONDS", "Cloning", "Forkable", "adopt", "undivided"]

PATIENCE_SECONDS = 30.0
"""How long a fork waits for a server or another thread, before the child is left with the right to hold only."""


class Forkable(Protocol):
    """What a connection does around a fork. None of these may raise."""

    serial: int

    def before_fork(self) -> None:
        """Hold still, and ask for a clone."""

    def await_clone(self) -> None:
        """Have it; or know why not."""

    def after_fork_in_parent(self) -> None:
        """Forget the clone, go on."""

    def after_fork_in_child(self) -> None:
        """Be the clone."""


class Cloning:
    """What one connection keeps from before a fork until after it."""

    def __init__(self) -> None:
        self.locks: list[Any] = []  # held still
        self.call: Call | None = None  # the request for a clone
        self.clone: Descriptor | None = None
        self.refusal: str | None = None  # why there is none


class _Fork:
    """One fork under way: what must be let go of afterwards, also where preparing was cut short."""

    def __init__(self) -> None:
        self.connections: list[Forkable] = []
        self.is_undivided = False


_connections: WeakSet[Forkable] = WeakSet()
_undivided = threading.RLock()
_one_fork = threading.RLock()
_under_way: list[_Fork] = []


def undivided() -> AbstractContextManager[bool]:
    """No other thread forks inside ``with undivided():``. Keep it short, and see rule 2."""
    return _undivided


def adopt(connection: Forkable) -> None:
    """Take a connection along into forks, for as long as it lives."""
    _connections.add(connection)


def _before() -> None:
    _one_fork.acquire()
    fork = _Fork()
    _under_way.append(fork)
    # In the order in which they were made, so that what two threads hold never depends on chance.
    fork.connections = sorted(_connections, key=lambda connection: connection.serial)
    for connection in fork.connections:
        connection.before_fork()
    for connection in fork.connections:
        connection.await_clone()
    fork.is_undivided = _undivided.acquire(timeout=PATIENCE_SECONDS)


def _after_in_parent() -> None:
    fork = _under_way.pop()
    if fork.is_undivided:
        _undivided.release()
    for connection in fork.connections:
        connection.after_fork_in_parent()
    _one_fork.release()


def _after_in_child() -> None:
    global _undivided, _one_fork
    # Other threads, who may have held these, do not exist here.
    _undivided, _one_fork = threading.RLock(), threading.RLock()
    _under_way.clear()
    for connection in sorted(_connections, key=lambda connection: connection.serial):
        connection.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
