"""Pin: an I/O in flight holds pages, and nothing else.

It remembers which pages, and the inode only to tell its name to those who ask: it is no reason for it to live.

Linux: get_user_pages and what holds its pages: a bio, a pipe, a device.
"""

from __future__ import annotations

from hugefs.core.inode import Inode
from hugefs.core.ranges import PageRange

__all__ = ["Pin"]


class Pin:
    """``runs``: indexes in the file and frames, run by run."""

    def __init__(self, origin: Inode, runs: list[tuple[PageRange, PageRange]]) -> None:
        self.origin = origin
        self.runs = runs

    @property
    def pages(self) -> int:
        """How many pages it holds."""
        return sum(frames.pages for _, frames in self.runs)
