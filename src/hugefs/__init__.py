"""hugetlbfs in user space: files on huge pages, with exact quotas, that many processes map at once.

    with hugefs.mount("1G") as m:
        w = m.zeros((4096, 4096), "f4", name="weights")

The README says the rest.

What a user's program needs is loaded when it is first named: the server is this package, too, and needs no NumPy.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hugefs.client.array import HugeArray
    from hugefs.client.file import HugeFile
    from hugefs.client.mapping import Mapping
    from hugefs.client.mount import Mount, connect, mount

from hugefs.errors import (
    BadHandle,
    BusError,
    Busy,
    ClosedError,
    CrossMount,
    Exists,
    FallbackRefused,
    HugefsError,
    InvalidRequest,
    InvariantError,
    IsDirectory,
    NameTooLong,
    NoDescriptors,
    NoHugePages,
    NoSpace,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    NotSupported,
    PermissionDenied,
    RemoteProtocolError,
    ServerGone,
    StaleHandle,
    TooBig,
    ViewsStillOpen,
    WaitTimeout,
)

__all__ = [
    "BadHandle",
    "BusError",
    "Busy",
    "ClosedError",
    "CrossMount",
    "Exists",
    "FallbackRefused",
    "HugeArray",
    "HugeFile",
    "HugefsError",
    "InvalidRequest",
    "InvariantError",
    "IsDirectory",
    "Mapping",
    "Mount",
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
    "connect",
    "mount",
]

_WHERE = {
    "HugeArray": "hugefs.client.array",
    "HugeFile": "hugefs.client.file",
    "Mapping": "hugefs.client.mapping",
    "Mount": "hugefs.client.mount",
    "connect": "hugefs.client.mount",
    "mount": "hugefs.client.mount",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(_WHERE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
