"""The core's README tells two stories with numbers. They are run here: a lesson with a wrong number teaches nothing."""

from __future__ import annotations

import re
from pathlib import Path

from hugefs.core.check import check
from tests.core.helpers import PAGE, counters, create, pages, world

README = Path(__file__).parents[2] / "src" / "hugefs" / "core" / "README.md"


def test_the_story_of_the_four_counters():
    """Line by line, as it stands there."""
    text = README.read_text(encoding="utf-8")
    told = [tuple(map(int, line)) for line in re.findall(r"^    \w.* (\d)/(\d)/(\d)/(\d)", text, flags=re.MULTILINE)]
    fs, mount = world(2, overcommit=3)
    file = create(fs, mount)
    shown = [counters(fs)]
    shared = fs.map(file, 0, 3 * PAGE)
    shown.append(counters(fs))
    fs.touch(shared, pages(0, 1))
    shown.append(counters(fs))
    private = fs.map(file, 0, PAGE, private=True)
    shown.append(counters(fs))
    fs.unmap(private)
    shown.append(counters(fs))
    fs.unmap(shared)
    shown.append(counters(fs))
    fs.unlink(mount, "f")
    shown.append(counters(fs))
    fs.close(file)
    shown.append(counters(fs))
    assert shown == told
    check(fs)


def test_the_story_of_one_mmap():
    """The walk through the code, with its pin at the end."""
    assert "2/2/0/0" in README.read_text(encoding="utf-8").rpartition("the way back")[2]
    fs, mount = world(2, overcommit=1, size=4)
    file = create(fs, mount)
    mapping = fs.map(file, 0, 3 * PAGE)
    assert counters(fs) == (3, 3, 3, 1)
    fs.touch(mapping)
    assert counters(fs) == (3, 0, 0, 1)
    pin = fs.pin(mapping)
    fs.unmap(mapping)
    fs.close(file)
    fs.unlink(mount, "f")
    assert (counters(fs), mount.statfs().blocks_free) == ((3, 0, 0, 1), 1)
    fs.unpin(pin)
    assert (counters(fs), mount.statfs().blocks_free) == ((2, 2, 0, 0), 4)


def test_every_file_is_introduced():
    """Who reads the room bottom to top must meet each file once."""
    text = README.read_text(encoding="utf-8").partition("## The files")[2]
    for path in README.parent.glob("[!_]*.py"):
        assert f"`{path.name}`" in text, path.name
