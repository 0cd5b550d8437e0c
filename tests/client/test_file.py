"""HugeFile: bytes as os and io have them; its pages are taken before anything is written."""

from __future__ import annotations

import gc
import io
import os
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hugefs
from hugefs import (
    ClosedError,
    Exists,
    HugeFile,
    InvalidRequest,
    IsDirectory,
    NoHugePages,
    NoSpace,
    NotFound,
    PermissionDenied,
    StaleHandle,
    TooBig,
)
from hugefs.client.file import Mode

PAGE = 2 << 20


@pytest.mark.parametrize(
    ("mode", "shown", "readable", "writable"),
    [
        ("rb", "rb", True, False),
        ("r", "rb", True, False),
        ("r+b", "r+b", True, True),
        ("rb+", "r+b", True, True),
        ("+rb", "r+b", True, True),
        ("wb", "wb", False, True),
        ("w+b", "w+b", True, True),
        ("xb", "xb", False, True),
        ("x+b", "x+b", True, True),
    ],
)
def test_modes(mode, shown, readable, writable):
    """As open() has them, without text and without appending."""
    parsed = Mode(mode)
    assert (parsed.text, parsed.readable, parsed.writable) == (shown, readable, writable)


@pytest.mark.parametrize("mode", ["", "b", "a", "ab", "rw", "rt", "r+t", "rbb", "r++", "rwx", "R", None, 5, b"rb"])
def test_modes_that_are_none(mode):
    """A mode that would have to be guessed at."""
    with pytest.raises(InvalidRequest):
        Mode(mode)


def test_what_must_exist_and_what_must_not(m):
    """r wants the file, x wants it not, w takes both and empties it; size makes it."""
    for mode in ("rb", "r+b"):
        with pytest.raises(NotFound):
            m.open("f", mode)
    with m.open("f", size="4M") as f:
        assert f.size == 2 * PAGE
    with pytest.raises(Exists):
        m.open("f", "x+b")
    with m.open("f", "r+b", size="1M") as f:
        assert f.size == 2 * PAGE  # at least so long
    with m.open("f", "w+b") as f:
        assert f.size == 0
    with m.open("g", "xb"):
        pass
    with pytest.raises(PermissionDenied):
        m.open("f", "rb", size="2M")
    m.mkdir("d")
    with pytest.raises(IsDirectory):
        m.open("d")
    assert m.meminfo().pages_free == 16


def test_write_and_read_move_the_position(m):
    """And so does seek, from the start, from here, from the end."""
    with m.open("f", "w+b") as f:
        assert f.write(b"hello ") == 6
        assert f.write(np.arange(2, dtype="u2").data) == 4
        assert (f.tell(), f.size) == (10, 10)
        assert f.seek(-4, os.SEEK_END) == 6
        assert f.read(2) == b"\0\0"
        assert f.seek(-2, os.SEEK_CUR) == 6
        assert f.read() == b"\0\0\1\0"
        assert f.read() == b""
        assert f.seek(0) == 0
        buffer = bytearray(b"xxxxxxxxxxxxxxx")
        assert f.readinto(buffer) == 10
        assert bytes(buffer) == b"hello \0\0\1\0xxxxx"
        assert f.seek(100) == 100
        assert f.read(5) == b""


def test_pread_and_pwrite_leave_the_position(m):
    """As os.pread and os.pwrite; across pages; beyond the end the file grows, with zeros before."""
    with m.open("f", "w+b") as f:
        assert f.pwrite(b"x" * 10, PAGE - 5) == 10
        assert f.tell() == 0
        assert f.size == PAGE + 5
        assert f.pread(20, PAGE - 10) == b"\0" * 5 + b"x" * 10
        assert f.pread(0, 3) == b""
        assert f.pread(5, 10 * PAGE) == b""
        assert f.pwrite(b"", 5 * PAGE) == 0
        assert f.size == PAGE + 5


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "punch", "truncate", "allocate"]),
            st.integers(0, 3 * PAGE),
            st.integers(1, PAGE + 5),
            st.integers(1, 255),
        ),
        max_size=8,
    )
)
def test_a_file_is_what_was_written_to_it(m, operations):
    """The naive twin is a bytearray: the same operations, the same bytes, the same length."""
    twin = bytearray()
    with m.open("f", "w+b") as f:
        for what, offset, length, value in operations:
            end = offset + length
            if what == "write":
                f.pwrite(bytes([value]) * length, offset)
                twin.extend(bytes(max(0, end - len(twin))))
                twin[offset:end] = bytes([value]) * length
            elif what == "punch":
                f.punch_hole(offset, length)
                inside = min(end, len(twin)) - offset
                if inside > 0:
                    twin[offset : offset + inside] = bytes(inside)
            elif what == "truncate":
                size = offset // PAGE * PAGE
                f.truncate(size)
                twin = twin[:size] + bytes(max(0, size - len(twin)))
            else:
                f.fallocate(offset, length)
                twin.extend(bytes(max(0, end - len(twin))))
            assert f.size == len(twin)
        f.seek(0)
        assert f.read() == bytes(twin)
    m.unlink("f")


