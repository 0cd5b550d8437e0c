"""The demo as a person and as a program see it; and that it fails when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hugefs.cli.demo_report import Counters, Report, Row


def hugefs(*arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, into a pipe."""
    command = [sys.executable, "-m", "hugefs.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_demo_passes_and_tells_every_step_to_programs() -> None:
    """--json is one object with every counter of every step; the exit status says whether all were exact."""
    done = hugefs("demo", "--json", "--size", "16M", "--workers", "3")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert [step["number"] for step in told["steps"]] == list(range(1, 10))
    taken = [step["counted"]["total"] - step["counted"]["free"] for step in told["steps"]]
    assert taken == [0, 8, 9, 9, 9, 1, 1, 4, 0]
    assert all(step["exact"] and step["counted"] == step["expected"] for step in told["steps"])


def test_the_demo_in_a_pipe_is_plain_text_that_explains_itself() -> None:
    """No escape sequences; the refusal names the holders; the last line is the verdict."""
    done = hugefs("demo", "--size", "8M", "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "[ENOMEM]" in done.stdout
    assert "of signals, mapped" in done.stdout
    assert "(deleted)" in done.stdout
    assert "Every counter is exact, and everything came back." in done.stdout.splitlines()[-1]
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("size", ["0", "-1M", "much", "1.5G", "99999999999999999999"])
def test_a_size_that_makes_no_sense_is_bad_usage(size: str) -> None:
    """Exit status 2, one line that says what was expected, and no traceback."""
    done = hugefs("demo", f"--size={size}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_a_wrong_counter_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """One page missing, in one row, is enough; so is a kernel that counts otherwise, or a problem without a counter."""
    good = Counters(10, 10, 0, 0)
    for row, problems in (
        (Row(1, "a step", good, Counters(10, 9, 0, 0), None), []),
        (Row(1, "a step", good, good, 1), []),
        (Row(1, "a step", good, good, None), ["something"]),
    ):
        report = Report(as_json=False)
        report.row(row)
        assert report.finish(seconds=1.0, problems=problems) is False
        assert "Something is wrong" in capsys.readouterr().out
    report = Report(as_json=False)
    report.row(Row(1, "a step", good, good, 0))
    assert report.finish(seconds=1.0, problems=[]) is True
    assert Report(as_json=True).finish(seconds=1.0, problems=[]) is False  # no row at all is no success
