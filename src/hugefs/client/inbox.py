"""The inbox: packets between the kernel, who gave us their descriptors, and the call they belong to.

Rule 1: from the kernel into the inbox in one call from C. An exception out of a signal handler cannot come between a
        descriptor's being ours and our knowing it.
Rule 2: a packet stays at the head until it was delivered, and is opened once: whoever was interrupted while delivering
        leaves it to the next, with the same descriptors (whose numbers may be somebody else's once they are closed).
"""

from __future__ import annotations

import socket
from array import array
from collections import deque
from collections.abc import Iterable

from hugefs.client.calls import Answer
from hugefs.client.descriptor import Descriptor
from hugefs.errors import RemoteProtocolError
from hugefs.wire.codec import decode_reply
from hugefs.wire.messages import MESSAGE_BYTES_MAX

__all__ = ["Inbox", "Packet"]

Ancillary = list[tuple[int, int, bytes]]
Raw = tuple[bytes, Ancillary, int, object]

_ROOM_FOR_DESCRIPTORS = socket.CMSG_SPACE(4) if hasattr(socket, "CMSG_SPACE") else 0


class Packet:
    """A packet, opened. ``answer`` is None where it holds none: then ``trouble`` says what is wrong with the server."""

    __slots__ = ("answer", "handed_out", "raw", "trouble")

    def __init__(self, raw: Raw) -> None:
        data, ancillary, flags, _ = raw
        self.raw = raw
        self.handed_out = False
        self.answer: Answer | None = None
        self.trouble = "has ended or was killed"
        descriptors = [Descriptor(number) for number in _numbers_in(ancillary)]
        if data:
            try:
                reply = decode_reply(data)
            except RemoteProtocolError as error:
                self.trouble = f"speaks another language ({error.reason})"
            else:
                first = descriptors.pop(0) if descriptors else Descriptor()
                self.answer = Answer(reply, first, cut=bool(flags & socket.MSG_CTRUNC))
        for one_too_many in descriptors:
            one_too_many.close()


class Inbox:
    """Packets that came and are not delivered. Used under the connection's lock for receiving."""

    def __init__(self) -> None:
        self._packets: deque[Raw] = deque()
        self._opened: Packet | None = None

    def __len__(self) -> int:
        return len(self._packets)

    def take_in(self, sock: socket.socket) -> None:
        """The next packet. Raises BlockingIOError where none has come, OSError where the other side is gone."""
        flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        self._packets.extend(map(sock.recvmsg, (MESSAGE_BYTES_MAX + 1,), (_ROOM_FOR_DESCRIPTORS,), (flags,)))

    def head(self) -> Packet | None:
        """The packet whose turn it is."""
        if not self._packets:
            return None
        raw = self._packets[0]
        if self._opened is None or self._opened.raw is not raw:
            self._opened = Packet(raw)
        return self._opened

    def drop_head(self) -> None:
        """It is delivered."""
        self._packets.popleft()
        self._opened = None


def _numbers_in(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    numbers = array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return numbers.tolist()
