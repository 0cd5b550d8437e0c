"""This process's connections by address: a handle finds the one it needs, or makes it.

An address is "@name" (an abstract address, as private servers have) or the path of a socket.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any
from weakref import WeakValueDictionary

from hugefs.client import forking
from hugefs.client.connection import Connection
from hugefs.errors import InvalidRequest, NotSupported, PermissionDenied, ServerGone, StaleHandle, from_errno

__all__ = ["connection_of", "dial", "register", "require_linux"]

_SOCKET_PATH_BYTES_MAX = 107
_connections: WeakValueDictionary[str, Connection] = WeakValueDictionary()


def require_linux() -> None:
    """Raises NotSupported elsewhere; importing hugefs works everywhere."""
    if not hasattr(socket, "MSG_CMSG_CLOEXEC") or not hasattr(os, "memfd_create"):
        raise NotSupported("hugefs runs on Linux only: memfd, huge pages and passing descriptors are its kernel's")


def register(connection: Connection) -> Connection:
    """Let handles of this server find this connection, where they have none yet."""
    known = _connections.get(connection.address)
    if known is None or not known.usable:
        _connections[connection.address] = connection
    return connection


def connection_of(address: str, server: bytes) -> Connection:
    """The connection that a handle means. Raises StaleHandle where another server is there, ServerGone where none."""
    connection = _connections.get(address)
    if connection is None or not connection.usable:
        connection = dial(address)
    if connection.server != server:
        raise StaleHandle(f"this handle is of another server than the one that now listens at {address}")
    return connection


def dial(address: Any) -> Connection:
    """A new connection to the server that someone runs there."""
    require_linux()
    name = _socket_name(address)
    try:
        with forking.undivided():  # no child inherits a socket that is in no connection yet
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                sock.settimeout(None)
                sock.connect(name)
                connection = Connection(sock)
            except BaseException:
                sock.close()
                raise
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise ServerGone(f"no server listens at {os.fspath(address)}", number=error.errno) from None
    except PermissionError as error:
        raise PermissionDenied(f"the socket {os.fspath(address)} may not be opened: {error.strerror}") from None
    except OSError as error:
        raise from_errno(error.errno or errno.EIO, f"connecting to {os.fspath(address)}: {error.strerror}") from None
    connection.greet()
    return register(connection)


def _socket_name(address: Any) -> str:
    try:
        text = os.fspath(address)
    except TypeError:
        raise InvalidRequest(f"an address is text, not {type(address).__name__}") from None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidRequest('an address is "@name" or the path of a socket')
    try:
        size = len(os.fsencode(text))
    except UnicodeEncodeError:
        raise InvalidRequest("an address that is no text the system could have written") from None
    if size > _SOCKET_PATH_BYTES_MAX:
        raise InvalidRequest(f"an address has at most {_SOCKET_PATH_BYTES_MAX} bytes; this one has {size}")
    return "\0" + text[1:] if text.startswith("@") else text
