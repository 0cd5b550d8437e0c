"""Superblock: one mounted file system: its limits, its inodes, its root directory.

Linux: ``struct hugetlbfs_sb_info``; hugetlbfs_statfs, hugetlbfs_dec_free_inodes.
"""

from __future__ import annotations

from typing import NamedTuple

from hugefs.core.inode import Inode, InodeKind
from hugefs.core.mount_options import MountOptions
from hugefs.core.subpool import Subpool
from hugefs.errors import NoSpace

__all__ = ["Statfs", "Superblock"]


class Statfs(NamedTuple):
    """What statfs(2) says of a hugetlbfs mount; blocks are pages. -1 is the kernel's 2**64 - 1: no limit."""

    block_bytes: int
    blocks: int
    blocks_free: int
    blocks_available: int
    inodes: int
    inodes_free: int


class Superblock:
    """``users``: open files and mappings of its inodes. ``attached``: names can be looked up; False after an unmount.

    ``inodes``: all of them, also those that have no name any more.
    """

    def __init__(self, name: str, options: MountOptions, subpool: Subpool | None, page_bytes: int) -> None:
        self.name = name
        self.options = options
        self.subpool = subpool
        self.page_bytes = page_bytes
        self.inodes: dict[int, Inode] = {}
        self.users = 0
        self.attached = True
        self.root: Inode | None = None

    @property
    def inodes_free(self) -> int | None:
        """How many more files and directories it may have, None for no limit."""
        return None if self.options.inodes_max is None else self.options.inodes_max - len(self.inodes)

    def new_inode(self, number: int, kind: InodeKind, mode: int, uid: int, gid: int) -> Inode:
        """An inode without a name. Raises NoSpace where nr_inodes is used up."""
        if self.inodes_free == 0:
            raise NoSpace(
                f"mount {self.name}: no inode left of {self.options.inodes_max} (nr_inodes; the root directory counts)",
                wanted=1,
                available=0,
                mount=self.name,
            )
        inode = Inode(number, kind, self, mode, uid, gid)
        self.inodes[number] = inode
        return inode

    def statfs(self) -> Statfs:
        """Linux reports limits only where there is a subpool, that is, where size= or min_size= was given."""
        if self.subpool is None:
            return Statfs(self.page_bytes, 0, 0, 0, 0, 0)
        left = self.subpool.pages_left
        blocks, free = (-1, -1) if left is None or self.subpool.pages_max is None else (self.subpool.pages_max, left)
        inodes, inodes_free = self.options.inodes_max, self.inodes_free
        return Statfs(
            self.page_bytes,
            blocks,
            free,
            free,
            -1 if inodes is None else inodes,
            -1 if inodes_free is None else inodes_free,
        )
