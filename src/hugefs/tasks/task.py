"""Task: a simulated process: its handles, its address space, its group; and the calls on files.

Rule 1: names are the scenario's: a handle's name is a descriptor, a mapping's name an address range for good.
Rule 2: calls on memory are in their own modules (mmap, mremap, touch, advice, protection) and take the task.

Linux: ``struct task_struct`` with its mm and files; exit_mm, exit_files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hugefs.core import namespace
from hugefs.core.inode import Inode, OpenFile
from hugefs.core.page import HugePage
from hugefs.errors import (
    BadHandle,
    Busy,
    CrossMount,
    HugefsError,
    InvalidRequest,
    InvariantError,
    NotFound,
    NotPermitted,
    NotSupported,
)
from hugefs.tasks.vma import HugeVma, Vma

if TYPE_CHECKING:
    from hugefs.core.superblock import Superblock
    from hugefs.tasks.address_space import AddressSpace
    from hugefs.tasks.cgroup import Group
    from hugefs.tasks.machine import Machine

__all__ = ["Handle", "Killed", "Stat", "Task"]

_FILE_MODE = 0o755
_DIRECTORY_MODE = 0o755


class Killed(HugefsError):
    """The task died of a signal; all it had is given back."""


class Stat(NamedTuple):
    """What stat(2) says; ``pages`` is st_blocks in huge pages."""

    size_bytes: int
    pages: int
    links: int
    mode: int
    uid: int
    gid: int


class Handle:
    """An open file description; forks share it."""

    def __init__(self, file: OpenFile) -> None:
        self.file = file
        self.references = 1


class Task:
    """``ranges``: start and length in bytes of what each mapping's name stands for."""

    def __init__(self, machine: Machine, name: str, space: AddressSpace, group: Group | None) -> None:
        self.machine = machine
        self.name = name
        self.space = space
        self.group = group
        self.handles: dict[str, Handle] = {}
        self.ranges: dict[str, tuple[int, int]] = {}
        self.alive = True
        if group is not None:
            group.tasks += 1

    def file(self, handle: str) -> OpenFile:
        """The open file of a handle."""
        return self.handles[handle].file

    # --- handles --------------------------------------------------------------------------------------------------

    def open(
        self,
        handle: str,
        mount: str,
        path: str,
        *,
        create: bool = True,
        readonly: bool = False,
        unlinked: bool = False,
        truncate: bool = False,
    ) -> None:
        """open(2). Raises NotFound, IsDirectory, NoSpace, and what else the core's open does."""
        fs, superblock = self.machine.fs, self.machine.superblock(mount)
        if readonly and not create and not truncate and self._is_directory(superblock, path):
            file = fs.open_directory(superblock, path)
        else:
            file = fs.open(superblock, path, create=create, truncate=truncate, writable=not readonly, mode=_FILE_MODE)
        if unlinked:
            try:
                fs.unlink(superblock, path)
            except OSError:
                fs.close(file)
                raise
        self.handles[handle] = Handle(file)

    def _is_directory(self, superblock: Superblock, path: str) -> bool:
        inode = namespace.find(superblock, path)
        return inode is not None and inode.is_directory

    def memfd(self, handle: str, *, sealable: bool = False) -> None:
        """memfd_create(MFD_HUGETLB)."""
        file = self.machine.fs.open_unnamed(self.machine.internal, mode=0o777)
        self.machine.seals[file.inode] = set() if sealable else {"seal"}
        self.handles[handle] = Handle(file)

    def close(self, handle: str) -> None:
        """close(2)."""
        self._release(self.handles.pop(handle))

    def _release(self, handle: Handle) -> None:
        handle.references -= 1
        if handle.references == 0:
            self.machine.fs.close(handle.file)
            if handle.file.inode in self.machine.seals and not handle.file.inode.in_use:
                del self.machine.seals[handle.file.inode]

    def seal(self, handle: str, what: str) -> None:
        """fcntl(F_ADD_SEALS). Raises NotPermitted, Busy. Linux: memfd_add_seals."""
        inode = self.file(handle).inode
        seals = self.machine.seals.get(inode)
        if seals is None or "seal" in seals:
            raise NotPermitted("this file takes no seals")
        if what == "write" and "write" not in seals:
            if any(vma.may_write for vma in self._shared_maps(inode)):
                raise Busy("the file is mapped shared, and could be written")
            if any(page.references > 1 for page in self._cached(inode)):
                raise Busy("an I/O holds pages of the file")
        seals.add(what)

    def _shared_maps(self, inode: Inode) -> list[Vma]:
        everyone = [vma for task in self.machine.tasks.values() for vma in task.space.vmas]
        return [vma for vma in everyone if isinstance(vma, HugeVma) and vma.shared and vma.mapping.inode is inode]

    def _cached(self, inode: Inode) -> list[HugePage]:
        memmap = self.machine.fs.memmap
        return [page for _, frames in inode.cache.runs() for _, page in memmap.runs(frames)]

    def seals_of(self, inode: Inode) -> set[str]:
        """The seals of a file; none for one that is no memfd."""
        return self.machine.seals.get(inode, set())

    # --- files ----------------------------------------------------------------------------------------------------

    def truncate(self, handle: str, size: int) -> None:
        """ftruncate(2). Raises InvalidRequest, NotPermitted."""
        file = self.file(handle)
        seals = self.machine.seals.get(file.inode)
        if seals and size >= 0 and size % self.machine.fs.page_bytes == 0:
            if "shrink" in seals and size < file.inode.size_bytes:
                raise NotPermitted("the file is sealed against shrinking")
            if "grow" in seals and size > file.inode.size_bytes:
                raise NotPermitted("the file is sealed against growing")
        self.machine.fs.truncate(file, size)

    def fallocate(self, handle: str, offset: int, length: int, mode: str = "") -> None:
        """fallocate(2) with one mode: "", keep_size, punch_hole (without keep_size), zero_range, … ."""
        file = self.file(handle)
        if offset < 0 or length <= 0:
            raise InvalidRequest(f"offset {offset}, length {length}")
        if mode == "punch_hole":
            raise NotSupported("punch_hole goes with keep_size")
        if not file.writable:
            raise BadHandle("this file was opened read-only")
        if mode not in ("", "keep_size"):
            raise NotSupported(f"hugetlbfs has no {mode}")
        if "grow" in self.seals_of(file.inode) and offset + length > file.inode.size_bytes:
            raise NotPermitted("the file is sealed against growing")
        self.machine.fs.fallocate(file, offset, length, keep_size=mode == "keep_size")

    def punch(self, handle: str, offset: int, length: int) -> None:
        """fallocate(2) with PUNCH_HOLE and KEEP_SIZE."""
        self.punch_file(self.file(handle), offset, length)

    def punch_file(self, file: OpenFile, offset: int, length: int) -> None:
        """The same of an open file. Raises NotPermitted."""
        if "write" in self.seals_of(file.inode) and offset >= 0 and length > 0 and file.writable:
            raise NotPermitted("the file is sealed against writing")
        self.machine.fs.punch_hole(file, offset, length)

    def advise_file(self, handle: str, offset: int, length: int) -> None:
        """posix_fadvise(WILLNEED) and readahead(2): nothing is read ahead. Linux: generic_fadvise."""
        if length < 0 or offset < 0:
            raise InvalidRequest(f"offset {offset}, length {length}")
        assert not self.file(handle).closed

    def pread(self, handle: str, offset: int, length: int) -> int:
        """pread(2): how many bytes. It takes no page."""
        inode = self.file(handle).inode
        if offset < 0 or length < 0:
            raise InvalidRequest(f"offset {offset}, length {length}")
        if inode.is_directory:
            raise InvalidRequest("a directory")
        return max(0, min(length, inode.size_bytes - offset))

    def pwrite(self, handle: str, offset: int, length: int) -> int:
        """pwrite(2): hugetlbfs has none. Raises BadHandle, InvalidRequest."""
        if offset < 0:
            raise InvalidRequest(f"offset {offset}")
        if not self.file(handle).writable:
            raise BadHandle("this file was opened read-only")
        raise InvalidRequest("hugetlbfs has no write(2)")

    def stat(self, inode: Inode) -> Stat:
        """stat(2) and fstat(2)."""
        links = inode.links
        if inode.is_directory:
            links = 2 + sum(child.is_directory for child in inode.children.values())
        return Stat(inode.size_bytes, inode.cache.pages, links, inode.mode, inode.uid, inode.gid)

    def stat_path(self, mount: str, path: str) -> Stat:
        """The same by name. Raises NotFound."""
        return self.stat(namespace.lookup(self.machine.superblock(mount), path))

    # --- names ----------------------------------------------------------------------------------------------------

    def unlink(self, mount: str, path: str) -> None:
        """unlink(2)."""
        self.machine.fs.unlink(self.machine.superblock(mount), path)

    def mkdir(self, mount: str, path: str) -> None:
        """mkdir(2)."""
        self.machine.fs.mkdir(self.machine.superblock(mount), path, mode=_DIRECTORY_MODE)

    def rename(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """rename(2). Raises CrossMount, NotFound, … ."""
        superblock = self._one_mount(source, target)
        self.machine.fs.rename(superblock, source[1], target[1])

    def link(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """link(2). Raises NotFound, Exists, CrossMount, … ."""
        if source[0] != target[0]:
            namespace.lookup(self.machine.superblock(source[0]), source[1])
        superblock = self._one_mount(source, target)
        self.machine.fs.link(superblock, source[1], target[1])

    def _one_mount(self, source: tuple[str, str], target: tuple[str, str]) -> Superblock:
        superblock = self.machine.superblock(source[0])
        if self.machine.superblock(target[0]) is not superblock:
            raise CrossMount(f"{source[0]} and {target[0]} are two mounts")
        return superblock

    # --- life -----------------------------------------------------------------------------------------------------

    def enter(self, group_name: str) -> None:
        """Move into a group. Raises Busy where groups lie inside it."""
        group = self.machine.groups.get(group_name)
        if group is None:
            raise NotFound(f"there is no group {group_name}")
        if group.divided:
            raise Busy(f"group {group_name} is for groups inside it: it cannot have tasks")
        self._leave_group()
        self.group = self.machine.charger.group = group
        group.tasks += 1

    def _leave_group(self) -> None:
        if self.group is not None:
            self.group.tasks -= 1

    def fork(self, child_name: str) -> Task:
        """fork(2): the child has the same handles and addresses; no promise of its own."""
        child = Task(self.machine, child_name, self.space.fork(), self.group)
        for name, handle in self.handles.items():
            handle.references += 1
            child.handles[name] = handle
        child.ranges = dict(self.ranges)
        self.machine.tasks[child_name] = child
        return child

    def exit(self) -> None:
        """The task ends, of itself or killed: everything is unmapped, then everything closed."""
        self.settle_segments(self.space.unmap_everything())
        handles, self.handles = self.handles, {}
        for handle in handles.values():
            self._release(handle)
        self._leave_group()
        self.group = self.machine.charger.group = None
        self.alive = False

    def killed(self, why: BaseException) -> Killed:
        """End by a signal; the exception to raise."""
        self.exit()
        return Killed(f"{self.name} was killed: {why}")

    def unmap(self, start: int, end: int) -> None:
        """Unmap between two addresses. Raises InvalidRequest."""
        self.settle_segments(self.space.unmap(start, end))

    def settle_segments(self, vmas: list[Vma]) -> None:
        """These Vmas are gone; a removed segment may have lost its last attachment."""
        for vma in vmas:
            if isinstance(vma, HugeVma) and vma.segment is not None:
                vma.segment.settle()

    def verify(self) -> None:
        """Vmas are in order, and each stands for the whole of a mapping. Raises InvariantError."""
        end = 0
        for vma in self.space.vmas:
            if vma.start < end or vma.end <= vma.start:
                raise InvariantError(f"{self.name}: a mapping at {vma.start:#x} overlaps the one before it")
            end = vma.end
            if isinstance(vma, HugeVma):
                where = vma.mapping.where
                whole = vma.mapping.parts.count(where) == where.pages and vma.mapping in vma.mapping.inode.mappings
                if not whole or where.pages * self.machine.fs.page_bytes != vma.end - vma.start:
                    raise InvariantError(f"{self.name}: the mapping at {vma.start:#x} is not what the core has")
