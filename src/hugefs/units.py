"""Sizes as people write them, and the one place where bytes become pages.

Rule 1: three kinds of number, never mixed: ``*_index`` (which page), ``pages_*`` (how many), ``*_bytes`` (how big).
Rule 2: bytes become pages only here, and every such function says in its name how it rounds.
Rule 3: what a caller wrote is never guessed at: a size that is not exactly one is an InvalidRequest.

Units are powers of two, as for the kernel's mount options: 1K is 1024 bytes, and so are 1KB and 1KiB.
Linux: lib/cmdline.c, memparse(); fs/hugetlbfs/inode.c, hugetlbfs_size_to_hpages().
"""

from __future__ import annotations

import re
from operator import index
from typing import SupportsIndex

from hugefs.errors import InvalidRequest, TooBig

__all__ = [
    "SIZE_BYTES_MAX",
    "format_size",
    "page_index_exact",
    "pages_covering",
    "pages_within",
    "parse_size",
    "parse_size_or_percent",
]

SIZE_BYTES_MAX = 2**63 - 1
"""The kernel's loff_t: no file, and so no size, is larger."""

_UNITS = "KMGTPE"
# [0-9] and re.ASCII: neither the digits of other scripts nor the Kelvin sign (which lower() makes a k) are meant.
_SIZE = re.compile(r"(?P<digits>[0-9]+)(?:(?P<unit>[KMGTPE])(?:I?B)?|B)?", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"(?P<digits>[0-9]+)%", re.ASCII)
_HOW = 'write a whole number of bytes, or one with a unit, such as 4096, "512K", "64M" or "2GiB"'


def parse_size(size: str | SupportsIndex, *, what: str = "size") -> int:
    """The number of bytes that ``size`` says.

    Whole numbers are bytes. Text is a whole number with, if wanted, one of K M G T P E (also as KB or KiB) or a lone B,
    in either case, and nothing else: no sign, no space, no point. ``what`` names the value in the error.
    Zero is a size; whether it makes sense is the caller's business.

    Raises InvalidRequest for anything else, TooBig beyond SIZE_BYTES_MAX.
    """
    if not isinstance(size, str):
        return _whole_number(size, what)
    match = _SIZE.fullmatch(size)
    if match is None:
        raise InvalidRequest(f"{what}: {_shown(size)} is no size; {_HOW}")
    unit = match["unit"]
    scale = 1024 ** (_UNITS.index(unit.upper()) + 1) if unit else 1
    return _bounded(_digits(match["digits"], what) * scale, what)


def parse_size_or_percent(size: str | SupportsIndex, total_bytes: int | None, *, what: str = "size") -> int:
    """The number of bytes that ``size`` says, where "50%" means that part of ``total_bytes``, rounded down.

    More than 100% is allowed, as the kernel allows a quota that is larger than the pool is now.
    ``total_bytes`` is None or 0 where there is nothing to take a percentage of; a percentage is an InvalidRequest then.
    """
    match = _PERCENT.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        return parse_size(size, what=what)
    if not total_bytes:
        raise InvalidRequest(f"{what}: {_shown(match[0])} of nothing: the pool has no pages; write a number of bytes")
    return _bounded(_digits(match["digits"], what) * total_bytes // 100, what)


def pages_covering(size_bytes: int, page_bytes: int) -> int:
    """How many pages it takes to hold ``size_bytes``: rounded up."""
    return -(-_not_negative(size_bytes, page_bytes) // page_bytes)


def pages_within(size_bytes: int, page_bytes: int) -> int:
    """How many whole pages there are in ``size_bytes``: rounded down."""
    return _not_negative(size_bytes, page_bytes) // page_bytes


def page_index_exact(offset_bytes: int, page_bytes: int, *, what: str = "offset") -> int:
    """The index of the page that begins at ``offset_bytes``; InvalidRequest where none does."""
    page_index, rest_bytes = divmod(_not_negative(offset_bytes, page_bytes, what), page_bytes)
    if rest_bytes:
        raise InvalidRequest(f"{what}: {offset_bytes} is not a multiple of the page size, {format_size(page_bytes)}")
    return page_index


def format_size(size_bytes: int) -> str:
    """``size_bytes`` for people: "2 MiB", "1.5 GiB", at most one digit after the point, rounded to the nearest."""
    sign, rest = ("-", -size_bytes) if size_bytes < 0 else ("", size_bytes)
    if rest < 1024:
        return f"{sign}{rest} B"
    scale = 1024
    for unit in _UNITS:
        tenths = (rest * 10 + scale // 2) // scale
        # 1023.96 MiB rounds to 1024: that is written as 1 GiB.
        if tenths < 10240 or unit == _UNITS[-1]:
            break
        scale *= 1024
    whole, tenth = divmod(tenths, 10)
    return f"{sign}{whole}.{tenth} {unit}iB" if tenth else f"{sign}{whole} {unit}iB"


def _whole_number(size: SupportsIndex, what: str) -> int:
    """``size`` as an int: any integer type (NumPy's too), but no bool, which is a slip and not a size."""
    if isinstance(size, bool):
        raise InvalidRequest(f"{what}: {size} is no size; {_HOW}")
    try:
        size_bytes = index(size)
    except TypeError:
        raise InvalidRequest(f"{what}: {_shown(size)} is no size; {_HOW}") from None
    if size_bytes < 0:
        raise InvalidRequest(f"{what}: a size cannot be negative; {_HOW}")
    return _bounded(size_bytes, what)


def _digits(digits: str, what: str) -> int:
    """``int(digits)``, without the work (or the ValueError) that thousands of digits would cost."""
    significant = digits.lstrip("0")
    if len(significant) > len(str(SIZE_BYTES_MAX)):
        raise _too_big(what)
    return int(significant or "0")


def _bounded(size_bytes: int, what: str) -> int:
    if size_bytes > SIZE_BYTES_MAX:
        raise _too_big(what)
    return size_bytes


def _too_big(what: str) -> TooBig:
    return TooBig(f"{what}: more than {SIZE_BYTES_MAX} bytes, the most that a file can have")


def _not_negative(size_bytes: int, page_bytes: int, what: str = "size") -> int:
    assert page_bytes > 0, page_bytes
    if size_bytes < 0:
        raise InvalidRequest(f"{what}: {size_bytes} bytes: a size or offset cannot be negative")
    return size_bytes


def _shown(value: object) -> str:
    """``value`` for an error text: never long, never a character that a terminal could choke on."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:50]}…"
