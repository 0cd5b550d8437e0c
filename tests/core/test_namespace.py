"""namespace.py: paths, directories, second names. Every refusal leaves every name where it was."""

from __future__ import annotations

import pytest

from hugefs.core import namespace
from hugefs.core.check import check
from hugefs.core.filesystem import Filesystem
from hugefs.core.superblock import Superblock
from hugefs.errors import (
    Busy,
    Exists,
    InvalidRequest,
    IsDirectory,
    NameTooLong,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
)
from tests.core.helpers import PAGE, counters, create, refuses, world


def tree() -> tuple[Filesystem, Superblock]:
    """``f``, ``g``, ``d/``, ``d/e/``, ``d/h``."""
    fs, mount = world()
    fs.mkdir(mount, "d")
    fs.mkdir(mount, "d/e")
    for name in ("f", "g", "d/h"):
        fs.close(create(fs, mount, name))
    fs.drain_effects()
    return fs, mount


@pytest.mark.parametrize("path", ["d/h", "/d/h", "./d/h", "d//h", "d/./h", "//d/h"])
def test_one_file_has_many_spellings(path):
    """Slashes and points in between say nothing."""
    _, mount = tree()
    assert namespace.lookup(mount, path) is namespace.lookup(mount, "d/h")
    assert namespace.split_path("/") == []
    assert namespace.split_path("/" * 4093 + "ab") == ["ab"]  # 4,095 bytes: the longest path


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("a\0b", InvalidRequest),
        ("..", InvalidRequest),
        ("d/../f", InvalidRequest),
        ("\udcff", InvalidRequest),
        ("x" * 256, NameTooLong),
        ("é" * 128, NameTooLong),
        ("d/" + "x" * 300, NameTooLong),
        ("x/" * 2048, NameTooLong),
        ("f/x", NotADirectory),
        ("f/x/y", NotADirectory),
        ("none/x", NotFound),
        ("d/none/x", NotFound),
    ],
)
def test_a_bad_path_is_refused_everywhere(path, error):
    """Whichever call it is given to: one place decides what a name is."""
    fs, mount = tree()
    calls = [
        lambda: fs.open(mount, path, create=True),
        lambda: fs.open(mount, path),
        lambda: fs.mkdir(mount, path),
        lambda: fs.unlink(mount, path),
        lambda: fs.rmdir(mount, path),
        lambda: fs.rename(mount, path, "new"),
        lambda: fs.rename(mount, "f", path),
        lambda: fs.link(mount, path, "new"),
        lambda: fs.link(mount, "f", path),
        lambda: namespace.list_names(mount, path),
    ]
    for call in calls:
        refuses(fs, call, error)


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "...", " ", "~", "-", "\n", "日本"])
def test_any_other_name_is_a_name(name):
    """The limit is in bytes, and only the slash and NUL are special."""
    fs, mount = world()
    create(fs, mount, name)
    assert namespace.list_names(mount, "") == [name]


@pytest.mark.parametrize("path", ["", "/", ".", "./"])
def test_the_root_is_a_directory_that_stays(path):
    """Its name cannot be made, taken or moved."""
    fs, mount = tree()
    refuses(fs, lambda: fs.open(mount, path, create=True), IsDirectory)
    refuses(fs, lambda: fs.mkdir(mount, path), Exists)
    refuses(fs, lambda: fs.unlink(mount, path), IsDirectory)
    refuses(fs, lambda: fs.rmdir(mount, path), NotEmpty)
    refuses(fs, lambda: fs.rename(mount, path, "x"), Busy)
    refuses(fs, lambda: fs.rename(mount, "d", path), Busy)
    refuses(fs, lambda: fs.rename(mount, path, path), Busy)
    refuses(fs, lambda: fs.link(mount, "f", path), Exists)
    empty, other = world()
    refuses(empty, lambda: empty.rmdir(other, path), Busy)
    refuses(empty, lambda: namespace.parent_of(other, path), Exists)


def test_open_follows_its_flags():
    """O_CREAT finds or makes, O_EXCL only makes."""
    fs, mount = tree()
    refuses(fs, lambda: fs.open(mount, "new"), NotFound)
    refuses(fs, lambda: fs.open(mount, "f", create=True, exclusive=True), Exists)
    refuses(fs, lambda: fs.open(mount, "d", create=True), IsDirectory)
    refuses(fs, lambda: fs.open(mount, "d"), IsDirectory)
    assert fs.open(mount, "f", create=True).inode is fs.open(mount, "f", exclusive=True).inode


