"""A descriptor on its way from a packet to whoever uses it.

Rule 1: it has one owner, and ``close`` may be called by anyone who gives up, any number of times: a number is closed
        once only, because a moment later it may be somebody else's.
Rule 2: no finaliser. Whoever takes a packet apart twice (after a Ctrl-C) must not close it by forgetting the first try.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["Descriptor", "numbers_in"]


class Descriptor:
    """At most one descriptor; ``missing`` where there is none (any more)."""

    __slots__ = ("_number",)

    def __init__(self, number: int | None = None) -> None:
        self._number = number

    @property
    def missing(self) -> bool:
        """Whether there is none."""
        return self._number is None

    @property
    def number(self) -> int:
        """The number to map or read; still owned here."""
        assert self._number is not None
        return self._number

    def detach(self) -> int:
        """The number; from now on the caller's to close."""
        number, self._number = self._number, None
        assert number is not None
        return number

    def close(self) -> None:
        """Close it, if there is one."""
        number, self._number = self._number, None
        if number is not None:
            with suppress(OSError):
                os.close(number)


def numbers_in(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a packet, as the kernel numbered them here."""
    numbers = array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return numbers.tolist()
