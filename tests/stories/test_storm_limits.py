"""At every limit: full mounts on every backing, a pool that others empty, clients without manners, odd surroundings."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from mmap import MAP_POPULATE, MAP_SHARED, mmap
from pathlib import Path

import msgspec
import numpy as np
import pytest

import hugefs
from hugefs.memory import Backing, probe
from hugefs.wire import messages as wire
from hugefs.wire.codec import encode_request
from tests.server.raw import RawClient, running_server, server_pid
from tests.stories.storm import PAGE, everything_is_back, forked, pool, until, watched_mount

HERE = Path(__file__).parents[2]
PAGES = 16


# --- full -----------------------------------------------------------------------------------------------------------


def _touch_all(mount: hugefs.Mount, names: list[str]) -> None:
    """In other processes, all at once: what was granted cannot fault."""

    def touch() -> None:
        for name in names:
            mount.get(name, writable=True)[::4096] = 1

    children = [forked(touch) for _ in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


@pytest.mark.parametrize("backing", list(Backing))
def test_exactly_full_means_exactly(backing: Backing):
    """One array of all pages, or one per page: the last is granted, the next refused with holders, all touchable."""
    if backing is Backing.HUGETLB:
        with pool(PAGES):
            _fill("require", backing)
    elif backing is Backing.THP and probe(PAGE, 1 << 40).backing is not Backing.THP:
        pytest.skip("this kernel makes no transparent huge pages for shared memory")
    else:
        with pool(0) if os.geteuid() == 0 else nullcontext():
            _fill("off" if backing is Backing.BASE else "prefer", backing)


def _fill(huge: str, backing: Backing) -> None:
    with watched_mount(PAGES * PAGE, huge=huge) as mount:
        assert mount.backing == backing
        for count in (1, PAGES):
            names = [f"part-{number}" for number in range(count)]
            for name in names:
                mount.zeros(PAGES * PAGE // count, "u1", name=name)
            with pytest.raises(hugefs.NoHugePages) as refusal:
                mount.zeros(1)
            assert (refusal.value.wanted, refusal.value.available, len(refusal.value.holders)) == (1, 0, min(count, 8))
            with mount.open("part-0") as file, pytest.raises(hugefs.NoHugePages):
                file.mmap(access="private")
            with pytest.raises(hugefs.NoSpace):
                mount.open("more", size=1)
            assert mount.listdir() == sorted(names)
            _touch_all(mount, names)
            for name in names:
                mount.unlink(name)
            everything_is_back(mount)
        with pytest.raises(hugefs.NoHugePages):
            mount.zeros(PAGES * PAGE + 1, "u1", wait=100)  # can never be: not waited for


@contextmanager
def taken_by_somebody_else(pages: int) -> Iterator[None]:
    """Huge pages of the machine's pool that hugefs has no part in."""
    fd = os.memfd_create("somebody-else", 4 | 21 << 26)  # MFD_HUGETLB, 2 MiB
    try:
        os.ftruncate(fd, pages * PAGE)
        with mmap(fd, pages * PAGE, flags=MAP_SHARED | MAP_POPULATE):
            yield
    finally:
        os.close(fd)


def test_a_pool_that_somebody_else_empties_is_said_or_made_up_for():
    """Between mount and create. With "require" a refusal with its remedy, with "prefer" other memory, said so."""
    with pool(PAGES):
        with watched_mount(PAGES * PAGE, huge="require") as mount, taken_by_somebody_else(PAGES):
            with pytest.raises(hugefs.NoHugePages, match=r"echo .* > /proc/sys/vm/nr_hugepages"):
                mount.zeros(3 * PAGE, "u1", name="none")
            with pytest.raises(hugefs.NoSpace, match=r"echo .* > /proc/sys/vm/nr_hugepages"):
                mount.open("none", size=PAGE)
            assert mount.listdir() == []
            everything_is_back(mount)
        with watched_mount(PAGES * PAGE, huge="prefer") as mount:
            assert mount.backing == "hugetlb"
            with taken_by_somebody_else(PAGES):
                array = mount.zeros(3 * PAGE, "u1", name="lesser")
                array[:] = 1
                assert array.backing in ("thp", "base")
                assert mount.backing == array.backing
                with mount.open("file", "w+b") as file:
                    assert file.pwrite(b"here", 0) == 4
                    assert file.pread(4, 0) == b"here"


def test_a_file_that_is_open_stays_on_its_memory():
    """Its descriptor is out: on other memory, what is written through a mapping would not be what is read from it."""
    with pool(PAGES), watched_mount(PAGES * PAGE, huge="prefer") as mount:
        with mount.open("early", "w+b") as file:
            with taken_by_somebody_else(PAGES):
                with pytest.raises(hugefs.NoSpace, match="mend it"):
                    file.pwrite(b"here", 0)
                file.truncate(PAGE)
                with pytest.raises(hugefs.NoHugePages):
                    file.mmap()
                assert file.pread(4, 0) == b"\0\0\0\0"
            assert file.pwrite(b"here", 0) == 4
            assert bytes(file.mmap()[:4]) == file.pread(4, 0) == b"here"
            assert file.backing == "hugetlb"
        mount.unlink("early")
        everything_is_back(mount)


