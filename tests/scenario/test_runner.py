"""The runner: every line is done and checked, whatever came before; the order is the file's or the schedule's."""

from __future__ import annotations

import pytest

from hugefs.linux.huge_page_settings import CannotRunHere
from hugefs.scenario.parser import parse_text
from hugefs.scenario.runner import StepResult, ordered, run
from hugefs.scenario.scenario import BadScenario
from tests.scenario.fake import FakeTarget


def ran(text, target=None, **options):
    """Run a text; the result and every step of it."""
    seen: list[StepResult] = []
    result = run(parse_text(text, file="x"), target or FakeTarget(), watch=seen.append, **options)
    return result, seen


def test_a_file_whose_checks_hold_passes():
    """The plain case; notes are shown and are no steps."""
    result, seen = ran("note hello\npool 1 -> ok | 1/0/0/0\nP exit\nexpect 2/0/0/0\n")
    assert (result.verdict, result.steps, result.mismatches, result.reason) == ("PASS", 3, 0, None)
    assert [(step.step, step.line.number) for step in seen] == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_a_mismatch_is_counted_and_the_run_goes_on():
    """What comes after a mismatch often explains it."""
    result, seen = ran("pool 1 -> ENOMEM | 7/0/0/0\nP exit -> ok\nexpect 9/9/9/9\n")
    assert (result.verdict, result.steps, result.mismatches) == ("FAIL", 3, 2)
    assert seen[0].complaints == ("ENOMEM expected, got ok", "pool 7/0/0/0 expected, got 1/0/0/0")
    assert seen[1].is_match
    assert not seen[2].is_match


def test_what_an_earlier_mismatch_made_impossible_is_one_more():
    """The file was right; it is the target that has no such mapping."""
    target = FakeTarget({"mmap": "ENOMEM"})
    result, seen = ran("P mmap a anon 1 private -> ok\nP write a -> ok\nP fork C\nC write a\n", target)
    assert (result.verdict, result.mismatches) == ("FAIL", 3)
    assert target.seen == ["mmap", "fork"]
    assert seen[1].outcome is None
    assert "never had" in seen[1].complaints[0]


def test_what_the_outcomes_make_impossible_without_a_mismatch_is_a_bad_scenario():
    """A mount used after its umount, where only the run could tell."""
    result, _ = ran("mount m\numount m\nP open f m/a\n")
    assert result.verdict == "BAD_SCENARIO"
    assert result.reason == "x:3: mount m ended in line 2; it must be made again before it is used"


def test_a_task_that_dies_takes_no_further_step():
    """KILLED where the file did not expect it: the rest of that task is not asked for."""
    target = FakeTarget({"load": "KILLED"})
    result, _ = ran("P mmap a anon 1 private\nP load a 0 -> 0\nP write a\nQ exit\n", target)
    assert target.seen == ["mmap", "load", "exit"]
    assert result.mismatches == 2


def test_what_cannot_run_is_not_begun():
    """Never counted as passed, and nothing is done in part."""
    target = FakeTarget(reason="no such thing here")
    result, seen = ran("pool 1\n", target)
    assert (result.verdict, result.reason, seen, target.begun) == ("CANNOT_RUN", "no such thing here", [], 0)


def test_a_target_may_find_out_later_that_it_cannot():
    """A scratch file, a group: some things are known only when they are tried."""
    target = FakeTarget()
    target.failure = CannotRunHere("no direct I/O")
    result, _ = ran("pool 1\n", target)
    assert (result.verdict, result.reason, target.ended) == ("CANNOT_RUN", "no direct I/O", 1)


def test_the_target_ends_whatever_happens():
    """Mounts and pages would stay otherwise."""
    target = FakeTarget()
    target.failure = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        ran("pool 1\n", target)
    assert target.ended == 1


def test_what_was_not_given_back_fails_the_file():
    """Every check held, and still the kernel's counters are not what they were."""
    target = FakeTarget()
    target.complaint = "the counters did not come back"
    result, _ = ran("pool 1\n", target)
    assert (result.verdict, result.mismatches, result.reason) == ("FAIL", 0, "the counters did not come back")


TOGETHER = """\
setup:
  pool 1
  P fork C
together:
  P mmap a anon 1 private
  C mmap b anon 1 private
  P write a
  C write b
  overcommit 2
finally:
  P exit
"""


@pytest.mark.parametrize(
    ("schedule", "lines"),
    [
        (None, [2, 3, 5, 6, 7, 8, 9, 11]),
        ("C,C,P", [2, 3, 6, 8, 5, 7, 9, 11]),
        ("9,C", [2, 3, 9, 6, 5, 7, 8, 11]),
        ("5, 7", [2, 3, 5, 7, 6, 8, 9, 11]),
        ("", [2, 3, 5, 6, 7, 8, 9, 11]),
    ],
)
def test_a_schedule_orders_what_stands_together(schedule, lines):
    """A task's name is its next step, a number the step of that line; the rest follows in file order."""
    assert [line.number for line in ordered(parse_text(TOGETHER), schedule)] == lines


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        ("P,P,P", "the steps left in together: are of C, 9"),
        ("Q", "the schedule says 'Q'"),
        ("11", "the schedule says '11'"),
        ("8", "a task's steps keep their order"),
    ],
)
def test_a_schedule_that_does_not_fit_is_bad(schedule, complaint):
    """An order that the file does not allow would be another scenario."""
    with pytest.raises(BadScenario) as caught:
        ordered(parse_text(TOGETHER), schedule)
    assert complaint in str(caught.value)
    result, _ = ran(TOGETHER, schedule=schedule)
    assert result.verdict == "BAD_SCENARIO"


def test_a_schedule_needs_something_to_order():
    """Of a file without the block it would order nothing."""
    result, _ = ran("pool 1\n", schedule="P")
    assert result.verdict == "BAD_SCENARIO"


def test_without_sight_of_touches_only_what_is_available_is_compared():
    """A server's free and reserved counters move at other moments than the kernel's."""
    target = FakeTarget()
    target.sees_touches = False
    result, _ = ran("pool 1 | 1/5/5/0\n", target)
    assert result.verdict == "PASS"
