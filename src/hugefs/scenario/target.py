"""What carries out a scenario: the protocol that the simulation, the kernel and a server have in common.

    with hugefs.scenario.targets.open_target("sim", profile="ideal") as target:     # once, for all files
        if target.why_not(scenario) is None:
            target.begin(scenario)
            outcome = target.perform(step)       # one Step of hugefs.scenario.steps after the other
            counters = target.counters()         # after any step
            complaint = target.end()             # also after a step that raised

Rule 1: steps come one at a time, in an order that the file or a schedule allows, and only valid ones: names exist and
        are alive, tasks have not ended. The runner sees to it; ``Expect`` and ``Note`` never reach a target.
Rule 2: everything that a step can come to is an Outcome, the death of a task as well. An exception is the target's own
        failure; CannotRunHere, from ``begin`` too, means that this file cannot run here.
Rule 3: a file finds the pool with no pages and no overcommit, no mounts, groups or tasks, and leaves none behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hugefs.scenario.counters import Counters
    from hugefs.scenario.outcome import Outcome
    from hugefs.scenario.scenario import Scenario
    from hugefs.scenario.steps import Step

__all__ = ["Target"]


class Target(Protocol):
    """One place where scenarios run, for one file after the other."""

    name: str
    """What ``--on`` calls it."""

    sees_touches: bool
    """Whether a touched page shows in the pool's free and reserved counters; not so on a server."""

    def why_not(self, scenario: Scenario) -> str | None:
        """Why this file cannot run here, or None. Reads the file only; nothing is started."""

    def begin(self, scenario: Scenario) -> None:
        """Make everything ready for one file: an empty pool, no mounts, no tasks."""

    def perform(self, step: Step) -> Outcome:
        """Carry out one step. A task that is named for the first time starts to exist."""

    def counters(self) -> Counters:
        """The counters now: the pool, every mount that has a name, its inodes where limited, every group."""

    def end(self) -> str | None:
        """End all tasks, drop pins, unmount, give everything back; what did not come back, or None."""
