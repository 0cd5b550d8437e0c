"""HugeFile: a file as ``os`` and ``io`` have them, for bytes rather than arrays.

Rule 1: its length and its pages are the server's to say and to give: writing takes the pages first, and a refusal
        leaves what was there. Its bytes are read and written here, through the descriptor or a mapping.
Rule 2: reading takes nothing: holes and what is past the end of the pages read as zeros, up to the file's length.
Rule 3: the position is this object's own; so are they in each process that unpickled it, or was forked.
"""

from __future__ import annotations

import io
import os
import sys
from operator import index
from typing import Any, Self, SupportsIndex

from hugefs.client import hugetlb_write
from hugefs.client.connection import Connection
from hugefs.client.descriptor import Descriptor
from hugefs.client.handles import FileHandle
from hugefs.client.mapping import Mapping
from hugefs.client.registry import connection_of
from hugefs.errors import ClosedError, InvalidRequest, PermissionDenied, RemoteProtocolError, TooBig
from hugefs.units import SIZE_BYTES_MAX, parse_size
from hugefs.wire.messages import (
    Close,
    Done,
    Fallocate,
    Map,
    Mapped,
    Opened,
    OpenRef,
    PunchHole,
    Stat,
    StatReply,
    Truncate,
)

__all__ = ["HugeFile", "Mode"]

Bytes = bytes | bytearray | memoryview


class Mode:
    """What a mode says: "rb", "r+b", "wb", "w+b", "xb", "x+b"; the b may be left out and stand anywhere."""

    def __init__(self, text: Any) -> None:
        letters = sorted(text.replace("b", "", 1)) if isinstance(text, str) else []
        if letters not in (["r"], ["+", "r"], ["w"], ["+", "w"], ["x"], ["+", "x"]):
            raise InvalidRequest(f"mode {text!r}: one of rb, r+b, wb, w+b, xb, x+b was expected")
        self.readable = "+" in letters or "r" in letters
        self.writable = letters != ["r"]
        self.must_exist = "r" in letters
        self.truncate = "w" in letters
        self.exclusive = "x" in letters
        self.text = letters[-1] + ("+" if "+" in letters else "") + "b"


