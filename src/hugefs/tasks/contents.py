"""Contents: the first byte of pages, as far as it is not zero. Enough to see whose page it is.

Rule 1: kept by frame: a page that is given back takes its byte with it, and frame numbers never come again.
Rule 2: where the core copies a page on write, the byte is copied: whoever touches tells what stood there before.
"""

from __future__ import annotations

from hugefs.core.effects import Clear
from hugefs.core.filesystem import Filesystem
from hugefs.core.mapping import Mapping
from hugefs.core.ranges import PageRange

__all__ = ["Contents", "frame_of", "frames_of"]


def frames_of(mapping: Mapping, where: PageRange) -> dict[int, int]:
    """Which frame each page of a range shows through a mapping: its own copy, else the file's."""
    runs = mapping.inode.cache.runs(where) + mapping.pages.runs(where)
    return {
        index: frame for indexes, frames in runs for index, frame in zip(range(*indexes), range(*frames), strict=True)
    }


def frame_of(mapping: Mapping, index: int) -> int | None:
    """The same of one page."""
    return frames_of(mapping, PageRange(index, index + 1)).get(index)


class Contents:
    """``bytes``: by frame."""

    def __init__(self, fs: Filesystem) -> None:
        self.fs = fs
        self.bytes: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self.bytes)

    def load(self, mapping: Mapping, index: int) -> int:
        """The byte of a page that is there."""
        frame = frame_of(mapping, index)
        return 0 if frame is None else self.bytes.get(frame, 0)

    def store(self, mapping: Mapping, index: int, value: int) -> None:
        """Write the byte of a page that is there."""
        frame = frame_of(mapping, index)
        assert frame is not None, "a store touches its page first"
        self.bytes[frame] = value

    def copy(self, before: dict[int, int], mapping: Mapping) -> None:
        """Pages that show another frame than before are copies."""
        if not before:
            return
        after = frames_of(mapping, PageRange(min(before), max(before) + 1))
        for index, old in before.items():
            new = after.get(index)
            if new is not None and new != old and old in self.bytes:
                self.bytes[new] = self.bytes[old]

    def clear(self, effect: Clear) -> None:
        """A part of a file became zero."""
        page = self.fs.page_bytes
        first = -(-effect.offset_bytes // page)
        last = -(-(effect.offset_bytes + effect.length_bytes) // page)
        for superblock in self.fs.superblocks:
            inode = superblock.inodes.get(effect.inode)
            if inode is not None:
                for _, frames in inode.cache.runs(PageRange(first, max(first, last))):
                    for frame in range(*frames):
                        self.bytes.pop(frame, None)
