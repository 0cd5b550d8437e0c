"""Forks in every order: whoever is gone first, the books are exact at every moment, and end with the last holder."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import hugefs
from tests.stories.storm import (
    PAGE,
    SEED,
    everything_is_back,
    forked,
    leave,
    replayable,
    seconds,
    until,
    watched_mount,
)

PUPPETS = 14
HERE = Path(__file__).parents[2]


class Puppets:
    """Processes that hold what they are told to hold. What each one holds is written down here, too.

    All pipes are made before the first fork; puppet ``k`` listens to the ``k``-th, whoever its parent is.
    """

    def __init__(self, mount: hugefs.Mount) -> None:
        self.mount = mount
        self.pipes = [(os.pipe(), os.pipe()) for _ in range(PUPPETS)]
        self.pids: dict[int, int] = {}
        self.watches: dict[int, int] = {}
        self.holds: dict[int, set[int]] = {}
        self.pages: dict[int, int] = {}
        self.makings = 0
        self.told: list[str] = []

    def start(self) -> None:
        self._born(0, forked(lambda: self._be(0, {})), set())
        self.answer(0)

    def _born(self, puppet: int, pid: int, holds: set[int]) -> None:
        self.pids[puppet], self.holds[puppet] = pid, holds
        self.watches[puppet] = os.pidfd_open(pid)

    # --- in the puppet

    def _be(self, puppet: int, things: dict[int, Any]) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        (commands, _), (_, answers) = self.pipes[puppet]
        os.write(answers, b"ready.")
        text = ""
        while True:
            while "." not in text:
                text += os.read(commands, 1000).decode()
            command, _, text = text.partition(".")
            word, *numbers = command.split()
            match word, list(map(int, numbers)):
                case "array", [number, pages]:
                    things[number] = self.mount.zeros(pages * PAGE, "u1")
                    things[number][:: 4096 * 64] = number % 251
                case "private", [number, pages]:
                    with self.mount.open("basis") as file:
                        things[number] = file.mmap(0, pages * PAGE, access="private")
                case "drop", [number]:
                    del things[number]
                case "fork", [child]:
                    if os.fork() == 0:
                        self._be(child, things)
                case "fork-and-die", [child]:
                    if os.fork() == 0:
                        self._be(child, things)
                    os.kill(os.getpid(), signal.SIGKILL)
                case "look", []:
                    _look_at(things)
                case "exit", []:
                    leave(0)
                case "exec", []:
                    os.execv("/bin/sleep", ["sleep", "1000"])
            os.write(answers, b"done.")

    # --- in the test

    def tell(self, puppet: int, command: str) -> None:
        self.told.append(f"{puppet}: {command}")
        os.write(self.pipes[puppet][0][1], f"{command}.".encode())

    def answer(self, puppet: int) -> None:
        readable, _, _ = select.select([self.pipes[puppet][1][0]], [], [], 30)
        assert readable, f"puppet {puppet} does not answer (seed {SEED})"
        assert os.read(self.pipes[puppet][1][0], 100).endswith(b".")

    def make(self, puppet: int, word: str, pages: int) -> None:
        self.makings += 1
        self.tell(puppet, f"{word} {self.makings} {pages}")
        self.answer(puppet)
        self.holds[puppet].add(self.makings)
        self.pages[self.makings] = pages

    def drop(self, puppet: int, number: int) -> None:
        self.tell(puppet, f"drop {number}")
        self.answer(puppet)
        self.holds[puppet].discard(number)

    def fork(self, parent: int, child: int, word: str) -> None:
        self.tell(parent, f"{word} {child}")
        self.answer(child)
        if word == "fork":
            self.answer(parent)
        held = set(self.holds[parent])
        self._born(child, self._pid_of(child), held)
        if word == "fork-and-die":
            self.gone(parent)

    def _pid_of(self, puppet: int) -> int:
        """A puppet that was forked by another: found by what it alone does, reading its pipe."""
        known = set(self.pids.values())
        inode = os.fstat(self.pipes[puppet][0][0]).st_ino
        assert inode
        candidates = [int(path.name) for path in Path("/proc").glob("[0-9]*") if int(path.name) not in known]
        for pid in candidates:
            with suppress(OSError):
                name = os.readlink(f"/proc/{pid}/fd/{self.pipes[puppet][0][0]}")
                if name == f"pipe:[{inode}]" and pid != os.getpid():
                    return pid
        raise AssertionError("no such puppet")

    def end(self, puppet: int, how: str) -> None:
        if how == "kill":
            self.told.append(f"{puppet}: killed")
            os.kill(self.pids[puppet], signal.SIGKILL)
        else:
            self.tell(puppet, how)
        if how == "exec":
            pid = self.pids[puppet]
            assert until(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == "sleep")
            self.end_of_program(puppet)
        self.gone(puppet)

    def end_of_program(self, puppet: int) -> None:
        # It lives, and soon holds nothing any more: exec closes its sockets on the way to the new program.
        self.holds[puppet] = set()
        until(lambda: self.pids[puppet] not in {holder.pid for holder in self.mount.holders()})
        self.exact()
        os.kill(self.pids[puppet], signal.SIGKILL)

    def gone(self, puppet: int) -> None:
        readable, _, _ = select.select([self.watches[puppet]], [], [], 30)
        assert readable, f"puppet {puppet} does not end (seed {SEED})"
        os.close(self.watches.pop(puppet))
        with suppress(ChildProcessError):
            os.waitpid(self.pids[puppet], 0)
        del self.pids[puppet], self.holds[puppet]

    def exact(self) -> None:
        """Not a page more and not a page less is in use than the living hold, and each is known as a holder."""
        held = set().union(*self.holds.values()) if self.holds else set()
        used = self.mount.meminfo().pages_total - self.mount.meminfo().pages_free
        assert used == 2 + sum(self.pages[number] for number in held), (
            self.told[-3:],
            self.holds,
            self.mount.holders(),
            SEED,
        )
        expected: dict[int, int] = {}
        for puppet, numbers in self.holds.items():
            if numbers:
                expected[self.pids[puppet]] = sum(self.pages[number] for number in numbers)
        found: dict[int, int] = {}
        for holder in self.mount.holders():
            if holder.how != "named":
                found[holder.pid] = found.get(holder.pid, 0) + holder.pages
        assert found == expected, (self.told[-3:], found, expected, SEED)

    def close(self) -> None:
        for pid in self.pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for puppet in list(self.pids):
            self.gone(puppet)
        for pair in self.pipes:
            for reading, writing in pair:
                os.close(reading)
                os.close(writing)


def _look_at(things: dict[int, Any]) -> None:
    for number, thing in things.items():
        if not isinstance(thing, hugefs.Mapping):
            assert int(thing[0]) == int(thing[-1 << 18]) == number % 251


def test_the_books_are_exact_after_each_fork_and_each_death(request: pytest.FixtureRequest):
    """A family of up to 14 processes in which anybody forks, makes, drops and dies: asked at once, without patience."""
    with replayable(request.node.nodeid) as chance, watched_mount(200 << 21, huge="off") as mount:
        deadline = time.monotonic() + seconds(3)
        families = steps = 0
        with mount.open("basis", "w+b", size=2 * PAGE):
            pass
        while time.monotonic() < deadline:
            puppets = Puppets(mount)
            try:
                puppets.start()
                families += 1
                for _ in range(40):
                    if not puppets.pids or time.monotonic() > deadline:
                        break
                    steps += 1
                    _one_step(puppets, chance)
                    puppets.exact()
            finally:
                puppets.close()
        mount.unlink("basis")
        everything_is_back(mount)
        print(f"{families} families, {steps} steps")


def _one_step(puppets: Puppets, chance: random.Random) -> None:
    puppet = chance.choice(list(puppets.pids))
    free = [number for number in range(PUPPETS) if number not in puppets.pids and not _was_used(puppets, number)]
    match chance.choices(["array", "private", "drop", "fork", "fork-and-die", "end", "look"], [5, 3, 3, 6, 2, 3, 1])[0]:
        case "array" | "private" as word:
            puppets.make(puppet, word, chance.randrange(1, 3))
        case "drop" if puppets.holds[puppet]:
            puppets.drop(puppet, chance.choice(sorted(puppets.holds[puppet])))
        case "fork" | "fork-and-die" as word if free:
            puppets.fork(puppet, free[0], word)
        case "end":
            puppets.end(puppet, chance.choice(["kill", "kill", "exit", "exec"]))
        case _:
            puppets.tell(puppet, "look")
            puppets.answer(puppet)


def _was_used(puppets: Puppets, number: int) -> bool:
    """Whether something may still lie in its pipes: a puppet that was killed may have left a word there."""
    return bool(select.select([puppets.pipes[number][0][0], puppets.pipes[number][1][0]], [], [], 0)[0])


def test_a_parent_killed_right_after_the_fork(request: pytest.FixtureRequest):
    """There is no moment in which the child's pages are in nobody's name: asked all the time, from outside."""
    with replayable(request.node.nodeid) as chance, watched_mount(16 << 21, huge="off") as mount:
        deadline = time.monotonic() + seconds(1.5)
        rounds = looks = 0
        while time.monotonic() < deadline:
            rounds += 1
            told, tells = os.pipe()
            lives, holds_on = os.pipe()
            delay = chance.choice((0, 0, 0, 20e-6, 100e-6, 1e-3))
            killer = chance.random() < 0.5

            def parent(tells: int = tells, lives: int = lives, delay: float = delay, killer: bool = killer) -> None:
                array = mount.zeros(3 * PAGE, "u1")
                array[:] = 7
                own = os.getpid()
                os.write(tells, b"m")
                if os.fork() == 0:
                    if killer:
                        time.sleep(delay)
                        os.kill(own, signal.SIGKILL)
                    assert array[::4096].min() == 7
                    os.write(tells, b"c")
                    os.read(lives, 1)
                    leave(0)
                if not killer:
                    time.sleep(delay)
                    os.kill(own, signal.SIGKILL)
                signal.pause()

            pid = forked(parent)
            assert os.read(told, 1) == b"m"
            child_is_up = False
            while not child_is_up:
                looks += 1
                assert mount.meminfo().pages_free == 13, (rounds, SEED)
                child_is_up = bool(select.select([told], [], [], 0)[0])
            os.waitpid(pid, 0)
            assert mount.meminfo().pages_free == 13, (rounds, SEED)
            os.write(holds_on, b"x")
            assert until(lambda: mount.meminfo().pages_free == 16), (rounds, mount.holders(), SEED)
            for descriptor in (told, tells, lives, holds_on):
                os.close(descriptor)
        everything_is_back(mount)
        print(f"{rounds} parents killed, {looks} looks")


def test_forks_while_other_threads_ask_and_wait(request: pytest.FixtureRequest):
    """A fork in the middle of others' requests, long waits and creations: no hang, and each child can ask."""
    with replayable(request.node.nodeid) as chance, watched_mount(16 << 21, huge="off") as mount:
        filler: Any = mount.zeros(8 * PAGE, "u1", name="filler")
        stop = threading.Event()
        wrong: list[BaseException] = []

        def keep(work: Any) -> threading.Thread:
            def loop() -> None:
                while not stop.is_set():
                    try:
                        work()
                    except hugefs.NoHugePages:
                        pass
                    except BaseException as error:  # noqa: BLE001 — told below
                        wrong.append(error)
                        return

            thread = threading.Thread(target=loop)
            thread.start()
            return thread

        works = [mount.meminfo, lambda: mount.zeros(PAGE, "u1"), lambda: mount.zeros(6 * PAGE, "u1")]
        works.append(lambda: mount.zeros(12 * PAGE, "u1", wait=0.3))
        threads = [keep(work) for work in works]
        deadline = time.monotonic() + seconds(1.5)
        forks = 0
        while time.monotonic() < deadline:
            forks += 1

            def child() -> None:
                assert mount.meminfo().pages_total == 16
                assert {holder.pid for holder in mount.holders("filler")} >= {os.getpid()}
                filler[chance.randrange(len(filler))] = 1

            pid = forked(child)
            assert os.waitpid(pid, 0)[1] == 0, SEED
        stop.set()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        assert not wrong
        mount.unlink("filler")
        filler = None
        del threads, works
        everything_is_back(mount)
        print(f"{forks} forks")


