"""From the text of a ``.scenario`` file to a Scenario, or to a BadScenario that names the line and what would be right.

Rule 1: the whole file is checked before anything runs: grammar, then names in file order with the outcomes expected.
Rule 2: the first error ends it; file and line come first in its text.
Rule 3: a line costs the same whether the file has ten or a hundred thousand of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import get_args

from hugefs.scenario import counters, outcome
from hugefs.scenario.counters import Counters
from hugefs.scenario.grammar import parse_step
from hugefs.scenario.names import Names
from hugefs.scenario.outcome import Outcome
from hugefs.scenario.scenario import BadScenario, BlockName, Line, Scenario
from hugefs.scenario.steps import Expect, Note, Step

__all__ = ["LineParts", "parse_file", "parse_text", "split_line"]

_BLOCKS: tuple[BlockName, ...] = get_args(BlockName)
_HEADER = re.compile(r"([A-Za-z_]+)\s*:", re.ASCII)
_NOTE = re.compile(r"(?:[A-Z]\S*\s+)?note(?=\s|$)")
_OPTIONS = re.compile(r"(?:re)?mount\s+\S+\s+options\s")

_outcome = lru_cache(maxsize=4096)(outcome.parse_outcome)
_counters = lru_cache(maxsize=4096)(counters.parse_counters)


class LineParts:
    """A line taken apart: ``step`` as written, then outcome and counters, None where absent, and the comment behind."""

    __slots__ = ("comment", "counters", "indent", "outcome", "step")

    def __init__(self, text: str) -> None:
        if "\t" in text:
            text = text.expandtabs()
        stripped = text.strip()
        self.indent = text[: text.find(stripped)]
        self.outcome: str | None = None
        self.counters: str | None = None
        self.comment = ""
        self.step = stripped
        if "note" in stripped and _NOTE.match(stripped):
            return
        if "#" in stripped:
            # In an option string as it is, a comment needs a space before it.
            cut = re.search(r"(?:^|\s)#", stripped) if _OPTIONS.match(stripped) else re.search("#", stripped)
            if cut:
                self.comment = stripped[cut.end() - 1 :]
                stripped = stripped[: cut.start()].rstrip()
        stripped = f" {stripped}"  # a line may begin with its arrow, by mistake
        bar = stripped.find(" |")
        if bar >= 0:
            self.counters = stripped[bar + 2 :].strip()
            stripped = stripped[:bar]
        arrow = stripped.find(" ->")
        if arrow >= 0:
            self.outcome = stripped[arrow + 3 :].strip()
            stripped = stripped[:arrow]
        self.step = stripped.strip()


def split_line(text: str) -> LineParts:
    """The parts of a line, unchecked."""
    return LineParts(text)


def parse_file(path: Path) -> Scenario:
    """The scenario in a file. Raises BadScenario; OSError where it cannot be read."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadScenario(
            str(path), line, f"byte {data[error.start]:#04x} is no UTF-8; save the file as UTF-8"
        ) from None
    return parse_text(text, file=str(path))


def parse_text(text: str, *, file: str = "<text>") -> Scenario:
    """The scenario that ``text`` says. Raises BadScenario."""
    parsing = _Parsing(file)
    for number, line in enumerate(text.split("\n"), 1):
        try:
            parsing.line(number, line)
        except ValueError as error:
            raise BadScenario(file, number, str(error)) from None
    if not parsing.lines:
        raise BadScenario(file, 0, "there is no step in it; write one a line, such as: pool 4")
    return Scenario(file, tuple(parsing.lines), parsing.block is not None, tuple(parsing.comment))


class _Parsing:
    """One file being read."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: list[Line] = []
        self.comment: list[str] = []
        self.block: BlockName | None = None
        self._block_lines: dict[BlockName, int] = {}
        self._names = Names()

    def line(self, number: int, text: str) -> None:
        """Take one line. Raises ValueError."""
        parts = LineParts(text)
        if not parts.step:
            if parts.outcome is not None or parts.counters is not None:
                raise ValueError("a step is missing; write: STEP -> OUTCOME | COUNTERS")
            if parts.comment and not self.lines and self.block is None:
                self.comment.append(parts.comment.lstrip("#").strip())
            return
        if parts.step.endswith(":") and (header := _HEADER.fullmatch(parts.step)):
            self._open_block(number, header[1])
            return
        step, expected, wanted = _parse_line(parts)
        problem = self._names.problem(step)
        if problem is not None:
            raise ValueError(problem)
        self._names.note(number, step, expected)
        self.lines.append(Line(number, parts.step, step, self.block or "setup", expected, wanted))

    def _open_block(self, number: int, word: str) -> None:
        if word not in _BLOCKS:
            raise ValueError(f"there is no block {word}:; the blocks are {', '.join(f'{name}:' for name in _BLOCKS)}")
        block = word
        if block in self._block_lines:
            raise ValueError(f"{block}: stands in line {self._block_lines[block]} already; put its steps there")
        if self.lines and self.block is None:
            raise ValueError(f"steps before {block}: are in no block; put setup: above the first of them")
        later = [name for name in self._block_lines if _BLOCKS.index(name) > _BLOCKS.index(block)]
        if later:
            raise ValueError(f"{block}: comes before {later[0]}:; the order is setup:, together:, finally:")
        self._block_lines[block] = number
        self.block = block


def _parse_line(parts: LineParts) -> tuple[Step, Outcome | None, Counters | None]:
    step = parse_step(parts.step)
    if isinstance(step, Note):
        return Note(parts.step.split(None, 1)[1] if " " in parts.step else ""), None, None
    if isinstance(step, Expect):
        if parts.outcome not in (None, "ok") or parts.counters is not None:
            raise ValueError("what expect compares stands right behind it; write: expect COUNTERS")
        return step, None, _counters(parts.step.split(None, 1)[1])
    expected = None if parts.outcome is None else _outcome(parts.outcome)
    return step, expected, None if parts.counters is None else _counters(parts.counters)
