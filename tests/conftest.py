"""What every test run has in common: markers that say what a test needs, and closing lines that hide nothing.

Rule 1: *cannot run here* is not *passed*. A skip names what is missing, and the run ends with their number by reason.
Rule 2: every failure prints the command that replays it, with the seed of this run.
Rule 3: nothing here changes a setting of the machine; a test that needs huge pages says so and has them or is skipped.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("hugefs", derandomize=False, print_blob=True, deadline=None)
settings.load_profile("hugefs")

MARKERS = {
    "hugepages(pages=1): needs root and that many free huge pages of the default size",
    "root: needs root",
    "slow: takes more than a second or two; `make test` runs it, `make check` does not",
}
REPLAYS_MAX = 10


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for line in sorted(MARKERS):
        config.addinivalue_line("markers", line)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, by name. Probed before each test: pages come and go."""
    wants_pages = item.get_closest_marker("hugepages")
    if (wants_pages or item.get_closest_marker("root")) and os.geteuid() != 0:
        pytest.skip("not root")
    if wants_pages:
        pages_wanted: int = [1, *wants_pages.args, *wants_pages.kwargs.values()][-1]
        if pages_available() < pages_wanted:
            pytest.skip("not enough free huge pages (see /proc/sys/vm/nr_hugepages)")


def pages_available() -> int:
    """Huge pages of the default size that are free and promised to nobody."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    counters = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return counters.get("HugePages_Free", 0) - counters.get("HugePages_Rsvd", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The closing lines: what could not run here and why, and how to see a failure again."""
    stats = terminalreporter.stats
    terminalreporter.write_line(cannot_run_line(map(skip_reason, stats.get("skipped", []))))
    failed = [report.nodeid for report in stats.get("failed", []) + stats.get("error", [])]
    seed = config.getoption("randomly_seed", None)
    for nodeid in failed[:REPLAYS_MAX]:
        chosen = "" if seed is None else f" -p randomly --randomly-seed={seed}"
        terminalreporter.write_line(f"replay: .venv/bin/python -m pytest{chosen} '{nodeid}'")
    if len(failed) > REPLAYS_MAX:
        terminalreporter.write_line(f"… and {len(failed) - REPLAYS_MAX} more")


def cannot_run_line(reasons: Iterable[str]) -> str:
    """One line, the most frequent reason first: ``cannot run here: 3 (not root: 2, no /dev/fuse: 1)``."""
    counts = Counter(reasons)
    parts = ", ".join(f"{reason}: {count}" for reason, count in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])))
    return f"cannot run here: {counts.total()}" + (f" ({parts})" if parts else "")


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped, without pytest's own prefix."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)
