"""How the demo shows itself: prose and facts as it goes, the counters after every step, one table at the end.

A row holds what the counters must be, what they were, and what the kernel said of the same pages, where it can be
asked. The demo passes only if each row is exact.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Counters", "Report", "Row"]

_WIDTH = 92


@dataclass(frozen=True)
class Counters:
    """The four counters, in pages."""

    total: int
    free: int
    reserved: int
    surplus: int


@dataclass(frozen=True)
class Row:
    """One step. ``kernel``: pages the kernel counts as taken since the start, None where it cannot be asked exactly."""

    number: int
    title: str
    expected: Counters
    counted: Counters
    kernel: int | None
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def taken(self) -> int:
        """Pages in use, as hugefs counts them."""
        return self.counted.total - self.counted.free

    @property
    def exact(self) -> bool:
        """Whether every counter is what it must be, and the kernel agrees."""
        return self.counted == self.expected and self.kernel in (None, self.taken)


class Report:
    """Prints while the demo runs; ``as_json``: nothing before the end, and then one object."""

    def __init__(self, *, as_json: bool) -> None:
        self.rows: list[Row] = []
        self.facts: dict[str, object] = {}
        self._as_json = as_json
        self._console = Console(
            width=min(_WIDTH, Console().width) if Console().is_terminal else _WIDTH, highlight=False
        )

    def say(self, text: str) -> None:
        """A paragraph."""
        if not self._as_json:
            self._console.print(Text(textwrap.fill(" ".join(text.split()), self._console.width)))

    def heading(self, number: int, title: str) -> None:
        """The beginning of a step."""
        if not self._as_json:
            self._console.print()
            self._console.print(Text(f"{number}. {title}", style="bold"))

    def fact(self, text: str) -> None:
        """Something that was seen."""
        if not self._as_json:
            body = textwrap.fill(text, self._console.width - 4, initial_indent="  → ", subsequent_indent="    ")
            self._console.print(Text(body, style="cyan"))

    def quote(self, text: str) -> None:
        """Words of the program: an error, a listing."""
        if not self._as_json:
            for line in text.splitlines():
                body = textwrap.fill(line, self._console.width - 4, initial_indent="  │ ", subsequent_indent="  │   ")
                self._console.print(Text(body, style="yellow"))

    def row(self, row: Row) -> None:
        """The counters after a step."""
        self.rows.append(row)
        if self._as_json:
            return
        c = row.counted
        line = Text(f"  HugePages Total {c.total}  Free {c.free}  Rsvd {c.reserved}  Surp {c.surplus}")
        line.append("   exact" if row.exact else "   WRONG", style="bold green" if row.exact else "bold red")
        if row.kernel is not None:
            line.append(f"   (the kernel: {row.kernel} taken)", style="dim")
        if not row.exact:
            line.append(f"\n  expected: {row.expected}", style="red")
        self._console.print(line)

    @property
    def exact(self) -> bool:
        """Whether every row is."""
        return bool(self.rows) and all(row.exact for row in self.rows)

    def finish(self, *, seconds: float, problems: list[str]) -> bool:
        """The table, or the JSON. Returns whether everything was as it must be."""
        passed = self.exact and not problems
        if self._as_json:
            steps = [{**asdict(row), "exact": row.exact} for row in self.rows]
            result = {**self.facts, "seconds": round(seconds, 2), "problems": problems, "ok": passed, "steps": steps}
            self._console.print(json.dumps(result, default=str), soft_wrap=True, markup=False)
            return passed
        self._console.print()
        self._console.print(self._table())
        for problem in problems:
            self._console.print(Text(f"PROBLEM: {problem}", style="bold red"))
        verdict = "Every counter is exact, and everything came back." if passed else "Something is wrong: see above."
        self._console.print(Text(f"{verdict}  ({seconds:.1f} s)", style="bold green" if passed else "bold red"))
        return passed

    def _table(self) -> Table:
        with_kernel = any(row.kernel is not None for row in self.rows)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        table.add_column("after step", ratio=1)
        for name in ("Total", "Free", "Rsvd", "Surp"):
            table.add_column(name, justify="right")
        table.add_column("taken", justify="right")
        if with_kernel:
            table.add_column("kernel", justify="right")
        table.add_column("")
        for row in self.rows:
            c = row.counted
            cells = [f"{row.number}. {row.title}", *map(str, (c.total, c.free, c.reserved, c.surplus, row.taken))]
            if with_kernel:
                cells.append("" if row.kernel is None else str(row.kernel))
            cells.append("exact" if row.exact else "WRONG")
            table.add_row(*cells, style=None if row.exact else "bold red")
        return table
