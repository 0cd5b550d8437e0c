"""Sizes: what is written is what is meant, and what is no size is refused with what would be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugefs.scenario.sizes import PAGE_BYTES, format_size, parse_pages, parse_size

K, M, G = 1 << 10, 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("3", 3 * PAGE_BYTES),
        ("3p", 3 * PAGE_BYTES),
        ("2M", 2 * M),
        ("64K", 64 * K),
        ("1G", G),
        ("100b", 100),
        ("2p-1b", 2 * PAGE_BYTES - 1),
        ("1p+4K-1b", PAGE_BYTES + 4095),
        ("-1p", -PAGE_BYTES),
        ("-1b+1b", 0),
        ("007", 7 * PAGE_BYTES),
    ],
)
def test_every_form_of_the_language(text, size_bytes):
    """Each form of the language has one value, in bytes."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "p", "3q", "2 M", "1.5M", "+", "1p+", "1p+-1b", "0x10", "٣", "3P", "50%", "--1"])
def test_what_is_no_size_is_refused(text):
    """A size that is guessed at would run another scenario than the one written."""
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["9223372036854775808b", "8796093022208G", "9" * 5000, "-9223372036854775809b"])
def test_what_no_file_can_have_is_refused(text):
    """Beyond loff_t nothing can be asked of any kernel, however many digits it has."""
    with pytest.raises(ValueError, match="more than a file can have") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 200


def test_the_largest_offsets_are_sizes():
    """A call may be asked for just these."""
    assert parse_size("9223372036854775807b") == 2**63 - 1
    assert parse_size("-9223372036854775808b") == -(2**63)


@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_a_size_written_is_the_size_read(size_bytes):
    """Recorded files must read back as what they were."""
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0"), (PAGE_BYTES, "1p"), (PAGE_BYTES + 1, "1p+1b"), (7, "7b"), (-PAGE_BYTES - 1, "-1p-1b")],
)
def test_sizes_are_written_as_recordings_have_them(size_bytes, text):
    """Whole pages first, then the rest in bytes."""
    assert format_size(size_bytes) == text


def test_a_number_of_pages_is_whole_and_not_negative():
    """Half a page of a pool, or less than none, is a slip."""
    assert parse_pages("4M") == 2
    for text in ("1b", "-1", "1p+1b"):
        with pytest.raises(ValueError, match="no number of pages"):
            parse_pages(text)
