"""The parser: a file is checked as a whole, and every error names its line and what would have been right."""

from __future__ import annotations

import pickle
import time

import pytest

from hugefs.scenario import steps
from hugefs.scenario.counters import PoolCounters
from hugefs.scenario.outcome import OK, parse_outcome
from hugefs.scenario.parser import parse_file, parse_text
from hugefs.scenario.scenario import BadScenario

GOOD = """\
# What it shows.
# And why.

pool 4                     -> ok | 4/4/0/0     # the pool
mount m size=4p            -> ok | 4/4/0/0 m=4/4/4
note P is here -> not an outcome | and # no comment
P open f m/data
P mmap a f 0 3 shared      ->ok
P write a 0 1              | 4/3/2/0
expect 4/3/2/0 m=4/1/1
P stat f                   -> size=3p,pages=1,links=1
mount x options a#b,c # a comment
"""


def test_a_line_has_a_step_an_outcome_and_counters_each_optional():
    """What is not written is not expected."""
    scenario = parse_text(GOOD, file="good.scenario")
    assert scenario.comment == ("What it shows.", "And why.")
    assert not scenario.has_blocks
    lines = {line.number: line for line in scenario}
    assert lines[4].expected_outcome == OK
    assert lines[4].expected_counters is not None
    assert lines[4].expected_counters.pool == PoolCounters(4, 4, 0, 0)
    assert lines[4].text == "pool 4"
    assert lines[6].step == steps.Note("P is here -> not an outcome | and # no comment")
    assert (lines[7].expected_outcome, lines[7].expected_counters) == (None, None)
    assert (lines[8].expected_outcome, lines[8].expected_counters) == (OK, None)
    assert lines[9].expected_outcome is None
    assert lines[9].expected_counters is not None
    assert isinstance(lines[10].step, steps.Expect)
    assert lines[10].expected_counters is not None
    assert lines[10].expected_counters.mounts["m"] == (4, 1, 1)
    assert lines[11].expected_outcome == parse_outcome("links=1,pages=1,size=3p")
    assert lines[12].step == steps.Mount("x", "a#b,c")


def test_blocks_are_kept_apart():
    """The lab runs `together` in every order, and only that."""
    scenario = parse_text(
        "setup:\n  pool 1\ntogether:  # all at once\n  P fork C\n\n  C exit\nfinally:\n  expect 1/1/0/0\n"
    )
    assert scenario.has_blocks
    assert [line.block for line in scenario] == ["setup", "together", "together", "finally"]
    assert [line.number for line in scenario.block("together")] == [4, 6]


def test_spaces_tabs_and_line_ends_do_not_matter(tmp_path):
    """Files come from editors of all kinds."""
    path = tmp_path / "a.scenario"
    path.write_bytes("\ufeffpool\t4\t->\tok\t|\t4/4/0/0\r\n   P exit->x\r\n".replace("->x", "").encode())
    assert [line.text for line in parse_file(path)] == ["pool    4", "P exit"]


