"""Inode: a file or a directory, beyond its names.

Rule 1: an inode lives while it has a name, is open, or is mapped. Its pages are no reason to keep it: a page that an
        I/O holds outlives the inode, and must not lead back to it.
Rule 2: ``users`` of the superblock counts what is open or mapped, so that an unmount knows at once whether it is busy.

Linux: ``struct inode``, ``struct hugetlbfs_inode_info``.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from hugefs.core.page_cache import PageCache
from hugefs.core.reserve_map import FileReserveMap

if TYPE_CHECKING:
    from hugefs.core.mapping import Mapping
    from hugefs.core.superblock import Superblock

__all__ = ["Inode", "InodeKind", "OpenFile"]


class InodeKind(Enum):
    """What an inode is."""

    FILE = "file"
    DIRECTORY = "directory"


class Inode:
    """``links``: names. ``opens``: open files. ``mappings``: what maps it (the kernel's i_mmap).

    ``label``: opaque bytes that are kept with the file (an extended attribute). ``last_name``: the path it was last
    unlinked by, for those who ask who holds pages of it.
    """

    def __init__(self, number: int, kind: InodeKind, superblock: Superblock, mode: int, uid: int, gid: int) -> None:
        self.number = number
        self.kind = kind
        self.superblock = superblock
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.links = 0
        self.opens = 0
        self.mappings: dict[Mapping, None] = {}
        self.size_bytes = 0
        self.label = b""
        self.last_name: str | None = None
        self.cache = PageCache()
        self.reserve_map = FileReserveMap()
        self.children: dict[str, Inode] = {}

    @property
    def is_directory(self) -> bool:
        """Whether names can be made in it."""
        return self.kind is InodeKind.DIRECTORY

    @property
    def in_use(self) -> bool:
        """Whether something other than a name needs it."""
        return self.opens > 0 or bool(self.mappings)


class OpenFile:
    """An open file description: what ``open`` gives and ``close`` ends."""

    def __init__(self, inode: Inode, writable: bool) -> None:
        self.inode = inode
        self.writable = writable
        self.closed = False
