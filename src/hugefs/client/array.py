"""HugeArray: a NumPy array that lies in a file of a mount.

Rule 1: what shares the file's bytes (slices, reshapes, transposes, other views) is a HugeArray and pickles as a handle:
        the receiver maps the same bytes.
Rule 2: what has bytes of its own (results of arithmetic and functions, copies, fancy indexing) is an ordinary
        ``numpy.ndarray`` and pickles as one.
Rule 3: ``out=`` and in-place operations write into the file and give the HugeArray back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from hugefs.client.connection import Connection
from hugefs.client.descriptor import Descriptor
from hugefs.client.handles import FileHandle
from hugefs.client.label import Layout
from hugefs.client.mapping import Mapping
from hugefs.client.registry import connection_of
from hugefs.errors import InvalidRequest, StaleHandle
from hugefs.units import pages_covering
from hugefs.wire.messages import Attach, Granted

__all__ = ["HugeArray", "array_over", "map_whole"]

Plain = np.ndarray[Any, np.dtype[Any]]


class HugeArray(np.ndarray[Any, np.dtype[Any]]):
    """A NumPy array on huge pages, shared with whoever unpickles it. Made by a mount.

    ``mapping``: the pages it lies on (None for a copy, which is in nobody's file).
    """

    _mapping: Mapping | None = None

    def __array_finalize__(self, parent: Any) -> None:
        mapping = getattr(parent, "_mapping", None)
        self._mapping = mapping if mapping is not None and _lies_in(self, mapping) else None

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def mapping(self) -> Mapping | None:
        """The pages it lies on."""
        return self._mapping

    @property
    def file(self) -> FileHandle | None:
        """The handle of the file it lies in."""
        return self._mapping.file if self._mapping is not None else None

    @property
    def name(self) -> str | None:
        """The name it was made or found under; None where it was made without one, or came as a handle."""
        return self._mapping.name if self._mapping is not None else None

    @property
    def backing(self) -> str | None:
        """What its pages are: "hugetlb", "thp" or "base"."""
        return str(self._mapping.backing) if self._mapping is not None else None

    # --- handles --------------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> Any:
        mapping = self._mapping
        if mapping is None:
            return _plain(self).__reduce_ex__(protocol)
        offset_bytes = mapping.offset_bytes + _address(self) - mapping.address
        writable = self.flags.writeable
        return _attach, (mapping.file, offset_bytes, self.shape, self.strides, self.dtype, writable)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __copy__(self) -> Any:
        return _plain(self).__copy__()

    def __deepcopy__(self, memo: Any) -> Any:
        return _plain(self).__deepcopy__(memo)

    # --- NumPy's ways to make new arrays ----------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        return _in_the_same_file(_plain(self)[key], self._mapping)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return _without_copies(super().__array_function__(function, types, arguments, options))

    # Not __array_ufunc__: NumPy before 2.5.1 never forgets an argument of a reduction whose override raised, as for
    # a.sum(axis=7), and the pages would stay with it (numpy issue 31677).
    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool | None = None) -> Any:
        if array is self:
            return array
        if return_scalar is None:  # NumPy 1
            return_scalar = array.shape == ()
        return array[()] if return_scalar else _plain(array)


def _ordinary(name: str) -> Callable[..., Any]:
    """The method of ndarray, with its result as rules 1 and 2 have it."""
    method = getattr(np.ndarray, name)

    def call(self: HugeArray, *arguments: Any, **options: Any) -> Any:
        return _in_the_same_file(method(_plain(self), *arguments, **options), self._mapping)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


_MAY_COPY = (
    "argmax argmin argpartition argsort astype byteswap choose compress conj conjugate copy diagonal dot flatten "
    "nonzero ravel repeat reshape round searchsorted squeeze take trace"
)
"""Methods that may answer with an array of its own bytes and do not wrap it. A test tries all that ndarray has."""

for _name in _MAY_COPY.split():
    setattr(HugeArray, _name, _ordinary(_name))


def array_over(mapping: Mapping, layout: Layout, offset_bytes: int = 0) -> HugeArray:
    """The array that lies there in a mapping."""
    array = _over(mapping, layout.shape, layout.strides, layout.dtype, offset_bytes)
    array.flags.writeable = mapping.writable
    return array


def map_whole(
    connection: Connection, reply: Granted, descriptor: Descriptor, name: str | None, *, writable: bool
) -> Mapping:
    """Map the file that was granted, from its first page to its last."""
    file = FileHandle.of(connection, reply.file)
    page_bytes = connection.page_bytes
    mapping = Mapping.make(
        connection,
        reply.mapping,
        descriptor,
        file=file,
        name=name,
        offset_bytes=0,
        length_bytes=pages_covering(reply.size_bytes, page_bytes) * page_bytes,
        access="shared" if writable else "read",
        backing=reply.backing,
    )
    connection.whole_files[(file.inode, writable)] = mapping
    return mapping


def _attach(
    file: FileHandle, offset_bytes: int, shape: Any, strides: Any, dtype: np.dtype[Any], writable: bool
) -> HugeArray:
    """The array of a handle: over the mapping that this process has of that file, else over a new one."""
    connection = connection_of(file.address, file.server)
    mapping = cast("Mapping | None", connection.whole_files.get((file.inode, writable)))
    if mapping is None or mapping.closed or mapping.file != file:
        mapping = connection.grant(
            lambda number: Attach(number, file.reference, writable),
            Granted,
            lambda reply, descriptor: map_whole(connection, reply, descriptor, None, writable=writable),
        )
    if dtype.hasobject:
        raise InvalidRequest(f"a handle of an array of {dtype}: no such array can be shared")
    try:
        array = _over(mapping, shape, strides, dtype, offset_bytes)
    except ValueError as error:
        raise StaleHandle(f"the file of this handle has other bytes than the handle says: {error}") from None
    array.flags.writeable = writable
    return array


def _over(mapping: Mapping, shape: Any, strides: Any, dtype: np.dtype[Any], offset_bytes: int) -> HugeArray:
    # frombuffer, because it holds the mapping's buffer: an array on it makes close() raise, where ndarray(buffer=…)
    # would be left behind on memory that is gone. The second is within the bounds of the first, or a ValueError.
    whole = np.frombuffer(mapping, np.uint8)
    array = HugeArray(shape, dtype, whole, offset_bytes, strides)
    array._mapping = mapping
    return array


def _address(array: Plain) -> int:
    return cast(int, array.__array_interface__["data"][0])


def _lies_in(array: Plain, mapping: Mapping) -> bool:
    address = _address(array)
    return mapping.address <= address and address + bool(array.size) <= mapping.address + mapping.length_bytes


def _plain(value: Any) -> Any:
    """The same bytes without what makes a HugeArray one."""
    return value.view(np.ndarray) if isinstance(value, HugeArray) else value


def _in_the_same_file(result: Any, mapping: Mapping | None) -> Any:
    """A result of ndarray's own, as a HugeArray where it is a view of the file."""
    if mapping is None or not isinstance(result, np.ndarray) or not _lies_in(result, mapping):
        return result
    view = result.view(HugeArray)
    view._mapping = mapping
    return view


def _without_copies(result: Any) -> Any:
    """A function's result, with ordinary arrays for what is not in the file any more."""
    if isinstance(result, HugeArray):
        return result if result._mapping is not None else _plain(result)
    if isinstance(result, list):
        return [_without_copies(item) for item in result]
    if isinstance(result, tuple):
        items = [_without_copies(item) for item in result]
        return type(result)(*items) if hasattr(result, "_fields") else tuple(items)
    return result
