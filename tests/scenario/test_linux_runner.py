"""A run on the kernel takes the machine's lock and gives everything back, also where it is killed.

Apart from the other tests of that target, which hold the lock themselves.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hugefs.linux.counters import pool
from hugefs.linux.huge_page_settings import CannotRunHere, huge_page_settings
from hugefs.scenario.counters import PoolCounters
from hugefs.scenario.targets import open_target

PAGE_BYTES = 2 << 20
GROUPS = Path("/sys/fs/cgroup")
COMMAND = """
import signal
from hugefs.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
LONG = (
    "pool 3\nmount m size=3p\ncgroup g\nP enter g\nP open f m/f\nP mmap a f 0 2 shared\nP write a\nP fork C\n"
    "P pin a 0 1 as io\n" + "C read a\n" * 60_000
)


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["KILL", "TERM", "INT"])
def test_a_runner_that_is_killed_leaves_nothing_behind(how, tmp_path):
    """Pages, mounts, processes, groups and the controller's setting: all as before, within seconds."""
    try:
        with huge_page_settings():
            before, groups = pool(PAGE_BYTES), group_state()
            if before.pages_free != before.pages_total or before.pages_reserved:
                pytest.skip("the pool of huge pages is in use by others")
    except CannotRunHere as error:
        pytest.skip(str(error))
    path = tmp_path / "long.scenario"
    path.write_text(LONG, encoding="utf-8")
    runner = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "run", str(path), "--on", "linux", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with runner:
        assert runner.stdout is not None
        for line in runner.stdout:
            row = json.loads(line)
            if row.get("verdict") == "CANNOT_RUN":
                pytest.skip(row["reason"])
            if row["step"] > 20:
                break
        runner.send_signal(how)
        runner.stdout.close()
        assert runner.wait(30) != 0
    deadline = time.monotonic() + 20
    while True:
        # Under the lock: whoever holds it now may have changed the pool.
        with huge_page_settings():
            after = (pool(PAGE_BYTES), group_state(), worlds())
        if after == (before, groups, set()):
            return
        assert time.monotonic() < deadline, f"{after} instead of {before}, {groups}"
        time.sleep(0.1)


def group_state():
    """Which controllers are passed on at the top, and the groups that scenarios made."""
    controls = {
        str(path): path.read_text() for path in GROUPS.glob("**/cgroup.subtree_control") if path.parent.parent == GROUPS
    }
    return controls, {str(path) for path in GROUPS.glob("*/hugefs-scenario-*")}


def worlds():
    """Processes that scenarios started and that are there still, outside of this test's own."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if b"linux_world import main" in command:
            found.add(entry.parent.name)
    return found


@pytest.mark.root
def test_a_pool_in_use_is_left_alone(monkeypatch):
    """Somebody's pages are theirs: not resized, not counted, not touched."""
    try:
        with huge_page_settings(0):
            pass
    except CannotRunHere as error:
        pytest.skip(str(error))
    monkeypatch.setattr("hugefs.scenario.targets.linux_pool.Pool.counters", lambda self: PoolCounters(2, 1, 0, 0))
    with pytest.raises(CannotRunHere, match="in use by others: of 2 pages 1 are free and 0 promised"):
        with open_target("linux"):
            pass
