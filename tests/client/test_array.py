"""HugeArray: what shares the file's bytes stays one, what has bytes of its own is an ordinary NumPy array."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import hugefs
from hugefs import Exists, HugeArray, InvalidRequest, NoHugePages, NotFound, ViewsStillOpen


def numbers(m):
    """Numbers from 0 to 11, in three rows. No fixture: pytest would keep it until after the mount is looked at."""
    return m.put(np.arange(12.0).reshape(3, 4))


# --- made and found -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["zeros", "empty"])
def test_new_arrays_are_zero_and_counted_in_whole_pages(m, make):
    """Nobody sees what others left in a page; an array of one element takes one."""
    dirty = m.full((1 << 20,), 7, "u1")
    del dirty
    array = getattr(m, make)((2, 3), ">i4", name="new")
    assert isinstance(array, HugeArray)
    assert (array.shape, array.dtype, array.name) == ((2, 3), np.dtype(">i4"), "new")
    assert not array.any()
    assert m.meminfo().pages_free == 15
    assert m.stat("new").st_blocks == (2 << 20) // 512


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (7, None, np.full((2, 3), 7)),
        (1.5, "f4", np.full((2, 3), 1.5, "f4")),
        ([1, 2, 3], "u1", np.full((2, 3), [1, 2, 3], "u1")),
    ],
)
def test_full(m, value, dtype, expected):
    """As np.full has it, broadcasting included."""
    array = m.full((2, 3), value, dtype)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(("value", "dtype"), [([1, 2], "u1"), ("text", "f4"), (object(), None)])
def test_a_value_that_does_not_fit_makes_no_file(m, value, dtype):
    """The error comes before there is anything to take back."""
    with pytest.raises((ValueError, TypeError)):
        m.full((2, 3), value, dtype, name="never")
    assert m.listdir() == []


@pytest.mark.parametrize(
    "source",
    [
        np.arange(24).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(24).reshape(2, 3, 4)[:, ::2].transpose(2, 0, 1),
        np.array(5.0),
        np.array([("a", 1.5)], dtype=[("name", "U8"), ("value", ">f8")]),
        np.array(["2011-08-11", "NaT"], "M8[D]"),
        np.array([b"abc", b""]),
        [[1, 2], [3, 4]],
    ],
    ids=repr,
)
def test_what_is_put_is_got(m, source):
    """By another name for the same bytes: shape, dtype, byte order and, where it is simple, the order of the axes."""
    array = m.put(source, "saved")
    expected = np.asarray(source)
    found = m.get("saved")
    for one in (array, found):
        assert one.dtype == expected.dtype
        np.testing.assert_array_equal(one, expected)
    assert found.flags.f_contiguous == array.flags.f_contiguous
    if expected.flags.f_contiguous and not expected.flags.c_contiguous:
        assert found.strides == expected.strides
    array[...] = np.zeros((), expected.dtype)
    np.testing.assert_array_equal(found, array)


def test_an_array_in_a_directory_has_its_path(m):
    """Names are paths."""
    m.mkdir("layers")
    m.zeros(3, name="/layers/first")
    assert m.get("layers/first").name == "layers/first"


def test_what_was_got_for_reading_cannot_be_written(m):
    """Its pages are mapped without write access: no view, and no trick with flags, gets it back."""
    m.zeros(4, name="shared")
    array = m.get("shared")
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        array += 1
    writer = m.get("shared", writable=True)
    writer[0] = 5
    assert array[0] == 5


def test_names_that_are_not_arrays(m):
    """A missing one, a taken one, a file of bytes, a directory."""
    m.zeros(3, name="taken")
    m.mkdir("directory")
    with m.open("bytes", "w+b", size="2M"):
        pass
    with pytest.raises(NotFound):
        m.get("missing")
    with pytest.raises(Exists):
        m.zeros(3, name="taken")
    with pytest.raises(InvalidRequest, match="no array"):
        m.get("bytes")
    with pytest.raises(OSError, match="directory"):
        m.get("directory")
    assert m.meminfo().pages_free == 14


def test_more_than_there_is_takes_nothing(m):
    """The refusal says how much was wanted, what there was, where, and who has the rest."""
    held = m.zeros(4 << 20, "u1", name="held")
    with pytest.raises(NoHugePages) as caught:
        m.zeros(32 << 20, "u1", name="never")
    error = caught.value
    assert (error.wanted, error.available, error.mount) == (16, 14, m.name)
    assert [(holder.path, holder.pages, holder.how) for holder in error.holders] == [("held", 2, "mapped")]
    assert m.listdir() == ["held"]
    del held


# --- views and copies -------------------------------------------------------------------------------------------------

VIEWS = {
    "row": lambda a: a[1],
    "slice": lambda a: a[1:, ::-2],
    "element view": lambda a: a[1:2, 1:2],
    "ellipsis": lambda a: a[...],
    "new axis": lambda a: a[:, None],
    "transpose": lambda a: a.T,
    "swapaxes": lambda a: a.swapaxes(0, 1),
    "reshape": lambda a: a.reshape(4, 3),
    "ravel": lambda a: a.ravel(),
    "diagonal": lambda a: a.diagonal(),
    "squeeze": lambda a: a[:1].squeeze(),
    "view": lambda a: a.view("u8"),
    "real": lambda a: a.real,
    "np.transpose": np.transpose,
    "np.broadcast_to": lambda a: np.broadcast_to(a, (2, 3, 4), subok=True),
    "np.split": lambda a: np.split(a, 3)[1],
    "np.flip": lambda a: np.flip(a, 0),
    "iteration": lambda a: next(iter(a)),
}

COPIES = {
    "sum of arrays": lambda a: a + a,
    "with an ordinary one": lambda a: np.ones(4) * a,
    "comparison": lambda a: a > 3,
    "negation": lambda a: -a,
    "np.sin": np.sin,
    "divmod": lambda a: divmod(a, 2)[0],
    "matmul": lambda a: a @ a.T,
    "reduction": lambda a: a.sum(axis=0),
    "mean": lambda a: a.mean(1),
    "accumulate": lambda a: np.cumsum(a, axis=1),
    "method cumsum": lambda a: a.cumsum(0),
    "outer": lambda a: np.multiply.outer(a, a),
    "reduceat": lambda a: np.add.reduceat(a, [0, 1]),
    "frexp": lambda a: np.frexp(a)[1],
    "copy": lambda a: a.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": lambda a: copy.deepcopy({"x": a})["x"],
    "astype": lambda a: a.astype("f4"),
    "flatten": lambda a: a.flatten(),
    "ravel of a transpose": lambda a: a.T.ravel(),
    "reshape of a transpose": lambda a: a.T.reshape(12),
    "fancy index": lambda a: a[[0, 2]],
    "mask": lambda a: a[a > 3],
    "take": lambda a: a.take([1, 2], axis=1),
    "round": lambda a: a.round(1),
    "clip": lambda a: a.clip(1, 2),
    "argsort": lambda a: a.argsort(),
    "argmax": lambda a: a.argmax(axis=0),
    "nonzero": lambda a: a.nonzero()[0],
    "repeat": lambda a: a.repeat(2),
    "np.sort": np.sort,
    "np.concatenate": lambda a: np.concatenate([a, a]),
    "np.stack": lambda a: np.stack([a, a]),
    "np.where": lambda a: np.where(a > 1, a, 0),
    "np.zeros_like": np.zeros_like,
    "np.full_like": lambda a: np.full_like(a, 3),
    "np.copy": lambda a: np.copy(a, subok=True),
    "np.array": np.array,
    "np.unique": lambda a: np.unique(a, return_counts=True)[1],
    "np.linalg.svd": lambda a: np.linalg.svd(a)[0],
    "np.linalg.inv": lambda a: np.linalg.inv(a[:, :3] + np.eye(3)),
    "np.histogram": lambda a: np.histogram(a)[0],
    "np.meshgrid": lambda a: np.meshgrid(a[0], a[0])[1],
    "np.einsum": lambda a: np.einsum("ij,kj->ik", a, a),
    "np.fft": np.fft.fft,
    "np.asarray of a sum": lambda a: np.asarray(a + 1),
    "np.nan_to_num": np.nan_to_num,
    "byteswap": lambda a: a.byteswap(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_is_in_the_file(m, view):
    """It shares the bytes, keeps the mapping, and a pickle of it is a handle."""
    a = numbers(m)
    expected = view(np.array(a))
    seen = view(a)
    assert type(seen) is HugeArray
    assert seen.mapping is a.mapping
    assert np.shares_memory(seen, a)
    np.testing.assert_array_equal(seen, expected)
    for protocol in range(2, 6):
        again = pickle.loads(pickle.dumps(seen, protocol))
        assert type(again) is HugeArray
        assert again.flags.writeable == seen.flags.writeable
        assert np.shares_memory(again, a) or not again.flags.writeable  # those are on pages without write access
        np.testing.assert_array_equal(again, expected)
    assert len(pickle.dumps(seen)) < 1000


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_result_is_an_ordinary_array(m, make):
    """Its bytes are its own: it would be wrong to pickle it as a handle, and to keep pages for it."""
    a = numbers(m)
    expected = make(np.array(a))
    result = make(a)
    assert type(result) is type(expected) is np.ndarray
    assert not np.shares_memory(result, a)
    np.testing.assert_array_equal(result, expected)
    mapping = a.mapping
    del a
    gc.collect()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(result)), expected)
    assert mapping is not None


def test_every_method_of_ndarray_has_been_thought_of(m):
    """Whatever a method returns, an array of type HugeArray lies in the file. New methods of NumPy are tried too."""
    a = numbers(m)
    arguments: dict[str, Any] = {
        "argpartition": (1,), "astype": ("f4",), "choose": None, "clip": (1, 2), "compress": ([True, False],),
        "dot": (np.ones(4),), "fill": None, "getfield": ("f4",), "item": (0,), "itemset": None, "partition": (1,),
        "put": None, "repeat": (2,), "reshape": (2, 6), "resize": None, "searchsorted": None, "setfield": None,
        "setflags": None, "swapaxes": (0, 1), "take": ([0],), "tofile": None, "to_device": ("cpu",),
        "dump": None, "dumps": (), "newbyteorder": None, "ptp": (), "tostring": None,
    }  # fmt: skip
    for name in dir(np.ndarray):
        method = getattr(np.ndarray, name)
        if name.startswith("_") or not callable(method) or arguments.get(name, ()) is None:
            continue
        for array in (a, a.T, a[0]):
            try:
                results = getattr(array, name)(*arguments.get(name, ()))
            except (ValueError, TypeError, IndexError):
                continue
            for result in results if isinstance(results, tuple) else (results,):
                if isinstance(result, HugeArray):
                    assert np.shares_memory(result, a), name


def test_scalars_are_numpys(m):
    """An element is a number, and a reduction is."""
    a = numbers(m)
    assert type(a[1, 2]) is np.float64
    assert type(a.sum()) is np.float64
    assert type(a.max()) is np.float64
    assert type(np.dot(a[0], a[0])) is np.float64


def test_in_place_operations_write_into_the_file(m):
    """``a += 1`` is still a, in the file; so is what is written through ``out=``."""
    a = numbers(m)
    before = a
    a += 1
    assert a is before
    a[0] *= 2
    assert np.add(a, 1, out=a) is a
    quotient, rest = m.zeros(4), np.zeros(4)
    given = np.divmod(a[0], 2, quotient, rest)
    assert given[0] is quotient
    assert given[1] is rest
    assert a.sum(axis=0, out=quotient) is quotient
    np.add.at(a, (0, 0), 100)
    assert np.clip(a, 0, 50, out=a) is a
    assert a[0, 0] == 50
    a.sort()
    view = a[1]
    view -= view
    assert not a[1].any()


def test_a_where_argument_may_be_in_a_file(m):
    """Masks are arrays too."""
    mask = m.put(np.array([True, False, True]))
    assert np.add([1, 1, 1], 1, where=mask, out=np.zeros(3)).tolist() == [2, 0, 2]


def test_an_array_knows_what_it_is_made_of(m):
    """name, file, backing, mapping; a copy has none of them."""
    a = numbers(m)
    assert a.backing == "base"
    assert a.name is None
    assert a.mapping.pages == 1
    assert a.file == a[1].file == a.mapping.file
    plain = np.copy(a, subok=True).view(HugeArray)
    assert (plain.backing, plain.name, plain.file, plain.mapping) == (None, None, None, None)
    assert type(pickle.loads(pickle.dumps(plain))) is np.ndarray


def test_an_empty_view_is_harmless(m):
    """Zero elements at the end of the pages are still nobody else's."""
    a = numbers(m)
    empty = a[3:]
    assert empty.size == 0
    assert pickle.loads(pickle.dumps(empty)).shape == (0, 4)


