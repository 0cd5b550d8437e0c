"""Which steps a client of a server can do: those that the language marks with an **s**.

Rule 1: a file with one other step cannot run on a server at all; the reason names the first such line.
Rule 2: ``pool`` and ``overcommit`` are the size of the server's own pool; ``note`` and ``expect`` run everywhere.
"""

from __future__ import annotations

from hugefs.scenario import steps
from hugefs.scenario.scenario import Scenario

__all__ = ["not_on_server", "why_not_on_server"]

_ALWAYS = (
    steps.Pool,
    steps.Overcommit,
    steps.Mount,
    steps.Remount,
    steps.Umount,
    steps.Expect,
    steps.Note,
    steps.Open,
    steps.Close,
    steps.Unlink,
    steps.Rename,
    steps.Link,
    steps.Mkdir,
    steps.Truncate,
    steps.Punch,
    steps.Munmap,
    steps.Write,
    steps.Read,
    steps.Store,
    steps.Load,
    steps.Fork,
    steps.Exit,
    steps.Kill,
    steps.Pin,
)


def not_on_server(step: steps.Step) -> str | None:
    """What no client of a server can do about this step, or None."""
    if isinstance(step, _ALWAYS):
        return None
    if isinstance(step, steps.Fallocate):
        return None if step.mode in ("", "keep_size") else f"fallocate {step.mode}"
    if isinstance(step, steps.Unpin):
        return "unpin irq" if step.irq else None
    if isinstance(step, steps.Mmap):
        words = (
            (step.source != "file", step.source),
            (step.noreserve, "noreserve"),
            (step.locked, "locked"),
            (step.protection == "none", "none"),
            (step.place is not None, "at a chosen place"),
        )
        return next((f"mmap {word}" for there, word in words if there), None)
    return step.verb


def why_not_on_server(scenario: Scenario) -> str | None:
    """The first line of this file that no client of a server can do, or None."""
    for line in scenario:
        found = not_on_server(line.step)
        if found is not None:
            return f"line {line.number}: {found}: a server has no such step"
    return None
