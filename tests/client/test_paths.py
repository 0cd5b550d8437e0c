"""Names: one spelling for each file, and no guessing at what was meant."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugefs.client.paths import directory_path, file_path
from hugefs.errors import InvalidRequest, NameTooLong


@pytest.mark.parametrize("path", ["a/b", "/a/b", PurePosixPath("a/b"), PurePosixPath("/a/b")])
def test_a_path_may_begin_at_the_root_or_not(path):
    """Both mean the same file: there is no current directory in a mount."""
    assert file_path(path) == "a/b"
    assert directory_path(path) == "a/b"


@pytest.mark.parametrize("path", ["", "/"])
def test_the_root_is_a_directory_only(path):
    """It has no name that could be opened or unlinked."""
    assert directory_path(path) == ""
    with pytest.raises(InvalidRequest):
        file_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "a/..",
        "../a",
        ".",
        "a/./b",
        "a//b",
        "//a",
        "a/",
        "a\0b",
        "\0",
        "\udc80",
        b"bytes",
        None,
        5,
        1.5,
        ["a"],
        object(),
    ],
)
def test_what_would_need_guessing_is_refused(path):
    """Each is a ValueError, as from the os module, and an OSError with EINVAL."""
    for check in (file_path, directory_path):
        with pytest.raises(InvalidRequest):
            check(path)


def test_lengths_are_the_kernels():
    """Counted in bytes of UTF-8: a name that fits in characters may not fit in bytes."""
    assert file_path("x" * 255) == "x" * 255
    for path in ("x" * 256, "a/" + "x" * 300, "ä" * 128):
        with pytest.raises(NameTooLong):
            file_path(path)
    longest = "/".join(["x" * 255] * 15 + ["y" * 255])
    assert len(file_path(longest)) == 4095
    with pytest.raises(NameTooLong):
        file_path(longest + "/z")


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20), min_size=1
    )
)
def test_ordinary_names_pass_as_they_are(names):
    """Spaces, newlines, other scripts: as any file system has them."""
    if not {".", ".."} & set(names) and all(len(name.encode()) <= 255 for name in names):
        path = "/".join(names)
        if len(path.encode()) <= 4095:
            assert file_path(path) == path
