"""The storm: many processes that do random things on one mount, and die at random moments.

Rule 1: everything random comes from one seed; a failure prints it, and how to have it again.
Rule 2: the server checks its books after every request; what it complains of fails the test, whoever caused it.
Rule 3: a worker may be refused (no space, no such file) and killed. Any other exception or signal is a failure.
Rule 4: what was granted is touched, and what is given up is looked at first: nobody else's bytes may be in it.

HUGEFS_STORM_SECONDS: how long (for hours, too); HUGEFS_STORM_SEED: which.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import random
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import hugefs
from hugefs.linux.huge_page_settings import CannotRunHere, huge_page_settings

PAGE = 2 << 20
REFUSALS = (
    hugefs.NoHugePages,
    hugefs.NoSpace,
    hugefs.NotFound,
    hugefs.Exists,
    hugefs.StaleHandle,
    hugefs.BusError,
    hugefs.InvalidRequest,
)
TROUBLE = ("Traceback", "bug in hugefs", "could not be carried out", " ERROR ", " CRITICAL ")
SEED = int(os.environ.get("HUGEFS_STORM_SEED", random.SystemRandom().randrange(10**9)))
_libc = ctypes.CDLL(None, use_errno=True)


def seconds(otherwise: float) -> float:
    """How long this storm shall last."""
    return float(os.environ.get("HUGEFS_STORM_SECONDS", otherwise))


@contextmanager
def replayable(test: str) -> Iterator[random.Random]:
    """Random numbers of this run's seed; a failure says how to have them again."""
    try:
        yield random.Random(SEED)
    except BaseException:
        print(f"\nreplay: HUGEFS_STORM_SEED={SEED} .venv/bin/python -m pytest '{test}'", file=sys.stderr)
        raise


@contextmanager
def pool(pages: int) -> Iterator[None]:
    """The machine's pool, exactly so large."""
    try:
        with huge_page_settings(pages, pages_overcommit=0):
            yield
    except CannotRunHere as error:
        pytest.skip(f"huge pages cannot be set up: {error}")


# --- a mount whose server is listened to ----------------------------------------------------------------------------


@contextmanager
def watched_mount(size: Any, **options: Any) -> Iterator[hugefs.Mount]:
    """A mount on a server that checks its books after each request; its complaints fail the test."""
    with tempfile.TemporaryFile("w+") as log:
        with _stderr_is(log), _environment(HUGEFS_VERIFY="1", HUGEFS_LOG="stderr"):
            mount = hugefs.mount(size, **options)
        try:
            with mount:
                yield mount
        finally:
            log.seek(0)
            trouble = log.read()
            assert not any(word in trouble for word in TROUBLE), f"the server complained (seed {SEED}):\n{trouble}"


