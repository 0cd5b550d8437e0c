"""Messages to packets and back: one message is one packet. No sockets here.

Rule 1: what comes out of ``decode_*`` is a message whose every field is within its bounds. Anything else (cut off,
        padded, too long, another type, not text) is a RemoteProtocolError and never another exception.
Rule 2: what cannot be a packet is refused before it is sent, as InvalidRequest: the other side would hang up on it.

A packet is a MessagePack array: the message's name, then its fields in the order of messages.py.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from hugefs.errors import InvalidRequest, RemoteProtocolError
from hugefs.wire.messages import MESSAGE_BYTES_MAX, Reply, Request

__all__ = ["decode_reply", "decode_request", "encode_reply", "encode_request"]

_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Request)
_reply_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Reply)


def encode_request(request: Request) -> bytes:
    """The packet for a request."""
    return _encode(request)


def encode_reply(reply: Reply) -> bytes:
    """The packet for a reply."""
    return _encode(reply)


def decode_request(packet: bytes) -> Request:
    """The request in a packet."""
    return cast(Request, _decode(_request_decoder, packet))


def decode_reply(packet: bytes) -> Reply:
    """The reply in a packet."""
    return cast(Reply, _decode(_reply_decoder, packet))


def _encode(message: Request | Reply) -> bytes:
    try:
        packet = _encoder.encode(message)
    except (ValueError, OverflowError, TypeError) as error:
        # A lone surrogate in a name, a number beyond 64 bits.
        raise InvalidRequest(f"{type(message).__name__} cannot be sent: {error}") from error
    if len(packet) > MESSAGE_BYTES_MAX:
        name = type(message).__name__
        raise InvalidRequest(f"{name} cannot be sent: {len(packet)} bytes, at most {MESSAGE_BYTES_MAX} are allowed")
    return packet


def _decode(decoder: msgspec.msgpack.Decoder[Any], packet: bytes) -> Any:
    if len(packet) > MESSAGE_BYTES_MAX:
        raise RemoteProtocolError(f"a packet of {len(packet)} bytes; at most {MESSAGE_BYTES_MAX} are allowed")
    try:
        return decoder.decode(packet)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # ValueError: text that is not UTF-8.
        raise RemoteProtocolError(f"a packet of {len(packet)} bytes that is no message: {error}") from error
