"""What is kept with a file makes the same array again; what cannot be an array is refused before there is a file."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugefs.client.label import Layout
from hugefs.errors import InvalidRequest, TooBig

DTYPES = [
    "?", "i1", "<u8", ">i4", "f2", "f4", ">f8", "g", "c8", "S5", "U3", ">U7", "V9", "M8[ns]", ">m8[D]", "M8[25s]",
    [("a", "f4"), ("b", "i8", (2, 3))],
    [("outer", [("inner", "u1"), ("when", "M8[us]")])],
    np.dtype([("a", "u1"), ("b", "f8")], align=True),
    np.dtype({"names": ["x"], "formats": ["i2"], "offsets": [6], "itemsize": 16}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_plain_dtype_comes_back(dtype, order):
    """Byte order, units of time, field names, padding."""
    layout = Layout.of((2, 3), dtype, order)
    assert Layout.decode(layout.encode(), layout.size_bytes) == layout
    assert layout.dtype == np.dtype(dtype)
    assert layout.size_bytes == np.empty((2, 3), dtype).nbytes


@given(st.lists(st.integers(1, 5), max_size=8), st.sampled_from("CF"))
def test_strides_are_numpys(shape, order):
    """The bytes lie where NumPy would have put them."""
    layout = Layout.of(shape, "f4", order)
    expected = np.empty(shape, "f4", order)
    lengths = zip(layout.strides, expected.strides, shape, strict=True)
    assert all(ours == theirs for ours, theirs, length in lengths if length > 1)


def test_a_dtype_of_arrays_adds_dimensions():
    """As np.zeros has it."""
    layout = Layout.of(4, "(2,3)f4")
    assert (layout.shape, layout.dtype) == (np.zeros(4, "(2,3)f4").shape, np.dtype("f4"))


@pytest.mark.parametrize("shape", [3, (3,), [3], np.int64(3), (np.uint8(3),), ()])
def test_shapes_are_whole_numbers_of_any_kind(shape):
    """NumPy's own integers are what a program has at hand."""
    assert Layout.of(shape, "u1").shape == np.zeros(shape, "u1").shape


@pytest.mark.parametrize(
    "shape",
    [
        0,
        (3, 0),
        -1,
        (2, -1),
        1.0,
        (1.5,),
        True,
        (True, 2),
        "3",
        None,
        ("a",),
        {3},
        float("nan"),
        (1,) * 65,
        np.array([1.0]),
    ],
)
def test_shapes_that_are_none(shape):
    """Each is InvalidRequest, not what NumPy happens to raise."""
    with pytest.raises(InvalidRequest):
        Layout.of(shape, "u1")


@pytest.mark.parametrize("shape", [2**63, (2**62, 4), (2**40, 2**40), 10**30])
def test_sizes_beyond_any_file(shape):
    """The product must not wrap round to something small."""
    with pytest.raises(TooBig):
        Layout.of(shape, "u1")


@pytest.mark.parametrize(
    "dtype",
    [object, "O", [("a", "O")], [("a", [("b", "O")])], "nonsense", 5.0, "S0", "U", [("a", "f4"), ("a", "f4")]],
    ids=str,
)
def test_dtypes_that_cannot_be_shared(dtype):
    """References to objects of one process, no bytes at all, no dtype."""
    with pytest.raises(InvalidRequest):
        Layout.of(3, dtype)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="this NumPy has no StringDType")
def test_strings_of_any_length_cannot_be_shared():
    """Their bytes are elsewhere."""
    with pytest.raises(InvalidRequest):
        Layout.of(3, np.dtypes.StringDType())


def test_a_dtype_with_thousands_of_fields_is_refused():
    """Its description would not fit beside the file."""
    with pytest.raises(InvalidRequest):
        Layout.of(3, [(f"field{number}", "f4") for number in range(5000)]).encode()


def label(*fields):
    """A label that somebody made."""
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\x00",
        b"a" * 100,
        label(1, "'<f4'", [3]),
        label(2, "'<f4'", [3], "C"),
        label(1, "'<f4'", [3], "X"),
        label(1, "'<f4'", [-3], "C"),
        label(1, "'<f4'", [0], "C"),
        label(1, "'<f4'", [2**62], "C"),
        label(1, "'O'", [3], "C"),
        label(1, "[('a', 'O')]", [3], "C"),
        label(1, "__import__('os').system('true')", [3], "C"),
        label(1, "[", [3], "C"),
        label(1, "(" * 5000, [3], "C"),
        label(1, "-" * 5000 + "1", [3], "C"),
        label(1, "{}", [3], "C"),
        label(1, "('<f4',)", [3], "C"),
        label(1, "[('a',)]", [3], "C"),
        label(1, "'<f4'", [3.5], "C"),
        label(1, 5, [3], "C"),
    ],
)
def test_a_label_that_is_none_is_refused(text):
    """It is another process's word; whatever it says, the answer is one exception."""
    with pytest.raises((InvalidRequest, TooBig)):
        Layout.decode(text, 1 << 20)


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_label_is_refused_or_fits(place, change):
    """No array reaches beyond its file, whatever the label says."""
    text = bytearray(Layout.of((4, 5), [("a", "f4"), ("b", ">i2")]).encode())
    text[place % len(text)] ^= change
    try:
        layout = Layout.decode(bytes(text), 120)
    except (InvalidRequest, TooBig):
        return
    assert 0 < layout.size_bytes <= 120


def test_an_array_longer_than_its_file_is_refused():
    """Somebody truncated it."""
    text = Layout.of(100, "f8").encode()
    with pytest.raises(InvalidRequest, match="truncated"):
        Layout.decode(text, 799)