def test_reading_takes_no_pages(m):
    """A file that is longer than its pages reads as zeros, and stays as it is."""
    with m.open("f", "w+b") as f:
        f.truncate(8 * PAGE)
        assert f.pread(10 * PAGE, 0) == bytes(8 * PAGE)
        assert m.meminfo().pages_free == 16
        f.fallocate(3 * PAGE, 1)
        assert f.pread(8 * PAGE, 0) == bytes(8 * PAGE)
        assert m.meminfo().pages_free == 15
        assert m.stat("f").st_blocks == PAGE // 512
        assert m.stat("f").st_size == 8 * PAGE


def test_a_truncated_file_ends_where_it_was_cut(m):
    """What was there is gone, also when it grows again: another user must not find it."""
    with m.open("f", "w+b") as f:
        f.write(b"secret" * PAGE)
        f.truncate(PAGE)
        assert f.pread(10, PAGE) == b""
        f.truncate(6 * PAGE)
        assert f.pread(6 * PAGE, PAGE) == bytes(5 * PAGE)
        f.truncate(0)
        f.seek(PAGE)
        f.truncate()
        assert f.size == PAGE


@pytest.mark.hugepages(pages=12)
def test_writing_hugetlb_pages():
    """They have no write(2); to a program it is the same file: same bytes, same length, whatever the offset."""
    with hugefs.mount("16M", huge="require") as mount, mount.open("f", "w+b") as f:
        if f.backing != "hugetlb":
            pytest.skip("not enough free huge pages (see /proc/sys/vm/nr_hugepages)")
        twin = bytearray()
        for offset, length in (
            (0, 1),
            (PAGE - 3, 6),
            (5, PAGE),
            (PAGE, 3 * PAGE),
            (4 * PAGE - 1, 1),
            (5 * PAGE + 7, 9),
        ):
            data = os.urandom(length)
            assert f.pwrite(data, offset) == length
            twin.extend(bytes(max(0, offset + length - len(twin))))
            twin[offset : offset + length] = data
            assert f.size == len(twin)
            assert f.pread(len(twin) + 9, 0) == bytes(twin)
        with pytest.raises(NoSpace):
            f.pwrite(bytes(9 * PAGE), 0)
        assert f.size == len(twin)


def test_a_write_that_finds_no_pages_changes_nothing(m):
    """ENOSPC, as the kernel's fallocate; the length and what was there are as before."""
    with m.open("f", "w+b") as f:
        f.write(b"here")
        with pytest.raises(NoSpace):
            f.pwrite(b"x" * (16 * PAGE), PAGE)
        assert f.size == 4
        assert f.pread(10, 0) == b"here"


def test_a_file_opened_for_reading_cannot_be_changed(m):
    """Each way to change it is refused, with a PermissionError."""
    with m.open("f", "w+b", size="2M"):
        pass
    with m.open("f", "rb") as f:
        for change in (
            lambda: f.write(b"x"),
            lambda: f.pwrite(b"x", 0),
            lambda: f.truncate(0),
            lambda: f.fallocate(0, PAGE),
            lambda: f.punch_hole(0, PAGE),
            lambda: f.mmap(access="shared"),
        ):
            with pytest.raises(PermissionDenied):
                change()
        with pytest.raises(OSError):
            os.pwrite(f.fileno(), b"x", 0)
        assert (f.readable(), f.writable(), f.seekable()) == (True, False, True)
        with f.mmap(access="read") as pages, f.mmap(access="private") as own:
            own[0] = 1
            assert pages[0] == 0
            with pytest.raises(TypeError):
                pages[0] = 1


def test_a_file_opened_for_writing_cannot_be_read(m):
    """Python's "wb"."""
    with m.open("f", "wb") as f:
        f.write(b"x")
        for read in (f.read, lambda: f.pread(1, 0), lambda: f.readinto(bytearray(1))):
            with pytest.raises(PermissionDenied):
                read()


