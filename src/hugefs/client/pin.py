"""Pin: an I/O in flight uses these pages."""

from __future__ import annotations

import os
import sys
from typing import Self

from hugefs.client.connection import Connection
from hugefs.wire.messages import Unpin

__all__ = ["Pin"]


class Pin:
    """Pages held for an I/O: they outlive their mapping, file and mount until ``release``, or the end of ``with``.

    A pin is its process's own: a forked child, which has no part in the I/O, inherits none.
    """

    def __init__(self, connection: Connection, number: int, first: int, count: int) -> None:
        self.first = first
        self.count = count
        self._process = os.getpid()
        self._held = connection.hold(self, Unpin(0, number))
        self._connection: Connection | None = connection

    def release(self) -> None:
        """The I/O has ended; a second time is no error."""
        connection = self._connection
        if connection is None:
            return
        connection.let_go(self._held)
        self._connection = None
        connection.flush()

    @property
    def released(self) -> bool:
        """Whether it holds nothing any more."""
        return self._connection is None or self._process != os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def __del__(self) -> None:
        if self._connection is None or sys.is_finalizing():
            return
        try:
            self.release()
        except BaseException:  # a signal handler's, which Python is going to swallow here
            self.release()
            raise

    def __repr__(self) -> str:
        state = "released" if self.released else "held"
        return f"<hugefs pin of {self.count} pages from page {self.first}, {state}>"
