"""Every exception of hugefs, sorted by whose fault it is, and the one table from errno to class.

Rule 1: an error carries the kernel's errno; callers' ordinary ``except OSError`` (FileNotFoundError,
        PermissionError, …) keeps working.
Rule 2: the text says what was wanted, what there is, and what to do. The same facts are attributes.
Rule 3: an error changed nothing, unless its docstring says what it kept.

Not an errno: misuse of a closed thing (ClosedError), a view that is still alive (ViewsStillOpen), a bug in
hugefs itself (InvariantError), a peer that broke the protocol (RemoteProtocolError).
"""

from __future__ import annotations

import errno as _errno
import os
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "BadHandle",
    "BusError",
    "Busy",
    "ClosedError",
    "CrossMount",
    "Exists",
    "FallbackRefused",
    "HugefsError",
    "InvalidRequest",
    "InvariantError",
    "IsDirectory",
    "NameTooLong",
    "NoDescriptors",
    "NoHugePages",
    "NoSpace",
    "NotADirectory",
    "NotEmpty",
    "NotFound",
    "NotPermitted",
    "NotSupported",
    "PermissionDenied",
    "RemoteProtocolError",
    "ServerGone",
    "StaleHandle",
    "TooBig",
    "ViewsStillOpen",
    "WaitTimeout",
    "error_class",
    "from_errno",
]


class HugefsError(Exception):
    """The base of every hugefs exception; never raised itself."""

    def __init__(self, *arguments: Any) -> None:
        if type(self) is HugefsError:
            raise TypeError("HugefsError is only a base: raise one of its subclasses")
        super().__init__(*arguments)


class _KernelError(HugefsError, OSError):
    """An error with an errno.

    Attributes: ``wanted`` and ``available`` (pages, or inodes where inodes ran out; None where no amount is
    involved), ``mount`` (its name), ``holders`` (who holds the rest, as ``Mount.holders()`` returns them).
    """

    default_errno = _errno.EIO

    def __init__(
        self,
        reason: str,
        *,
        number: int | None = None,
        wanted: int | None = None,
        available: int | None = None,
        mount: str | None = None,
        holders: Sequence[Any] = (),
    ) -> None:
        # ``OSError.__new__`` keeps errno and strerror only when it is given them as arguments, so they are set here.
        super().__init__(reason)
        self.errno = self.default_errno if number is None else number
        self.strerror = reason
        self.reason = reason
        self.wanted = wanted
        self.available = available
        self.mount = mount
        self.holders = tuple(holders)

    def __str__(self) -> str:
        return f"[{_errno.errorcode.get(self.errno or 0, str(self.errno))}] {self.reason}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes send exceptions home by pickle; keyword arguments would be lost on the way.
        facts = {
            "number": self.errno,
            "wanted": self.wanted,
            "available": self.available,
            "mount": self.mount,
            "holders": self.holders,
        }
        return (_rebuild, (type(self), self.reason, facts))


def _rebuild(cls: type[_KernelError], reason: str, facts: Mapping[str, Any]) -> _KernelError:
    return cls(reason, **facts)


class NoHugePages(_KernelError, MemoryError):
    """ENOMEM: the pool or the mount cannot promise this. Not for fallocate, which says NoSpace as the kernel does."""

    default_errno = _errno.ENOMEM


class WaitTimeout(NoHugePages, TimeoutError):
    """ENOMEM: ``wait=`` seconds went by and the pages did not come; the request has left the queue."""


class FallbackRefused(NoHugePages):
    """ENOMEM: ``huge="require"`` and huge pages cannot be had; the text says why and what would mend it."""


class NoSpace(_KernelError):
    """ENOSPC: fallocate or a write ran out of pages, or the mount out of inodes. Pages fallocate got so far stay."""

    default_errno = _errno.ENOSPC


class NotFound(_KernelError, FileNotFoundError):
    """ENOENT: no file or directory has that name."""

    default_errno = _errno.ENOENT


class Exists(_KernelError, FileExistsError):
    """EEXIST: the name is taken."""

    default_errno = _errno.EEXIST


class NotADirectory(_KernelError, NotADirectoryError):
    """ENOTDIR: a part of the path is a file."""

    default_errno = _errno.ENOTDIR


class IsDirectory(_KernelError, IsADirectoryError):
    """EISDIR: a file was wanted and this is a directory."""

    default_errno = _errno.EISDIR


