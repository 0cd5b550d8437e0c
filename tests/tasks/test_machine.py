"""The machine: deterministic, verified, ended whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hugefs.errors import Busy, InvalidRequest, InvariantError, NotFound
from hugefs.scenario.grammar import parse_step
from hugefs.scenario.targets.sim import SimTarget
from hugefs.tasks.machine import Machine
from tests.tasks.helpers import RECORDINGS

DIGESTS = """
import sys
from pathlib import Path
from hugefs.scenario.parser import parse_file
from hugefs.scenario.steps import Expect, Note
from hugefs.scenario.targets.sim import SimTarget
for path in sys.argv[1:]:
    target = SimTarget("linux-6.18")
    for line in parse_file(Path(path)):
        if not isinstance(line.step, (Expect, Note)):
            target.perform(line.step)
            print(target.machine.digest())
"""


def digests(seed):
    """What an interpreter with this hash seed makes of every recording, step by step."""
    environment = dict(os.environ, PYTHONHASHSEED=str(seed), PYTHONPATH=os.pathsep.join(sys.path))
    paths = [str(path) for path in RECORDINGS.values()]
    return subprocess.run(
        [sys.executable, "-c", DIGESTS, *paths], env=environment, check=True, capture_output=True, text=True
    ).stdout.split()


def test_two_interpreters_agree_on_every_state():
    """A schedule or a random program that is found must be found again: nothing may depend on a hash."""
    first, second = digests(1), digests(2)
    assert len(first) > 1000
    assert first == second


def test_a_digest_tells_states_apart():
    """It would be no check if it did not."""
    one, two = SimTarget(), SimTarget()
    for target, value in ((one, 1), (two, 2)):
        for text in ("pool 2", "P mmap a anon 1 private", f"P store a 0 {value}"):
            target.perform(parse_step(text))
    assert one.machine.pool_counters() == two.machine.pool_counters()
    assert one.machine.digest() != two.machine.digest()


def test_ending_leaves_nothing():
    """Tasks, pins, segments, mounts and groups go, whatever a file left behind."""
    target = SimTarget(verify=True)
    steps = ["pool 5", "mount m min_size=1p", "cgroup g", "cgroup h", "cgroup h/i", "P enter g", "P open f m/f"]
    steps += ["P mmap a f 0 2 shared", "P write a", "P pin a 0 1 as x", "P shmget s 1p", "P shmat b s", "P fork C"]
    for text in steps:
        assert str(target.perform(parse_step(text))) == "ok", text
    assert target.end() is None
    assert target.machine.pool_counters() == (5, 5, 0, 0)


def test_verifying_notices_broken_books():
    """The check after every step is no decoration."""
    target = SimTarget(verify=True)
    target.perform(parse_step("pool 2"))
    target.machine.fs.pool.pages_free = 1
    with pytest.raises(InvariantError, match="I1"):
        target.perform(parse_step("overcommit 1"))


def test_verifying_notices_a_vma_that_lost_its_mapping():
    """What the core has and what the address space says are one thing."""
    machine = Machine()
    target = SimTarget()
    target.machine = machine
    target.perform(parse_step("pool 2"))
    target.perform(parse_step("P mmap a anon 2 private"))
    machine.tasks["P"].space.vmas[0].end -= 1
    with pytest.raises(InvariantError, match="not what the core has"):
        machine.verify()


def test_what_is_not_there_is_named():
    """A machine that is used without a scenario says what is wrong, too."""
    machine = Machine()
    with pytest.raises(NotFound, match="m is not mounted"):
        machine.umount("m")
    machine.mount("m", "size=2M")
    with pytest.raises(Busy):
        machine.mount("m", "")
    with pytest.raises(InvalidRequest):
        machine.remount("m", "size=oops")
    machine.remount("m", "size=4M")
    assert machine.mounts["m"].statfs().blocks == 1
    for wrong in (lambda: machine.set_group("a/b", None, None), lambda: machine.remove_group("a")):
        with pytest.raises(NotFound):
            wrong()
    with pytest.raises(NotFound):
        machine.task("P").enter("a")
