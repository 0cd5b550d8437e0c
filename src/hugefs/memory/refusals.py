"""From a bare OSError of a system call to the exception of hugefs that says what was being done.

Rule: a full descriptor table, no memory and a forbidden access each have a class of their own; see hugefs.errors.
"""

from __future__ import annotations

import errno
import os

from hugefs.errors import HugefsError, from_errno


def refused(error: OSError, doing: str) -> OSError:
    """The exception to raise for ``error``, which came while ``doing`` ("growing to 4194304 bytes")."""
    if isinstance(error, HugefsError):
        return error
    number = error.errno or errno.EIO
    return from_errno(number, f"{doing}: {os.strerror(number)}")