class NotEmpty(_KernelError):
    """ENOTEMPTY: the directory still has entries."""

    default_errno = _errno.ENOTEMPTY


class NameTooLong(_KernelError):
    """ENAMETOOLONG: a name of more than 255 bytes, or a path of more than 4,095."""

    default_errno = _errno.ENAMETOOLONG


class Busy(_KernelError):
    """EBUSY: files of this mount are open or mapped. A pin does not make a mount busy."""

    default_errno = _errno.EBUSY


class PermissionDenied(_KernelError, PermissionError):
    """EACCES: the mode of the file or mount, or how it was opened, forbids it."""

    default_errno = _errno.EACCES


class NotPermitted(_KernelError, PermissionError):
    """EPERM: never allowed here, whoever asks (a seal, a hard link to a directory)."""

    default_errno = _errno.EPERM


class InvalidRequest(_KernelError, ValueError):
    """EINVAL: the request makes no sense as it stands: a negative size, an offset between pages, a bad name."""

    default_errno = _errno.EINVAL


class TooBig(_KernelError, OverflowError):
    """EFBIG or EOVERFLOW: the size is beyond what a file can have."""

    default_errno = _errno.EFBIG


class NotSupported(_KernelError):
    """EOPNOTSUPP: hugetlbfs has no such operation either."""

    default_errno = _errno.EOPNOTSUPP


class CrossMount(_KernelError):
    """EXDEV: link and rename stay within one mount."""

    default_errno = _errno.EXDEV


class StaleHandle(_KernelError):
    """ESTALE: a pickled handle of a file that is gone, of another server, or forged."""

    default_errno = _errno.ESTALE


class BadHandle(_KernelError):
    """EBADF: this session has no such open file, mapping or pin."""

    default_errno = _errno.EBADF


class NoDescriptors(_KernelError):
    """EMFILE or ENFILE: a descriptor table (this process's, or the server's, the text says which) is full."""

    default_errno = _errno.EMFILE


class BusError(_KernelError):
    """EFAULT: what Linux would deliver as SIGBUS: a touch beyond the file's end, or of a page that cannot be had."""

    default_errno = _errno.EFAULT


class ServerGone(_KernelError, ConnectionError):
    """ECONNRESET or ECONNREFUSED: the server ended or was killed. What is mapped stays usable."""

    default_errno = _errno.ECONNRESET


class RemoteProtocolError(_KernelError):
    """EPROTO: the other side sent something that is not the protocol."""

    default_errno = _errno.EPROTO


class ClosedError(HugefsError, ValueError):
    """You closed this mount, file or mapping before; a second close is no error."""


class ViewsStillOpen(HugefsError, BufferError):
    """The mapping cannot be closed: arrays or memoryviews still use it. Nothing was changed."""


class InvariantError(HugefsError, AssertionError):
    """A bug in hugefs: the books contradict themselves. Carries the number of the invariant and a dump of the state."""


_CLASSES: tuple[type[_KernelError], ...] = (
    NoHugePages,
    NoSpace,
    NotFound,
    Exists,
    NotADirectory,
    IsDirectory,
    NotEmpty,
    NameTooLong,
    Busy,
    PermissionDenied,
    NotPermitted,
    InvalidRequest,
    TooBig,
    NotSupported,
    CrossMount,
    StaleHandle,
    BadHandle,
    NoDescriptors,
    BusError,
    ServerGone,
    RemoteProtocolError,
)
_CLASS_OF_ERRNO: dict[int, type[_KernelError]] = {
    **{cls.default_errno: cls for cls in _CLASSES},
    _errno.ENFILE: NoDescriptors,
    _errno.EOVERFLOW: TooBig,
    _errno.ECONNREFUSED: ServerGone,
    _errno.EPIPE: ServerGone,
}


class _OtherError(_KernelError):
    """An errno that hugefs has no class of its own for."""


def error_class(number: int) -> type[_KernelError]:
    """The class that stands for an errno."""
    return _CLASS_OF_ERRNO.get(number, _OtherError)


def from_errno(number: int, reason: str | None = None, **facts: Any) -> _KernelError:
    """The exception for an errno, with ``wanted``, ``available``, ``mount`` and ``holders`` where they are known."""
    return error_class(number)(reason or os.strerror(number), number=number, **facts)