def test_structured_arrays_give_their_fields_as_views(m):
    """A column shares the file's bytes."""
    table = m.zeros(3, [("x", "f4"), ("name", "U4")])
    table["x"] = [1, 2, 3]
    assert type(table["x"]) is HugeArray
    assert table["x"].base is not None
    assert pickle.loads(pickle.dumps(table["x"])).tolist() == [1, 2, 3]
    assert table[1]["x"] == 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: a.sum(axis=7),
        lambda a: np.add.reduce(a, axis=7),
        lambda a: a.cumsum(7),
        lambda a: a.mean(axis="x"),
        lambda a: a + np.zeros(99),
        lambda a: a @ np.zeros(99),
        lambda a: np.add(a, 1, out=np.zeros(99)),
        lambda a: np.concatenate([a, np.zeros(99)]),
        lambda a: a.reshape(99),
        lambda a: a[99],
        lambda a: a.view("V7"),
        lambda a: np.add(a, [[1], [2, 3]]),
    ],
)
def test_an_error_in_arithmetic_keeps_no_pages(m, wrong):
    """Whatever NumPy did on the way, the array is as forgettable as before."""
    a = numbers(m)
    with pytest.raises((ValueError, TypeError, IndexError)):
        wrong(a)
    del a
    gc.collect()
    assert m.meminfo().pages_free == 16


