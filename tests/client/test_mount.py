"""Mount: names and numbers as os has them, and an end that leaves nothing behind."""

from __future__ import annotations

import gc
import os
import pickle
import stat
import time

import pytest

import hugefs
from hugefs import (
    Busy,
    ClosedError,
    Exists,
    InvalidRequest,
    IsDirectory,
    NoSpace,
    NotADirectory,
    NotEmpty,
    NotFound,
    ServerGone,
    StaleHandle,
)
from tests.client.fake_server import descriptors


def is_served(address, seconds=5.0):
    """Whether a server still listens there; it is given some time to end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            hugefs.connect(address).close()
        except ServerGone:
            return False
        time.sleep(0.01)
    return True


def test_names_as_os_has_them(m):
    """link, rename, unlink, directories."""
    m.mkdir("d", 0o700)
    m.zeros(3, name="d/a")
    m.link("d/a", "b")
    assert m.stat("b").st_nlink == 2
    assert m.stat("b").st_ino == m.stat("/d/a").st_ino
    m.rename("b", "d/c")
    assert (m.listdir(), m.listdir("d"), m.listdir("/d")) == (["d"], ["a", "c"], ["a", "c"])
    m.unlink("d/a")
    m.rename("d/c", "c")
    m.rmdir("d")
    assert m.listdir("/") == ["c"]


def test_a_long_directory_comes_in_parts(m):
    """More names than fit into one message, each once and in order."""
    for number in range(450):
        m.open(f"{'long' * 40}{number:03}", "xb").close()
    assert m.listdir() == [f"{'long' * 40}{number:03}" for number in range(450)]


def test_many_holders_come_in_parts(m):
    """More than fit into one message."""
    files = [m.open(f"f{number}", "xb") for number in range(150)]
    assert len({holder.path for holder in m.holders()}) == 150
    assert len(m.holders("f7")) == 1
    for f in files:
        f.close()


def test_stat_as_os_has_it(m):
    """A real os.stat_result: whatever takes one takes this one."""
    m.zeros(3 << 20, "u1", name="f")
    result = m.stat("f")
    assert isinstance(result, os.stat_result)
    assert stat.S_ISREG(result.st_mode)
    assert (result.st_size, result.st_blocks * 512, result.st_nlink) == (4 << 20, 4 << 20, 1)
    assert (result.st_uid, result.st_gid) == (os.getuid(), os.getgid())
    assert stat.S_ISDIR(m.stat("").st_mode)
    assert stat.S_ISDIR(m.stat("/").st_mode)


def test_statvfs_as_os_has_it(m):
    """Blocks are pages, as hugetlbfs reports them."""
    array = m.zeros(3 << 20, "u1")
    result = m.statvfs()
    assert isinstance(result, os.statvfs_result)
    assert (result.f_bsize, result.f_blocks, result.f_bfree, result.f_bavail) == (2 << 20, 16, 14, 14)
    assert array.any() is not None


def test_meminfo_reads_as_the_kernels(m):
    """The four names people know, and what is available."""
    info = m.meminfo()
    lines = dict(line.split(":") for line in str(info).splitlines())
    assert {name: int(lines[name]) for name in ("HugePages_Total", "HugePages_Free", "available")} == {
        "HugePages_Total": 16,
        "HugePages_Free": 16,
        "available": 16,
    }
    assert lines["HugePages_Rsvd"].strip() == lines["HugePages_Surp"].strip() == "0"
    assert (info.page_bytes, info.backing) == (2 << 20, m.backing)


def test_errors_of_names_are_the_kernels(m):
    """Each is also the built-in exception that ordinary code catches."""
    m.mkdir("d")
    m.zeros(3, name="d/f")
    with pytest.raises(FileNotFoundError) as caught:
        m.unlink("missing")
    assert isinstance(caught.value, NotFound)
    for wrong, error in (
        (lambda: m.mkdir("d"), Exists),
        (lambda: m.link("d/f", "d"), Exists),
        (lambda: m.rmdir("d"), NotEmpty),
        (lambda: m.rmdir("d/f"), NotADirectory),
        (lambda: m.unlink("d"), IsDirectory),
        (lambda: m.listdir("d/f"), NotADirectory),
        (lambda: m.unlink("d/f/g"), NotADirectory),
        (lambda: m.rename("missing", "x"), NotFound),
        (lambda: m.stat("missing"), NotFound),
        (lambda: m.holders("missing"), NotFound),
        (lambda: m.mkdir("x/y"), NotFound),
        (lambda: m.mkdir("x", -1), InvalidRequest),
        (lambda: m.mkdir("x", 0o10000), InvalidRequest),
        (lambda: m.mkdir("x", "755"), InvalidRequest),
    ):
        with pytest.raises(error):
            wrong()
    assert (m.listdir(), m.listdir("d")) == (["d"], ["f"])


def test_a_closed_mount_is_closed(m):
    """A second close is no error; any use is a ClosedError; what it is called is still known."""
    mount = pickle.loads(pickle.dumps(m))
    mount.close()
    mount.close()
    assert mount.closed
    assert (mount.address, mount.page_size, mount.size) == (m.address, 2 << 20, 32 << 20)
    for use in (
        lambda: mount.zeros(3), lambda: mount.get("x"), lambda: mount.open("x"), mount.listdir, mount.meminfo,
        mount.holders, mount.statvfs, mount.umount, lambda: mount.backing, mount.__enter__, lambda: pickle.dumps(mount),
        lambda: mount.unlink("x"), lambda: mount.put([1]), lambda: mount.full(3, 1),
    ):  # fmt: skip
        with pytest.raises(ClosedError):
            use()
    assert "closed" in repr(mount)
    assert m.meminfo().pages_free == 16


def test_closing_a_mount_ends_its_server():
    """Nobody uses it any more: no process, no address, no descriptor stays."""
    before = descriptors()
    with hugefs.mount("4M", huge="off") as mount:
        assert is_served(mount.address, 0.1)
    assert not is_served(mount.address)
    assert descriptors() == before


def test_a_forgotten_mount_ends_its_server():
    """Without close, too."""
    mount = hugefs.mount("4M", huge="off")
    address = mount.address
    del mount
    gc.collect()
    assert not is_served(address)


def test_a_mount_that_is_joined_is_the_same_mount(m):
    """By its address: the same names, the same counters; the first way in may go."""
    first = hugefs.mount("8M", huge="off")
    with hugefs.connect(first.address) as second:
        first.zeros(3, name="a")
        assert second.listdir() == ["a"]
        assert (second.name, second.page_size, second.size) == (first.name, first.page_size, first.size)
        first.close()
        assert second.get("a").tolist() == [0, 0, 0]
    assert not is_served(first.address)


def test_umount(m):
    """Busy while something is open; lazily it goes at once, and what is held stays held."""
    with hugefs.mount("4M", huge="off") as mount:
        array = mount.zeros(3, name="a")
        with pytest.raises(Busy):
            mount.umount()
        mount.umount(lazy=True)
        with pytest.raises(OSError):
            mount.zeros(3)
        array[:] = 5
        assert mount.meminfo().pages_free == 1
        del array
        assert mount.meminfo().pages_free == 2


def test_inodes_are_limited():
    """ENOSPC, as any file system says it; the root counts."""
    with hugefs.mount("8M", nr_inodes=3, huge="off") as mount:
        mount.open("a", "xb").close()
        mount.mkdir("b")
        with pytest.raises(NoSpace):
            mount.open("c", "xb")
        with pytest.raises(NoSpace):
            mount.zeros(3)
        assert mount.statvfs().f_ffree == 0
        mount.rmdir("b")
        assert mount.zeros(3).tolist() == [0, 0, 0]


def test_a_minimum_is_kept_and_counted():
    """Reserved from the start; the first pages come out of it."""
    with hugefs.mount("8M", min_size="4M", huge="off") as mount:
        assert mount.meminfo().pages_reserved == 2
        array = mount.zeros(3)
        assert mount.meminfo().pages_reserved == 1
        del array
        assert mount.meminfo().pages_reserved == 2


@pytest.mark.parametrize(("size", "pages"), [("4M", 2), (2 << 20, 1), ("5M", 2), ("4194303", 1), ("8MiB", 4)])
def test_a_size_is_rounded_down_to_pages(size, pages):
    """As hugetlbfs does: a mount never has more than was said."""
    with hugefs.mount(size, huge="off") as mount:
        assert mount.size == pages * (2 << 20)
        assert mount.statvfs().f_blocks == pages


def test_a_handle_of_a_mount(m):
    """Unpickled where it came from it uses the connection that is there."""
    before = descriptors()
    other = pickle.loads(pickle.dumps(m))
    assert descriptors() == before
    assert (other.address, other.listdir()) == (m.address, m.listdir())


def test_a_handle_of_a_server_that_is_gone():
    """ServerGone, a ConnectionError."""
    with hugefs.mount("4M", huge="off") as mount:
        handles = [pickle.dumps(mount), pickle.dumps(mount.open("f", "xb"))]
        address = mount.address
    assert not is_served(address)
    for handle in handles:
        with pytest.raises(ServerGone):
            pickle.loads(handle)


def test_a_handle_of_another_server(m):
    """The address is the same, the server is not: nothing of the old one is meant."""
    with hugefs.mount("4M", huge="off") as other:
        array = other.zeros(3)
        handles = [pickle.dumps(thing) for thing in (other, array, other.open("f", "xb"))]
        for handle in handles:
            forged = handle.replace(other.address.encode(), m.address.encode())
            assert forged != handle
            with pytest.raises(StaleHandle, match="another server"):
                pickle.loads(forged)
        del array


def test_a_forged_handle(m):
    """A file's number can be guessed, its key cannot."""
    array = m.zeros(3)
    handle = pickle.dumps(array)
    key = array.file.key
    with pytest.raises(StaleHandle):
        pickle.loads(handle.replace(key, bytes(byte ^ 1 for byte in key)))
    assert pickle.loads(handle).tolist() == [0, 0, 0]