def test_a_second_name_keeps_the_file():
    """The pages go with the last name, not with the first one taken away."""
    fs, mount = world()
    file = create(fs, mount)
    fs.fallocate(file, 0, PAGE)
    fs.close(file)
    fs.link(mount, "f", "g")
    fs.unlink(mount, "f")
    assert counters(fs) == (4, 3, 0, 0)
    assert namespace.lookup(mount, "g").links == 1
    fs.unlink(mount, "g")
    assert counters(fs) == (4, 4, 0, 0)
    check(fs)


def test_links_that_are_refused():
    """A directory has one name: two would make loops."""
    fs, mount = tree()
    refuses(fs, lambda: fs.link(mount, "d", "d2"), NotPermitted)
    refuses(fs, lambda: fs.link(mount, "f", "g"), Exists)
    refuses(fs, lambda: fs.link(mount, "f", "d"), Exists)
    refuses(fs, lambda: fs.link(mount, "none", "x"), NotFound)
    refuses(fs, lambda: fs.link(mount, "f", "f"), Exists)


def test_rename_replaces():
    """What had the name is unlinked: its pages go, unless something else needs them."""
    fs, mount = world()
    for name in ("a", "b", "c"):
        file = create(fs, mount, name)
        fs.fallocate(file, 0, PAGE)
        if name != "c":
            fs.close(file)
    fs.rename(mount, "a", "b")
    assert (counters(fs), namespace.list_names(mount, "")) == ((4, 2, 0, 0), ["b", "c"])
    fs.rename(mount, "b", "c")
    assert counters(fs) == (4, 2, 0, 0)  # c is still open
    fs.close(file)
    assert counters(fs) == (4, 3, 0, 0)
    check(fs)


def test_rename_to_another_name_of_the_same_file_does_nothing():
    """As rename(2) says, odd as it is: both names stay."""
    fs, mount = tree()
    fs.link(mount, "f", "f2")
    fs.rename(mount, "f", "f2")
    fs.rename(mount, "f", "f")
    assert namespace.list_names(mount, "") == ["d", "f", "f2", "g"]


def test_rename_moves_directories():
    """With all that is in them, and over an empty one."""
    fs, mount = tree()
    fs.mkdir(mount, "empty")
    fs.rename(mount, "d", "empty")
    assert namespace.list_names(mount, "empty") == ["e", "h"]
    fs.rename(mount, "empty/h", "h")
    assert namespace.list_names(mount, "") == ["empty", "f", "g", "h"]
    assert len(mount.inodes) == 6
    check(fs)


def test_renames_that_are_refused():
    """Kinds must agree, a full directory is not replaced, and nothing moves into itself."""
    fs, mount = tree()
    refuses(fs, lambda: fs.rename(mount, "none", "x"), NotFound)
    refuses(fs, lambda: fs.rename(mount, "f", "d"), IsDirectory)
    refuses(fs, lambda: fs.rename(mount, "d", "f"), NotADirectory)
    refuses(fs, lambda: fs.rename(mount, "d/e", "d"), NotEmpty)
    refuses(fs, lambda: fs.rename(mount, "d", "d/e/x"), InvalidRequest)
    refuses(fs, lambda: fs.rename(mount, "d", "d/x"), InvalidRequest)
    fs.mkdir(mount, "full")
    create(fs, mount, "full/x")
    refuses(fs, lambda: fs.rename(mount, "d/e", "full"), NotEmpty)


def test_directories_come_and_go():
    """They take an inode each and no page."""
    fs, mount = world(size=1, inodes=3)
    fs.mkdir(mount, "d", mode=0o700, uid=1, gid=2)
    made = namespace.lookup(mount, "d")
    assert (made.mode, made.uid, made.gid, made.is_directory) == (0o700, 1, 2, True)
    refuses(fs, lambda: fs.mkdir(mount, "d"), Exists)
    fs.close(create(fs, mount, "d/f"))
    refuses(fs, lambda: fs.rmdir(mount, "d"), NotEmpty)
    refuses(fs, lambda: fs.rmdir(mount, "d/f"), NotADirectory)
    refuses(fs, lambda: fs.unlink(mount, "d"), IsDirectory)
    refuses(fs, lambda: namespace.list_names(mount, "d/f"), NotADirectory)
    fs.unlink(mount, "d/f")
    fs.rmdir(mount, "d")
    assert mount.statfs().inodes_free == 2
    refuses(fs, lambda: fs.rmdir(mount, "d"), NotFound)
