"""Bad input: a clear error each, before anything was started or changed."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

import hugefs
from hugefs import FallbackRefused, InvalidRequest, NameTooLong, NoHugePages, ServerGone, TooBig
from hugefs.client import launch


@pytest.fixture
def no_server(monkeypatch):
    """A server that is started in spite of bad input fails the test."""

    def started(*_):
        raise AssertionError("a process was started")

    monkeypatch.setattr(launch, "_start", started)


GARBAGE = [
    "", " ", "-1M", "-1", "1.5G", "1e9", "M", "4Q", "4 M", "0x10", "4M4", "nan", "٤M", "4M\0", -1, -(2**70), 4.0,
    math.nan, math.inf, True, False, b"4M", [4], object(), complex(1),
]  # fmt: skip


@pytest.mark.parametrize("size", [*GARBAGE, None, 0, "0", "0M", 1, "2097151", "50%", "0%", "1000%"], ids=repr)
def test_sizes_that_are_none(no_server, size):
    """Negative, zero, no number, less than a page, a percentage of nothing."""
    with pytest.raises(InvalidRequest) as caught:
        hugefs.mount(size)
    assert "size" in str(caught.value)


@pytest.mark.parametrize(
    "size", [2**63, "8E", 10**30, "9" * 5000, "9223372036854775808"], ids=lambda size: str(size)[:20]
)
def test_sizes_beyond_any_file(no_server, size):
    """No 64 bits hold them."""
    with pytest.raises(TooBig):
        hugefs.mount(size)


@pytest.mark.parametrize("min_size", [*GARBAGE, "50%", "6M", 5 << 20], ids=repr)
def test_minimums_that_are_none(no_server, min_size):
    """The same, and more than the size."""
    with pytest.raises(InvalidRequest, match="min_size"):
        hugefs.mount("4M", min_size=min_size)


@pytest.mark.parametrize("nr_inodes", GARBAGE, ids=repr)
def test_inode_limits_that_are_none(no_server, nr_inodes):
    """A count is a whole number."""
    with pytest.raises(InvalidRequest, match="nr_inodes"):
        hugefs.mount("4M", nr_inodes=nr_inodes)


@pytest.mark.parametrize("page_size", [*GARBAGE, None, 0, 4096, "64K", "3M", "2000000"], ids=repr)
def test_page_sizes_that_are_none(no_server, page_size):
    """Powers of two, and not the processor's own small ones."""
    with pytest.raises(InvalidRequest, match="page_size"):
        hugefs.mount("4M", page_size=page_size)


@pytest.mark.parametrize("huge", ["", "yes", "PREFER", None, True, 1])
def test_ways_of_backing_that_are_none(no_server, huge):
    """Three words."""
    with pytest.raises(InvalidRequest, match="huge"):
        hugefs.mount("4M", huge=huge)


def test_a_minimum_that_cannot_be_had_is_refused():
    """More than the machine's memory: the server says so and ends."""
    with pytest.raises(NoHugePages):
        hugefs.mount("1024T", min_size="1024T", huge="off")


def test_no_inodes_at_all_is_refused():
    """Not even a root directory, as on hugetlbfs."""
    with pytest.raises(NoHugePages):
        hugefs.mount("4M", nr_inodes=0, huge="off")


def test_huge_pages_that_cannot_be_had_and_are_required():
    """The text says why, and what would mend it."""
    with pytest.raises(FallbackRefused) as caught:
        hugefs.mount("4M", page_size="1M", huge="require")  # no processor has those
    assert "hugetlb" in caught.value.reason
    with hugefs.mount("4M", page_size="1M", huge="prefer") as mount:
        assert mount.backing == "base"


@pytest.mark.parametrize("address", ["", "\0", "a\0b", "@" + "x" * 200, "x" * 108, None, 5, b"@x", "\udfff"], ids=repr)
def test_addresses_that_are_none(address):
    """Empty, too long for the kernel, no text."""
    with pytest.raises(InvalidRequest):
        hugefs.connect(address)


