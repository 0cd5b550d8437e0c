"""What a run prints: a JSON object a step and one a file, or a summary for people with the mismatches in full.

Rule 1: JSON goes to standard output and nothing else does; one object a line.
Rule 2: for people, a mismatch shows file, line, the step, what was expected and what was got. Passing steps are silent,
        except while the run is asked to tell all.
Rule 3: what could not run is counted apart, with its reason, never among what passed.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Protocol, TextIO

from hugefs.scenario.runner import FileResult, StepResult

__all__ = ["JsonReport", "Report", "TextReport", "exit_status"]

_PROGRESS_SECONDS = 0.1


class Report(Protocol):
    """Sees every step and every file."""

    def step(self, file: str, result: StepResult) -> None:
        """A step is done."""

    def file(self, result: FileResult) -> None:
        """A file is done."""

    def summary(self) -> None:
        """All files are done."""


def exit_status(results: list[FileResult]) -> int:
    """0 every check held; 1 a mismatch; 2 a bad scenario; 3 something cannot run here. The worst counts: 2, 1, 3, 0."""
    verdicts = {result.verdict for result in results}
    if "BAD_SCENARIO" in verdicts:
        return 2
    if "FAIL" in verdicts:
        return 1
    return 3 if "CANNOT_RUN" in verdicts else 0


class JsonReport:
    """One object a step, one a file."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def step(self, file: str, result: StepResult) -> None:
        """Notes are no steps and not written."""
        if not result.step:
            return
        line = result.line
        self._write(
            {
                "step": result.step,
                "line": line.number,
                "text": line.text,
                "outcome": None if result.outcome is None else str(result.outcome),
                "expected": None if line.expected_outcome is None else str(line.expected_outcome),
                **result.counters.as_json(),
                "match": result.is_match,
            }
        )

    def file(self, result: FileResult) -> None:
        """The last object of a file."""
        self._write(
            {
                "file": result.file,
                "steps": result.steps,
                "mismatches": result.mismatches,
                "verdict": result.verdict,
                "reason": result.reason,
            }
        )

    def summary(self) -> None:
        """Everything has been said."""

    def _write(self, value: dict[str, object]) -> None:
        self._out.write(json.dumps(value, ensure_ascii=False) + "\n")


class TextReport:
    """For people: what does not match, one line a file, the sum."""

    def __init__(self, out: TextIO, *, files: int, target: str, tells_all: bool = False) -> None:
        self._out = out
        self._files = files
        self._target = target
        self._tells_all = tells_all
        self._done: list[FileResult] = []
        self._progress = ""
        self._started = time.monotonic()
        self._shown = 0.0
        self._note = ""

    def step(self, file: str, result: StepResult) -> None:
        """A mismatch is shown in full."""
        line = result.line
        if not result.step:
            self._note = line.text
        if self._tells_all and not result.complaints:
            got = "" if result.outcome is None else f" -> {result.outcome} | {result.counters}"
            self._say(f"{line.number:>5}  {line.text}{got}")
        if not result.complaints:
            self._show_progress(f"{file}, step {result.step}")
            return
        self._say(f"{file}:{line.number}: {line.text}" + (f"      ({self._note})" if self._note else ""))
        for complaint in result.complaints:
            self._say(f"    {complaint}")
        got = "not done" if result.outcome is None else str(result.outcome)
        wanted = "" if line.expected_outcome is None else str(line.expected_outcome)
        counters = "" if line.expected_counters is None else str(line.expected_counters)
        self._say(f"    expected  {wanted:<10} | {counters}")
        self._say(f"    got       {got:<10} | {result.counters}")

    def file(self, result: FileResult) -> None:
        """One line, unless it passed."""
        self._done.append(result)
        self._note = ""
        if result.verdict != "PASS" or self._tells_all:
            reason = f": {result.reason}" if result.reason else ""
            self._say(f"{result.verdict:<12} {result.file}{reason}")
        self._show_progress(result.file)

    def summary(self) -> None:
        """The sum, and how fast it went."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        counts = Counter(result.verdict for result in self._done)
        steps = sum(result.steps for result in self._done)
        words = (
            (counts["PASS"], "passed"),
            (counts["FAIL"], "failed"),
            (counts["CANNOT_RUN"], "cannot run here"),
            (counts["BAD_SCENARIO"], "bad"),
        )
        shown = ", ".join(f"{count} {word}" for count, word in words if count or word == "passed")
        mismatches = sum(result.mismatches for result in self._done)
        self._say(
            f"on {self._target}: {len(self._done)} files: {shown}; {steps} steps, {mismatches} mismatches,"
            f" {seconds:.1f} s ({steps / seconds:.0f} steps per second)"
        )

    def _say(self, text: str) -> None:
        self._show("")
        self._out.write(text + "\n")

    def _show_progress(self, what: str) -> None:
        now = time.monotonic()
        if now - self._shown >= _PROGRESS_SECONDS and self._out.isatty():
            self._shown = now
            self._show(f"[{len(self._done)}/{self._files}] {what}")

    def _show(self, progress: str) -> None:
        """Replace the one line of progress; on a terminal only."""
        if self._progress:
            self._out.write("\r\x1b[K")
        self._progress = progress
        if progress:
            self._out.write(progress)
            self._out.flush()