# --- lifetime ----------------------------------------------------------------------------------------------------


def test_a_forgotten_array_gives_its_pages_back(m):
    """The last view counts, not the first name."""
    array = m.zeros(6 << 20, "u1")
    view = array[5:10].view("u1")
    del array
    assert m.meminfo().pages_free == 13
    del view
    assert m.meminfo().pages_free == 16


def test_a_forgotten_array_in_a_cycle_too(m):
    """Then it is the collector that finds it."""
    array = m.zeros(1)
    cycle = [array]
    cycle.append(cycle)
    del array, cycle
    gc.collect()
    assert m.meminfo().pages_free == 16


def test_an_arrays_mapping_cannot_be_closed_under_it(m):
    """Nor with only a derived array left; and nothing is changed by trying."""
    a = numbers(m)
    mapping = a.mapping
    rest = np.asarray(a)[1:]
    del a
    with pytest.raises(ViewsStillOpen):
        mapping.close()
    with pytest.raises(BufferError):
        mapping.close()
    assert rest[0, 0] == 4
    del rest
    mapping.close()
    assert mapping.closed


def test_an_array_outlives_its_name_and_its_mount(m):
    """unlink takes the name, close the way in; the pages go with the array."""
    mount = pickle.loads(pickle.dumps(m))
    array = mount.zeros(3, name="gone")
    mount.unlink("gone")
    mount.close()
    array[:] = 5
    assert m.holders()[0].path == "gone (deleted)"
    assert pickle.loads(pickle.dumps(array)).tolist() == [5, 5, 5]


def test_a_handle_unpickled_here_uses_the_mapping_that_is_here(m):
    """A task that gets the same array eight times maps it once."""
    array = m.zeros(3)
    handle = pickle.dumps(array)
    assert pickle.loads(handle).mapping is array.mapping
    array.flags.writeable = False
    other = pickle.loads(pickle.dumps(array))
    assert other.mapping is not array.mapping  # pages that cannot be written
    assert not other.flags.writeable


def test_a_handle_of_a_file_that_is_gone(m):
    """Its last user took the pages along."""
    handle = pickle.dumps(m.zeros(3))
    with pytest.raises(hugefs.StaleHandle):
        pickle.loads(handle)


def test_arrays_made_and_forgotten_by_many_threads(m):
    """The counters are exact afterwards, whichever thread's collector ran when."""

    def work(number):
        for turn in range(30):
            array = m.full(100, number * turn, "i8")
            assert array.sum() == 100 * number * turn

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