@contextmanager
def _stderr_is(file: Any) -> Iterator[None]:
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _environment(**wanted: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def server_of(mount: hugefs.Mount) -> int:
    """The process that serves a mount: it listens at the mount's address."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    sockets = {f"socket:[{line.split()[6]}]" for line in lines if line.endswith(mount.address)}
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (directory / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in sockets:
                        return int(directory.name)
    raise AssertionError(f"nobody listens at {mount.address}")


def until(condition: Callable[[], bool], limit_seconds: float = 10.0) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def everything_is_back(mount: hugefs.Mount) -> None:
    """Nobody holds anything: not in the books, and not in the server's memory either."""
    until(lambda: mount.meminfo().pages_free == mount.meminfo().pages_total)
    counters = mount.meminfo()
    held = list(map(str, mount.holders()))
    facts = (counters.pages_free, counters.pages_reserved, counters.pages_surplus, counters.waiting, held)
    assert facts == (counters.pages_total, 0, 0, 0, []), f"{facts} of {counters.pages_total} (seed {SEED})"
    assert counters.pages_available == counters.pages_total, (counters, SEED)
    assert until(lambda: not memory_of(server_of(mount))), (memory_of(server_of(mount)), SEED)


def memory_of(server: int) -> list[str]:
    """The files whose memory a server has."""
    names = []
    for descriptor in Path(f"/proc/{server}/fd").iterdir():
        with suppress(OSError):
            name = os.readlink(descriptor)
            if name.startswith("/memfd:hugefs:") and "minimum" not in name:
                names.append(name)
    return names


# --- one process of the storm ---------------------------------------------------------------------------------------


class Worker:
    """Does random things with one mount, and forgets random things again."""

    def __init__(self, mount: hugefs.Mount, seed: int, tally: Callable[[str], None], depth: int = 0) -> None:
        self.mount = mount
        self.random = random.Random(seed)
        self.tally = tally
        self.depth = depth
        self.arrays: list[tuple[Any, int]] = []  # with the number that is written all over it
        self.held: list[Any] = []  # files, mappings, pins
        self.files: list[hugefs.HugeFile] = []

    def run(self, operations: int) -> None:
        """So many random operations, if it lives that long."""
        choices = [
            (self.nameless, 6),
            (self.publish, 6),
            (self.read, 6),
            (self.unlink, 5),
            (self.open, 6),
            (self.change_file, 8),
            (self.map_file, 6),
            (self.map_private, 3),
            (self.pin, 4),
            (self.wait, 2),
            (self.handle, 3),
            (self.ask, 3),
            (self.fork, 2),
            (self.forget, 14),
        ]
        actions = [action for action, _ in choices]
        weights = [weight for _, weight in choices]
        for _ in range(operations):
            with suppress(*REFUSALS):
                self.random.choices(actions, weights)[0]()
            self.tally("operations")

    def pages(self) -> int:
        return self.random.choice((1, 1, 1, 2, 3, 5))

    def keep_array(self, array: Any) -> None:
        number = self.random.randrange(1, 1 << 30)
        array[:] = number
        self.arrays.append((array, number))

    def nameless(self) -> None:
        self.keep_array(self.mount.zeros(self.pages() * PAGE // 4, "u4"))

    def publish(self) -> None:
        """Seen by others only when all of it is written: what they find must be complete, whoever died."""
        name = f"{os.getpid()}-{self.random.randrange(1 << 40):x}"
        array = self.mount.zeros(self.pages() * PAGE // 4, "u4", name="draft-" + name)
        array[:] = written_in("done-" + name)
        self.mount.rename("draft-" + name, "done-" + name)

    def read(self) -> None:
        names = [name for name in self.mount.listdir() if name.startswith("done-")]
        if names:
            name = self.random.choice(names)
            array = self.mount.get(name)
            assert int(array[0]) == int(array[-1]) == written_in(name), name
            self.held.append(array)

    def unlink(self) -> None:
        names = self.mount.listdir()
        if len(names) > 4:
            self.mount.unlink(self.random.choice(names))

    def open(self) -> None:
        name = f"file-{self.random.randrange(6)}"
        size = self.random.choice((None, 0, PAGE, 3 * PAGE))
        mode = "rb" if size is None and self.random.random() < 0.3 else self.random.choice(("r+b", "w+b"))
        self.files.append(self.mount.open(name, mode, size))
        del self.files[:-5]

    def file(self) -> hugefs.HugeFile:
        if not self.files:
            raise hugefs.NotFound("none open")
        return self.random.choice(self.files)

    def change_file(self) -> None:
        file, at, length = self.file(), self.random.randrange(6) * PAGE, self.pages() * PAGE
        with suppress(hugefs.PermissionDenied, hugefs.BadHandle, OSError):
            match self.random.randrange(5):
                case 0:
                    file.truncate(at)
                case 1:
                    file.fallocate(at, length, keep_size=self.random.random() < 0.3)
                case 2:
                    file.punch_hole(at + self.random.choice((0, 777)), length)
                case 3:
                    file.pwrite(b"storm" * 1000, at + self.random.randrange(PAGE))
                case 4:
                    file.pread(5000, at)

    def map_file(self) -> None:
        with suppress(hugefs.PermissionDenied, OSError):
            mapping = self.file().mmap(self.random.randrange(3) * PAGE, self.pages() * PAGE)
            for page in range(0, len(mapping), PAGE):
                mapping[page] = 1  # promised: must not fault
            self.held.append(mapping)

    def map_private(self) -> None:
        mapping = self.file().mmap(0, self.pages() * PAGE, access="private")
        for page in range(0, len(mapping), PAGE):
            mapping[page] = 2
        self.held.append(mapping)

    def pin(self) -> None:
        mappings = [thing for thing in self.held if isinstance(thing, hugefs.Mapping)]
        if mappings:
            self.held.append(self.random.choice(mappings).pin(0, 1))

    def wait(self) -> None:
        self.keep_array(self.mount.zeros(self.pages() * PAGE // 4, "u4", wait=self.random.random() / 5))

    def handle(self) -> None:
        if self.arrays:
            array, number = self.random.choice(self.arrays)
            again = pickle.loads(pickle.dumps(array[len(array) // 2 :]))
            assert int(again[0]) == number
            self.held.append(again)

    def ask(self) -> None:
        assert self.mount.meminfo().pages_free >= 0
        self.mount.holders()

    def fork(self) -> None:
        """The child goes on with all it inherited; sometimes its parent is gone at once."""
        if self.depth == 2:
            return
        seed = self.random.randrange(1 << 60)
        child = os.fork()
        if child == 0:
            self.random, self.depth = random.Random(seed), self.depth + 1
            self.tally("forks")
            for array, number in self.arrays:
                assert int(array[-1]) == number
            self.run(self.random.randrange(40))
            leave(0)
        if self.random.random() < 0.2:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.random.random() < 0.5:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)

    def forget(self) -> None:
        for things in (self.arrays, self.held):
            if len(things) > self.random.randrange(8):
                self.random.shuffle(things)
                thing = things.pop()
                if things is self.arrays:
                    array, number = thing
                    assert int(array.min()) == int(array.max()) == number, "somebody else wrote here"


def written_in(name: str) -> int:
    """What a published array is full of."""
    return zlib.crc32(name.encode())


def leave(status: int) -> None:
    """Out of a forked child, without the test run's own farewells."""
    os._exit(status)


def forked(work: Callable[[], object], complaints: Path | None = None) -> int:
    """A forked child that does ``work``; its pid. What goes wrong there is written to ``complaints``."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 — whatever it was, a forked child must not return into pytest
        complain(complaints)
    finally:
        leave(status)
    return 0


def complain(complaints: Path | None) -> None:
    """The exception that is being handled, for the test to find."""
    text = f"pid {os.getpid()}:\n{traceback.format_exc()}\n"
    if complaints is None:
        sys.stderr.write(text)
    else:
        with complaints.open("a") as file:
            file.write(text)


def main(address: str, seed: str, operations: str, complaints: str) -> None:
    """A worker that is a program of its own."""
    try:
        Worker(hugefs.connect(address), int(seed), lambda what: None).run(int(operations))
    except BaseException:  # noqa: BLE001
        complain(Path(complaints))
        leave(1)


# --- all of them ----------------------------------------------------------------------------------------------------


class Storm:
    """Workers on one mount, and whoever kills them."""

    def __init__(self, mount: hugefs.Mount, chance: random.Random, directory: Path) -> None:
        self.mount = mount
        self.random = chance
        self.complaints = directory / "complaints"
        self.complaints.touch()
        self.endings: Counter[int] = Counter()
        self.kills = 0
        self._counters = mmap.mmap(-1, 1 << 20)  # shared with every fork; a count lost here and there is no harm
        self._group = forked(lambda: time.sleep(10**6))
        os.setpgid(self._group, self._group)
        self._alive: set[int] = set()

    def tally(self, what: str) -> None:
        at = (os.getpid() % 4096) * 16 + (8 if what == "forks" else 0)
        self._counters[at : at + 8] = (int.from_bytes(self._counters[at : at + 8]) + 1).to_bytes(8)

    def counted(self, what: str) -> int:
        start = 8 if what == "forks" else 0
        return sum(int.from_bytes(self._counters[at : at + 8]) for at in range(start, 1 << 16, 16))

    def rage(self, limit_seconds: float, workers: int = 10, program_every: int = 12) -> None:
        """Until the time is over: always so many workers, and some are killed every few milliseconds."""
        deadline = time.monotonic() + limit_seconds
        started = 0
        _libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to us, and we see how they ended
        try:
            while time.monotonic() < deadline:
                while len(self._alive) < workers:
                    started += 1
                    self._start(self.random.randrange(1 << 60), is_program=started % program_every == 0)
                members = self._members()
                for victim in self.random.sample(members, min(len(members), self.random.randrange(4))):
                    self.kills += 1
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                    time.sleep(self.random.random() * 0.01)
                self._reap()
            self._end_all()
        finally:
            _libc.prctl(36, 0, 0, 0, 0)
        assert not self.complaints.read_text(), f"seed {SEED}\n{self.complaints.read_text()}"
        assert set(self.endings) <= {0, -signal.SIGKILL}, (self.endings, SEED)

    def survivors_are_whole(self) -> int:
        """Every array that was published and not unlinked has every byte; afterwards no name is left."""
        kept = 0
        while names := self.mount.listdir():
            kept += len(names)
            for name in names:
                if name.startswith("done-"):
                    array = self.mount.get(name)
                    assert int(array.min()) == int(array.max()) == written_in(name), (name, SEED)
                    del array
                    self.mount.unlink(name)
                    continue
                with suppress(hugefs.NotFound):  # what was being made for the dead goes by itself, perhaps only now
                    self.mount.unlink(name)
        return kept

    def _start(self, seed: int, *, is_program: bool) -> None:
        operations = self.random.randrange(5, 120)
        if is_program:
            source = "import sys; from tests.stories import storm; storm.main(*sys.argv[1:])"
            arguments = [self.mount.address, str(seed), str(operations), str(self.complaints)]
            here = Path(__file__).parents[2]
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-c", source, *arguments],
                {**os.environ, "PYTHONPATH": f"{here / 'src'}:{here}"},
                setpgroup=self._group,
            )
        else:
            pid = forked(lambda: self._work(seed, operations), self.complaints)
            with suppress(OSError):
                os.setpgid(pid, self._group)
        self._alive.add(pid)

    def _work(self, seed: int, operations: int) -> None:
        os.setpgid(0, self._group)
        Worker(self.mount, seed, self.tally).run(operations)

    def _members(self) -> list[int]:
        members = []
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == self._group and fields[0] != "Z" and int(directory.name) != self._group:
                    members.append(int(directory.name))
        return members

    def _reap(self, flags: int = os.WNOHANG) -> bool:
        """Whoever of the group has ended. False where nobody is left."""
        while True:
            try:
                pid, status = os.waitpid(-self._group, flags)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._alive.discard(pid)
            self.endings[os.waitstatus_to_exitcode(status)] += 1

    def _end_all(self) -> None:
        """Nobody of the group is left, also none who was just being forked."""
        os.killpg(self._group, signal.SIGKILL)
        while self._reap(0):
            pass
