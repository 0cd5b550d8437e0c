"""Which function serves which request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hugefs.server.service import Handler, Service
from hugefs.server.session import Session
from hugefs.wire.messages import Done, Request

__all__ = ["HANDLERS", "done", "handles"]

HANDLERS: dict[type[Request], Handler] = {}


def handles(kind: type[Any]) -> Callable[[Callable[[Service, Session, Any], None]], Callable[..., None]]:
    """The decorated function serves requests of this kind."""

    def register(function: Callable[[Service, Session, Any], None]) -> Callable[..., None]:
        HANDLERS[kind] = function
        return function

    return register


def done(service: Service, session: Session, request: Any) -> None:
    """Nothing more to say than that it is done."""
    service.finish(session, request, lambda: (Done(request.id), None, False))
