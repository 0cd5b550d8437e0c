"""Sizes as scenarios write them: ``3``, ``3p``, ``2M``, ``64K``, ``1G``, ``100b``, and sums such as ``2p-1b``.

Rule 1: a number without a unit is pages; the value of a size is bytes.
Rule 2: terms add and subtract without spaces; the first may have a sign too, so a size may be negative.
Rule 3: a size that is not exactly one, or that no file offset can hold, is a ValueError that says what would be right.
"""

from __future__ import annotations

import re

__all__ = ["PAGE_BYTES", "format_size", "parse_pages", "parse_size"]

PAGE_BYTES = 2 << 20
"""The page of every scenario: the 2 MiB pool."""

_SCALES = {"": PAGE_BYTES, "p": PAGE_BYTES, "b": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"[+-]?[0-9]+[pbKMG]?(?:[+-][0-9]+[pbKMG]?)*", re.ASCII)
_TERM = re.compile(r"([+-]?)([0-9]+)([pbKMG]?)", re.ASCII)
_BYTES_MAX = 2**63 - 1
_DIGITS_MAX = 20
_WANTED = "write pages (3 or 3p), or bytes with a unit (64K, 2M, 1G, 100b), or a sum of such (2p-1b)"


def parse_size(text: str) -> int:
    """The number of bytes that ``text`` says. Raises ValueError."""
    if not _SIZE.fullmatch(text):
        raise ValueError(f"{_shown(text)} is no size; {_WANTED}")
    total_bytes = 0
    for sign, digits, unit in _TERM.findall(text):
        if len(digits.lstrip("0")) > _DIGITS_MAX:
            raise ValueError(_too_big(text))
        term_bytes = int(digits) * _SCALES[unit]
        total_bytes += -term_bytes if sign == "-" else term_bytes
    if not -_BYTES_MAX - 1 <= total_bytes <= _BYTES_MAX:
        raise ValueError(_too_big(text))
    return total_bytes


def parse_pages(text: str) -> int:
    """The whole number of pages that ``text`` says, not negative. Raises ValueError."""
    pages, rest_bytes = divmod(parse_size(text), PAGE_BYTES)
    if rest_bytes or pages < 0:
        raise ValueError(f"{_shown(text)} is no number of pages; write a whole one that is not negative, such as 3")
    return pages


def format_size(size_bytes: int) -> str:
    """``size_bytes`` as scenarios write it: whole pages first, then the rest in bytes: ``2p``, ``1p+1b``, ``0``."""
    pages, rest_bytes = divmod(abs(size_bytes), PAGE_BYTES)
    terms = ([f"{pages}p"] if pages else []) + ([f"{rest_bytes}b"] if rest_bytes else [])
    sign = "-" if size_bytes < 0 else "+"
    return sign.join(["", *terms]).removeprefix("+") or "0"


def _too_big(text: str) -> str:
    return f"{_shown(text)} is more than a file can have: {_BYTES_MAX} bytes"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:30]}…")
