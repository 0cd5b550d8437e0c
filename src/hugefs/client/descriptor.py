"""Descriptors and who closes them: one on its way from a packet to whoever uses it, and a connection's socket.

Rule 1: it has one owner, and ``close`` may be called by anyone who gives up, any number of times: a number is closed
        once only, because a moment later it may be somebody else's.
Rule 2: no finaliser. Whoever takes a packet apart twice (after a Ctrl-C) must not close it by forgetting the first try.
"""

from __future__ import annotations

import os
import socket

__all__ = ["Descriptor", "OwnSocket"]


class Descriptor:
    """At most one descriptor; ``missing`` where there is none (any more).

    ``kept``: set by an object that makes it its own; else it is closed when the answer it came with has been used.
    """

    __slots__ = ("_number", "kept")

    def __init__(self, number: int | None = None) -> None:
        self._number = number
        self.kept = False

    @property
    def missing(self) -> bool:
        """Whether there is none."""
        return self._number is None

    @property
    def number(self) -> int:
        """The number to map or read; still owned here."""
        assert self._number is not None
        return self._number

    def close(self) -> None:
        """Close it, if there is one."""
        number = self._number
        if number is not None:
            # Nothing is called between these two, so no signal handler's exception can leave it half closed.
            self._number = None
            try:  # noqa: SIM105 (suppress() is a call)
                os.close(number)
            except OSError:
                pass


class OwnSocket(socket.socket):
    """A socket that is closed when it is forgotten; Python's own would complain that it was not closed before."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.family, sock.type, fileno=sock.fileno())
        sock.detach()
        self.settimeout(None)  # whatever socket.setdefaulttimeout says

    def __del__(self) -> None:
        self.close()
