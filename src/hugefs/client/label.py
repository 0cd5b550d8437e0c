"""What is kept with a file so that it is an array again: dtype, shape, order; and what can be an array at all.

Rule 1: an array's bytes are all there is to it. A dtype with references to Python objects means nothing elsewhere.
Rule 2: a label is another process's word: whatever it says is checked, and fits into the file or is refused.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from operator import index
from typing import Any

import msgspec
import numpy as np
from numpy.lib import format as npy_format

from hugefs.errors import InvalidRequest, TooBig

__all__ = ["Layout"]

_VERSION = 1
_LABEL_BYTES_MAX = 16 * 1024
_DIMENSIONS_MAX = 64 if int(np.__version__.split(".")[0]) >= 2 else 32
_SIZE_BYTES_MAX = 2**63 - 1


class _Label(msgspec.Struct, frozen=True, array_like=True):
    version: int
    dtype: str  # Python's text of what numpy.lib.format makes of it, as in the head of an .npy file
    shape: list[int]
    order: str


@dataclass(frozen=True)
class Layout:
    """How an array lies in the bytes of a file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str = "C"

    @classmethod
    def of(cls, shape: Any, dtype: Any, order: str = "C") -> Layout:
        """What a caller wants, checked. Raises InvalidRequest, TooBig."""
        base, inner = _plain_dtype(dtype), ()
        if base.subdtype is not None:
            base, inner = base.subdtype
        layout = cls(base, (*_whole_shape(shape), *inner), order)
        if len(layout.shape) > _DIMENSIONS_MAX:
            raise InvalidRequest(f"an array has at most {_DIMENSIONS_MAX} dimensions, not {len(layout.shape)}")
        if layout.size_bytes > _SIZE_BYTES_MAX:
            raise TooBig(f"an array of {layout.size_bytes} bytes: at most {_SIZE_BYTES_MAX} are possible")
        if layout.size_bytes == 0:
            raise InvalidRequest(
                f"an array of shape {layout.shape} and dtype {base} has 0 bytes: 0 bytes have no pages to share"
            )
        return layout

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next, for each dimension."""
        strides, step = [], self.dtype.itemsize
        for length in self.shape if self.order == "F" else reversed(self.shape):
            strides.append(step)
            step *= length
        return tuple(strides if self.order == "F" else reversed(strides))

    def encode(self) -> bytes:
        """The label."""
        label = msgspec.msgpack.encode(_Label(_VERSION, _dtype_text(self.dtype), list(self.shape), self.order))
        if len(label) > _LABEL_BYTES_MAX:
            raise InvalidRequest(f"a dtype with too many fields: its description has {len(label)} bytes")
        return label

    @classmethod
    def decode(cls, label: bytes, size_bytes: int) -> Layout:
        """The layout of the array in a file of that size. Raises InvalidRequest where there is none."""
        if not label:
            raise InvalidRequest("this file holds no array: open it as a file")
        try:
            read = msgspec.msgpack.decode(label, type=_Label)
            if read.version != _VERSION or read.order not in {"C", "F"}:
                raise ValueError(f"version {read.version}")
            layout = cls.of(tuple(read.shape), npy_format.descr_to_dtype(ast.literal_eval(read.dtype)), read.order)
        except InvalidRequest:
            raise
        except (
            msgspec.MsgspecError, ValueError, TypeError, SyntaxError, KeyError, IndexError, MemoryError, RecursionError
        ) as error:  # fmt: skip
            # After msgspec's they are numpy's and ast's, for a text of nobody's making.
            raise InvalidRequest(f"what is kept with this file describes no array: {error}") from None
        if layout.size_bytes > size_bytes:
            raise InvalidRequest(
                f"the array needs {layout.size_bytes} bytes and the file has {size_bytes}: it was truncated"
            )
        return layout


def _plain_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        plain: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError, OverflowError) as error:
        raise InvalidRequest(f"not a dtype: {error}") from None
    if plain.hasobject:
        raise InvalidRequest(f"dtype {plain} refers to Python objects, which no other process can follow")
    return plain


def _dtype_text(dtype: np.dtype[Any]) -> str:
    description = npy_format.dtype_to_descr(dtype)
    try:
        same = npy_format.descr_to_dtype(ast.literal_eval(repr(description))) == dtype
    except (TypeError, ValueError, SyntaxError):
        same = False
    if not same:
        raise InvalidRequest(f"dtype {dtype} cannot be described to another process")
    return repr(description)


def _whole_shape(shape: Any) -> tuple[int, ...]:
    lengths = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if len(lengths) > _DIMENSIONS_MAX:
        raise InvalidRequest(f"an array has at most {_DIMENSIONS_MAX} dimensions, not {len(lengths)}")
    return tuple(_length(value) for value in lengths)


def _length(value: Any) -> int:
    if isinstance(value, bool | np.bool_):
        raise InvalidRequest("a shape is made of whole numbers, not of truth values")
    try:
        length = index(value)
    except TypeError:
        raise InvalidRequest(f"a shape is made of whole numbers, not of {type(value).__name__}") from None
    if length < 0:
        raise InvalidRequest(f"a dimension of {length} elements: it cannot be negative")
    if length > _SIZE_BYTES_MAX:
        raise TooBig(f"a dimension of more than {_SIZE_BYTES_MAX} elements")
    return length
