"""The queue of those who wait for pages: first come, first served.

Rule 1: who waits holds nothing. So nobody can wait for someone who waits.
Rule 2: nobody is served before the first in the queue, also if there were pages enough for a smaller wish: else a large
        wish would wait for ever.
Rule 3: who dies, gives up or has waited long enough leaves the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from hugefs.server.session import Session
from hugefs.wire.messages import Create

__all__ = ["Waiter", "WaitingList"]


class Waiter(NamedTuple):
    """A request that could not be granted yet. ``deadline``: monotonic seconds."""

    session: Session
    request: Create
    pages: int
    deadline: float


class WaitingList:
    """Waiters of one mount, in their order."""

    def __init__(self) -> None:
        self._waiters: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(list(self._waiters))

    @property
    def first(self) -> Waiter | None:
        """Whose turn it is."""
        return self._waiters[0] if self._waiters else None

    @property
    def earliest_deadline(self) -> float | None:
        """When the next one has waited long enough."""
        return min((waiter.deadline for waiter in self._waiters), default=None)

    def add(self, waiter: Waiter) -> None:
        """At the end."""
        self._waiters.append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Wherever it stands."""
        self._waiters.remove(waiter)

    def expired(self, now: float) -> list[Waiter]:
        """Those who have waited long enough, in their order."""
        return [waiter for waiter in self._waiters if waiter.deadline <= now]

    def of(self, session: Session) -> list[Waiter]:
        """A session's."""
        return [waiter for waiter in self._waiters if waiter.session is session]
