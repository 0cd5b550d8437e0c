"""What must happen to real memory; the core only says it.

An operation appends effects in the order in which they must be carried out; the caller drains them before it answers
anyone. On simulated tasks nobody carries them out: the books are all there is.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from hugefs.core.ranges import PageRange

__all__ = ["Back", "Clear", "Drop", "Effect", "Forget"]


class Back(NamedTuple):
    """These pages of the file were taken or promised: there must be memory, reading as zeros, before the answer."""

    inode: int
    pages: PageRange


class Drop(NamedTuple):
    """These pages left the file: their memory goes back."""

    inode: int
    pages: PageRange


class Clear(NamedTuple):
    """These bytes become zero; the memory stays (a hole over a promise, or over a part of a page)."""

    inode: int
    offset_bytes: int
    length_bytes: int


class Forget(NamedTuple):
    """The file is gone for good, with whatever memory it had."""

    inode: int


Effect: TypeAlias = Back | Drop | Clear | Forget