BAD = {
    "no step": ("# nothing\n\n", 0, "there is no step in it"),
    "an outcome alone": ("pool 1\n -> ok\n", 2, "a step is missing"),
    "an unknown verb": ("pool 1\nP wriet a\n", 2, "did you mean write"),
    "an unknown outcome": ("pool 1 -> fine\n", 1, "is no outcome"),
    "no outcome": ("pool 1 ->\n", 1, "is no outcome"),
    "unknown counters": ("pool 1 -> ok | 1/1/0\n", 1, "the pool has four counters"),
    "no counters": ("pool 1 |\n", 1, "no counters"),
    "expect with an outcome": ("expect 1/1/0/0 -> ENOMEM\n", 1, "write: expect COUNTERS"),
    "expect with counters behind": ("expect 1/1/0/0 | 1/1/0/0\n", 1, "write: expect COUNTERS"),
    "an unknown block": ("before:\npool 1\n", 1, "there is no block before:"),
    "two blocks of one kind": ("setup:\npool 1\nsetup:\n", 3, "setup: stands in line 1 already"),
    "steps before the first block": ("pool 1\ntogether:\n", 2, "put setup: above the first"),
    "blocks out of order": ("finally:\npool 1\nsetup:\n", 3, "the order is setup:, together:, finally:"),
    "a handle twice": ("mount m\nP open f m/a\nP open f m/b\n", 3, "the handle f was named in line 2"),
    "a handle twice, where it failed": ("mount m\nP open f m/a -> ENOSPC\nP open f m/b\n", 3, "was named in line 2"),
    "a mapping twice, in two tasks": (
        "P mmap a anon 1 private\nQ mmap a anon 1 private\n",
        2,
        "the mapping a was named",
    ),
    "a segment twice": ("P shmget s 1\nP shmget s 1\n", 2, "the segment s was named in line 1"),
    "a handle that was never there": ("mount m\nP open file m/a\nP close fiel\n", 3, "did you mean file"),
    "a handle that was never had": ("mount m\nP open f m/a -> ENOSPC\nP close f\n", 3, "came to ENOSPC"),
    "a handle that was closed": ("P memfd f\nP close f\nP truncate f 0\n", 3, "was closed by P in line 2"),
    "another task's handle": ("P memfd f\nQ close f\n", 2, "handle f of line 1 is not Q's"),
    "a child's mapping": ("P fork C\nC mmap a anon 1 private\nP write a\n", 3, "mapping a of line 2 is not P's"),
    "a mapping that was never had": ("P mmap a anon 1 private -> ENOMEM\nP write a\n", 2, "came to ENOMEM"),
    "a place that is none": ("P mmap a anon 1 private at b 0\n", 1, "there is no mapping b"),
    "a segment that was never there": ("P shmat a s\n", 1, "there is no segment s"),
    "a segment that was never had": ("P shmget s 0 -> EINVAL\nP shmat a s\n", 2, "came to EINVAL"),
    "a task after exit": ("P exit\nP mmap a anon 1 private\n", 2, "P has exited in line 1"),
    "a task after kill": ("P kill\nP exit\n", 2, "P was killed in line 1"),
    "a task that died": ("P mmap a anon 1 private\nP load a 0 -> KILLED\nP exit\n", 3, "P died in line 2"),
    "a child that is there": ("P fork C\nP fork C\n", 2, "C is a task already"),
    "a child that was there": ("P fork C\nC exit\nP fork C\n", 3, "C is a task already"),
    "a child of its own name": ("P fork P\n", 1, "cannot fork itself"),
    "a mount that is none": ("P open f m/a\n", 1, "there is no mount m"),
    "a mount after umount": ("mount m\numount m -> ok\nP unlink m/a\n", 3, "mount m ended in line 2"),
    "umount of none": ("umount m\n", 1, "there is no mount m"),
    "a mount twice": ("mount m\nmount m\n", 2, "m is mounted already"),
    "a mount that failed": ("mount m size=x1p -> EINVAL\n", 1, "is no size"),
    "a mount that could not be had": ("mount m min_size=9p -> ENOMEM\numount m\n", 2, "there is no mount m"),
    "the second path's mount": ("mount m\nP rename m/a n/a\n", 2, "there is no mount n"),
    "a group that is none": ("P enter g\n", 1, "there is no group g"),
    "a group inside none": ("cgroup g/h\n", 1, "there is no group g"),
    "a group after its end": ("cgroup g\nrmcgroup g -> ok\nP enter g\n", 3, "group g ended in line 2"),
    "an I/O that is none": ("unpin io\n", 1, "there is no I/O io"),
    "an I/O in flight": (
        "P mmap a anon 2 private\nP pin a 0 1 as io -> ok\nP pin a 1 1 as io\n",
        3,
        "io is in flight already",
    ),
    "an I/O that ended": (
        "P mmap a anon 1 private\nP pin a 0 1 as io\nunpin io -> ok\nunpin io\n",
        4,
        "I/O io ended in line 3",
    ),
    "a size that overflows": (
        "P memfd f\nP truncate f 99999999G\nP truncate f 99999999999G\n",
        3,
        "more than a file can",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_bad_is_named_with_its_line(what):
    """Exit status 2 is only of use with the place and the remedy."""
    text, line, complaint = BAD[what]
    with pytest.raises(BadScenario) as caught:
        parse_text(text, file="x.scenario")
    assert caught.value.line == line
    assert complaint in str(caught.value)
    assert str(caught.value).find("x.scenario:" + (f"{line}: " if line else " ")) >= 0
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "mount m\numount m -> EBUSY\nP open f m/a\n",
        "mount m\numount m\nmount m\n",
        "mount m\nP open f m/a\nP fork C\nP close f\nC truncate f 1p\n",
        "P mmap a anon 2 private\nP munmap a\nP read a -> ENOMEM\nP mremap a 1 1 as b -> EFAULT\n",
        "P memfd a\nP mmap a a 0 1 shared\n",
        "P mmap a anon 1 private\nP pin a 0 1 as io -> EFAULT\nunpin io\n",
        "P mmap a anon 1 private\nP pin a 0 1 as io\nunpin io\nP pin a 0 1 as io\n",
        "P shmget s 1p\nQ shmat a s\nP shmrm s\nQ shmat b s\n",
        "cgroup g\ncgroup g/h\ncgroup g max=3\nrmcgroup g/h\nrmcgroup g\n",
        "P fork C\nP exit\nC mmap a anon 1 private\n",
        "mount m\nP stat m/\nP stat m/a\n",
    ],
)
def test_what_only_looks_bad_is_not(text):
    """A refused umount leaves the mount, a name stands for its range for good, a pin that failed holds nothing."""
    assert parse_text(text).lines


def test_an_unknown_outcome_leaves_it_open_whether_a_mount_is_gone():
    """Before a file is recorded nobody knows whether umount was refused; the run will tell."""
    assert parse_text("mount m\numount m\nP open f m/a\n").lines


@pytest.mark.parametrize("content", [b"pool 1\n# \xff\n", b"pool 1\nP open f m/\xc3\x28\n"])
def test_other_encodings_are_refused(content, tmp_path):
    """A byte that is no UTF-8 is named with its line."""
    path = tmp_path / "x.scenario"
    path.write_bytes(content)
    with pytest.raises(BadScenario, match="no UTF-8") as caught:
        parse_file(path)
    assert caught.value.line == 2


def test_a_hundred_thousand_steps_are_read_in_no_time():
    """A line costs the same whether the file has ten or a hundred thousand of them."""
    lines = ["pool 4", "mount m size=4p -> ok | 4/4/0/0 m=4/4/4"]
    for i in range(25_000):
        lines += [
            f"P open f{i} m/data -> ok | 4/4/{i % 7}/0 m=4/4/4",
            f"P mmap a{i} f{i} 0 3p+4K shared -> ok | 4/4/3/0",
            f"P write a{i} 0 1 -> ok",
            f"P munmap a{i}",
        ]
    started = time.process_time()
    assert len(parse_text("\n".join(lines)).lines) == 100_002
    assert time.process_time() - started < 8, "about one second on an idle machine"
