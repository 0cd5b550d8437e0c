"""The codec: every message comes back as it went; whatever else arrives is refused with one exception."""

from __future__ import annotations

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugefs.errors import InvalidRequest, RemoteProtocolError
from hugefs.wire import messages
from hugefs.wire.codec import decode_reply, decode_request, encode_reply, encode_request
from hugefs.wire.messages import MESSAGE_BYTES_MAX, Create, Hello, Listing, Unlink

REQUESTS = typing.get_args(messages.Request)
REPLIES = typing.get_args(messages.Reply)


def values_of(annotation: object) -> st.SearchStrategy:
    """Values that a field of this type may have, with the bounds that are written at the type."""
    bounds: dict[str, int] = {}
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, meta = typing.get_args(annotation)
        names = ("ge", "le", "min_length", "max_length")
        bounds = {name: getattr(meta, name) for name in names if getattr(meta, name) is not None}
    if annotation is int:
        return st.integers(bounds.get("ge", -(2**63)), bounds.get("le", 2**63 - 1))
    if annotation is float:
        return st.floats(bounds["ge"], bounds["le"])
    if annotation is str:
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=min(bounds.get("max_length", 40), 40))
    if annotation is bytes:
        return st.binary(min_size=bounds.get("min_length", 0), max_size=min(bounds.get("max_length", 40), 40))
    if annotation is bool:
        return st.booleans()
    if annotation is type(None):
        return st.none()
    if typing.get_origin(annotation) is list:
        return st.lists(values_of(typing.get_args(annotation)[0]), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return structs_of(annotation)
    return st.one_of([values_of(choice) for choice in typing.get_args(annotation)])


def structs_of(kind: type[msgspec.Struct]) -> st.SearchStrategy:
    """Every value a struct can have."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{field: values_of(hints[field]) for field in kind.__struct_fields__})


any_request = st.one_of([structs_of(kind) for kind in REQUESTS])
any_reply = st.one_of([structs_of(kind) for kind in REPLIES])


def is_a_message_or_refused(decode, packet: bytes) -> bool:
    """Whether it decoded; anything but RemoteProtocolError fails the test by itself."""
    try:
        decode(packet)
    except RemoteProtocolError:
        return False
    return True


def test_every_message_is_tested():
    """A message that is in no union could never be sent; one that is in both would be ambiguous."""
    defined = {
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, messages._Message) and value is not messages._Message
    }
    assert defined == set(REQUESTS) | set(REPLIES)
    assert not set(REQUESTS) & set(REPLIES)


@pytest.mark.parametrize("kind", REQUESTS + REPLIES)
def test_each_kind_of_message_comes_back(kind):
    """The names and the fields of every message, not only of those that random choice likes."""
    encode, decode = (encode_request, decode_request) if kind in REQUESTS else (encode_reply, decode_reply)

    @given(structs_of(kind))
    def comes_back(message):
        assert decode(encode(message)) == message

    comes_back()


@given(any_request)
def test_every_truncation_of_a_request_is_refused(request):
    """A packet that was cut must never be taken for a shorter message."""
    packet = encode_request(request)
    for length in range(len(packet)):
        with pytest.raises(RemoteProtocolError):
            decode_request(packet[:length])


@given(any_reply)
def test_every_truncation_of_a_reply_is_refused(reply):
    """The client must not trust a server that died in the middle either."""
    packet = encode_reply(reply)
    for length in range(len(packet)):
        with pytest.raises(RemoteProtocolError):
            decode_reply(packet[:length])


@given(any_request, any_reply, st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_another_message_or_refused(request, reply, place, change):
    """The server lives on whatever comes; so does the client."""
    for decode, packet in ((decode_request, encode_request(request)), (decode_reply, encode_reply(reply))):
        changed = bytearray(packet)
        changed[place % len(packet)] ^= change
        is_a_message_or_refused(decode, bytes(changed))


@pytest.mark.parametrize("place", range(24))
def test_every_value_of_every_byte(place):
    """All 256 values at each place of one packet, so that no unlucky byte is left to chance."""
    packet = bytearray(encode_request(Create(7, "weights", 1 << 21, b"label", 1.5)))
    for value in range(256):
        packet[place] = value
        is_a_message_or_refused(decode_request, bytes(packet))


@given(any_request, any_request)
def test_two_messages_in_one_packet_are_refused(first, second):
    """One packet is one message: a second one behind it could hide from whoever looks at the first."""
    with pytest.raises(RemoteProtocolError):
        decode_request(encode_request(first) + encode_request(second))


@given(st.binary(max_size=200))
def test_noise_is_refused_or_a_message(noise):
    """Bytes of nobody's making."""
    is_a_message_or_refused(decode_request, noise)
    is_a_message_or_refused(decode_reply, noise)


@pytest.mark.parametrize(
    "fields",
    [
        ["Nonsense", 1],
        ["Welcome", 1],
        ["Hello", 1],
        ["Hello", 1, 1, 1],
        ["Hello", -1, 1],
        ["Hello", 2**32, 1],
        ["Hello", True, 1],
        ["Hello", 1.0, 1],
        ["Hello", "1", 1],
        ["Create", 1, None, -1, b""],
        ["Create", 1, None, 2**63, b""],
        ["Create", 1, None, 1, b"x" * (16 * 1024 + 1)],
        ["Create", 1, None, 1, b"", float("nan")],
        ["Create", 1, None, 1, b"", float("inf")],
        ["Create", 1, None, 1, b"", -0.5],
        ["Unlink", 1, "x" * 4096],
        ["Unlink", 1, None],
        ["Attach", 1, [1, b"short"], True],
        ["Attach", 1, [0, b"k" * 16], True],
        ["Cancel", 1, 2**32],
        ["Unmap", 1, 0],
        [],
        [["Hello", 1, 1]],
        {"type": "Hello"},
        None,
    ],
)
def test_what_is_out_of_bounds_is_refused(fields):
    """Rule 4 of the messages: what the codec lets through is safe to look at."""
    with pytest.raises(RemoteProtocolError):
        decode_request(msgspec.msgpack.encode(fields))


def test_text_that_is_not_utf8_is_refused():
    """The decoder's own exception for it is another one."""
    packet = encode_request(Unlink(1, "aaaa")).replace(b"aaaa", b"\xff\xfe\x80\xc0")
    with pytest.raises(RemoteProtocolError):
        decode_request(packet)


@pytest.mark.parametrize("opening", [b"\x91", b"\x81", b"\xc7\xff"])
def test_deep_nesting_is_refused(opening):
    """A packet can hold sixty thousand opening brackets: no recursion may follow them down."""
    for start in (b"", b"\x93\xa5Hello", b"\x93\xa6Attach\x01"):
        is_a_message_or_refused(decode_request, (start + opening * MESSAGE_BYTES_MAX)[:MESSAGE_BYTES_MAX])


def test_a_packet_that_is_too_long_is_refused_both_ways():
    """The longest packet is bounded, and whoever would exceed it is told before the other side hangs up."""
    with pytest.raises(RemoteProtocolError):
        decode_request(bytes(MESSAGE_BYTES_MAX + 1))
    with pytest.raises(InvalidRequest):
        encode_reply(Listing(1, ["x" * 4000] * 17, more=False))
    with pytest.raises(RemoteProtocolError):
        decode_reply(msgspec.msgpack.encode(Listing(1, ["x" * 4000] * 17, more=False)))


@pytest.mark.parametrize("request_", [Unlink(1, "lone \udc80 surrogate"), Hello(1, 2**70)])
def test_what_cannot_be_encoded_is_the_senders_mistake(request_):
    """Not a RemoteProtocolError: the other side did nothing."""
    with pytest.raises(InvalidRequest):
        encode_request(request_)