STARTER = """
import os, sys, time
import hugefs
how, = sys.argv[1:]
mount = hugefs.mount("8M", huge="off")
array = mount.zeros(1 << 20, "u1", name="a")
print(mount.address, flush=True)
if how == "fork":
    if os.fork():
        os._exit(0)
    print(os.getpid(), mount.meminfo().pages_free, flush=True)
time.sleep(1000)
"""


def _marked(mark: str) -> list[int]:
    """The processes, zombies not counted, that a marked program started."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
    return found


def _program(source: str, mark: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(HERE / "src"), "HUGEFS_TEST_MARK": mark}
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_the_server_ends_with_its_last_holder_and_leaves_nothing():
    """The starter is gone, its forked child still has the mount; with the child everything goes."""
    mark = f"last-holder-{os.getpid()}-{time.monotonic_ns()}"
    shared = set(os.listdir("/dev/shm"))
    with _program(STARTER, mark, "fork") as starter:
        assert starter.stdout is not None
        address = starter.stdout.readline().strip()
        child, free = map(int, starter.stdout.readline().split())
        assert free == 3
        assert starter.wait(10) == 0
        assert len(_marked(mark)) == 2  # the child and the server
        (server,) = set(_marked(mark)) - {child}
        with hugefs.connect(address) as mount:
            assert mount.meminfo().pages_free == 3
        del mount
        os.kill(child, signal.SIGKILL)
        assert until(lambda: not _marked(mark))
        assert until(lambda: _state(server) in ("gone", "Z") and _parent(server) != os.getpid())
        assert address not in Path("/proc/net/unix").read_text()
        assert set(os.listdir("/dev/shm")) <= shared
        with pytest.raises(hugefs.ServerGone):
            hugefs.connect(address)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_a_starter_killed_at_any_moment_leaves_no_process(request: pytest.FixtureRequest):
    """Also in the middle of starting its server."""
    with replayable(request.node.nodeid) as chance:
        mark = f"killed-starter-{os.getpid()}-{time.monotonic_ns()}"
        starters = []
        for _ in range(max(8, int(seconds(0) * 2))):
            starters.append(_program(STARTER, mark, "stay"))
            if len(starters) == 4:
                time.sleep(chance.random() * 0.9)
                for starter in starters:
                    starter.kill()
                    starter.communicate()
                starters.clear()
        assert until(lambda: not _marked(mark), 20), [Path(f"/proc/{p}/cmdline").read_bytes() for p in _marked(mark)]
