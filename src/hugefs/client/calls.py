"""A call: one request that was sent, and what became of it."""

from __future__ import annotations

import threading
from contextlib import suppress

from hugefs.client.descriptor import Descriptor
from hugefs.errors import HugefsError
from hugefs.wire.messages import (
    Close,
    Create,
    Granted,
    Mapped,
    Opened,
    Pinned,
    Reply,
    Request,
    Unlink,
    Unmap,
    Unpin,
)

__all__ = ["Answer", "Call", "what_undoes"]


class Answer:
    """A reply with its descriptor. ``cut``: it brought one, and this process's table of descriptors had no room."""

    __slots__ = ("cut", "descriptor", "reply")

    def __init__(self, reply: Reply, descriptor: Descriptor, *, cut: bool) -> None:
        self.reply = reply
        self.descriptor = descriptor
        self.cut = cut


class Call:
    """A request under way.

    States: asked; settled (``answer`` or ``failure`` is there); taken (whoever asked has it, and the connection has
    forgotten the call); abandoned (nobody wants it any more: what the answer grants is given back when it comes).
    """

    __slots__ = ("_turn", "abandoned", "answer", "failure", "number", "request", "thread")

    def __init__(self, number: int, request: Request) -> None:
        self.number = number
        self.thread = threading.get_ident()
        self.request = request
        self.answer: Answer | None = None
        self.failure: HugefsError | None = None
        self.abandoned = False
        self._turn = threading.Lock()
        self._turn.acquire()

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.answer is not None or self.failure is not None

    def wake(self) -> None:
        """There is an answer, or it is this call's turn to read. Not lost if it is not asleep yet."""
        with suppress(RuntimeError):  # woken already
            self._turn.release()

    def sleep(self, seconds: float) -> None:
        """Until ``wake``, or so many seconds."""
        self._turn.acquire(timeout=seconds)


def what_undoes(request: Request | None, reply: Reply) -> list[Request]:
    """The one-way messages that give back what a reply grants; twice sent they do no harm."""
    match reply:
        case Granted() | Mapped():
            undo: list[Request] = [Unmap(0, reply.mapping)]
        case Opened():
            undo = [Close(0, reply.handle)]
        case Pinned():
            undo = [Unpin(0, reply.pin)]
        case _:
            return []
    if isinstance(request, Create) and request.path is not None:
        undo.insert(0, Unlink(0, request.path))
    return undo
