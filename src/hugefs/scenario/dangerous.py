"""Sequences of steps that are known to harm a kernel."""

from __future__ import annotations
from hugefs.scenario.scenario import Scenario


def why_dangerous(scenario: Scenario) -> str | None:
    """x."""
    return None