class HugeFile(io.RawIOBase):
    """A file on huge pages. Opened by ``Mount.open``; pickles as a handle.

    ``pages`` are taken by ``write``, ``pwrite``, ``fallocate`` and by opening with ``size``, and are there on return;
    ``truncate`` only says how long the file is.
    """

    _connection: Connection | None = None

    def __init__(
        self, connection: Connection, reply: Opened, descriptor: Descriptor, mode: Mode, path: str | None
    ) -> None:
        super().__init__()
        if descriptor.missing:
            raise RemoteProtocolError("the server opened a file without giving its descriptor")
        self._number = reply.handle
        self._mode = mode
        self._path = path
        self._position = 0
        self._handle = FileHandle.of(connection, reply.file)
        self._backing = reply.backing
        self._memory = descriptor
        descriptor.kept = True
        self._held = connection.hold(self, Close(0, reply.handle))
        self._connection = connection

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """The path it was opened by; None for a handle's."""
        return self._path

    @property
    def mode(self) -> str:
        """How it was opened."""
        return self._mode.text

    @property
    def backing(self) -> str:
        """What its pages are: "hugetlb", "thp" or "base"."""
        return self._backing

    @property
    def size(self) -> int:
        """How long it is now, in bytes."""
        return self._stat().size_bytes

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._connection is None

    def fileno(self) -> int:
        """The descriptor of its memory. What is mapped or written through it is in nobody's books: look, don't grow."""
        self._live()
        return self._memory.number

    def readable(self) -> bool:
        """Whether it may be read."""
        self._live()
        return self._mode.readable

    def writable(self) -> bool:
        """Whether it may be written."""
        self._live()
        return self._mode.writable

    def seekable(self) -> bool:
        """It is."""
        self._live()
        return True

    def __repr__(self) -> str:
        name = "a nameless file" if self._path is None else repr(self._path)
        return f"<hugefs.HugeFile {name}, mode {self._mode.text}{', closed' if self.closed else ''}>"

    # --- bytes ----------------------------------------------------------------------------------------------------

    def pread(self, size: SupportsIndex, offset: SupportsIndex) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer at the end of the file only."""
        length, offset = _count(size, "a number of bytes"), _count(offset, "an offset")
        self._readable()
        length = max(0, min(length, self.size - offset))
        data = bytearray(length)
        with memoryview(data) as view:
            return bytes(view[: self._read(view, offset)])

    def pwrite(self, data: Bytes, offset: SupportsIndex) -> int:
        """Write all of ``data`` at ``offset``, the file grows as needed. Its pages are taken first.

        Raises NoSpace and writes nothing where they cannot be had.
        """
        offset = _count(offset, "an offset")
        connection = self._writable()
        with memoryview(data) as view, view.cast("B") as plain:
            length = len(plain)
            if length == 0:
                return 0
            if offset + length > SIZE_BYTES_MAX:
                raise TooBig(f"a file cannot have {offset + length} bytes")
            number = self._number
            connection.request(lambda request: Fallocate(request, number, offset, length), Done)
            if self._backing == "hugetlb":
                hugetlb_write.write(self._memory.number, plain, offset, connection.page_bytes)
            else:
                written = 0
                while written < length:
                    written += os.pwrite(self._memory.number, plain[written:], offset + written)
        return length

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer at the position, which moves on."""
        self._readable()
        with memoryview(buffer) as view, view.cast("B") as plain:
            length = max(0, min(len(plain), self.size - self._position))
            count = self._read(plain[:length], self._position)
        self._position += count
        return count

    def write(self, data: Any) -> int:
        """Write all of ``data`` at the position, which moves on."""
        count = self.pwrite(data, self._position)
        self._position += count
        return count

    def seek(self, offset: SupportsIndex, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        self._live()
        if whence not in {os.SEEK_SET, os.SEEK_CUR, os.SEEK_END}:
            raise InvalidRequest(f"whence is 0, 1 or 2, not {whence!r}")
        position = _whole(offset, "an offset")
        if whence == os.SEEK_CUR:
            position += self._position
        elif whence == os.SEEK_END:
            position += self.size
        if not 0 <= position <= SIZE_BYTES_MAX:
            raise InvalidRequest(f"position {position} is in no file")
        self._position = position
        return position

    def tell(self) -> int:
        """The position."""
        self._live()
        return self._position

    # --- length and pages -----------------------------------------------------------------------------------------

    def truncate(self, size: Any = None) -> int:
        """Make the file so long (whole pages; without ``size`` up to the position). Pages beyond are given back; none
        is taken.
        """
        length = self._position if size is None else parse_size(size)
        connection, number = self._writable(), self._number
        connection.request(lambda request: Truncate(request, number, length), Done)
        return length

    def fallocate(self, offset: Any, length: Any, keep_size: bool = False) -> None:
        """Take the pages of a range; they are there on return. The file grows with it, unless ``keep_size``.

        Raises NoSpace; the pages it got so far stay.
        """
        start, size = self._range(offset, length)
        connection, number = self._writable(), self._number
        connection.request(lambda request: Fallocate(request, number, start, size, bool(keep_size)), Done)

    def punch_hole(self, offset: Any, length: Any) -> None:
        """Give back the whole pages of a range; all of it reads as zeros."""
        start, size = self._range(offset, length)
        connection, number = self._writable(), self._number
        connection.request(lambda request: PunchHole(request, number, start, size), Done)

    def mmap(self, offset: Any = 0, length: Any = None, access: str = "shared") -> Mapping:
        """Map a range, from the start of a page; without ``length`` up to the end of the file.

        "shared": written through to the file; every page of it is promised. "read": the same, for looking. "private": a
        copy of one's own, charged to the mount at once. Raises NoHugePages.
        """
        connection = self._live()
        if access not in {"shared", "private", "read"}:
            raise InvalidRequest(f'access is "shared", "private" or "read", not {access!r}')
        if access == "shared":
            self._writable()
        page_bytes = connection.page_bytes
        start = parse_size(offset, what="offset")
        size = max(0, self.size - start) if length is None else parse_size(length, what="length")
        if start % page_bytes:
            raise InvalidRequest(f"offset {start} is not a multiple of the page size, {page_bytes}")
        if size == 0:
            raise InvalidRequest(
                "a mapping of 0 bytes: the file ends there" if length is None else "a mapping of 0 bytes"
            )
        size = -(-size // page_bytes) * page_bytes
        if start + size > SIZE_BYTES_MAX:
            raise TooBig(f"a file cannot have {start + size} bytes")
        number = self._number
        return connection.grant(
            lambda request: Map(request, number, start, size, access),
            Mapped,
            lambda reply, descriptor: Mapping.make(
                connection,
                reply.mapping,
                descriptor,
                file=self._handle,
                name=self._path,
                offset_bytes=start,
                length_bytes=size,
                access=access,
                backing=reply.backing,
            ),
        )

    # --- its end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close it; mappings and arrays of it stay. A second time is no error."""
        connection = self._connection
        if connection is not None:
            # The descriptor first: the server may hand its memory on when it hears of it.
            self._memory.close()
            connection.let_go(self._held)
            self._connection = None
            connection.flush()
        super().close()

    def __del__(self) -> None:
        if self._connection is None or sys.is_finalizing():
            return
        try:
            self.close()
        except BaseException:  # a signal handler's, which Python is going to swallow here
            self.close()
            raise

    def __enter__(self) -> Self:
        self._live()
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._live()
        return _open_handle, (self._handle, self._mode.text, self._path, self._position)

    # ----------------------------------------------------------------------------------------------------------------

    def _live(self) -> Connection:
        if self._connection is None:
            raise ClosedError(f"this file is closed: {self!r}")
        return self._connection

    def _readable(self) -> Connection:
        connection = self._live()
        if not self._mode.readable:
            raise PermissionDenied(f"{self!r} was not opened for reading")
        return connection

    def _writable(self) -> Connection:
        connection = self._live()
        if not self._mode.writable:
            raise PermissionDenied(f"{self!r} was not opened for writing")
        return connection

    def _stat(self) -> StatReply:
        number = self._number
        return self._live().request(lambda request: Stat(request, None, number), StatReply)

    def _range(self, offset: Any, length: Any) -> tuple[int, int]:
        start, size = parse_size(offset, what="offset"), parse_size(length, what="length")
        if size == 0:
            raise InvalidRequest("length: a range of 0 bytes")
        if start + size > SIZE_BYTES_MAX:
            raise TooBig(f"a file cannot have {start + size} bytes")
        return start, size

    def _read(self, view: memoryview, offset: int) -> int:
        """Fill the view with what the file has there; it is not longer than the file."""
        done = 0
        while done < len(view):
            count = os.preadv(self._memory.number, [view[done:]], offset + done)
            if count == 0:
                view[done:] = bytes(len(view) - done)  # longer than its memory is, so far: a hole
                return len(view)
            done += count
        return done


def _open_handle(handle: FileHandle, mode: str, path: str | None, position: int) -> HugeFile:
    # A handle is of a file that is there: neither made nor truncated again.
    how = Mode(mode)
    connection = connection_of(handle.address, handle.server)
    file = connection.grant(
        lambda number: OpenRef(number, handle.reference, how.writable),
        Opened,
        lambda reply, descriptor: HugeFile(connection, reply, descriptor, how, path),
    )
    file.seek(position)
    return file


def _whole(value: SupportsIndex, what: str) -> int:
    try:
        return index(value)
    except TypeError:
        raise InvalidRequest(f"{what} is a whole number, not {type(value).__name__}") from None


def _count(value: SupportsIndex, what: str) -> int:
    number = _whole(value, what)
    if number < 0:
        raise InvalidRequest(f"{what} cannot be negative: {number}")
    if number > SIZE_BYTES_MAX:
        raise TooBig(f"{what} beyond {SIZE_BYTES_MAX}")
    return number
