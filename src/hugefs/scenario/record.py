"""``--record``: writes the outcomes and counters that a target gave into the file, in columns.

Rule 1: nothing else of the file changes: comments, notes, blank lines, blocks and expect lines stay as they stand.
Rule 2: recording twice gives the same bytes. Of the facts of stat those are written that the line named before; else
        size, pages and links, which do not depend on who runs it.
Rule 3: the arrows stand behind the longest step of the file, the bars behind its longest outcome.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hugefs.scenario.parser import split_line
from hugefs.scenario.runner import StepResult
from hugefs.scenario.steps import Expect

__all__ = ["recorded", "write_recorded"]

_FACTS = ("size", "pages", "links")


def recorded(text: str, results: Iterable[StepResult]) -> str:
    """``text`` with what the results say behind each step."""
    of_line = {
        result.line.number: result
        for result in results
        if result.step and result.outcome is not None and not isinstance(result.line.step, Expect)
    }
    rows = [_row(line, of_line.get(number)) for number, line in enumerate(text.split("\n"), 1)]
    step_width = max((len(row[0]) for row in rows if len(row) > 1), default=0)
    outcome_width = max((len(row[1]) for row in rows if len(row) > 1), default=0)
    return "\n".join(
        row[0]
        if len(row) == 1
        else f"{row[0]:<{step_width}} -> {row[1]:<{outcome_width}} | {row[2]}{'  ' + row[3] if row[3] else ''}"
        for row in rows
    )


def _row(line: str, result: StepResult | None) -> list[str]:
    """The line as it is, or its step, outcome, counters and comment."""
    if result is None or result.outcome is None:
        return [line]
    parts = split_line(line)
    expected = result.line.expected_outcome
    keys = [key for key, _ in expected.facts] if expected is not None and expected.facts else _FACTS
    return [parts.indent + parts.step, str(result.outcome.only(keys)), str(result.counters), parts.comment]


def write_recorded(path: Path, results: Iterable[StepResult]) -> None:
    """Record into a file, all of it or nothing."""
    text = path.read_bytes().decode("utf-8")
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(recorded(text, results).encode())
        draft.chmod(path.stat().st_mode & 0o777)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
