"""``hugefs run``: what it prints, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from hugefs.cli import run as command
from hugefs.errors import InvalidRequest
from hugefs.linux.huge_page_settings import CannotRunHere
from hugefs.scenario.scenario import BadScenario
from tests.scenario.fake import FakeTarget

GOOD = "# good\nnote here we go\npool 1 -> ok | 1/0/0/0\nP exit -> ok\n"
WRONG = "pool 1 -> ENOMEM | 1/0/0/0\n"
BAD = "pool 1\nP wriet a\n"


@pytest.fixture
def target(monkeypatch):
    """Runs go to a target that does what the test says."""
    fake = FakeTarget()

    @contextmanager
    def opened(name, *, profile=None):
        yield fake

    monkeypatch.setattr(command, "open_target", opened)
    return fake


@pytest.fixture
def run(tmp_path, capsys, target):
    """Run texts as files; exit status, standard output."""

    def run(*texts, **options):
        for place, text in enumerate(texts):
            (tmp_path / f"{place}.scenario").write_text(text, encoding="utf-8")
        settings = {
            "target": "sim",
            "profile": None,
            "schedule": None,
            "record": False,
            "as_json": False,
            "verbose": False,
        }
        status = command.run_scenarios([tmp_path], **(settings | options))
        return status, capsys.readouterr().out

    return run


def test_passing_files_are_a_line_of_sums(run):
    """Nothing to look at where everything holds."""
    status, out = run(GOOD, GOOD)
    assert status == 0
    assert out.startswith("on sim: 2 files: 2 passed; 4 steps, 0 mismatches")


def test_a_mismatch_shows_the_line_expected_and_got(run):
    """What is needed to understand it, and nothing else."""
    status, out = run("note the first\n" + WRONG, GOOD)
    assert status == 1
    assert "0.scenario:2: pool 1      (note the first)" in out
    assert "    ENOMEM expected, got ok\n" in out
    assert "    expected  ENOMEM     | 1/0/0/0\n    got       ok         | 1/0/0/0\n" in out
    assert "1 passed, 1 failed" in out


def test_a_bad_scenario_is_worse_than_a_mismatch(run):
    """Status 2, and the other files run all the same."""
    status, out = run(BAD, WRONG, GOOD)
    assert status == 2
    assert "0.scenario:2: there is no verb 'wriet'; did you mean write?" in out
    assert "1 passed, 1 failed, 1 bad" in out


def test_what_cannot_run_is_never_passed(run, target):
    """Status 3, with the reason, and counted apart."""
    target.reason = "not today"
    status, out = run(GOOD)
    assert status == 3
    assert "CANNOT_RUN" in out
    assert "not today" in out
    assert "0 passed, 1 cannot run here" in out


def test_all_steps_on_request(run):
    """Notes among them."""
    _, out = run(GOOD, verbose=True)
    assert "note here we go" in out
    assert "pool 1 -> ok | 1/0/0/0" in out


def test_json_is_an_object_a_step_and_one_a_file(run):
    """Exactly the keys of the language's document; notes are no steps."""
    status, out = run(GOOD, "pool 1 -> ENOMEM\nP exit\n", as_json=True)
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert rows[0] == {
        "step": 1,
        "line": 3,
        "text": "pool 1",
        "outcome": "ok",
        "expected": "ok",
        "pool": {"total": 1, "free": 0, "reserved": 0, "surplus": 0},
        "mounts": {},
        "cgroups": {},
        "match": True,
    }
    assert [row.get("step") for row in rows] == [1, 2, None, 1, 2, None]
    assert rows[2] | {"file": ""} == {"file": "", "steps": 2, "mismatches": 0, "verdict": "PASS", "reason": None}
    assert (rows[3]["match"], rows[3]["expected"], rows[4]["expected"]) == (False, "ENOMEM", None)
    assert (rows[5]["mismatches"], rows[5]["verdict"]) == (1, "FAIL")


def test_json_of_a_bad_file_says_where(run):
    """Also without any step."""
    status, out = run(BAD, as_json=True)
    row = json.loads(out)
    assert (status, row["verdict"]) == (2, "BAD_SCENARIO")
    assert "0.scenario:2:" in row["reason"]


def test_recording_writes_what_was_got(run, tmp_path):
    """A mismatch is recorded as it came: that is what recording is for. A bad file is left alone."""
    run(WRONG, BAD, record=True)
    assert (tmp_path / "0.scenario").read_text(encoding="utf-8") == "pool 1 -> ok | 1/0/0/0\n"
    assert (tmp_path / "1.scenario").read_text(encoding="utf-8") == BAD


def test_a_target_that_cannot_be_had_leaves_bad_files_bad(tmp_path, capsys, monkeypatch):
    """What is wrong in a file is wrong wherever it would run."""

    @contextmanager
    def opened(name, *, profile=None):
        raise CannotRunHere("needs root")
        yield

    monkeypatch.setattr(command, "open_target", opened)
    for name, text in (("good", GOOD), ("bad", BAD)):
        (tmp_path / f"{name}.scenario").write_text(text, encoding="utf-8")
    status = command.run_scenarios(
        [tmp_path], target="linux", profile=None, schedule=None, record=False, as_json=False, verbose=False
    )
    out = capsys.readouterr().out
    assert status == 2
    assert "needs root" in out
    assert "1 cannot run here, 1 bad" in out


@pytest.mark.parametrize(
    "options", [{"target": "moon"}, {"profile": "linux-9"}, {"schedule": "P"}], ids=["target", "profile", "schedule"]
)
def test_options_that_make_no_sense_are_refused_before_anything_runs(run, target, options):
    """A schedule is of one file."""
    with pytest.raises(InvalidRequest, match=r"--"):
        run(GOOD, GOOD, **options)
    assert target.begun == 0


def test_folders_are_searched_and_what_is_not_there_is_said(tmp_path):
    """Folders in folders too, in order; an empty one is a slip."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.scenario").touch()
    (tmp_path / "a.scenario").touch()
    (tmp_path / "note.txt").touch()
    assert [path.name for path in command.scenario_files([tmp_path])] == ["a.scenario", "x.scenario"]
    (tmp_path / "empty").mkdir()
    for missing in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(InvalidRequest, match="there is no"):
            list(command.scenario_files([missing]))


def test_the_command_itself(tmp_path):
    """From the shell: a bad file is status 2, and no traceback."""
    path = tmp_path / "bad.scenario"
    path.write_bytes(b"\xff\xfe")
    done = subprocess.run(
        [sys.executable, "-m", "hugefs.cli.main", "run", str(path), "--on", "sim"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "no UTF-8" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_bad_scenario_is_a_hugefs_error():
    """Whoever uses the package catches it by its own name."""
    assert str(BadScenario("f", 3, "what")) == "f:3: what"
    assert str(BadScenario("f", 0, "what")) == "f: what"
