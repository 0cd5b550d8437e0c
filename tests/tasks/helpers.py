"""A scenario played on the simulation: which of its lines do not come out as they are written."""

from __future__ import annotations

from pathlib import Path

from hugefs.core import check
from hugefs.scenario import runner
from hugefs.scenario.parser import parse_file, parse_text
from hugefs.scenario.scenario import Scenario
from hugefs.scenario.targets.sim import SimTarget

HERE = Path(__file__).parent
RECORDINGS = {
    path.stem: path
    for folder in (HERE / "recordings", HERE.parent / "core" / "recordings", HERE.parent / "lab" / "scenarios")
    for path in sorted(folder.rglob("*.scenario"))
}


def differing_lines(scenario: Scenario, target: SimTarget) -> list[int]:
    """The lines of a scenario that come out otherwise."""
    found: list[int] = []

    def note(result: runner.StepResult) -> None:
        if not result.is_match:
            found.append(result.line.number)

    result = runner.run(scenario, target, watch=note)
    assert result.verdict in ("PASS", "FAIL"), result.reason
    assert (result.verdict == "FAIL") == bool(found), result.reason
    return found


def play(name: str, profile: str) -> list[int]:
    """The same of a recording, in a profile; the right one is checked after every step, and at the end."""
    target = SimTarget(profile, verify=profile == "ideal")
    found = differing_lines(parse_file(RECORDINGS[name]), target)
    if profile == "ideal":
        target.machine.fs.umount(target.machine.internal)
        check.check_at_rest(target.machine.fs)
    return found


def holds(text: str, profile: str = "ideal") -> None:
    """Every line of a text comes out as it is written."""
    lines = text.strip().splitlines()
    scenario = parse_text("\n".join(lines) + "\n")
    differing = differing_lines(scenario, SimTarget(profile, verify=profile == "ideal"))
    assert not differing, [lines[number - 1].strip() for number in differing]
