"""mount_options.py: the options as hugetlbfs reads them, and refusals that name option and value."""

from __future__ import annotations

import pytest

from hugefs.core.mount_options import MountOptions, parse_mount_options
from hugefs.errors import InvalidRequest
from tests.core.helpers import PAGE


def parse(text: str, configured: int = 10) -> MountOptions:
    """With pages of 2 MiB and ten of them configured."""
    return parse_mount_options(text, page_bytes=PAGE, pages_configured=configured)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("size=0", 0),
        ("size=1", 0),
        ("size=2097151", 0),
        ("size=2097152", 1),
        ("size=4M", 2),
        ("size=5m", 2),
        ("size=4096K", 2),
        ("size=2G", 1024),
        ("size=1t", 524288),
        ("size=1P", 1 << 29),
        ("size=1E", 1 << 39),
        ("size=0x400000", 2),
        ("size=0X2m", 1),
        ("size=020000000", 2),  # as in C: a leading zero is octal
        ("size=09M", 0),  # and 9 is no octal digit: the number ends before it
        ("size=4MiB", 2),  # what follows the suffix is not looked at
        ("size=50%", 5),
        ("size=33%", 3),
        ("size=200%", 20),
        ("size=0%", 0),
        ("size=1K%", 102),
        ("size=1M,size=4M", 2),  # the last one counts
    ],
)
def test_size(text, count):
    """Bytes or a percentage of the pool, rounded down to whole pages: half a page is no page."""
    assert parse(text) == MountOptions(pages_max=count)


def test_a_percentage_is_of_the_pool_now():
    """What the pool becomes later changes no mount."""
    assert parse("min_size=10%,size=50%", configured=20) == MountOptions(pages_max=10, pages_min=2)
    assert parse("size=50%", configured=0) == MountOptions(pages_max=0)


def test_the_other_options():
    """mode= is octal, and only the bits that a directory has count."""
    text = "nr_inodes=1K,mode=1770,uid=1000,gid=4294967294,pagesize=2M,,"
    assert parse(text) == MountOptions(inodes_max=1024, mode=0o1770, uid=1000, gid=4294967294)
    assert parse("mode=7777").mode == 0o1777
    assert parse("") == MountOptions()


@pytest.mark.parametrize("name", ["size", "min_size", "nr_inodes"])
@pytest.mark.parametrize("value", ["", "-1", "+1", " 1", "x", "%", "9999999999999999999", "8E", "٣", "M"])
def test_a_bad_number_names_the_option(name, value):
    """An administrator reads the message, not the source."""
    with pytest.raises(InvalidRequest) as caught:
        parse(f"{name}={value}")
    assert f"'{name}'" in caught.value.reason
    assert f"'{value}'" in caught.value.reason


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("mode=8", "mode"),
        ("mode=", "mode"),
        ("mode=0o7", "mode"),
        ("uid=-1", "uid"),
        ("uid=4294967295", "uid"),
        ("gid=root", "gid"),
        ("pagesize=1G", "1G"),
        ("pagesize=x", "pagesize"),
        ("size", "size"),
        ("colour=red", "colour"),
        ("size=4M,bogus", "bogus"),
        ("size=2M,min_size=4M", "min_size"),
    ],
)
def test_bad_options_are_refused_by_name(text, named):
    """A mount with options that were half understood would be a wrong mount."""
    with pytest.raises(InvalidRequest, match=named):
        parse(text)


@pytest.mark.parametrize(
    "options",
    [MountOptions(pages_max=-1), MountOptions(pages_min=-1), MountOptions(inodes_max=-1), MountOptions(1, 2)],
)
def test_numbers_that_make_no_sense_are_refused(options):
    """Also where no text was read: a program can be as wrong as a person."""
    with pytest.raises(InvalidRequest):
        options.validated()