# --- clients without manners ----------------------------------------------------------------------------------------


def test_descriptors_that_nobody_asked_for_are_closed():
    """A client that sends some with each request would else fill the server's table."""
    with running_server(4) as client:
        client.greet()
        server = server_pid(client)
        before = len(os.listdir(f"/proc/{server}/fd"))
        stray = os.open("/dev/null", os.O_RDONLY)
        for number in range(1000, 1050):
            socket.send_fds(client.socket, [encode_request(wire.Meminfo(number))], [stray] * 4)
            client.receive()
        os.close(stray)
        assert len(os.listdir(f"/proc/{server}/fd")) == before


def test_answers_out_of_turn_reach_a_client_that_reads_late():
    """Hundreds wait for one file and are answered at once: more than the socket takes, and nothing is sent after it."""
    with running_server(400, verify=False) as client:
        client.greet()
        server = server_pid(client)
        client.send(wire.Create, "big", 300 * PAGE, b"")
        for _ in range(600):
            client.send(wire.Get, "big", True)
        watcher = RawClient.connect(client.welcome.address)
        assert until(lambda: watcher.get(wire.Stat, "big").pages_count == 300 and _is_idle(server))
        for _ in range(601):
            _, descriptors = client.receive()
            for descriptor in descriptors:
                os.close(descriptor)


def _is_idle(process: int | None) -> bool:
    """Whether it used no processor for a while. A server that spins never is."""

    def ticks() -> int:
        return sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))

    before = ticks()
    time.sleep(0.1)
    return ticks() == before


def test_who_waits_is_served_when_another_dies_while_its_file_is_made():
    """The pages come back after the session's end has been dealt with: somebody must look at the queue again."""
    with running_server(400, verify=False) as client:
        client.greet()
        for _ in range(5):
            dying = RawClient.connect(client.welcome.address)
            dying.send(wire.Create, None, 300 * PAGE, b"")
            assert until(lambda: client.free() == 100)
            client.send(wire.Create, None, 300 * PAGE, b"", wait=30.0)
            dying.close()
            begin = time.monotonic()
            reply, descriptors = client.receive()
            assert isinstance(reply, wire.Granted), reply
            assert time.monotonic() - begin < 15
            os.close(descriptors[0])
            client.get(wire.Unmap, reply.mapping)
            assert client.until_free(400)


# --- odd surroundings -----------------------------------------------------------------------------------------------

USUAL = """
import pickle
import hugefs
mount = hugefs.mount("8M", huge="off")
array = mount.zeros(10, name="a")
array[:] = 3
mount.open("f", "w+b", size="2M").pwrite(b"x", 0)
assert float(pickle.loads(pickle.dumps(array)).sum()) == 30
assert (mount.meminfo().pages_free, mount.backing) == (2, "base")
with open(OUT, "w") as out:
    out.write("done")
"""
BLOCKED = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
NO_CHILDREN = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
IN_A_THREAD = (
    "import threading; thread = threading.Thread(target=exec, args=(USUAL, dict(OUT=OUT)))\n"
    "thread.start(); thread.join()"
)
LITTLE_SPACE = "import resource; resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))\n"
SURROUNDINGS = {
    "as usual, and every warning is an error": (["-W", "error"], USUAL, ""),
    "without asserts and docstrings": (["-OO"], USUAL.replace("assert", "_ ="), ""),
    "without stdin": ([], USUAL, "exec <&-"),
    "without stdin, stdout and stderr": ([], USUAL, "exec <&- >&- 2>&-"),
    "without stdout": ([], USUAL, "exec >&-"),
    "with all signals blocked": ([], BLOCKED + USUAL, ""),
    "with children that nobody waits for": ([], NO_CHILDREN + USUAL, ""),
    "from a thread": ([], IN_A_THREAD, ""),
    "with 16 descriptors": ([], USUAL, "ulimit -n 16"),
    "with little address space": ([], LITTLE_SPACE + USUAL, ""),
    "with a small stack": ([], USUAL, "ulimit -s 256"),
    "without a terminal": ([], USUAL, "exec setsid"),
    "in a directory that is gone": ([], USUAL, 'mkdir gone && cd gone && rmdir "$PWD"'),
    "beside files called as our libraries": (
        [],
        USUAL,
        "for name in msgspec numpy hugefs socket; do echo 'raise SystemExit(9)' > $name.py; done",
    ),
    "where nothing can be written": ([], USUAL, "export HOME=/proc TMPDIR=/proc XDG_CACHE_HOME=/proc"),
    "with a mask that forbids everything": ([], USUAL, "umask 0777"),
}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE / "src")}


QUICK = ("as usual", "without stdin, stdout", "with all signals", "with 16", "beside", "with little")