def test_it_is_a_file_to_the_standard_library(m):
    """Buffered readers, np.save, copyfileobj: whatever takes an io object."""
    with m.open("f", "w+b") as f:
        array = np.arange(1000.0)
        np.save(f, array)
        f.seek(0)
        np.testing.assert_array_equal(np.load(f), array)
        f.seek(0)
        copy = io.BytesIO()
        shutil.copyfileobj(f, copy)
        assert len(copy.getvalue()) == f.size
        f.seek(0)
        f.write(b"one\ntwo\nthree")
        f.seek(0)
        assert [next(f), f.readline()] == [b"one\n", b"two\n"]
        f.seek(0)
        with io.BufferedReader(f) as buffered:
            assert buffered.readline() == b"one\n"
    assert f.closed


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f.pread(-1, 0),
        lambda f: f.pread(1, -1),
        lambda f: f.pread(1.5, 0),
        lambda f: f.pwrite(b"x", -1),
        lambda f: f.seek(-1),
        lambda f: f.seek(0, 9),
        lambda f: f.seek("0"),
        lambda f: f.truncate(-1),
        lambda f: f.truncate(5),
        lambda f: f.truncate(1.5),
        lambda f: f.truncate("half"),
        lambda f: f.fallocate(0, 0),
        lambda f: f.fallocate(-1, 5),
        lambda f: f.fallocate(0, True),
        lambda f: f.punch_hole(0, 0),
        lambda f: f.mmap(1),
        lambda f: f.mmap(0, 0),
        lambda f: f.mmap(2 * PAGE),
        lambda f: f.mmap(access="write"),
        lambda f: f.mmap(access=None),
    ],
)
def test_requests_that_make_no_sense(m, call):
    """Each is InvalidRequest, a ValueError, and the file stays usable."""
    with m.open("f", "w+b", size="4M") as f:
        with pytest.raises(InvalidRequest):
            call(f)
        assert f.size == 2 * PAGE


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f.pread(1, 2**63),
        lambda f: f.pwrite(b"x", 2**63 - 1),
        lambda f: f.truncate(2**63),
        lambda f: f.fallocate(2**63 - 1, 5),
        lambda f: f.mmap(0, 2**63),
        lambda f: f.mmap(0, 2**63 - 1),
    ],
)
def test_requests_beyond_any_file(m, call):
    """No sum wraps round."""
    with m.open("f", "w+b", size="4M") as f, pytest.raises((TooBig, NoHugePages)):
        call(f)


def test_a_closed_file_is_closed(m):
    """A second close is no error; any use is a ClosedError, which is a ValueError."""
    f = m.open("f", "w+b", size="2M")
    pages = f.mmap()
    f.close()
    f.close()
    assert f.closed
    for use in (
        f.read, f.tell, f.fileno, f.truncate, f.mmap, lambda: f.write(b""), lambda: f.size, lambda: f.seek(0),
        lambda: f.pread(0, 0), f.__enter__, lambda: pickle.dumps(f), f.readable, f.writable, f.seekable,
    ):  # fmt: skip
        with pytest.raises(ClosedError):
            use()
    pages[0] = 5  # what was made from it stays
    assert "closed" in repr(f)


def test_a_forgotten_file_is_closed(m):
    """Its descriptor and the server's open file with it."""
    f = m.open("f", "w+b", size="2M")
    fd = f.fileno()
    m.unlink("f")
    assert m.meminfo().pages_free == 15
    del f
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert m.meminfo().pages_free == 16


def test_a_pickled_file_is_the_same_file(m):
    """Opened anew by the receiver, as it was opened; not made or emptied again; at the same place."""
    with m.open("f", "w+b") as f:
        f.write(b"hello")
        m.unlink("f")
        g = pickle.loads(pickle.dumps(f))
        assert type(g) is HugeFile
        assert (g.mode, g.tell(), g.size) == ("w+b", 5, 5)
        g.seek(0)
        assert g.read() == b"hello"
        g.pwrite(b"J", 0)
        assert f.pread(5, 0) == b"Jello"
        handle = pickle.dumps(f)
    g.close()
    with pytest.raises(StaleHandle):
        pickle.loads(handle)


def test_an_unlinked_file_lives_with_its_users(m):
    """Open, mapped or in an array."""
    with m.open("f", "w+b", size="4M") as f:
        m.unlink("f")
        pages = f.mmap(PAGE)
    view = np.frombuffer(pages, "u1")
    del pages
    assert m.meminfo().pages_free == 14
    del view
    assert m.meminfo().pages_free == 16
