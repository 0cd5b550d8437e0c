"""MappedPages: a mapping of a file's pages that is a real ``mmap.mmap``, and keeps no descriptor.

CPython counts the memoryviews and arrays on an mmap and refuses to unmap under them; that is what we want, but its
constructor duplicates the descriptor and keeps it. So: let it map anonymous huge address space, which is aligned as
huge pages need and takes none of them, and put the file's pages over that in one step (MAP_FIXED). The object then
unmaps exactly what lies there when it dies.

Rule 1: after it returned, every byte can be touched (the file's pages are backed; private ones are taken here).
Rule 2: a failure leaves nothing mapped.
Rule 3: closing while views exist raises ViewsStillOpen and changes nothing.
Rule 4: its size and place never change: resize and move are refused.
Linux: mm/hugetlb.c (reservations of private mappings), mm/gup.c (MADV_POPULATE_WRITE).
"""

from __future__ import annotations

import errno
import mmap
from contextlib import suppress
from typing import Any, Never

from hugefs.errors import InvalidRequest, NoHugePages, NotSupported, ViewsStillOpen
from hugefs.memory import _libc
from hugefs.memory.backing import Backing
from hugefs.memory.cgroups import groups_are_visible
from hugefs.memory.hugetlb_room import group_room
from hugefs.memory.refusals import refused
from hugefs.memory.room import claim, require_room
from hugefs.memory.thp import thp_page_bytes

_STEP_BYTES = 64 << 20


