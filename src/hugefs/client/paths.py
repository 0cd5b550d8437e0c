"""Names as a mount has them: text, relative to its root, one spelling for each file.

Rule 1: "/a/b" and "a/b" are the same file; nothing else is rewritten. What would need guessing ("..", ".", "a//b",
        a lone surrogate) is refused.
Rule 2: lengths are counted in bytes of UTF-8, as the kernel counts them: 255 for a name, 4,095 for a path.

The server checks again: these checks only spare a round trip and give the better text.
"""

from __future__ import annotations

import os

from hugefs.errors import InvalidRequest, NameTooLong

__all__ = ["NAME_BYTES_MAX", "PATH_BYTES_MAX", "AnyPath", "directory_path", "file_path"]

NAME_BYTES_MAX = 255
PATH_BYTES_MAX = 4095

AnyPath = str | os.PathLike[str]


def file_path(path: AnyPath) -> str:
    """The path of a file or directory below the root. Raises InvalidRequest, NameTooLong."""
    text = _text(path)
    relative = text.removeprefix("/")
    if not relative:
        raise InvalidRequest(
            "a name is wanted, and this is the root of the mount" if text else "a name cannot be empty"
        )
    for name in relative.split("/"):
        _check_name(name, text)
    if len(relative.encode()) > PATH_BYTES_MAX:
        raise NameTooLong(f"a path has at most {PATH_BYTES_MAX} bytes; this one has {len(relative.encode())}")
    return relative


def directory_path(path: AnyPath) -> str:
    """The same, where "" and "/" are allowed and mean the root."""
    return "" if _text(path) in {"", "/"} else file_path(path)


def _text(path: AnyPath) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        raise InvalidRequest(f"a path is text or os.PathLike, not {type(path).__name__}") from None
    if not isinstance(text, str):
        raise InvalidRequest(f"a path is text, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"a path that is not UTF-8 text: {ascii(text)[:60]}") from None
    return text


def _check_name(name: str, path: str) -> None:
    if "\0" in name:
        raise InvalidRequest(f"a name cannot contain NUL: {ascii(path)[:60]}")
    if name in {"", ".", ".."}:
        what = "an empty name" if not name else f'"{name}"'
        raise InvalidRequest(f"{what} in the path {ascii(path)[:60]}: write the path from the root, without detours")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise NameTooLong(f"a name has at most {NAME_BYTES_MAX} bytes; this one has {len(name.encode())}")
