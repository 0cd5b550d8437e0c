"""A target that does what a test says, for what is about running and not about pages."""

from __future__ import annotations

from collections.abc import Mapping

from hugefs.scenario.counters import Counters, PoolCounters
from hugefs.scenario.outcome import OK, Outcome, parse_outcome
from hugefs.scenario.scenario import Scenario
from hugefs.scenario.steps import Step


class FakeTarget:
    """Every step is ok, unless ``outcomes`` has another for its verb; the pool's total counts the steps."""

    name = "fake"
    sees_touches = True

    def __init__(self, outcomes: Mapping[str, str] | None = None, *, reason: str | None = None) -> None:
        self.outcomes = {verb: parse_outcome(text) for verb, text in (outcomes or {}).items()}
        self.reason = reason
        self.complaint: str | None = None
        self.failure: Exception | None = None
        self.seen: list[str] = []
        self.begun = self.ended = 0

    def why_not(self, scenario: Scenario) -> str | None:
        return self.reason

    def begin(self, scenario: Scenario) -> None:
        self.begun += 1
        self.seen.clear()

    def perform(self, step: Step) -> Outcome:
        self.seen.append(step.verb)
        if self.failure is not None:
            raise self.failure
        return self.outcomes.get(step.verb, OK)

    def counters(self) -> Counters:
        return Counters(PoolCounters(len(self.seen), 0, 0, 0))

    def end(self) -> str | None:
        self.ended += 1
        return self.complaint
