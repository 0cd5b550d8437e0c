"""hugetlbfs in user space: files on huge pages, with exact quotas, that many processes map at once.

    with hugefs.mount("1G") as m:
        w = m.zeros((4096, 4096), "f4", name="weights")

The README says the rest.
"""

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
