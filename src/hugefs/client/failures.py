"""From a server's Failure to the exception that is raised for it; and the ones about the server itself."""

from __future__ import annotations

from hugefs.client.reports import Holder
from hugefs.errors import HugefsError, RemoteProtocolError, ServerGone, WaitTimeout, from_errno
from hugefs.wire.messages import Failure

__all__ = ["as_exception", "server_gone", "unexpected"]


def as_exception(failure: Failure) -> HugefsError:
    """The exception for a refused request, with the holders as ``Mount.holders`` returns them."""
    holders = [Holder.of(record) for record in failure.holders]
    if failure.waited:
        return WaitTimeout(
            failure.reason,
            number=failure.errno,
            wanted=failure.wanted,
            available=failure.available,
            mount=failure.mount,
            holders=holders,
        )
    return from_errno(
        failure.errno,
        failure.reason or None,
        wanted=failure.wanted,
        available=failure.available,
        mount=failure.mount,
        holders=holders,
    )


def server_gone(mount: str | None, why: str) -> ServerGone:
    """The server is not there (any more)."""
    what = f"the server of mount {mount}" if mount else "the server"
    return ServerGone(f"{what} {why}; what is mapped stays usable, nothing new can be had", mount=mount)


def unexpected(reply: object, wanted: type) -> RemoteProtocolError:
    """The server answered something else than the question."""
    return RemoteProtocolError(f"the server answered {type(reply).__name__} where {wanted.__name__} was expected")