@pytest.mark.parametrize(
    "surroundings",
    [pytest.param(name, marks=() if name.startswith(QUICK) else pytest.mark.slow) for name in SURROUNDINGS],
)
def test_a_mount_in_odd_surroundings(surroundings: str, tmp_path: Path):
    """It works, and says nothing."""
    options, source, before = SURROUNDINGS[surroundings]
    out = tmp_path / "out"
    out.touch(0o666)
    script = tmp_path / "elsewhere" / "program.py"
    script.parent.mkdir()
    script.write_text(f"OUT = {str(out)!r}\nUSUAL = {USUAL!r}\n{source}")
    program = f"{'' if before.startswith('exec set') else 'exec '}{sys.executable} {' '.join(options)} {script}"
    shell = f"{before} {program}" if before.startswith("exec set") else f"{before or 'true'}; {program}"
    done = subprocess.run(
        ["sh", "-c", shell], env=_environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, out.read_text(), done.stdout, done.stderr) == (0, "done", "", "")


@pytest.mark.root
def test_a_mount_without_proc(tmp_path: Path):
    """As in a chroot or a sparse container."""
    out = tmp_path / "out"
    script = tmp_path / "program.py"
    script.write_text(f"OUT = {str(out)!r}\n{USUAL}")
    shell = f"umount -l /proc && exec {sys.executable} {script}"
    command = ["unshare", "--mount", "sh", "-c", shell]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=60, check=False)
    if "unshare:" in done.stderr or "umount:" in done.stderr:
        pytest.skip("no mount namespace can be had")
    assert (done.returncode, out.read_text(), done.stderr) == (0, "done", "")


def test_libraries_that_are_on_sys_path_alone(tmp_path: Path):
    """Vendored, or put there by an application: its server is another process, and must find them as well."""
    vendored = tmp_path / "vendored"
    vendored.mkdir()
    out = tmp_path / "out"
    for module in (msgspec, np):
        package = Path(str(module.__file__)).parent
        for part in package.parent.glob(package.name + "*"):
            (vendored / part.name).symlink_to(part)
    source = f"import sys; sys.path[:0] = {[str(HERE / 'src'), str(vendored)]}\nOUT = {str(out)!r}\n{USUAL}"
    command = [sys.executable, "-I", "-S", "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, out.read_text() if out.exists() else "", done.stderr) == (0, "done", "")


def test_a_user_who_may_have_no_more_processes_is_told_so():
    """At each step of starting a server something may be missing; no step hangs, each says what it was."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    source = (
        "import os, resource, sys\nimport hugefs\nimport hugefs.client.launch\nhugefs.mount\n"  # loaded as root
        "os.setgroups([]); os.setresgid(64321, 64321, 64321); os.setresuid(64321, 64321, 64321)\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[1]),) * 2)\n"
        "try:\n    mount = hugefs.mount('8M', huge='off')\n    print(mount.zeros(6 << 20, 'u1').sum())\n"
        "except hugefs.HugefsError as error:\n    print(type(error).__name__, error)\n"
    )
    told = []
    for processes in (1, 2, 3, 12):
        command = [sys.executable, "-c", source, str(processes)]
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=60, check=False)
        if "ermission denied" in done.stdout + done.stderr:
            pytest.skip("this Python cannot be read by an ordinary user")
        told.append(done.stdout.strip())
    assert all("EAGAIN" in text or "RLIMIT_NPROC" in text for text in told[:3]), told
    assert told[3] == "0", told


def test_a_killed_server_leaves_no_one_hanging_and_nothing_on_stderr(tmp_path: Path):
    """Waiters, other threads, forks, finalisers and the interpreter's exit: all end, and quietly."""
    source = """
import gc, os, signal, threading, time
import hugefs
from tests.stories.storm import server_of
mount = hugefs.mount("16M", huge="off")
array = mount.zeros(4 << 20, "u1", name="a")
file = mount.open("f", "w+b", size="4M")
mapping, private = file.mmap(), file.mmap(access="private")
pin, view = mapping.pin(), memoryview(mapping)
ended = []
def wait():
    try:
        mount.zeros(12 << 20, "u1", wait=1000)
    except hugefs.ServerGone:
        ended.append(1)
threads = [threading.Thread(target=wait) for _ in range(5)]
for thread in threads:
    thread.start()
while mount.meminfo().waiting < 5:
    time.sleep(0.01)
os.kill(server_of(mount), signal.SIGKILL)
for thread in threads:
    thread.join(10)
assert len(ended) == 5
array[:], private[:1], view[:1] = 7, b"p", b"v"
if os.fork() == 0:
    assert array.min() == 7 and private[:1] == b"p"
    try:
        mount.meminfo()
    except hugefs.ServerGone:
        os._exit(0)
    os._exit(1)
assert os.wait()[1] == 0
array = mapping = pin = None
gc.collect()
"""
    command = [sys.executable, "-X", "dev", "-c", source]
    environment = {**os.environ, "PYTHONPATH": f"{HERE / 'src'}:{HERE}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=HERE)
    assert (done.returncode, done.stderr) == (0, "")
