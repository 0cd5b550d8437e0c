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
        self._number = number
        self._process = os.getpid()
        self._connection: Connection | None = connection

    def release(self) -> None:
        """The I/O has ended; a second time is no error."""
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            connection.tell(Unpin(0, self._number))

    @property
    def released(self) -> bool:
        """Whether it holds nothing any more."""
        return self._connection is None or self._process != os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.release()

    def __repr__(self) -> str:
        state = "released" if self.released else "held"
        return f"<hugefs pin of {self.count} pages from page {self.first}, {state}>"
