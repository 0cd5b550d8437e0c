"""Recording: outcomes and counters in columns, and nothing else of the file changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hugefs.scenario.parser import parse_text
from hugefs.scenario.record import recorded, write_recorded
from hugefs.scenario.runner import StepResult, run
from tests.scenario.fake import FakeTarget

TEXT = """\
# What it shows.

pool 4
note everything   stays -> here
mount m options a,b   # why these
   P open f m/data
expect 3/0/0/0
P stat f
P stat m/data -> links=9   | 1/1/1/1
"""

RECORDED = """\
# What it shows.

pool 4              -> ok                      | 1/0/0/0
note everything   stays -> here
mount m options a,b -> ok                      | 2/0/0/0  # why these
   P open f m/data  -> ok                      | 3/0/0/0
expect 3/0/0/0
P stat f            -> size=1p,pages=1,links=1 | 4/0/0/0
P stat m/data       -> links=1                 | 5/0/0/0
"""


def record(text):
    """Run a text on a target and record it."""
    target = FakeTarget({"stat": "size=1p,pages=1,links=1,mode=600,uid=3,gid=4"})
    seen: list[StepResult] = []
    run(parse_text(text), target, watch=seen.append)
    return recorded(text, seen)


def test_a_recording_has_columns_and_keeps_the_rest():
    """Comments, notes, blank lines, expectations and indentation are the author's."""
    assert record(TEXT) == RECORDED


def test_a_recording_recorded_again_is_the_same():
    """Otherwise every run would be a change to look through."""
    assert record(RECORDED) == RECORDED


@given(
    st.lists(
        st.sampled_from(["pool 4", "P exit", "", "# a | b -> c", "note x", "  overcommit 3 # y", "expect 1/1/1/1"]),
        min_size=1,
        max_size=8,
    ).filter(lambda lines: "pool 4" in lines and lines.count("P exit") < 2)
)
def test_recording_is_idempotent_whatever_the_file(lines):
    """The same for files of every shape."""
    once = record("\n".join(lines))
    assert record(once) == once


def test_a_file_is_replaced_as_a_whole(tmp_path):
    """Who reads it meanwhile sees the old one or the new one; its mode stays."""
    path = tmp_path / "a.scenario"
    path.write_text("pool 4\n", encoding="utf-8")
    path.chmod(0o640)
    seen: list[StepResult] = []
    run(parse_text("pool 4\n"), FakeTarget(), watch=seen.append)
    write_recorded(path, seen)
    assert path.read_text(encoding="utf-8") == "pool 4 -> ok | 1/0/0/0\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [child.name for child in tmp_path.iterdir()] == ["a.scenario"]