class MappedPages(mmap.mmap):
    """Pages of a file in this process's address space. Made by ``shared`` and ``private``, never directly."""

    address: int
    length_bytes: int
    page_bytes: int
    writable: bool
    is_private: bool
    backing: Backing

    @classmethod
    def shared(
        cls, fd: int, offset: int, length: int, writable: bool, backing: Backing, page_bytes: int
    ) -> MappedPages:
        """Map ``[offset, offset + length)`` bytes of ``fd`` shared; its pages must be backed. The descriptor may be
        closed afterwards.

        Raises NoHugePages (no address space left), PermissionDenied (writable, but the descriptor is not).
        """
        prot = _libc.PROT_READ | (_libc.PROT_WRITE if writable else 0)
        return cls._over(fd, offset, length, prot, _libc.MAP_SHARED, backing, page_bytes)

    @classmethod
    def private(cls, fd: int, offset: int, length: int, backing: Backing, page_bytes: int) -> MappedPages:
        """Map copy-on-write. Every page this process may come to write is there, or reserved for it, on return.

        ``backing`` is the file's; the copies of a file in shared memory are base pages, and the object says so.
        Raises NoHugePages where the copies cannot be had.
        """
        pages = cls._over(
            fd, offset, length, _libc.PROT_READ | _libc.PROT_WRITE, _libc.MAP_PRIVATE, backing, page_bytes
        )
        try:
            pages._take_copies()
        except BaseException:
            pages.close()
            raise
        return pages

    @classmethod
    def _over(
        cls, fd: int, offset: int, length: int, prot: int, flags: int, backing: Backing, page_bytes: int
    ) -> MappedPages:
        if length <= 0 or offset < 0 or length % page_bytes or offset % page_bytes:
            raise InvalidRequest(f"[{offset}, +{length}) does not lie on pages of {page_bytes} bytes")
        pages = cls._address_space(length, prot, page_bytes)
        try:
            pages.address = _libc.buffer_address(pages)
            pages.length_bytes = length
            pages.page_bytes = page_bytes
            pages.writable = bool(prot & _libc.PROT_WRITE)
            pages.is_private = bool(flags & _libc.MAP_PRIVATE)
            pages.backing = backing
            _libc.mmap(pages.address, length, prot, flags | _libc.MAP_FIXED, fd, offset)
            if backing is Backing.THP:
                pages._prefer_huge()
            if pages.is_private and backing is not Backing.HUGETLB:
                pages.backing = Backing.BASE
        except BaseException as error:
            pages.close()
            if isinstance(error, OSError):
                raise _mapping_failed(error, length, page_bytes) from error
            raise
        return pages

    @classmethod
    def _address_space(cls, length: int, prot: int, page_bytes: int) -> MappedPages:
        """An object over anonymous address space that costs nothing, aligned where the kernel can."""
        anonymous = _libc.MAP_SHARED | _libc.MAP_ANONYMOUS | _libc.MAP_NORESERVE
        huge = _libc.MAP_HUGETLB | ((page_bytes.bit_length() - 1) << _libc.HUGE_SHIFT)
        try:
            return super().__new__(cls, -1, length, flags=anonymous | huge, prot=prot)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise _mapping_failed(error, length, page_bytes) from error
        # No hugetlb in this kernel. Perhaps aligned all the same; ``backing`` tells.
        try:
            return super().__new__(cls, -1, length, flags=anonymous, prot=prot)
        except OSError as error:
            raise _mapping_failed(error, length, page_bytes) from error

    def _prefer_huge(self) -> None:
        if self.address % thp_page_bytes():
            self.backing = Backing.BASE
            return
        with suppress(OSError):  # a kernel without THP has none to map; the file's pages are what they are
            _libc.madvise(self.address, self.length_bytes, _libc.MADV_HUGEPAGE)

    def _take_copies(self) -> None:
        # The kernel has reserved hugetlb copies when it mapped. But a hugetlb control group is charged only at the
        # touch, and its answer is then SIGBUS: under such a limit, or where none could be seen, touch now.
        if self.backing is Backing.HUGETLB:
            if group_room(self.page_bytes) is not None or not groups_are_visible():
                _populate(self.address, self.length_bytes, self.page_bytes)
            return
        require_room(self.length_bytes, self.page_bytes)
        for start in range(0, self.length_bytes, _STEP_BYTES):
            step = min(_STEP_BYTES, self.length_bytes - start)
            with claim(step, self.page_bytes):
                _populate(self.address + start, step, self.page_bytes)

    def close(self) -> None:
        """Unmap; a second time is no error. Raises ViewsStillOpen while memoryviews or arrays use it."""
        try:
            super().close()
        except BufferError as error:
            raise ViewsStillOpen(
                "arrays or memoryviews still use this mapping: delete them first (nothing was changed)"
            ) from error

    def size(self) -> int:
        """The length of the mapping in bytes (of the file it knows nothing any more)."""
        return len(self)

    def resize(self, *arguments: Any) -> Never:
        """Refused: views and the mount's books know this mapping by its place and length."""
        raise NotSupported("a mapping of huge pages keeps its size: close it and map again")

    def move(self, *arguments: Any) -> Never:
        """Refused: a memmove within the file; use slices, or NumPy."""
        raise NotSupported("move is not offered: assign a slice instead")


def _populate(address: int, length: int, page_bytes: int) -> None:
    """Have every page of a private mapping copied now. Raises NoHugePages."""
    while True:
        try:
            _libc.madvise(address, length, _libc.MADV_POPULATE_WRITE)
            return
        except OSError as error:
            if error.errno in {errno.EINTR, errno.EAGAIN}:
                continue  # pages that are there already cost nothing the second time
            if error.errno in {errno.ENOMEM, errno.EFAULT}:
                raise NoHugePages(
                    f"no memory for a private copy of {length // page_bytes} pages: {error.strerror}",
                    wanted=length // page_bytes,
                ) from error
            raise refused(error, "taking private pages") from error


def _mapping_failed(error: OSError, length: int, page_bytes: int) -> OSError:
    wanted = length // page_bytes
    if error.errno == errno.ENOMEM:
        return NoHugePages(
            f"{wanted} pages cannot be mapped: no address space left (RLIMIT_AS, vm.max_map_count), or no huge pages "
            "for a private copy",
            wanted=wanted,
        )
    return refused(error, f"mapping {wanted} pages")
