"""Names: paths, directories, links. Nothing here moves a page; what loses its last name is reported to the caller.

Rule 1: a path is relative to its mount and stays in it: ``..`` is refused, ``/a``, ``a`` and ``./a`` are the same.
Rule 2: a name is 1 to 255 bytes of UTF-8 without NUL, a path at most 4,095 bytes.
Rule 3: every call completes or changes nothing.
"""

from __future__ import annotations

from hugefs.core.inode import Inode
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

__all__ = ["add_name", "find", "link", "list_names", "lookup", "parent_of", "remove_directory", "rename", "split_path"]

_NAME_BYTES_MAX = 255
_PATH_BYTES_MAX = 4095


def split_path(path: str) -> list[str]:
    """The names a path consists of; none for the root itself."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{path!a} is not valid UTF-8") from None
    if b"\0" in encoded:
        raise InvalidRequest(f"{path!a} contains a NUL byte")
    if len(encoded) > _PATH_BYTES_MAX:
        raise NameTooLong(f"a path of {len(encoded)} bytes: {_PATH_BYTES_MAX} at most")
    names = [name for name in path.split("/") if name not in ("", ".")]
    for name in names:
        if name == "..":
            raise InvalidRequest(f"{path!a}: '..' is not allowed, a path stays within its mount")
        if len(name.encode()) > _NAME_BYTES_MAX:
            raise NameTooLong(f"a name of {len(name.encode())} bytes: {_NAME_BYTES_MAX} at most")
    return names


def _root(superblock: Superblock) -> Inode:
    if not superblock.attached or superblock.root is None:
        raise NotFound(f"{superblock.name} is not mounted any more", mount=superblock.name)
    return superblock.root


def find(superblock: Superblock, path: str) -> Inode | None:
    """The inode of that name, None if there is none. Raises NotADirectory where a part of the path is a file."""
    inode = _root(superblock)
    for name in split_path(path):
        if not inode.is_directory:
            raise NotADirectory(f"{path}: a part of it is a file", mount=superblock.name)
        if name not in inode.children:
            return None
        inode = inode.children[name]
    return inode


def lookup(superblock: Superblock, path: str) -> Inode:
    """The inode of that name. Raises NotFound."""
    inode = find(superblock, path)
    if inode is None:
        raise NotFound(f"{path}: no such file or directory on mount {superblock.name}", mount=superblock.name)
    return inode


def parent_of(superblock: Superblock, path: str) -> tuple[Inode, str]:
    """The directory a new name goes into, and the name. Raises NotFound, NotADirectory; Exists for the root."""
    names = split_path(path)
    if not names:
        _root(superblock)
        raise Exists(f"{path!r} is the mount's root directory", mount=superblock.name)
    directory = lookup(superblock, "/".join(names[:-1]))
    if not directory.is_directory:
        raise NotADirectory(f"{path}: a part of it is a file", mount=superblock.name)
    return directory, names[-1]


def add_name(directory: Inode, name: str, inode: Inode) -> None:
    """Give an inode a name that is free."""
    directory.children[name] = inode
    inode.links += 1


def remove_name(directory: Inode, name: str) -> Inode:
    """Take a name away; the inode may have others."""
    inode = directory.children.pop(name)
    inode.links -= 1
    return inode


def unlink(superblock: Superblock, path: str) -> Inode:
    """Remove a file's name. Raises IsDirectory for a directory."""
    inode = lookup(superblock, path)
    if inode.is_directory:
        raise IsDirectory(f"{path} is a directory: use rmdir", mount=superblock.name)
    directory, name = parent_of(superblock, path)
    inode.last_name = "/".join(split_path(path))
    return remove_name(directory, name)


def remove_directory(superblock: Superblock, path: str) -> Inode:
    """Remove an empty directory."""
    inode = lookup(superblock, path)
    if not inode.is_directory:
        raise NotADirectory(f"{path} is a file: use unlink", mount=superblock.name)
    if inode.children:
        raise NotEmpty(f"{path} is not empty ({len(inode.children)} entries)", mount=superblock.name)
    if inode is superblock.root:
        raise Busy("the root directory of a mount cannot be removed", mount=superblock.name)
    directory, name = parent_of(superblock, path)
    return remove_name(directory, name)


def link(superblock: Superblock, source: str, target: str) -> None:
    """A second name for a file."""
    inode = lookup(superblock, source)
    if find(superblock, target) is not None:
        raise Exists(f"{target} exists", mount=superblock.name)
    if inode.is_directory:
        raise NotPermitted(f"{source} is a directory: only files can have a second name", mount=superblock.name)
    directory, name = parent_of(superblock, target)
    add_name(directory, name, inode)


def rename(superblock: Superblock, source: str, target: str) -> Inode | None:
    """Another name; what had it loses it. Returns the inode that lost a name so, if any."""
    inode = lookup(superblock, source)
    victim = find(superblock, target)
    if inode is superblock.root or victim is superblock.root:
        raise Busy("the root directory of a mount cannot be renamed", mount=superblock.name)
    if victim is inode:
        return None
    if inode.is_directory:
        _check_directory_move(superblock, inode, source, target)
    if victim is not None:
        _check_replacement(inode, victim, target)
    old_directory, old_name = parent_of(superblock, source)
    new_directory, new_name = parent_of(superblock, target)
    if victim is not None:
        victim.last_name = "/".join(split_path(target))
        remove_name(new_directory, new_name)
    remove_name(old_directory, old_name)
    add_name(new_directory, new_name, inode)
    return victim


def _check_directory_move(superblock: Superblock, inode: Inode, source: str, target: str) -> None:
    above = split_path(target)[:-1]
    for depth in range(len(above) + 1):
        if find(superblock, "/".join(above[:depth])) is inode:
            raise InvalidRequest(f"{source} cannot be moved into itself ({target})")


def _check_replacement(inode: Inode, victim: Inode, target: str) -> None:
    if victim.is_directory and not inode.is_directory:
        raise IsDirectory(f"{target} is a directory")
    if inode.is_directory and not victim.is_directory:
        raise NotADirectory(f"{target} is a file")
    if victim.children:
        raise NotEmpty(f"{target} is not empty ({len(victim.children)} entries)")


def list_names(superblock: Superblock, path: str) -> list[str]:
    """The names in a directory, sorted."""
    inode = lookup(superblock, path)
    if not inode.is_directory:
        raise NotADirectory(f"{path} is a file", mount=superblock.name)
    return sorted(inode.children)
