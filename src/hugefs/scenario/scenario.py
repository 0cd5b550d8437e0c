"""A parsed scenario: its lines in file order, each in its block, and the errors a file can have.

Rule 1: a file without blocks is all ``setup``.
Rule 2: everything here is immutable and knows nothing of where it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from hugefs.errors import HugefsError
from hugefs.scenario.counters import Counters
from hugefs.scenario.outcome import Outcome
from hugefs.scenario.steps import Step

__all__ = ["BadScenario", "BlockName", "Line", "Scenario"]

BlockName = Literal["setup", "together", "finally"]


class BadScenario(HugefsError, ValueError):
    """The file is no scenario: ``file``, ``line`` (0 for the whole file), and what would have been right there."""

    def __init__(self, file: str, line: int, what: str) -> None:
        super().__init__(file, line, what)
        self.file = file
        self.line = line
        self.what = what

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" if self.line else f"{self.file}: {self.what}"


@dataclass(frozen=True, slots=True)
class Line:
    """One step as it stands in the file. ``expected_*`` is None where the line does not say it."""

    number: int
    text: str
    step: Step
    block: BlockName = "setup"
    expected_outcome: Outcome | None = None
    expected_counters: Counters | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file. ``comment`` is its opening comment without the signs, for reports."""

    file: str
    lines: tuple[Line, ...] = ()
    has_blocks: bool = False
    comment: tuple[str, ...] = field(default=())

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def block(self, name: BlockName) -> tuple[Line, ...]:
        """The lines of one block, in file order."""
        return tuple(line for line in self.lines if line.block == name)
