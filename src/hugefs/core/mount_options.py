"""Mount options, exactly as hugetlbfs takes them.

``size=`` and ``min_size=`` are bytes with K, M, G, T, P or E behind, or a percentage of the pool at mount time, rounded
down to whole pages. ``nr_inodes=`` counts the root directory. ``mode=`` is octal. ``uid=``, ``gid=``, ``pagesize=``.

Linux: fs/hugetlbfs/inode.c, hugetlbfs_parse_param, hugetlbfs_size_to_hpages; lib/cmdline.c, memparse.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hugefs.errors import InvalidRequest

__all__ = ["MountOptions", "parse_mount_options"]

_SHIFT = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
_NUMBER = re.compile(r"(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)([KMGTPE]?)(%?)", re.IGNORECASE | re.ASCII)
_ID_MAX = 2**32 - 2


class MountOptions(NamedTuple):
    """``pages_max``, ``pages_min``: None for no limit. ``inodes_max``: None for no limit; the root directory counts."""

    pages_max: int | None = None
    pages_min: int | None = None
    inodes_max: int | None = None
    mode: int = 0o755
    uid: int = 0
    gid: int = 0

    def validated(self) -> MountOptions:
        """Itself, or InvalidRequest where the numbers contradict each other."""
        if self.pages_max is not None and self.pages_min is not None and self.pages_min > self.pages_max:
            raise InvalidRequest(f"min_size ({self.pages_min} pages) is more than size ({self.pages_max} pages)")
        for name, value in (("size", self.pages_max), ("min_size", self.pages_min), ("nr_inodes", self.inodes_max)):
            if value is not None and value < 0:
                raise InvalidRequest(f"Bad value '{value}' for mount option '{name}'")
        return self


def parse_mount_options(text: str, *, page_bytes: int, pages_configured: int) -> MountOptions:
    """The options of a comma separated text. Raises InvalidRequest that names option and value."""
    found: dict[str, int] = {}
    for item in filter(None, text.split(",")):
        name, equals, value = item.partition("=")
        if not equals:
            raise InvalidRequest(f"unknown mount option '{item}'")
        if name in ("size", "min_size"):
            found[name] = _pages(name, value, page_bytes, pages_configured)
        elif name == "nr_inodes":
            found[name] = _number(name, value)[0]
        elif name == "mode":
            found[name] = _plain(name, value, base=8) & 0o1777
        elif name in ("uid", "gid"):
            found[name] = _plain(name, value, base=10)
        elif name == "pagesize":
            if _number(name, value)[0] != page_bytes:
                raise InvalidRequest(f"Unsupported page size {value}: this pool has pages of {page_bytes} bytes")
        else:
            raise InvalidRequest(f"unknown mount option '{name}'")
    return MountOptions(
        pages_max=found.get("size"),
        pages_min=found.get("min_size"),
        inodes_max=found.get("nr_inodes"),
        mode=found.get("mode", 0o755),
        uid=found.get("uid", 0),
        gid=found.get("gid", 0),
    ).validated()


def _pages(name: str, value: str, page_bytes: int, pages_configured: int) -> int:
    number, is_percentage = _number(name, value)
    return number * pages_configured // 100 if is_percentage else number // page_bytes


def _number(name: str, value: str) -> tuple[int, bool]:
    """A memparse() number, and whether a percent sign follows; like there, what comes after it is not looked at."""
    match = _NUMBER.match(value)
    if not match:
        raise InvalidRequest(f"Bad value '{value}' for mount option '{name}'")
    digits, suffix, percent = match.groups()
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[0] == "0" else 10  # as in C: size=010 is eight bytes
    number = int(digits, base) << _SHIFT[suffix.upper()]
    if number >= 2**63:
        raise InvalidRequest(f"Bad value '{value}' for mount option '{name}': too large")
    return number, bool(percent)


def _plain(name: str, value: str, base: int) -> int:
    if not re.fullmatch("[0-7]+" if base == 8 else "[0-9]+", value, re.ASCII) or int(value, base) > _ID_MAX:
        raise InvalidRequest(f"Bad value '{value}' for mount option '{name}'")
    return int(value, base)
