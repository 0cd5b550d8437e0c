"""Filesystem: the calls, on one pool of huge pages. Pure bookkeeping; what memory must do is said in ``effects``.

Rule 1: a call that raises changed nothing, except where its docstring says what it kept.
Rule 2: after each call the caller drains the effects and has them carried out before it tells anyone.
Rule 3: offsets and lengths are bytes as in the system calls; pages of a mapping are indexes within the file.

Linux: fs/hugetlbfs/inode.c and the parts of mm/hugetlb.c and mm/mmap.c that serve it.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import TypeVar

from hugefs.core import namespace
from hugefs.core.charger import Charger, Payer
from hugefs.core.checkpoint import might_sleep
from hugefs.core.effects import Clear, Effect
from hugefs.core.fault import Faults
from hugefs.core.file_pages import INDEX_MAX, FilePages
from hugefs.core.inode import Inode, InodeKind, OpenFile
from hugefs.core.mapping import Mapping, PrivatePages
from hugefs.core.mount_options import MountOptions
from hugefs.core.page import Memmap
from hugefs.core.pin import Pin
from hugefs.core.pool import HugePool
from hugefs.core.ranges import PageRange
from hugefs.core.reservation import Reservations
from hugefs.core.subpool import Subpool
from hugefs.core.superblock import Superblock
from hugefs.errors import (
    BadHandle,
    Busy,
    Exists,
    InvalidRequest,
    IsDirectory,
    NoHugePages,
    NoSpace,
    NotFound,
    PermissionDenied,
    StaleHandle,
    TooBig,
)

__all__ = ["Filesystem"]

_SIZE_BYTES_MAX = 2**63 - 1

C = TypeVar("C")


class Filesystem:
    """Mounts, files and mappings that share one pool.

    ``superblocks``, ``subpools``, ``pins``: everything alive, for check() and for those who ask who holds what.
    ``classes``: what a class of the core is replaced by; the lab puts one in with a method that is wrong.
    """

    def __init__(
        self,
        page_bytes: int,
        pages_total: int = 0,
        pages_overcommit: int = 0,
        *,
        charger: Charger | None = None,
        classes: MappingOf[type, type] | None = None,
    ) -> None:
        self._classes = classes or {}
        self.page_bytes = page_bytes
        self.pool = self._class(HugePool)(pages_total, pages_overcommit)
        self.memmap = self._class(Memmap)()
        self.reservations = self._class(Reservations)(self.pool, self.memmap, charger)
        self._effects: list[Effect] = []
        self.files = self._class(FilePages)(self.reservations, self._effects)
        self.private = self._class(PrivatePages)(self.reservations)
        self.faults = self._class(Faults)(self.files, self.private)
        self.superblocks: dict[Superblock, None] = {}
        self.subpools: dict[Subpool, None] = {}
        self.pins: dict[Pin, None] = {}
        self._next_inode = 1

    def _class(self, right: type[C]) -> type[C]:
        return self._classes.get(right, right)

    def drain_effects(self) -> list[Effect]:
        """What must happen to memory since the last call, in order."""
        effects = self._effects[:]
        self._effects.clear()  # in place: the rooms share the list
        return effects

    # --- mounts ---------------------------------------------------------------------------------------------------

    def mount(self, name: str, options: MountOptions | None = None) -> Superblock:
        """A file system with its root directory. Raises NoHugePages where minimum or root inode cannot be had."""
        options = (options or MountOptions()).validated()
        if options.inodes_max == 0:
            raise NoHugePages(
                f"mount {name}: nr_inodes=0 leaves no inode for the root directory", wanted=1, available=0
            )
        subpool = None
        if options.pages_max is not None or options.pages_min is not None:
            subpool = self._class(Subpool)(self.pool, options.pages_max, options.pages_min)
            self.subpools[subpool] = None
        superblock = Superblock(name, options, subpool, self.page_bytes)
        superblock.root = superblock.new_inode(
            self._new_number(), InodeKind.DIRECTORY, options.mode, options.uid, options.gid
        )
        superblock.root.links = 1
        self.superblocks[superblock] = None
        return superblock

    def umount(self, superblock: Superblock, *, lazy: bool = False) -> None:
        """Unmount. Raises Busy while files are open or mapped; ``lazy``: names go now, the rest with the last user.

        A pin makes nothing busy: it holds pages, and they find their quota without the mount.
        """
        if not superblock.attached:
            raise NotFound(f"{superblock.name} is not mounted any more", mount=superblock.name)
        if superblock.users and not lazy:
            raise Busy(
                f"{superblock.name}: {superblock.users} files are open or mapped; lazy=True detaches it all the same",
                mount=superblock.name,
            )
        superblock.attached = False
        self._end_superblock_if_unused(superblock)

    def _end_superblock_if_unused(self, superblock: Superblock) -> None:
        """Linux: generic_shutdown_super (every inode is evicted), then hugetlbfs_put_super."""
        if superblock.attached or superblock.users or superblock not in self.superblocks:
            return
        might_sleep("kill_sb")
        for inode in list(superblock.inodes.values()):
            self.files.evict(inode)
        superblock.root = None
        del self.superblocks[superblock]
        if superblock.subpool:
            self.pool.unreserve(superblock.subpool.unmount())
            self._forget_ended_subpools()

    def _forget_ended_subpools(self) -> None:
        for subpool in [subpool for subpool in self.subpools if subpool.ended]:
            del self.subpools[subpool]

    # --- open files -----------------------------------------------------------------------------------------------

    def open(
        self,
        superblock: Superblock,
        path: str,
        *,
        create: bool = False,
        exclusive: bool = False,
        truncate: bool = False,
        writable: bool = True,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
    ) -> OpenFile:
        """Open by name, as open(2) with O_CREAT, O_EXCL, O_TRUNC. Raises NotFound, Exists, IsDirectory, NoSpace."""
        inode = namespace.find(superblock, path)
        if inode is None:
            if not create:
                namespace.lookup(superblock, path)  # says what is missing
            directory, name = namespace.parent_of(superblock, path)
            inode = superblock.new_inode(self._new_number(), InodeKind.FILE, mode, uid, gid)
            namespace.add_name(directory, name, inode)
        elif create and exclusive:
            raise Exists(f"{path} exists", mount=superblock.name)
        elif inode.is_directory:
            raise IsDirectory(f"{path} is a directory", mount=superblock.name)
        file = self._opened(inode, writable)
        if truncate:
            self._set_size(inode, 0)
        return file

    def open_unnamed(self, superblock: Superblock, *, mode: int = 0o600, uid: int = 0, gid: int = 0) -> OpenFile:
        """A file without a name, as O_TMPFILE makes it."""
        if not superblock.attached:
            raise NotFound(f"{superblock.name} is not mounted any more", mount=superblock.name)
        return self._opened(superblock.new_inode(self._new_number(), InodeKind.FILE, mode, uid, gid), True)

    def open_directory(self, superblock: Superblock, path: str) -> OpenFile:
        """Open a directory by name, to look at it."""
        return self._opened(namespace.lookup(superblock, path), False)

    def reopen(self, inode: Inode, *, writable: bool) -> OpenFile:
        """One more open file of an inode that is alive."""
        if inode.is_directory:
            raise IsDirectory("this is a directory")
        if inode.number not in inode.superblock.inodes:
            raise StaleHandle("this file is gone")
        return self._opened(inode, writable)

    def close(self, file: OpenFile) -> None:
        """Close. The last user of a file without a name evicts it."""
        self._must_be_open(file)
        file.closed = True
        file.inode.opens -= 1
        file.inode.superblock.users -= 1
        self._settle(file.inode)

    def _opened(self, inode: Inode, writable: bool) -> OpenFile:
        inode.opens += 1
        inode.superblock.users += 1
        return OpenFile(inode, writable)

    def _settle(self, inode: Inode) -> None:
        """Whatever just lost a name or a user: it may have been the last. Linux: iput, deactivate_super."""
        if inode.links == 0 and not inode.in_use and inode.number in inode.superblock.inodes:
            self.files.evict(inode)
        self._end_superblock_if_unused(inode.superblock)

    # --- names ----------------------------------------------------------------------------------------------------

    def unlink(self, superblock: Superblock, path: str) -> None:
        """Remove a file's name; its pages go with its last user."""
        self._settle(namespace.unlink(superblock, path))

    def rename(self, superblock: Superblock, source: str, target: str) -> None:
        """Another name for a file or directory; what had it is unlinked."""
        victim = namespace.rename(superblock, source, target)
        if victim is not None:
            self._settle(victim)

    def link(self, superblock: Superblock, source: str, target: str) -> None:
        """A second name for a file."""
        namespace.link(superblock, source, target)

    def mkdir(self, superblock: Superblock, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """A directory. It takes an inode."""
        if namespace.find(superblock, path) is not None:
            raise Exists(f"{path} exists", mount=superblock.name)
        directory, name = namespace.parent_of(superblock, path)
        namespace.add_name(
            directory, name, superblock.new_inode(self._new_number(), InodeKind.DIRECTORY, mode, uid, gid)
        )

    def rmdir(self, superblock: Superblock, path: str) -> None:
        """Remove an empty directory."""
        self._settle(namespace.remove_directory(superblock, path))

    # --- size and pages -------------------------------------------------------------------------------------------

    def truncate(self, file: OpenFile, size_bytes: int) -> None:
        """Set the size: whole pages only. Pages, promises and private copies beyond it go; no page is taken."""
        self._must_be_open(file)
        if not file.writable:
            raise InvalidRequest("this file was opened read-only")  # ftruncate(2) says EINVAL, the others say EBADF
        if size_bytes < 0 or size_bytes % self.page_bytes:
            raise InvalidRequest(
                f"a size of {size_bytes} bytes: it must be a multiple of {self.page_bytes}, and not negative"
            )
        if size_bytes > _SIZE_BYTES_MAX:
            raise TooBig(f"a size of {size_bytes} bytes is beyond what a file can have")
        self._set_size(file.inode, size_bytes)

    def _set_size(self, inode: Inode, size_bytes: int) -> None:
        inode.size_bytes = size_bytes
        first = size_bytes // self.page_bytes
        self._zap_private(inode, PageRange(first, INDEX_MAX))
        self.files.cut(inode, first)

    def fallocate(self, file: OpenFile, offset: int, length: int, *, keep_size: bool = False) -> None:
        """Take the pages of a range. Raises NoSpace where they run out: those it got stay, the size does not grow."""
        self._must_be_writable(file)
        where = self._bytes_touched(offset, length)
        shortage = self.files.fill(file.inode, where)
        if shortage:
            superblock = file.inode.superblock
            raise NoSpace(
                f"mount {superblock.name}: {shortage.reason}",
                wanted=shortage.wanted,
                available=shortage.available,
                mount=superblock.name,
            )
        if not keep_size:
            file.inode.size_bytes = max(file.inode.size_bytes, offset + length)

    def punch_hole(self, file: OpenFile, offset: int, length: int) -> None:
        """Give back the whole pages of a range; what it covers of other pages becomes zero. The size stays."""
        self._must_be_writable(file)
        touched = self._bytes_touched(offset, length)
        page = self.page_bytes
        whole = PageRange(-(-offset // page), (offset + length) // page)
        if whole.end > whole.start:
            self._zap_private(file.inode, whole)
            self.files.punch(file.inode, whole)
            for promised, _ in file.inode.reserve_map.entries.runs(whole):
                self._effects.append(Clear(file.inode.number, promised.start * page, promised.pages * page))
        for edge in sorted({touched.start, touched.end - 1}):
            self._clear_edge(file.inode, edge, offset, offset + length)

    def retract(self, inode: Inode, where: PageRange) -> None:
        """Memory for these pages could not be had: the grant is taken back, pages and promises."""
        self.files.punch(inode, where)
        self.reservations.unreserve_pages(inode.reserve_map, inode.superblock.subpool, where, 0)

    def _clear_edge(self, inode: Inode, index: int, start: int, end: int) -> None:
        """Zero the covered part of a page that is only partly in a hole."""
        page = self.page_bytes
        start, end = max(start, index * page), min(end, (index + 1) * page)
        if 0 < end - start < page and inode.reserve_map.count(PageRange(index, index + 1)):
            self._effects.append(Clear(inode.number, start, end - start))

    def _bytes_touched(self, offset: int, length: int) -> PageRange:
        """The pages that bytes lie in. Raises InvalidRequest, TooBig."""
        if offset < 0 or length <= 0:
            raise InvalidRequest(f"offset {offset}, length {length}: not negative, and at least one byte, was expected")
        if offset + length > _SIZE_BYTES_MAX:
            raise TooBig(f"offset {offset} + length {length} is beyond what a file can have")
        return PageRange(offset // self.page_bytes, -(-(offset + length) // self.page_bytes))

    def _zap_private(self, inode: Inode, where: PageRange) -> None:
        """In the order of the file, as the kernel goes through i_mmap: it matters where surplus pages end."""
        for mapping in sorted(inode.mappings, key=lambda mapping: mapping.where.start):  # a copy: a fork may end
            if mapping.private:
                self.private.zap(mapping, where, restore=self._promises_come_back())

    def _promises_come_back(self) -> bool:
        """While the pool has surplus pages, an unmapped page is not promised to its owner again."""
        return self.pool.pages_surplus == 0

    # --- mappings -------------------------------------------------------------------------------------------------

    def map(
        self,
        file: OpenFile,
        offset: int,
        length: int,
        *,
        private: bool = False,
        writable: bool = True,
        reserve: bool = True,
    ) -> Mapping:
        """Map a range; ``length`` is rounded up to whole pages. Promises its pages unless ``reserve`` is False.

        A writable mapping makes the file at least that long. Raises NoHugePages (ENOMEM) whatever ran out.
        """
        if file.closed:
            raise BadHandle("this file is closed")
        if offset < 0 or offset % self.page_bytes or length <= 0:
            raise InvalidRequest(
                f"offset {offset}, length {length}: multiple of {self.page_bytes}, and at least one byte, were expected"
            )
        if offset + length > _SIZE_BYTES_MAX - self.page_bytes:
            raise InvalidRequest(f"offset {offset} + length {length} is beyond what a file can have")
        if writable and not private and not file.writable:
            raise PermissionDenied("a file that was opened read-only cannot be mapped shared and writable")
        inode, where = file.inode, self._bytes_touched(offset, length)
        payer = self._reserve_mapping(inode, where, private) if reserve else None
        mapping = Mapping(
            inode, where, private=private, writable=writable, owns_reserve=private and reserve, payer=payer
        )
        if writable:
            inode.size_bytes = max(inode.size_bytes, where.end * self.page_bytes)
        self._mapped(mapping)
        return mapping

    def _reserve_mapping(self, inode: Inode, where: PageRange, private: bool) -> Payer:
        """Promise a private mapping's own pages, or the file's. Returns who pays for the mapping's own."""
        superblock = inode.superblock
        try:
            if private:
                return self.reservations.promise(superblock.subpool, where.pages)
            self.files.reserve(inode, where)
            return None
        except NoHugePages as error:
            raise NoHugePages(
                f"mount {superblock.name}: {error.reason}",
                wanted=error.wanted,
                available=error.available,
                mount=superblock.name,
            ) from None

    def _mapped(self, mapping: Mapping) -> None:
        mapping.inode.mappings[mapping] = None
        mapping.inode.superblock.users += 1

    def fork(self, mapping: Mapping) -> Mapping:
        """The same mapping in a child: the same pages, and no promise of its own."""
        self._must_be_mapped(mapping)
        child = Mapping(
            mapping.inode, mapping.where, private=mapping.private, writable=mapping.writable, owns_reserve=False
        )
        for gap in mapping.parts.gaps(mapping.where):
            child.parts.remove(gap)
        self.private.share(mapping, child)
        self._mapped(child)
        return child

    def touch(self, mapping: Mapping, where: PageRange | None = None, *, write: bool = True) -> None:
        """Touch each page, as a load or store does. Raises BusError at the first it cannot have; those before stay."""
        self.faults.touch(mapping, self._mapped_part(mapping, where), write)

    def discard(self, mapping: Mapping, where: PageRange | None = None) -> None:
        """Let private copies go; their owner gets the promises back. Shared pages stay. Linux: MADV_DONTNEED."""
        self.discard_all([(mapping, self._mapped_part(mapping, where))])

    def discard_all(self, parts: list[tuple[Mapping, PageRange]]) -> None:
        """The same of parts of several mappings in one go: no page is freed before all of them have been let go."""
        restore = self._promises_come_back()
        for mapping, where in parts:
            if mapping.private:
                self.private.zap(mapping, where, restore=restore)

    def split(self, mapping: Mapping, at: int) -> Mapping:
        """Make two mappings of one, the second from index ``at`` on. No counter moves. Linux: __split_vma."""
        self._must_be_mapped(mapping)
        if not mapping.where.start < at < mapping.where.end:
            raise InvalidRequest(f"page {at} is not inside pages {mapping.where.start} to {mapping.where.end}")
        rest = self.private.split(mapping, at)
        self._mapped(rest)
        return rest

    def unmap(self, mapping: Mapping, where: PageRange | None = None) -> None:
        """Unmap a part, or all. A file's promises stay with the file; a private mapping's go."""
        self._must_be_mapped(mapping)
        self.unmap_all([(mapping, mapping.where if where is None else where.clip(mapping.where))])

    def unmap_all(self, parts: list[tuple[Mapping, PageRange]]) -> None:
        """Unmap parts of mappings in one go, as munmap and exit do: first all pages, then all promises, then files."""
        self._zap_unmapped(parts)
        for mapping, where in parts:
            self.private.close(mapping, where)
        for mapping, _ in parts:
            if not mapping.parts and mapping in mapping.inode.mappings:
                del mapping.inode.mappings[mapping]
                mapping.inode.superblock.users -= 1
                self._settle(mapping.inode)
        self._forget_ended_subpools()

    def _zap_unmapped(self, parts: list[tuple[Mapping, PageRange]]) -> None:
        for mapping, where in parts:
            self.private.zap(mapping, where, restore=False)

    def pin(self, mapping: Mapping, where: PageRange | None = None) -> Pin:
        """An I/O takes a reference to each page of a range, reading it in first. All or none. Raises BusError."""
        where = self._mapped_part(mapping, where)
        self.touch(mapping, where, write=False)
        pin = Pin(mapping.inode, mapping.pages.runs(where))
        for hole in mapping.pages.holes(where):
            pin.runs += mapping.inode.cache.runs(hole)
        for _, frames in pin.runs:
            self.memmap.get(frames)
        self.pins[pin] = None
        return pin

    def unpin(self, pin: Pin) -> None:
        """The I/O has ended. Nothing here looks at a file or a mount: both may be gone."""
        if pin not in self.pins:
            raise BadHandle("this pin has been dropped")
        del self.pins[pin]
        for _, frames in pin.runs:
            self.reservations.put_pages(frames)
        self._forget_ended_subpools()

    def _mapped_part(self, mapping: Mapping, where: PageRange | None) -> PageRange:
        where = mapping.where if where is None else where
        self._must_be_mapped(mapping)
        if where.pages <= 0 or mapping.parts.count(where) != where.pages:
            raise InvalidRequest(f"pages {where.start} to {where.end} are not all mapped here")
        return where

    # --- small ----------------------------------------------------------------------------------------------------

    def _new_number(self) -> int:
        number, self._next_inode = self._next_inode, self._next_inode + 1
        return number

    def _must_be_open(self, file: OpenFile) -> None:
        if file.closed:
            raise BadHandle("this file is closed")

    def _must_be_writable(self, file: OpenFile) -> None:
        self._must_be_open(file)
        if not file.writable:
            raise BadHandle("this file was opened read-only")

    def _must_be_mapped(self, mapping: Mapping) -> None:
        if mapping not in mapping.inode.mappings:
            raise BadHandle("this mapping is unmapped")
