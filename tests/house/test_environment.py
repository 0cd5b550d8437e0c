"""tools/environment: what a newcomer meets first. Where it cannot go on, it says why and what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.house.tree import ROOT


def find(**environment):
    """Run ``tools/environment find``, which changes nothing."""
    return subprocess.run(
        [ROOT / "tools" / "environment", "find"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def program(tmp_path):
    """Make a small shell program on a PATH of its own."""

    def make(name, text):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    return make


def test_a_good_python_is_found():
    """The way it goes nearly always."""
    found = find(PYTHON=sys.executable)
    assert (found.returncode, found.stdout.strip()) == (0, sys.executable)


def test_no_python_is_explained(program):
    """An old Python is as good as none; the text names the version and the way out."""
    old = program("python3", "exit 1")
    found = find(PYTHON=f"/nowhere/python3 {old}")
    assert found.returncode == 1
    assert "Python 3.11 or newer" in found.stderr
    assert "make PYTHON=" in found.stderr


def test_a_python_without_venv_is_explained(program):
    """Debian packs venv apart, and its own message is not for people who came for `make demo`."""
    bare = program("python3", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    found = find(PYTHON=bare)
    assert found.returncode == 1
    assert "apt install python3-venv" in found.stderr


def test_another_system_is_explained(program, tmp_path):
    """memfd and huge pages are Linux; better said at once than by a traceback."""
    program("uname", "echo Plan9")
    found = find(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert found.returncode == 1
    assert "needs Linux" in found.stderr
    assert "Plan9" in found.stderr
