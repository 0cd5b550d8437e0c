"""units.py: what is a size, what is not, and how bytes become pages.

Why so much about strings: sizes arrive from command lines and mount options, and a size that is misread is a quota
that is wrong from the first moment on.
"""

from __future__ import annotations

import errno
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugefs.errors import InvalidRequest, TooBig
from hugefs.units import (
    SIZE_BYTES_MAX,
    format_size,
    page_index_exact,
    pages_covering,
    pages_within,
    parse_size,
    parse_size_or_percent,
)

MIB = 1024**2
PAGE_BYTES = st.sampled_from([4096, 64 * 1024, 2 * MIB, 1024 * MIB])
SIZES = st.integers(0, SIZE_BYTES_MAX)


def short_id(value):
    """A name for a parameter that is too long, or too strange, to be one itself."""
    return ascii(value)[:20] if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("007", 7),
        ("100b", 100),
        ("100B", 100),
        ("512K", 512 * 1024),
        ("512k", 512 * 1024),
        ("64M", 64 * MIB),
        ("64mb", 64 * MIB),
        ("2MiB", 2 * MIB),
        ("2mib", 2 * MIB),
        ("1G", 1024 * MIB),
        ("3T", 3 * MIB * MIB),
        ("1P", 1024**5),
        ("7E", 7 * 1024**6),
        (f"{SIZE_BYTES_MAX}", SIZE_BYTES_MAX),
        ("0" * 5000 + "5", 5),
        (4096, 4096),
        (np.int64(4096), 4096),
        (np.uint64(SIZE_BYTES_MAX), SIZE_BYTES_MAX),
    ],
)
def test_a_size_means_its_bytes(text, size_bytes):
    """Units are powers of two, as for the kernel's own mount options."""
    assert parse_size(text) == size_bytes
    assert type(parse_size(text)) is int


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "M", "b", "iB", "-1", "+1", "-64M", "1.5G", "1e9", "nan", "inf", "0x10", "1_000", "1,000", "64 M",
        " 64M", "64M\n", "64M\0", "64MM", "64Mi", "64iB", "64Bi", "64Q", "50%", "٣", "６４M", "²", "64\u212a", "64Mıb",
        "64\udcff", -1, -(10**5000), True, False, 1.0, 0.5, float("nan"), float("inf"), Decimal(1), 1j, None, b"64M",
        [], (1,), np.float64(1), np.bool_(True), np.array([1, 2]), object(), "9" * 100_000 + "x",
    ],
    ids=short_id,
)  # fmt: skip
def test_anything_else_is_refused(value):
    """A clear EINVAL, never a guess: also what int() and float() would have taken, and signs of other scripts."""
    with pytest.raises(InvalidRequest) as caught:
        parse_size(value, what="min_size")
    assert caught.value.errno == errno.EINVAL
    assert caught.value.reason.startswith("min_size: ")
    assert len(caught.value.reason) < 300
    assert caught.value.reason.encode("utf-8")


@pytest.mark.parametrize(
    "value", [2**63, 10**5000, "9223372036854775808", "8E", "9" * 20, "9" * 100_000, "10000000T"], ids=short_id
)
def test_more_than_a_file_can_have_is_too_big(value):
    """Beyond loff_t is another mistake than nonsense; thousands of digits cost neither time nor a stray ValueError."""
    with pytest.raises(TooBig) as caught:
        parse_size(value)
    assert caught.value.errno == errno.EFBIG


@given(st.text())
def test_any_text_is_a_size_or_refused(text):
    """Whatever arrives: a number in range or one of the two errors, nothing else ever escapes."""
    try:
        size_bytes = parse_size(text)
    except (InvalidRequest, TooBig):
        return
    assert 0 <= size_bytes <= SIZE_BYTES_MAX
    assert re.match("[0-9]", text)


@given(SIZES)
def test_decimal_text_and_number_agree(size_bytes):
    """A size may go through a command line and come back the same."""
    assert parse_size(str(size_bytes)) == parse_size(size_bytes) == size_bytes


@given(st.integers(0, 2**23 - 1), st.sampled_from("KMGT"), st.sampled_from(["", "B", "iB"]), st.booleans())
def test_a_unit_multiplies(count, unit, tail, lower):
    """Every spelling of a unit means the same power of 1024."""
    text = f"{count}{unit}{tail}"
    assert parse_size(text.lower() if lower else text) == count * 1024 ** ("KMGT".index(unit) + 1)


