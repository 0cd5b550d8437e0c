"""MemoryFile: one memfd with the bytes of one file. One per file: who has a descriptor can reach this file, no other.

Rule 1: what ``back`` returned for is there: every process that maps it can touch it, whatever is full by then.
Rule 2: the file never shrinks. It is sealed when it is made, so that nobody can cut it under a mapping.
Rule 3: what fails takes nothing: a failed ``back`` gives back exactly the pages it took.
Rule 4: this process never stores into the pages directly (see window.py): a system call cannot be killed by SIGBUS.
Rule 5: ``back``, ``drop`` and ``clear`` may run in any thread; those of one file wait for each other.

A holder of a writable descriptor can punch holes: only F_SEAL_WRITE forbids that, and it forbids writing too. So
whoever is given write access to a file is trusted with that file's pages, and with no other's.
Linux: mm/memfd.c (seals), fs/hugetlbfs/inode.c hugetlbfs_fallocate(), mm/shmem.c shmem_fallocate().
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from hugefs.errors import ClosedError, FallbackRefused, HugefsError, InvalidRequest, NoHugePages
from hugefs.memory import _libc
from hugefs.memory.backing import Backing
from hugefs.memory.extents import Extents
from hugefs.memory.hugetlb_room import group_room, how_to_mend, pool_room
from hugefs.memory.refusals import refused
from hugefs.memory.room import claim, require_room
from hugefs.memory.thp import make_huge
from hugefs.memory.window import window

# So much at a time: small enough to look at the memory limits often and to get on between signals (the kernel starts
# a shmem fallocate from the beginning after EINTR), large enough that nothing of this costs measurable time.
_STEP_BYTES = 64 << 20
_ZEROS = bytes(1 << 20)
_NAME_MAX_BYTES = 249 - len("memfd:")


class MemoryFile:
    """Memory with a descriptor. Offsets and lengths are bytes, multiples of ``page_bytes``.

    Every method raises InvalidRequest for offsets between pages or beyond the end, ClosedError after ``close``.
    """

    def __init__(self, fd: int, page_bytes: int, backing: Backing, *, fixed: bool, require_huge: bool) -> None:
        """Not for callers: ``create`` makes files."""
        self._fd = fd
        self._page_bytes = page_bytes
        self._wanted = backing
        self._fixed = fixed
        self._require_huge = require_huge
        self._size_bytes = os.fstat(fd).st_size
        self._backed = Extents()
        self._not_huge = Extents()
        self._lock = threading.RLock()

    @classmethod
    def create(
        cls,
        label: str,
        page_bytes: int,
        backing: Backing,
        *,
        size_bytes: int = 0,
        fixed: bool = False,
        require_huge: bool = False,
    ) -> MemoryFile:
        """An empty file of ``size_bytes``, without memory yet.

        ``label`` is what /proc/PID/maps shows. ``fixed``: the size never changes again, nobody can grow it either.
        ``require_huge``: ``back`` fails with FallbackRefused where THP cannot be had for a part, instead of taking base
        pages. Raises NoDescriptors, NoHugePages (no hugetlb in this kernel), TooBig (RLIMIT_FSIZE).
        """
        if size_bytes < 0 or size_bytes % page_bytes:
            raise InvalidRequest(f"a size of {size_bytes} bytes is not a number of pages of {page_bytes}")
        fd = _create_descriptor(label, page_bytes, backing)
        try:
            os.fchmod(fd, 0o600)  # else who was given it read-only could reopen it for writing through /proc
            if size_bytes:
                os.ftruncate(fd, size_bytes)
            seals = _libc.F_SEAL_SHRINK | _libc.F_SEAL_SEAL | (_libc.F_SEAL_GROW if fixed else 0)
            fcntl.fcntl(fd, _libc.F_ADD_SEALS, seals)
            return cls(fd, page_bytes, backing, fixed=fixed, require_huge=require_huge)
        except OSError as error:
            os.close(fd)
            raise refused(error, f"making a file of {size_bytes} bytes") from error

    @property
    def fd(self) -> int:
        """The descriptor, writable and close-on-exec; it stays this object's."""
        if self._fd < 0:
            raise ClosedError("this memory file is closed")
        return self._fd

    @property
    def page_bytes(self) -> int:
        """The size of a page."""
        return self._page_bytes

    @property
    def size_bytes(self) -> int:
        """How long the file is, backed or not."""
        return self._size_bytes

    @property
    def backed_bytes(self) -> int:
        """How much of it has memory."""
        return self._backed.total_bytes

    @property
    def backing(self) -> Backing:
        """What its memory really is: BASE as soon as one part is not huge pages."""
        return Backing.BASE if self._not_huge else self._wanted

    def grow(self, size_bytes: int) -> None:
        """Make the file longer; takes no memory. Raises InvalidRequest for a smaller size, or where it is fixed."""
        with self._lock:
            if size_bytes % self._page_bytes:
                raise InvalidRequest(f"a size of {size_bytes} bytes is not a number of pages of {self._page_bytes}")
            if size_bytes < self._size_bytes:
                raise InvalidRequest(f"a memory file never shrinks: {self._size_bytes} to {size_bytes} bytes")
            if size_bytes == self._size_bytes:
                return
            if self._fixed:
                raise InvalidRequest(f"this file was made with a fixed size of {self._size_bytes} bytes")
            try:
                os.ftruncate(self.fd, size_bytes)
            except OSError as error:
                raise refused(error, f"growing to {size_bytes} bytes") from error
            self._size_bytes = size_bytes

    def back(self, offset: int, length: int) -> None:
        """Take memory for a range; parts that have it already keep it, with their contents. New pages read as zeros.

        Ensures: every byte of it can be touched from now on, by any process, until ``drop``.
        Raises NoHugePages, with what was wanted and what is available in pages; nothing was taken then. FallbackRefused
        see ``create``.
        """
        with self._lock:
            self._check_range(offset, length)
            holes = self._backed.missing(offset, offset + length)
            if not holes:
                return
            wanted_bytes = sum(end - start for start, end in holes)
            if self._wanted is not Backing.HUGETLB:
                require_room(wanted_bytes, self._page_bytes)
            not_huge = Extents()
            try:
                for start, end in holes:
                    self._back_hole(start, end, not_huge)
            except BaseException as error:  # KeyboardInterrupt too: nobody would know of these pages
                for start, end in holes:
                    _libc.punch_hole(self.fd, start, end - start)
                if isinstance(error, HugefsError) or not isinstance(error, OSError):
                    raise
                if error.errno in {errno.ENOMEM, errno.ENOSPC}:
                    raise self._no_pages(wanted_bytes) from error
                raise refused(error, f"backing [{offset}, +{length})") from error
            for start, end in holes:
                self._backed.add(start, end)
            for start, end in not_huge.inside(offset, offset + length):
                self._not_huge.add(start, end)

    def drop(self, offset: int, length: int) -> None:
        """Give the memory of a range back to the kernel. A page that is still pinned goes with its last reference."""
        with self._lock:
            self._check_range(offset, length)
            _libc.punch_hole(self.fd, offset, length)
            self._backed.remove(offset, offset + length)
            self._not_huge.remove(offset, offset + length)

    def clear(self, offset: int, length: int) -> None:
        """Make what is backed of a range read as zeros; any bytes, not only whole pages. It stays backed throughout.

        Raises BusError where somebody with a writable descriptor took a page away and the kernel has no other.
        """
        with self._lock:
            self._check_inside(offset, length)
            for start, end in self._backed.inside(offset, offset + length):
                if self._wanted is Backing.HUGETLB:
                    self._clear_mapped(start, end)
                else:
                    self._clear_by_write(start, end)

    def read_only_fd(self) -> int | None:
        """A new descriptor of this file that can be read and mapped for reading only; None where /proc is missing."""
        try:
            return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused(error, "reopening read-only") from error

    def close(self) -> None:
        """Close the descriptor; a second time is no error. The memory goes with the last descriptor and mapping."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def __repr__(self) -> str:
        return f"<MemoryFile fd={self._fd} {self._size_bytes} bytes, {self.backed_bytes} backed by {self.backing}>"

    def _check_range(self, offset: int, length: int) -> None:
        self._check_inside(offset, length)
        if offset % self._page_bytes or length % self._page_bytes:
            raise InvalidRequest(f"[{offset}, +{length}) does not lie on pages of {self._page_bytes} bytes")

    def _check_inside(self, offset: int, length: int) -> None:
        if self._fd < 0:
            raise ClosedError("this memory file is closed")
        if offset < 0 or length <= 0 or offset + length > self._size_bytes:
            raise InvalidRequest(f"[{offset}, +{length}) is not within the file's {self._size_bytes} bytes")

    def _back_hole(self, start: int, end: int, not_huge: Extents) -> None:
        for at, length in _steps(start, end, self._page_bytes):
            with ExitStack() as held:
                if self._wanted is not Backing.HUGETLB:
                    held.enter_context(claim(length, self._page_bytes))
                if self._wanted is Backing.THP:
                    if make_huge(self.fd, at, length):
                        continue
                    if self._require_huge:
                        raise FallbackRefused(
                            "the kernel has no huge page left to make: its memory is too fragmented or "
                            "too full; mend it with: echo 1 > /proc/sys/vm/compact_memory",
                            wanted=length // self._page_bytes,
                        )
                    not_huge.add(at, at + length)
                _fallocate_all(self.fd, at, length, self._page_bytes)

    def _no_pages(self, wanted_bytes: int) -> NoHugePages:
        wanted = wanted_bytes // self._page_bytes
        if self._wanted is not Backing.HUGETLB:
            return NoHugePages(f"{wanted} pages wanted: the kernel has no memory for them", wanted=wanted)
        room, limited = pool_room(self._page_bytes), group_room(self._page_bytes)
        available = room.pages_available if room is not None else None
        mend = how_to_mend(self._page_bytes, max(1, wanted - (available or 0)))
        has = "too few" if available is None else available
        reason = f"{wanted} huge pages wanted, the kernel's pool has {has}; mend it with: {mend}"
        if limited is not None and (available is None or limited[0] < available):
            available, reason = limited[0], f"{wanted} huge pages wanted, {limited[1]}"
        return NoHugePages(reason, wanted=wanted, available=available)

    def _clear_mapped(self, start: int, end: int) -> None:
        zeros = _open_zeros()
        try:
            for page_start, length in _steps(*self._pages_around(start, end), self._page_bytes):
                with window(self.fd, page_start, length, self._page_bytes) as address:
                    at, stop = max(start, page_start), min(end, page_start + length)
                    while at < stop:
                        at += _libc.read_into(zeros, address + at - page_start, stop - at)
        except OSError as error:
            raise refused(error, f"clearing [{start}, {end})") from error
        finally:
            os.close(zeros)

    def _pages_around(self, start: int, end: int) -> tuple[int, int]:
        return start // self._page_bytes * self._page_bytes, -(-end // self._page_bytes) * self._page_bytes

    def _clear_by_write(self, start: int, end: int) -> None:
        # Writing needs no page faults: 55 ms for 256 MiB of base pages, where storing through a mapping takes 143 ms.
        at = start
        try:
            while at < end:
                at += os.pwrite(self.fd, _ZEROS[: end - at], at)
        except OSError as error:
            raise refused(error, f"clearing [{start}, {end})") from error


def _steps(start: int, end: int, page_bytes: int) -> list[tuple[int, int]]:
    """[start, end) cut into (offset, length) of at most _STEP_BYTES, or a page where that is more."""
    step = max(_STEP_BYTES, page_bytes)
    return [(at, min(step, end - at)) for at in range(start, end, step)]


def _fallocate_all(fd: int, offset: int, length: int, page_bytes: int) -> None:
    """fallocate that is not stopped by signals: after each it tries half as much, so it also gets on under a timer."""
    at, end, step = offset, offset + length, length
    while at < end:
        piece = min(step, end - at)
        try:
            _libc.fallocate(fd, at, piece)
        except OSError as error:
            if error.errno != errno.EINTR:
                raise
            step = max(min(page_bytes, 1 << 16), piece // 2)
        else:
            at += piece


def _create_descriptor(label: str, page_bytes: int, backing: Backing) -> int:
    name = label.replace("\0", "?").encode(errors="surrogateescape")[:_NAME_MAX_BYTES].decode(errors="replace")
    flags = _libc.MFD_CLOEXEC | _libc.MFD_ALLOW_SEALING
    if backing is Backing.HUGETLB:
        flags |= _libc.MFD_HUGETLB | ((page_bytes.bit_length() - 1) << _libc.HUGE_SHIFT)
    try:
        try:
            return os.memfd_create(name, flags | _libc.MFD_NOEXEC_SEAL)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return os.memfd_create(name, flags)  # before Linux 6.3
    except OSError as error:
        if backing is Backing.HUGETLB and error.errno in {errno.ENODEV, errno.ENOENT, errno.EINVAL, errno.ENOSYS}:
            raise NoHugePages(f"this kernel has no huge pages of {page_bytes} bytes: {error.strerror}") from error
        raise refused(error, "memfd_create") from error


def _open_zeros() -> int:
    try:
        return os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise refused(error, "/dev/zero") from error
    # No /dev in here. A file that is all hole reads as zeros as well, and never ends for our purposes.
    fd = os.memfd_create("hugefs-zeros", _libc.MFD_CLOEXEC)
    os.ftruncate(fd, 1 << 40)
    return fd
