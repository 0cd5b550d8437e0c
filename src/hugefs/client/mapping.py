"""Mapping: pages of a file in this process's memory, and in the server's books.

Rule 1: it is unmapped first and reported second. The other way round its pages could be somebody else's while we still
        reach them.
Rule 2: views keep it: ``close`` with live views raises ViewsStillOpen and changes nothing. Forgotten with its last
        view, it is closed.
Rule 3: it keeps its connection, and so its server, alive; and nothing else does while it is all that is left.
"""

from __future__ import annotations

import sys
from typing import Any, Never, Self, cast
from weakref import ref

from hugefs.client import forking
from hugefs.client.connection import Connection
from hugefs.client.descriptor import Descriptor
from hugefs.client.handles import FileHandle
from hugefs.client.pin import Pin
from hugefs.errors import ClosedError, InvalidRequest, RemoteProtocolError
from hugefs.units import format_size
from hugefs.wire.messages import Done, Pinned, Populate, Unmap
from hugefs.wire.messages import Pin as PinRequest

if sys.platform == "linux":
    from hugefs.memory.backing import Backing
    from hugefs.memory.mapped import MappedPages
else:  # ``import hugefs`` works everywhere; ``mount`` then says kindly that it does not
    from mmap import mmap as MappedPages  # noqa: N812

__all__ = ["Mapping"]


class Mapping(MappedPages):
    """Pages of a file, mapped. It is a ``mmap.mmap``: take slices, a ``memoryview``, ``np.frombuffer``.

    Made by ``HugeFile.mmap``; arrays have one as ``.mapping``. ``name``: the path the file was opened by, None for a
    nameless one. ``offset_bytes``: where in the file it begins.
    """

    name: str | None = None
    file: FileHandle
    offset_bytes: int = 0
    _number: int
    _held: ref[Mapping] | None = None
    _connection: Connection | None = None

    @classmethod
    def make(
        cls,
        connection: Connection,
        number: int,
        descriptor: Descriptor,
        *,
        file: FileHandle,
        name: str | None,
        offset_bytes: int,
        length_bytes: int,
        access: str,
        backing: str,
    ) -> Mapping:
        """Map what the server granted. Not for users."""
        if descriptor.missing or backing not in set(Backing):
            raise RemoteProtocolError(f"the server granted pages without saying where ({backing!r})")
        kind, fd, page_bytes = Backing(backing), descriptor.number, connection.page_bytes
        if access == "private":
            pages = cls.private(fd, offset_bytes, length_bytes, kind, page_bytes)
        else:
            pages = cls.shared(fd, offset_bytes, length_bytes, access == "shared", kind, page_bytes)
        mapping = cast(Mapping, pages)
        mapping.file, mapping.name, mapping.offset_bytes = file, name, offset_bytes
        mapping._number = number
        mapping._held = connection.hold(mapping, Unmap(0, number))
        mapping._connection = connection
        return mapping

    def close(self) -> None:
        """Unmap, and give the pages back. Raises ViewsStillOpen while arrays or memoryviews use them; a second close is
        no error.
        """
        with forking.undivided():
            super().close()
            connection = self._connection
            if connection is not None:
                connection.let_go(self._held)
                self._connection = None
        if connection is not None:
            connection.flush()

    def __del__(self) -> None:
        # No view can exist here. (Where the interpreter is going down, the end of the process does it.)
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

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.length_bytes

    @property
    def pages(self) -> int:
        """How many pages it has."""
        return self.length_bytes // self.page_bytes

    @property
    def access(self) -> str:
        """How it was mapped: "shared", "private" or "read"."""
        return "private" if self.is_private else "shared" if self.writable else "read"

    @property
    def connection(self) -> Connection:
        """What it was granted over. Raises ClosedError."""
        return self._live()

    def __repr__(self) -> str:
        what = "closed" if self._connection is None else f"{self.access}, on {self.backing}"
        name = "a nameless file" if self.name is None else repr(self.name)
        return f"<hugefs.Mapping of {name}: {format_size(self.length_bytes)} from {self.offset_bytes}, {what}>"

    # --- what can be done -----------------------------------------------------------------------------------------

    def pin(self, first: int = 0, count: int | None = None) -> Pin:
        """Pages that an I/O in flight uses: they outlive this mapping, the file and the mount until it is released.

        A context manager. ``first`` and ``count`` are pages of this mapping; without ``count`` up to its end.
        """
        connection, number = self._live(), self._number
        first, count = self._range(first, count)
        return connection.grant(
            lambda request: PinRequest(request, number, first, count),
            Pinned,
            lambda reply, descriptor: Pin(connection, reply.pin, first, count),
        )

    def populate(self, first: int = 0, count: int | None = None) -> None:
        """Take the pages of a range of this mapping now, as touching each would. For files longer than their pages.

        Raises NoHugePages, or BusError beyond the file's end.
        """
        connection, number = self._live(), self._number
        first, count = self._range(first, count)
        write = self.writable
        connection.request(lambda request: Populate(request, number, first, count, write), Done)

    def resize(self, *arguments: Any) -> Never:
        """Refused: a mapping keeps its size; extend the file and map again."""
        self._live()
        super().resize(*arguments)
        raise AssertionError

    def __reduce_ex__(self, protocol: Any) -> Never:
        raise TypeError("a Mapping is memory of this process and cannot be pickled: pickle the file, or an array on it")

    def _range(self, first: int, count: int | None) -> tuple[int, int]:
        for value in (first, count):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise InvalidRequest(f"pages are counted in whole numbers, not {value!r}")
        count = self.pages - first if count is None else count
        if first < 0 or count <= 0 or first + count > self.pages:
            raise InvalidRequest(f"pages {first} to {first + count} of a mapping of {self.pages} pages")
        return first, count

    def _live(self) -> Connection:
        if self._connection is None:
            raise ClosedError(f"this mapping is closed: {self!r}")
        return self._connection