@pytest.mark.parametrize("address", ["@hugefs-nobody-listens-here", "missing.socket", "missing/folder/socket"])
def test_addresses_where_nobody_listens(address):
    """ServerGone, which is a ConnectionError."""
    with pytest.raises(ServerGone, match="no server listens"):
        hugefs.connect(address)


def test_addresses_that_are_no_socket(tmp_path):
    """A file is there, and it is something else."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        hugefs.connect(tmp_path / "file")


NAMES = ["", "/", "..", "../x", "a//b", "a/./b", "a\0b", "\udc80", None, 5, b"bytes"]


@pytest.mark.parametrize("name", [name for name in NAMES if name is not None], ids=repr)
def test_names_that_are_none(m, name):
    """Wherever a name is taken."""
    m.zeros(3, name="x")
    for call in (
        lambda: m.zeros(3, name=name),
        lambda: m.put([1], name=name),
        lambda: m.get(name),
        lambda: m.open(name, "x+b"),
        lambda: m.unlink(name),
        lambda: m.rename(name, "y"),
        lambda: m.rename("x", name),
        lambda: m.link("x", name),
        lambda: m.mkdir(name),
        lambda: m.rmdir(name),
        lambda: m.holders(name),
    ):
        with pytest.raises(InvalidRequest):
            call()
    assert m.listdir() == ["x"]
    with pytest.raises(NameTooLong):
        m.zeros(3, name="x" * 300)


@pytest.mark.parametrize("wait", [-1, math.nan, "5", True, [], object(), complex(1)], ids=repr)
def test_waits_that_are_none(m, wait):
    """A number of seconds."""
    with pytest.raises(InvalidRequest, match="wait"):
        m.zeros(3, name="x", wait=wait)
    assert m.listdir() == []


@pytest.mark.parametrize("wait", [0, 0.0, 5, math.inf, 10**12])
def test_waits_without_a_need(m, wait):
    """Where there is space nobody waits, however long one would have."""
    assert m.zeros(3, wait=wait).tolist() == [0, 0, 0]


def test_shapes_and_dtypes_change_nothing(m):
    """Every kind of array that cannot be, made by every way to make one."""
    for call in (
        lambda: m.zeros((2**40, 2**40), name="x"),
        lambda: m.zeros(-1, name="x"),
        lambda: m.zeros(0, name="x"),
        lambda: m.empty(3, object, name="x"),
        lambda: m.full(3, {}, name="x"),
        lambda: m.put([object()], name="x"),
        lambda: m.put([], name="x"),
        lambda: m.zeros(3, "no dtype", name="x"),
    ):
        with pytest.raises((InvalidRequest, TooBig)):
            call()
    assert m.listdir() == []


ELSEWHERE = """
import sys
import numpy  # as it is here: the others are taken away from hugefs alone
sys.platform = "darwin"
import os, socket
for name in ("memfd_create", "eventfd", "register_at_fork"):
    delattr(os, name)
for name in ("MSG_CMSG_CLOEXEC", "SCM_CREDENTIALS"):
    delattr(socket, name)
sys.modules["ctypes"] = None
import hugefs
for call in (lambda: hugefs.mount("4M"), lambda: hugefs.connect("@x")):
    try:
        call()
    except hugefs.NotSupported as error:
        assert "Linux" in str(error), error
    else:
        raise AssertionError
"""


def test_elsewhere_it_can_be_imported_and_says_kindly_what_it_needs():
    """A program that only sometimes uses hugefs runs on every system."""
    subprocess.run([sys.executable, "-W", "error", "-c", ELSEWHERE], check=True, timeout=60)


def test_without_a_known_python_no_server_is_started(monkeypatch):
    """An embedded interpreter may not know where its program is."""
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(hugefs.NotSupported, match=r"sys\.executable"):
        hugefs.mount("4M")


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true"])
def test_a_server_that_does_not_come_up(monkeypatch, program):
    """The error says how to see why."""
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(ServerGone, match="HUGEFS_LOG"):
        hugefs.mount("4M")


def test_a_program_that_is_not_there(monkeypatch):
    """What the system says about starting it."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(hugefs.NotFound, match="could not be started"):
        hugefs.mount("4M")
