"""``hugefs run``: scenarios, on the simulation, the kernel or a server.

Exit status: 0 every check held; 1 a mismatch; 2 a bad scenario or bad usage; 3 a file cannot run here, and why.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from hugefs.errors import InvalidRequest
from hugefs.linux.huge_page_settings import CannotRunHere
from hugefs.scenario.parser import parse_file
from hugefs.scenario.record import write_recorded
from hugefs.scenario.report import JsonReport, Report, TextReport, exit_status
from hugefs.scenario.runner import FileResult, StepResult, run
from hugefs.scenario.scenario import BadScenario
from hugefs.scenario.target import Target
from hugefs.scenario.targets import TARGET_NAMES, open_target

__all__ = ["run_scenarios", "scenario_files"]

PROFILES = ("ideal", "linux-6.18")


def run_scenarios(
    paths: list[Path],
    *,
    target: str,
    profile: str | None,
    schedule: str | None,
    record: bool,
    as_json: bool,
    verbose: bool,
) -> int:
    """Run files and folders; the exit status."""
    if target not in TARGET_NAMES:
        raise InvalidRequest(f"--on {target}: there is no such place; it is one of {', '.join(TARGET_NAMES)}")
    if profile is not None and profile not in PROFILES:
        raise InvalidRequest(f"--profile {profile}: there is no such profile; it is one of {', '.join(PROFILES)}")
    files = list(scenario_files(paths))
    if schedule is not None and len(files) != 1:
        raise InvalidRequest(f"--schedule is of one file's together: block, and there are {len(files)} files")
    report: Report
    if as_json:
        report = JsonReport(sys.stdout)
    else:
        report = TextReport(sys.stdout, files=len(files), target=target, tells_all=verbose)
    results: list[FileResult] = []
    try:
        with open_target(target, profile=profile) as opened:
            for file in files:
                results.append(_run_file(file, opened, report, schedule, record=record))
                report.file(results[-1])
    except CannotRunHere as error:
        # What is bad is bad wherever it would run.
        for file in files[len(results) :]:
            results.append(_not_run(file, str(error)))
            report.file(results[-1])
    except KeyboardInterrupt:
        report.summary()
        raise
    report.summary()
    return exit_status(results)


def scenario_files(paths: list[Path]) -> Iterator[Path]:
    """The files themselves, and all ``.scenario`` files under the folders, in order."""
    for path in paths:
        if path.is_dir():
            found = sorted(found for found in path.rglob("*.scenario") if found.is_file())
            if not found:
                raise InvalidRequest(f"{path}: there is no .scenario file in this folder")
            yield from found
        elif path.exists():
            yield path
        else:
            raise InvalidRequest(f"{path}: there is no such file")


def _run_file(path: Path, target: Target, report: Report, schedule: str | None, *, record: bool) -> FileResult:
    seen: list[StepResult] = []

    def watch(result: StepResult) -> None:
        report.step(str(path), result)
        if record:
            seen.append(result)

    try:
        scenario = parse_file(path)
    except BadScenario as error:
        return FileResult(str(path), 0, 0, "BAD_SCENARIO", str(error))
    except OSError as error:
        return FileResult(str(path), 0, 0, "BAD_SCENARIO", f"{path}: it cannot be read: {error.strerror}")
    result = run(scenario, target, schedule=schedule, watch=watch)
    if record and result.verdict in ("PASS", "FAIL"):
        write_recorded(path, seen)
    return result


def _not_run(path: Path, reason: str) -> FileResult:
    try:
        parse_file(path)
    except BadScenario as error:
        return FileResult(str(path), 0, 0, "BAD_SCENARIO", str(error))
    except OSError as error:
        return FileResult(str(path), 0, 0, "BAD_SCENARIO", f"{path}: it cannot be read: {error.strerror}")
    return FileResult(str(path), 0, 0, "CANNOT_RUN", reason)
