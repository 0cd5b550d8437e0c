"""Handles: what is pickled in place of a mount, a file or an array, and how it is found again.

Rule 1: a handle holds no pages. Whoever unpickles it maps or opens the file anew, with his own credentials; where the
        file's last user is gone, that is a StaleHandle.
Rule 2: a handle names its server twice, by address and by identity: another server at that address is noticed.
"""

from __future__ import annotations

from typing import NamedTuple

from hugefs.client.connection import Connection
from hugefs.wire.messages import FileRef

__all__ = ["FileHandle"]


class FileHandle(NamedTuple):
    """One file of one server, beyond names."""

    address: str
    server: bytes
    inode: int
    key: bytes

    @classmethod
    def of(cls, connection: Connection, file: FileRef) -> FileHandle:
        """The handle of a file that this connection was granted."""
        return cls(connection.address, connection.server, file.inode, file.key)

    @property
    def reference(self) -> FileRef:
        """As the server knows it."""
        return FileRef(self.inode, self.key)
