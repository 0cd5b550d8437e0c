"""Mount: one mount of one server, as a program has it; and the two ways to get one.

Rule 1: a Mount is a way in. What was made through it (arrays, files, mappings) lives without it, and keeps the server.
Rule 2: what makes no sense is refused here, before a process is started or asked. What cannot be had only the server
        knows.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Self

import numpy as np

from hugefs.client.array import HugeArray, array_over, map_whole
from hugefs.client.connection import Connection
from hugefs.client.file import HugeFile, Mode
from hugefs.client.label import Layout
from hugefs.client.launch import launch
from hugefs.client.paths import AnyPath, directory_path, file_path
from hugefs.client.registry import connection_of, dial, require_linux
from hugefs.client.reports import Holder, MemInfo
from hugefs.errors import ClosedError, InvalidRequest, PermissionDenied
from hugefs.units import format_size, pages_within, parse_size, parse_size_or_percent
from hugefs.wire.messages import (
    Create,
    Done,
    Get,
    Granted,
    Holders,
    HoldersReply,
    Link,
    Listdir,
    Listing,
    Meminfo,
    MeminfoReply,
    Mkdir,
    Open,
    Opened,
    Rename,
    Rmdir,
    Stat,
    StatReply,
    Statvfs,
    StatvfsReply,
    Umount,
    Unlink,
)

__all__ = ["Mount", "connect", "mount"]

_SECONDS_MAX = 10**9
_PAGE_BYTES_MIN = 1 << 20


def mount(
    size: str | int,
    *,
    min_size: str | int | None = None,
    nr_inodes: str | int | None = None,
    page_size: str | int = "2M",
    huge: str = "prefer",
) -> Mount:
    """A mount of ``size`` on a private server, which is started for it and ends with its last user.

    ``size``: never exceeded; rounded down to whole pages. ``min_size``: kept for this mount from now on.
    ``nr_inodes``: how many files and directories it can have, its root included. ``huge``: "require" raises
    FallbackRefused where huge pages cannot be had, "prefer" falls back and says so in ``backing``, "off" takes ordinary
    pages.
    """
    if huge not in {"prefer", "require", "off"}:
        raise InvalidRequest(f'huge is "prefer", "require" or "off", not {huge!r}')
    page_bytes = parse_size(page_size, what="page_size")
    if page_bytes < _PAGE_BYTES_MIN or page_bytes & (page_bytes - 1):
        raise InvalidRequest(f"page_size: pages have 2M, 1G or another power of two from 1M on, not {page_size!r}")
    # A percentage is of a pool, and a private server has none but its mount.
    size_bytes = parse_size_or_percent(size, None)
    pages_max = pages_within(size_bytes, page_bytes)
    if pages_max == 0:
        raise InvalidRequest(f"size: {size!r} is less than one page of {format_size(page_bytes)}")
    min_bytes = 0 if min_size is None else parse_size_or_percent(min_size, None, what="min_size")
    pages_min = pages_within(min_bytes, page_bytes)
    if min_bytes > size_bytes:
        raise InvalidRequest(f"min_size: {min_size!r} is more than the size, {size!r}")
    inodes = None if nr_inodes is None else parse_size(nr_inodes, what="nr_inodes")
    require_linux()
    return Mount(launch(pages_max, pages_min, inodes, page_bytes, huge))


def connect(address: str | os.PathLike[str]) -> Mount:
    """The mount of a server that someone runs. ``address``: the path of its socket, or "@name".

    Raises ServerGone where no server listens there.
    """
    return Mount(dial(address))


class Mount:
    """A mount. Made by ``hugefs.mount`` and ``hugefs.connect``; a context manager; pickles as a handle.

    ``name``, ``address``, ``page_size`` (bytes) and ``size`` (bytes, None without a limit) are known without asking.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self._server = connection.server
        self.name = connection.mount
        self.address = connection.address
        self.page_size = connection.page_bytes
        pages_max = connection.pages_max
        self.size = None if pages_max is None else pages_max * connection.page_bytes

    # --- arrays -----------------------------------------------------------------------------------------------------

    def zeros(self, shape: Any, dtype: Any = "f8", name: AnyPath | None = None, wait: float | None = None) -> HugeArray:
        """A new array of zeros. All its pages are there: touching it cannot fail.

        Without ``name`` it is gone with its last user. ``wait``: seconds to queue for space instead of failing at
        once. Raises NoHugePages (WaitTimeout), Exists.
        """
        return self._create(Layout.of(shape, dtype), name, wait)

    def empty(self, shape: Any, dtype: Any = "f8", name: AnyPath | None = None, wait: float | None = None) -> HugeArray:
        """The same as ``zeros``: new pages are zero anyway, so that nobody sees what others left."""
        return self.zeros(shape, dtype, name, wait)

    def full(
        self,
        shape: Any,
        fill_value: Any,
        dtype: Any = None,
        name: AnyPath | None = None,
        wait: float | None = None,
    ) -> HugeArray:
        """A new array of ``fill_value``, with its dtype where none is given."""
        layout = Layout.of(shape, np.asarray(fill_value).dtype if dtype is None else dtype)
        # Before there is a file: what does not fit raises NumPy's error here.
        value = np.asarray(fill_value).astype(layout.dtype)
        np.broadcast_to(value, layout.shape)
        array = self._create(layout, name, wait)
        array[...] = value
        return array

    def put(self, array: Any, name: AnyPath | None = None, wait: float | None = None) -> HugeArray:
        """A copy of an array (or of what NumPy makes one of), with its dtype; in Fortran order where it has that."""
        source = np.asarray(array)
        order = "F" if source.flags.f_contiguous and not source.flags.c_contiguous else "C"
        copy = self._create(Layout.of(source.shape, source.dtype, order), name, wait)
        copy[...] = source
        return copy

    def get(self, name: AnyPath, writable: bool = False) -> HugeArray:
        """The array of that name. Raises NotFound, InvalidRequest where the file holds no array."""
        connection, path, for_writing = self._live(), file_path(name), bool(writable)
        mapping, label, size_bytes = connection.grant(
            lambda number: Get(number, path, for_writing),
            Granted,
            lambda reply, descriptor: (
                map_whole(connection, reply, descriptor, path, writable=for_writing),
                reply.label,
                reply.size_bytes,
            ),
        )
        return array_over(mapping, Layout.decode(label, size_bytes))

    def _create(self, layout: Layout, name: AnyPath | None, wait: float | None) -> HugeArray:
        connection = self._live()
        path = None if name is None else file_path(name)
        label, seconds = layout.encode(), _seconds(wait)
        mapping = connection.grant(
            lambda number: Create(number, path, layout.size_bytes, label, seconds),
            Granted,
            lambda reply, descriptor: map_whole(connection, reply, descriptor, path, writable=True),
        )
        try:
            return array_over(mapping, layout)
        except BaseException:
            if path is not None:
                connection.tell(Unlink(0, path))
            raise

    # --- files ------------------------------------------------------------------------------------------------------

    def open(self, path: AnyPath, mode: str = "r+b", size: str | int | None = None) -> HugeFile:
        """Open a file: "rb", "r+b" (must exist, unless ``size`` is given), "w+b" (made or emptied), "x+b" (made).

        ``size``: the file gets at least this long, and the pages of what is new are taken at once. Raises NotFound,
        Exists, PermissionDenied, NoSpace.
        """
        connection, name, how = self._live(), file_path(path), Mode(mode)
        size_bytes = None if size is None else parse_size(size)
        if size_bytes is not None and not how.writable:
            raise PermissionDenied(f"mode {mode!r} with a size: a file opened for reading cannot be extended")
        create = not how.must_exist or size_bytes is not None
        return connection.grant(
            lambda number: Open(number, name, how.writable, create, how.exclusive, how.truncate, size_bytes),
            Opened,
            lambda reply, descriptor: HugeFile(connection, reply, descriptor, how, name),
        )

    # --- names ------------------------------------------------------------------------------------------------------

    def unlink(self, path: AnyPath) -> None:
        """Remove a name. The file and its pages go with their last user."""
        name = file_path(path)
        self._live().request(lambda number: Unlink(number, name), Done)

    def rename(self, source: AnyPath, target: AnyPath) -> None:
        """Give a file another name, replacing the file that has it."""
        old, new = file_path(source), file_path(target)
        self._live().request(lambda number: Rename(number, old, new), Done)

    def link(self, source: AnyPath, target: AnyPath) -> None:
        """A second name for a file."""
        old, new = file_path(source), file_path(target)
        self._live().request(lambda number: Link(number, old, new), Done)

    def mkdir(self, path: AnyPath, mode: Any = 0o755) -> None:
        """Make a directory."""
        name = file_path(path)
        if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= 0o7777:
            raise InvalidRequest(f"mode: bits between 0 and 0o7777, not {mode!r}")
        self._live().request(lambda number: Mkdir(number, name, mode), Done)

    def rmdir(self, path: AnyPath) -> None:
        """Remove an empty directory."""
        name = file_path(path)
        self._live().request(lambda number: Rmdir(number, name), Done)

    def listdir(self, path: AnyPath = "") -> list[str]:
        """The names in a directory, in order."""
        connection, directory = self._live(), directory_path(path)
        names: list[str] = []
        more = True
        while more:
            after = names[-1] if names else None
            part = connection.request(lambda number: Listdir(number, directory, after), Listing)  # noqa: B023
            names += part.names
            more = part.more and bool(part.names)
        return names

    def stat(self, path: AnyPath) -> os.stat_result:
        """As os.stat has it. ``st_blocks`` counts the pages in the file, in units of 512 bytes."""
        name = directory_path(path)
        reply = self._live().request(lambda number: Stat(number, name), StatReply)
        main = (reply.mode, reply.inode, 0, reply.links, reply.uid, reply.gid, reply.size_bytes, 0, 0, 0)
        blocks = reply.pages_count * self.page_size // 512
        return os.stat_result(main, {"st_blocks": blocks, "st_blksize": self.page_size})

    # --- the mount --------------------------------------------------------------------------------------------------

    def statvfs(self) -> os.statvfs_result:
        """As os.statvfs has it, with the numbers hugetlbfs gives: blocks are pages."""
        reply = self._live().request(Statvfs, StatvfsReply)
        block, free, inodes_free = reply.block_bytes, reply.blocks_free, reply.inodes_free
        return os.statvfs_result(
            (block, block, reply.blocks, free, free, reply.inodes, inodes_free, inodes_free, 0, 255)
        )

    def meminfo(self) -> MemInfo:
        """The four counters of the pool, and what this mount could be granted now."""
        return MemInfo.of(self._live().request(Meminfo, MeminfoReply), self.page_size)

    @property
    def backing(self) -> str:
        """What its pages are: "hugetlb", "thp" or "base"."""
        return self.meminfo().backing

    def holders(self, path: AnyPath | None = None) -> list[Holder]:
        """Who holds pages, of one file or of all: one entry for each process, file and way of holding."""
        connection = self._live()
        name = None if path is None else file_path(path)
        holders: list[Holder] = []
        more = True
        while more:
            start = len(holders)
            part = connection.request(lambda number: Holders(number, name, start), HoldersReply)  # noqa: B023
            holders += map(Holder.of, part.records)
            more = part.more and bool(part.records)
        return holders

    def umount(self, lazy: bool = False) -> None:
        """Unmount, for everybody. Raises Busy while files are open or mapped, unless ``lazy``."""
        self._live().request(lambda number: Umount(number, bool(lazy)), Done)

    # --- its end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """This way in is closed; what was made through it stays. A second time is no error."""
        self._connection = None

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._connection is None

    def __enter__(self) -> Self:
        self._live()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        self._live()
        return _attach_mount, (self.address, self._server)

    def __repr__(self) -> str:
        size = "no limit" if self.size is None else format_size(self.size)
        state = ", closed" if self.closed else ""
        return (
            f"<hugefs.Mount {self.name!r} at {self.address}: {size} in pages of {format_size(self.page_size)}{state}>"
        )

    def _live(self) -> Connection:
        if self._connection is None:
            raise ClosedError(f"this mount is closed: {self!r}")
        return self._connection


def _attach_mount(address: str, server: bytes) -> Mount:
    return Mount(connection_of(address, server))


def _seconds(wait: float | None) -> float | None:
    """How long to queue, as the wire has it."""
    if wait is None:
        return None
    with suppress(TypeError, ValueError, OverflowError):
        seconds = float(wait) if not isinstance(wait, bool | str) else -1.0
        if seconds >= 0:
            return min(seconds, float(_SECONDS_MAX))
    raise InvalidRequest(f"wait: a number of seconds from 0 on, not {ascii(wait)[:60]}")