@pytest.mark.parametrize(
    ("percent", "total_bytes", "part_bytes"),
    [("50%", 100, 50), ("50%", 101, 50), ("0%", 100, 0), ("100%", 7, 7), ("1%", 99, 0), ("150%", 100, 150)],
)
def test_a_percentage_is_a_part_rounded_down(percent, total_bytes, part_bytes):
    """The kernel rounds down, and lets a quota be larger than today's pool."""
    assert parse_size_or_percent(percent, total_bytes) == part_bytes


@given(st.integers(0, 1000), st.integers(1, 2**50))
def test_a_percentage_never_gives_too_much(percent, total_bytes):
    """Rounding down, exactly: no float is involved, also where a float has too few digits."""
    part_bytes = parse_size_or_percent(f"{percent}%", total_bytes)
    assert part_bytes * 100 <= percent * total_bytes < (part_bytes + 1) * 100


@given(SIZES)
def test_without_a_percent_sign_the_total_does_not_matter(size_bytes):
    """An absolute size is the same on every pool, also on an empty one."""
    assert parse_size_or_percent(str(size_bytes), None) == parse_size_or_percent(size_bytes, 0) == size_bytes


@pytest.mark.parametrize("total_bytes", [None, 0])
def test_a_percentage_of_nothing_is_refused(total_bytes):
    """An empty pool would turn every percentage into a mount that can hold nothing, silently."""
    with pytest.raises(InvalidRequest, match="of nothing"):
        parse_size_or_percent("50%", total_bytes)


@pytest.mark.parametrize("value", ["%", "-5%", "1.5%", "50 %", "50%%", "٥٠%", "50K%", "nan%"])
def test_what_is_no_percentage_is_refused(value):
    """The same strictness as for sizes."""
    with pytest.raises(InvalidRequest):
        parse_size_or_percent(value, 1000)


@pytest.mark.parametrize("value", ["9" * 5000 + "%", "200%"])
def test_a_percentage_beyond_a_file_is_too_big(value):
    """The bound holds after the multiplication as well."""
    with pytest.raises(TooBig):
        parse_size_or_percent(value, SIZE_BYTES_MAX)


@given(SIZES, PAGE_BYTES)
def test_covering_and_within_enclose_the_size(size_bytes, page_bytes):
    """One rounds up, the other down; they meet exactly where the size is a whole number of pages."""
    covering, within = pages_covering(size_bytes, page_bytes), pages_within(size_bytes, page_bytes)
    assert within * page_bytes <= size_bytes <= covering * page_bytes
    assert covering - within == (size_bytes % page_bytes != 0)


@given(st.integers(0, 2**40), PAGE_BYTES)
def test_an_exact_index_comes_back(page_index, page_bytes):
    """Index to offset to index loses nothing, and one byte beside it is refused."""
    assert page_index_exact(page_index * page_bytes, page_bytes) == page_index
    with pytest.raises(InvalidRequest, match="multiple of the page size"):
        page_index_exact(page_index * page_bytes + 1, page_bytes)


@pytest.mark.parametrize("convert", [pages_covering, pages_within, page_index_exact])
def test_negative_bytes_are_refused(convert):
    """Python's // would round them into a page that was never meant."""
    with pytest.raises(InvalidRequest):
        convert(-1, 4096)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (2 * MIB, "2 MiB"),
        (1536 * MIB, "1.5 GiB"),
        (1024 * MIB - 1, "1 GiB"),
        (1023 * MIB, "1023 MiB"),
        (1024**4, "1 TiB"),
        (SIZE_BYTES_MAX, "8 EiB"),
        (2**73, "8192 EiB"),
        (-2 * MIB, "-2 MiB"),
    ],
)
def test_a_size_for_people(size_bytes, text):
    """What tables show: short, and never 1024 of a unit where the next one is meant."""
    assert format_size(size_bytes) == text


@given(SIZES)
def test_a_shown_size_is_near_the_real_one(size_bytes):
    """Rounded to the nearest tenth of its unit, no further away than half of that."""
    number, unit = format_size(size_bytes).split(" ")
    scale = 1 if unit == "B" else parse_size(f"1{unit}")
    assert abs(Decimal(number) * scale - size_bytes) * 20 <= scale
