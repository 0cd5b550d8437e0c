"""The same files on every target: the recordings next to this test were made on Linux 6.18.44."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hugefs.errors import HugefsError
from hugefs.linux.counters import pool
from hugefs.linux.huge_page_settings import CannotRunHere
from hugefs.scenario.counters import Counters, MountCounters, PoolCounters
from hugefs.scenario.outcome import KILLED, OK, failed, number
from hugefs.scenario.parser import parse_file, parse_text
from hugefs.scenario.runner import StepResult, run
from hugefs.scenario.targets import open_target
from hugefs.scenario.targets.linux import LinuxTarget

DATA = sorted(Path(__file__).with_name("data").glob("*.scenario"))
PAGE_BYTES = 2 << 20


def names(path):
    """A file's name, for pytest's list."""
    return path.stem


@pytest.fixture(scope="module")
def linux():
    """The kernel, or a skip that names why not."""
    try:
        with open_target("linux") as target:
            yield target
    except CannotRunHere as error:
        pytest.skip(f"no scenarios on this kernel: {error}")


@pytest.fixture(scope="module")
def server():
    """Private servers."""
    with open_target("server") as target:
        yield target


def mismatches(scenario, target):
    """Run a scenario; verdict, and what did not match."""
    seen: list[StepResult] = []
    result = run(scenario, target, watch=seen.append)
    return result, [(step.line.text, step.complaints) for step in seen if step.complaints]


@pytest.mark.root
@pytest.mark.parametrize("path", DATA, ids=names)
def test_the_kernel_does_what_was_recorded(path, linux):
    """Every verb on real processes, line for line."""
    result, wrong = mismatches(parse_file(path), linux)
    if result.verdict == "CANNOT_RUN":
        pytest.skip(f"no such scenario here: {result.reason}")
    assert wrong == []
    assert result.verdict == "PASS", result.reason


@pytest.mark.parametrize("path", DATA, ids=names)
def test_the_simulation_does_what_was_recorded(path):
    """The same file without privileges."""
    with open_target("sim", profile="linux-6.18") as target:
        result, wrong = mismatches(parse_file(path), target)
    assert wrong == []
    assert result.verdict == "PASS", result.reason


def test_a_server_does_what_the_kernel_did(server):
    """Outcomes, the mount, and what is available; twice, as nothing of the first run may stay."""
    path = next(path for path in DATA if path.stem == "server")
    for _ in range(2):
        result, wrong = mismatches(parse_file(path), server)
        assert wrong == []
        assert result.verdict == "PASS", result.reason


def test_the_other_files_cannot_run_on_a_server(server):
    """They have steps that no client can do, and say which."""
    for path in DATA:
        if path.stem != "server":
            result, _ = mismatches(parse_file(path), server)
            assert (result.verdict, result.steps) == ("CANNOT_RUN", 0)
            assert "a server has no such step" in (result.reason or "")


def steps_of(text, target):
    """Begin a text and hand out its steps one at a time."""
    scenario = parse_text(text)
    target.begin(scenario)
    return [line.step for line in scenario]


@pytest.mark.root
def test_a_killed_task_has_given_everything_back(linux):
    """KILLED is an outcome, and the counters are those after all it held was released."""
    pool_step, mmap, write, load = steps_of("pool 3\nP mmap a anon 2 private\nP write a\nP load a 5\n", linux)
    try:
        assert [linux.perform(step) for step in (pool_step, mmap, write)] == [OK, OK, OK]
        assert linux.counters().pool == PoolCounters(3, 1, 0, 0)
        assert linux.perform(load) == KILLED
        assert linux.counters().pool == PoolCounters(3, 3, 0, 0)
    finally:
        assert linux.end() is None


@pytest.mark.root
def test_what_a_scenario_leaves_is_taken_away(linux):
    """Tasks, pins, segments, mounts and groups of a file that simply stops."""
    text = (
        "pool 6\novercommit 2\nmount m size=4p\ncgroup g max=9\ncgroup g/h\nP open f m/f\nP mmap a f 0 2 shared\n"
        "P write a\nP fork C\nC pin a 0 2 as io\nP shmget s 2p\nP shmat b s\nP write b\nP mmap c anon 3 private\n"
        "umount m lazy\nmount m\n"
    )
    for step in steps_of(text, linux):
        assert linux.perform(step) == OK
    assert linux.counters().mounts == {"m": MountCounters(0, 0, 0)}
    assert linux.end() is None
    assert pool(PAGE_BYTES).pages_total == 0
    assert linux.perform(parse_text("P mmap a anon 1 private\n").lines[0].step) == failed(12)
    assert linux.end() is None


@pytest.mark.root
def test_what_is_dangerous_is_not_begun(linux):
    """Not even where somebody forgot to ask."""
    scenario = parse_text("pool 4\nP mmap a anon 2 private\nP mremap a 1 1 maymove to hole as b\n")
    assert "could harm this kernel" in (linux.why_not(scenario) or "")
    with pytest.raises(CannotRunHere, match="could harm this kernel"):
        linux.begin(scenario)


@pytest.mark.root
def test_a_pool_beyond_the_machine_is_not_asked_for(linux):
    """The kernel would give all its memory before it said no."""
    result, _ = mismatches(parse_text("pool 1\npool 2000000\n"), linux)
    assert (result.verdict, result.steps) == ("CANNOT_RUN", 0)
    assert "a pool of 2000000 pages is more than this machine can spare" in (result.reason or "")


@pytest.mark.root
def test_many_pages_are_pinned_at_once(linux):
    """More than one pipe holds, and more than one call takes."""
    text = "pool 300\nP mmap a anon 300 shared\nP pin a 0 300 as io\nP exit\nunpin io\n"
    pool_step, mmap, pin, leave, unpin = steps_of(text, linux)
    try:
        if linux.perform(pool_step) == OK and linux.counters().pool != PoolCounters(300, 300, 0, 0):
            pytest.skip("not enough contiguous memory for 300 huge pages")
        for step in (mmap, pin, leave):
            assert linux.perform(step) == OK
        assert linux.counters().pool == PoolCounters(300, 0, 0, 0)
        assert linux.perform(unpin) == OK
        assert linux.counters().pool == PoolCounters(300, 300, 0, 0)
    finally:
        assert linux.end() is None


@pytest.mark.root
def test_it_is_fast_enough_for_random_programs(linux):
    """Thousands of programs are compared with the kernel; each step is a system call and two messages."""
    lines = ["pool 2", "mount m size=2p", "P open f m/f", "P mmap a f 0 2 shared", "P fork C"]
    lines += ["P write a", "C madvise remove a", "P store a 1 7", "C load a 1 -> 7"] * 50
    started = time.monotonic()
    result, wrong = mismatches(parse_text("\n".join(lines)), linux)
    assert wrong == []
    assert result.steps / (time.monotonic() - started) > 100, "well over 1000 on an idle machine"


def test_a_load_is_a_number_on_every_target(server):
    """One byte, really read."""
    steps = steps_of(
        "pool 1\nmount m size=1p\nP open f m/f\nP mmap a f 0 1 shared\nP store a 0 200\nP load a 0\n", server
    )
    try:
        assert [server.perform(step) for step in steps][-1] == number(200)
    finally:
        server.end()


def test_a_refused_mount_is_an_outcome_on_a_server(server):
    """Errors of the client library are outcomes like the kernel's."""
    *before, mkdir, again = steps_of("pool 1\nmount m size=1p\nP mkdir m/d\nP mkdir m/d\n", server)
    try:
        assert [server.perform(step) for step in (*before, mkdir)] == [OK, OK, OK]
        assert server.perform(again) == failed(17)
    finally:
        assert server.end() is None


def test_the_kernel_needs_root(monkeypatch):
    """As anybody else it is `cannot run here`, with the reason, and nothing was tried."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotRunHere, match="needs root"):
        with open_target("linux"):
            pass


@pytest.mark.root
def test_counters_that_do_not_come_back_are_said(linux, monkeypatch):
    """Every check of a file may hold and the kernel still be wrong: nobody may find out an hour later."""
    monkeypatch.setattr(linux._pool, "empty", lambda: PoolCounters(1, 1, 1, 1))
    assert isinstance(linux, LinuxTarget)
    assert linux.end() == "the kernel's counters did not come back: 1/1/1/1 with nothing in use"
    with pytest.raises(CannotRunHere, match="in use by others: 1/1/1/1"):
        linux.begin(parse_text("pool 1\n"))


def test_there_are_three_targets():
    """A fourth is a slip of the pen."""
    with pytest.raises(ValueError, match="there are sim, linux, server"):
        open_target("moon")


def test_cannot_run_here_is_a_hugefs_error():
    """The command line and the tests tell it from a failure by this class alone."""
    assert issubclass(CannotRunHere, HugefsError)
    assert str(Counters()) == ""
