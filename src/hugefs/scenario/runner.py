"""Runs one scenario on one target, step by step, and checks what each line says.

Rule 1: a mismatch is counted and the run goes on: what comes after it is often what explains it.
Rule 2: a step whose names do not hold with the outcomes that the target gave is not asked of it. Before any mismatch
        the file is bad; after one the target is to blame, and the step is one more mismatch.
Rule 3: notes are shown and are no steps; everything else is numbered from 1 in the order it is done.
Rule 4: the target is told to end whatever happens, and what it could not give back makes the file fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hugefs.linux.huge_page_settings import CannotRunHere
from hugefs.scenario.counters import Counters, differences
from hugefs.scenario.names import Names
from hugefs.scenario.outcome import OK, Outcome
from hugefs.scenario.scenario import BadScenario, Line, Scenario
from hugefs.scenario.steps import Expect, Note, TaskStep
from hugefs.scenario.target import Target

__all__ = ["FileResult", "StepResult", "Verdict", "ordered", "run"]

Verdict = Literal["PASS", "FAIL", "CANNOT_RUN", "BAD_SCENARIO"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step and what came of it. ``step`` is 0 for a note; ``complaints`` is empty where the checks held.

    ``outcome`` is None where the step could not be asked of the target after an earlier mismatch.
    """

    step: int
    line: Line
    outcome: Outcome | None
    counters: Counters
    complaints: tuple[str, ...] = ()

    @property
    def is_match(self) -> bool:
        """Whether all that the line says held."""
        return not self.complaints


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file. ``reason`` says why it could not run, what is bad in it, or what was not given back."""

    file: str
    steps: int
    mismatches: int
    verdict: Verdict
    reason: str | None = None


def run(
    scenario: Scenario,
    target: Target,
    *,
    schedule: str | None = None,
    watch: Callable[[StepResult], None] | None = None,
) -> FileResult:
    """Run a file; ``watch`` sees every step as soon as it is done."""
    try:
        lines = ordered(scenario, schedule)
    except BadScenario as error:
        return FileResult(scenario.file, 0, 0, "BAD_SCENARIO", str(error))
    reason = target.why_not(scenario)
    if reason is not None:
        return FileResult(scenario.file, 0, 0, "CANNOT_RUN", reason)
    going = _Run(scenario, target, watch or (lambda result: None))
    return going.through(lines)


class _Run:
    """A run under way."""

    def __init__(self, scenario: Scenario, target: Target, watch: Callable[[StepResult], None]) -> None:
        self._scenario = scenario
        self._target = target
        self._watch = watch
        self._names = Names()
        self._steps = 0
        self._mismatches = 0
        self._counters = Counters()

    def through(self, lines: Iterable[Line]) -> FileResult:
        """All steps, and the end."""
        complaint = None
        try:
            self._target.begin(self._scenario)
            try:
                for line in lines:
                    self._line(line)
            finally:
                complaint = self._target.end()
        except CannotRunHere as error:
            return self._result("CANNOT_RUN", str(error))
        except BadScenario as error:
            return self._result("BAD_SCENARIO", str(error))
        return self._result("FAIL" if self._mismatches or complaint else "PASS", complaint)

    def _result(self, verdict: Verdict, reason: str | None) -> FileResult:
        return FileResult(self._scenario.file, self._steps, self._mismatches, verdict, reason)

    def _line(self, line: Line) -> None:
        if isinstance(line.step, Note):
            self._watch(StepResult(0, line, None, self._counters))
            return
        self._steps += 1
        outcome, complaints = self._perform(line)
        self._counters = self._target.counters()
        if line.expected_counters is not None:
            complaints += differences(line.expected_counters, self._counters, sees_touches=self._target.sees_touches)
        self._mismatches += bool(complaints)
        self._watch(StepResult(self._steps, line, outcome, self._counters, tuple(complaints)))

    def _perform(self, line: Line) -> tuple[Outcome | None, list[str]]:
        """Ask the target; the outcome and what is wrong with it."""
        step, expected = line.step, line.expected_outcome
        if isinstance(step, Expect):
            return OK, []
        problem = self._names.problem(step)
        if problem is not None:
            if not self._mismatches:
                raise BadScenario(self._scenario.file, line.number, problem)
            return None, [f"not done, as an earlier step came out differently: {problem}"]
        outcome = self._target.perform(step)
        self._names.note(line.number, step, outcome)
        if expected is None or outcome.satisfies(expected):
            return outcome, []
        return outcome, [f"{expected} expected, got {outcome.only(key for key, _ in expected.facts)}"]


def ordered(scenario: Scenario, schedule: str | None) -> Sequence[Line]:
    """The lines in the order they are done. Raises BadScenario where the schedule does not fit the file.

    A schedule is a comma separated list for the ``together`` block: a task's name is its next step there, a number is
    the step of that line, such as one of the world's. What it leaves out follows in file order.
    """
    if schedule is None:
        return scenario.lines
    together = list(scenario.block("together"))
    if not together:
        raise BadScenario(scenario.file, 0, "a schedule orders the steps of together:, and this file has no such block")
    chosen = [_take(scenario, together, item.strip()) for item in schedule.split(",") if item.strip()]
    return (*scenario.block("setup"), *chosen, *together, *scenario.block("finally"))


def _take(scenario: Scenario, left: list[Line], item: str) -> Line:
    """Take the step that this item of a schedule means out of those that are left."""
    for line in left:
        if item == str(line.number):
            earlier = [
                other for other in left if other.number < line.number and _task_of(other) == _task_of(line) != ""
            ]
            if earlier:
                raise BadScenario(
                    scenario.file,
                    line.number,
                    f"the schedule puts this step before line {earlier[0].number}, but a task's steps keep their order",
                )
        elif item != _task_of(line):
            continue
        left.remove(line)
        return line
    names = ", ".join(dict.fromkeys(_task_of(line) or str(line.number) for line in left)) or "none is left"
    raise BadScenario(scenario.file, 0, f"the schedule says {item!r}, and the steps left in together: are of {names}")


def _task_of(line: Line) -> str:
    return line.step.task if isinstance(line.step, TaskStep) else ""
