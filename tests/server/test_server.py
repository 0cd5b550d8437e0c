"""The server as its clients see it: grants, refusals, sessions that end, and clients that misbehave."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import random
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from hugefs.wire import messages as m
from hugefs.wire.codec import encode_request
from tests.server.raw import PAGE, RawClient, running_server, server_pid


@pytest.fixture
def client() -> Iterator[RawClient]:
    """A server with 16 pages, and a greeted session; the books are checked after every request."""
    with running_server(16) as raw:
        raw.greet()
        yield raw


def test_a_grant_is_backed_before_the_answer(client: RawClient) -> None:
    """Every page of a granted file has memory already, whoever touches it: fstat shows its blocks."""
    granted, [descriptor] = client.ask(m.Create, "a", 3 * PAGE, b"label")
    assert os.fstat(descriptor).st_blocks * 512 == 3 * PAGE
    with mmap.mmap(descriptor, 3 * PAGE) as pages:
        assert not any(pages[at] for at in range(0, 3 * PAGE, 4096))
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)  # sealed: nobody can cut it under another
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 4 * PAGE)
    assert (granted.size_bytes, granted.label) == (3 * PAGE, b"label")
    os.close(descriptor)


def test_a_large_file_is_made_ready_without_making_others_wait(client: RawClient) -> None:
    """While one client's memory is made ready another is answered; the first answer comes when it is there."""
    other = RawClient.connect(client.welcome.address)
    client.send(m.Create, "big", 16 * PAGE, b"")
    answered = [other.get(m.Meminfo).pages_free for _ in range(20)]
    granted, [descriptor] = client.receive()
    assert isinstance(granted, m.Granted)
    assert os.fstat(descriptor).st_blocks * 512 == 16 * PAGE
    assert set(answered) <= {0, 16}
    os.close(descriptor)
    other.close()


def test_who_asks_for_a_busy_file_waits_for_its_turn(client: RawClient) -> None:
    """A name is visible at once, but who opens it gets it only when all its pages are there."""
    other = RawClient.connect(client.welcome.address)
    client.send(m.Create, "big", 16 * PAGE, b"")
    granted, [descriptor] = other.ask(m.Get, "big", True) if other.free() == 0 else client.receive()
    assert isinstance(granted, m.Granted)
    assert os.fstat(descriptor).st_blocks * 512 == 16 * PAGE
    os.close(descriptor)
    other.close()


def test_a_session_that_dies_while_its_file_is_made_ready_leaves_nothing(client: RawClient) -> None:
    """The memory arrives for nobody: it goes back, and so does the name."""
    for _ in range(10):
        other = RawClient.connect(client.welcome.address)
        other.send(m.Create, "big", 16 * PAGE, b"")
        if random.random() < 0.5:  #  sometimes before, sometimes while
            time.sleep(random.random() * 0.01)
        other.close()
        while records := client.get(m.Holders).records:
            if records[0].how == "named":  # it had been granted before, and its name keeps it
                client.get(m.Unlink, "big")
        assert client.free() == 16


def test_all_a_session_holds_is_dropped_when_it_ends(client: RawClient) -> None:
    """Open files, mappings, private promises and pins, of linked and unlinked files, go with the socket."""
    other = RawClient.connect(client.welcome.address)
    opened = other.get(m.Open, "f", True, create=True, size_bytes=2 * PAGE)
    other.get(m.Map, opened.handle, 0, 2 * PAGE, "private")
    shared = other.get(m.Map, opened.handle, 0, 4 * PAGE, "shared")
    other.get(m.Pin, shared.mapping, 0, 1)
    other.get(m.Create, None, 5 * PAGE, b"")
    other.get(m.Unlink, "f")
    assert client.get(m.Meminfo).pages_available == 16 - 2 - 2 - 2 - 5
    assert {record.how for record in client.get(m.Holders).records} == {"open", "mapped", "private", "pinned"}
    other.close()
    assert client.until_free(16)
    assert client.get(m.Meminfo).pages_reserved == 0
    assert client.get(m.Holders).records == []


def test_a_refusal_names_wanted_available_mount_and_holders(client: RawClient) -> None:
    """Who is refused can see who must let go."""
    client.get(m.Create, "a", 10 * PAGE, b"")
    failure = client.get(m.Create, "b", 7 * PAGE, b"")
    assert (failure.errno, failure.wanted, failure.available, failure.mount) == (errno.ENOMEM, 7, 6, "private")
    assert [(h.pid, h.path, h.pages_count, h.how) for h in failure.holders] == [(os.getpid(), "a", 10, "mapped")]
    assert client.get(m.Listdir, "").names == ["a"]


def test_waiting_is_first_come_first_served(client: RawClient) -> None:
    """A small wish does not overtake a large one that came before it, with or without waiting."""
    held = client.get(m.Create, None, 12 * PAGE, b"")
    large, small, none = (RawClient.connect(client.welcome.address) for _ in range(3))
    large.send(m.Create, "large", 10 * PAGE, b"", wait=30.0)
    assert client.get(m.Meminfo).waiting == 1
    small.send(m.Create, "small", 1 * PAGE, b"", wait=30.0)
    assert client.get(m.Meminfo).waiting == 2
    assert none.get(m.Create, "none", 1 * PAGE, b"").errno == errno.ENOMEM
    assert [(r.how, r.path) for r in client.get(m.Holders).records if r.how == "waiting"] == [
        ("waiting", "large"),
        ("waiting", "small"),
    ]
    client.get(m.Unmap, held.mapping)
    for waiter in (large, small):
        reply, [descriptor] = waiter.receive()
        assert isinstance(reply, m.Granted)
        os.close(descriptor)
        waiter.close()
    none.close()


def test_who_waits_in_vain_dies_or_gives_up_leaves_the_queue(client: RawClient) -> None:
    """And the next one is served. Nobody holds pages while waiting."""
    held = client.get(m.Create, None, 12 * PAGE, b"")
    dying, giving_up, patient = (RawClient.connect(client.welcome.address) for _ in range(3))
    dying.send(m.Create, None, 10 * PAGE, b"", wait=30.0)
    cancelled = giving_up.send(m.Create, None, 10 * PAGE, b"", wait=30.0)
    patient.send(m.Create, None, 16 * PAGE, b"", wait=0.3)
    assert client.get(m.Meminfo).waiting == 3
    assert client.free() == 4
    failure, _ = patient.receive()
    assert (failure.errno, failure.waited, failure.wanted) == (errno.ENOMEM, True, 16)
    dying.close()
    giving_up.send(m.Cancel, cancelled)
    refused, done = giving_up.receive()[0], giving_up.receive()[0]
    assert (refused.id, refused.errno, done.__class__) == (cancelled, errno.ECANCELED, m.Done)
    assert client.get(m.Meminfo).waiting == 0
    client.get(m.Unmap, held.mapping)
    assert client.until_free(16)


def test_more_than_the_mount_has_is_refused_at_once(client: RawClient) -> None:
    """Waiting for what can never come would be waiting for ever."""
    assert client.get(m.Create, None, 17 * PAGE, b"", wait=60.0).errno == errno.ENOMEM
    assert client.get(m.Create, None, 2**62, b"", wait=60.0).errno == errno.ENOMEM


def test_a_clone_holds_what_its_original_held(client: RawClient) -> None:
    """The clone is made before the fork; whichever of the two ends first, the other still holds everything."""
    granted = client.get(m.Create, None, 3 * PAGE, b"")
    opened = client.get(m.Open, "f", True, create=True, size_bytes=PAGE)
    private = client.get(m.Map, opened.handle, 0, PAGE, "private")
    client.get(m.Unlink, "f")
    watcher = RawClient.connect(client.welcome.address)
    _, [descriptor] = client.ask(m.Clone)
    clone = RawClient(socket.socket(fileno=descriptor))
    clone.get(m.Introduce)
    client.get(m.Unmap, granted.mapping)
    client.get(m.Unmap, private.mapping)
    client.get(m.Close, opened.handle)
    assert watcher.free() == 16 - 3 - 1 - 1
    assert clone.get(m.Unmap, granted.mapping).__class__ is m.Done
    assert watcher.until_free(16 - 2)
    clone.close()
    assert watcher.until_free(16)
    watcher.close()


def test_a_clone_is_known_by_the_process_that_speaks_on_it(client: RawClient) -> None:
    """The pid comes from the kernel with the clone's first word, never from a message."""
    client.get(m.Create, "a", PAGE, b"")
    _, [descriptor] = client.ask(m.Clone)
    child = os.fork()
    if child == 0:
        clone = RawClient(socket.socket(fileno=descriptor))
        clone.get(m.Introduce)
        signal.pause()
        os._exit(0)
    os.close(descriptor)
    deadline = time.monotonic() + 10
    while {r.pid for r in client.get(m.Holders).records} != {os.getpid(), child}:
        assert time.monotonic() < deadline
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while {r.pid for r in client.get(m.Holders).records} != {os.getpid()}:
        assert time.monotonic() < deadline


def test_nonsense_costs_the_connection_and_nobody_else_anything(client: RawClient) -> None:
    """Garbage, cut and oversized packets, wrong types, no Hello, a wrong version: error or hang-up, never more."""
    client.get(m.Create, "a", PAGE, b"")
    good = encode_request(m.Create(1, "b", PAGE, b""))
    packets = [
        b"\x00",
        b"\xc1" * 100,
        good[:-1],
        good + b"\x00",
        os.urandom(5000),
        b"\x91\xa5Hello",
        b"\x93\xa5Hello\x01\xa1x",
    ]
    packets += [os.urandom(size) for size in range(1, 64)]
    for packet in packets:
        bad = RawClient.connect(client.welcome.address)
        bad.socket.send(packet)
        assert all(isinstance(reply, m.Failure | m.Done) for reply in bad.until_hung_up())
        bad.close()
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stranger.connect("\0" + client.welcome.address[1:])
    rude = RawClient(stranger)
    rude.send(m.Meminfo)
    assert rude.receive()[0].errno == errno.EPROTO
    old = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    old.connect("\0" + client.welcome.address[1:])
    assert RawClient(old).ask(m.Hello, m.VERSION + 1)[0].errno == errno.EPROTO
    assert client.get(m.Listdir, "").names == ["a"]
    assert client.free() == 15


def test_handles_of_others_and_forged_references_are_refused(client: RawClient) -> None:
    """Numbers mean something only in their own session; a file reference needs its random key."""
    granted = client.get(m.Create, "a", PAGE, b"")
    other = RawClient.connect(client.welcome.address)
    assert other.get(m.Unmap, granted.mapping).errno == errno.EBADF
    assert other.get(m.Close, 1).errno == errno.EBADF
    assert other.get(m.Unpin, 1).errno == errno.EBADF
    forged = m.FileRef(granted.file.inode, bytes(16))
    assert other.get(m.Attach, forged, True).errno == errno.ESTALE
    assert other.get(m.Attach, m.FileRef(99, granted.file.key), True).errno == errno.ESTALE
    assert other.get(m.Attach, granted.file, True).size_bytes == PAGE
    other.close()
    assert client.get(m.Unmap, granted.mapping).__class__ is m.Done
    assert client.get(m.Unlink, "a").__class__ is m.Done
    assert client.until_free(16)
    assert client.get(m.Attach, granted.file, True).errno == errno.ESTALE


def test_a_client_that_does_not_read_harms_nobody(client: RawClient) -> None:
    """Its answers are kept up to what its socket takes; then it is not read from any more."""
    lazy = RawClient.connect(client.welcome.address)
    lazy.socket.settimeout(0)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 100_000:
            lazy.send(m.Stat, path="")
            sent += 1
    assert 0 < sent < 100_000
    assert client.get(m.Meminfo).pages_free == 16
    lazy.close()
    assert client.get(m.Meminfo).pages_free == 16


def test_a_read_only_descriptor_cannot_be_written(client: RawClient) -> None:
    """What was granted for reading is a read-only descriptor: mapping it for writing is EACCES."""
    client.get(m.Create, "a", PAGE, b"")
    _, [descriptor] = client.ask(m.Get, "a", False)
    assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, PAGE)
    os.close(descriptor)


def test_fallocate_that_runs_out_keeps_what_it_got(client: RawClient) -> None:
    """As the kernel's: ENOSPC, the pages so far stay, the size does not grow; an open with a size keeps nothing."""
    opened = client.get(m.Open, "f", True, create=True)
    failure = client.get(m.Fallocate, opened.handle, 0, 20 * PAGE)
    assert (failure.errno, client.free()) == (errno.ENOSPC, 0)
    stat = client.get(m.Stat, handle=opened.handle)
    assert (stat.size_bytes, stat.pages_count) == (0, 16)
    client.get(m.Truncate, opened.handle, 0)
    assert client.free() == 16
    assert client.get(m.Open, "g", True, create=True, size_bytes=20 * PAGE).errno == errno.ENOSPC
    assert client.free() == 16
    assert client.get(m.Listdir, "").names == ["f"]


def test_a_hole_reads_as_zeros_and_its_memory_goes_back(client: RawClient) -> None:
    """Punching gives the memory to the kernel; over a mapped promise the page stays, and is cleared."""
    opened, [descriptor] = client.ask(m.Open, "f", True, create=True, size_bytes=4 * PAGE)
    os.pwrite(descriptor, b"x" * 4 * PAGE, 0)
    assert client.get(m.PunchHole, opened.handle, PAGE, PAGE).__class__ is m.Done
    assert os.pread(descriptor, 4 * PAGE, 0) == b"x" * PAGE + bytes(PAGE) + b"x" * 2 * PAGE
    assert os.fstat(descriptor).st_blocks * 512 == 3 * PAGE
    assert client.free() == 13
    client.get(m.PunchHole, opened.handle, 100, 200)
    assert os.pread(descriptor, 400, 0) == b"x" * 100 + bytes(200) + b"x" * 100
    client.get(m.Truncate, opened.handle, PAGE)
    client.get(m.Truncate, opened.handle, 4 * PAGE)
    assert os.pread(descriptor, 4 * PAGE, 0)[PAGE:] == bytes(3 * PAGE)
    assert client.free() == 15
    os.close(descriptor)


def test_a_minimum_is_there_from_the_start() -> None:
    """min_size takes its memory at the mount, and the files of the mount use it up first."""
    with running_server(16, "--pages-min", "8") as client:
        client.greet()
        assert client.get(m.Meminfo).pages_reserved == 8
        client.get(m.Create, "a", 6 * PAGE, b"")
        assert client.get(m.Meminfo).pages_reserved == 2
        client.get(m.Create, "b", 6 * PAGE, b"")
        assert client.get(m.Meminfo).pages_reserved == 0
        assert client.get(m.Create, "c", 5 * PAGE, b"").errno == errno.ENOMEM


def test_the_server_ends_with_its_last_session() -> None:
    """No process stays, also where sessions are killed in the middle of something."""
    with running_server(16) as client:
        client.greet()
        pid = server_pid(client)
        assert pid is not None
        other = RawClient.connect(client.welcome.address)
        client.close()
        assert other.free() == 16
        other.send(m.Create, None, 16 * PAGE, b"")
        other.close()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.01)


def test_unmounting_keeps_what_an_io_holds(client: RawClient) -> None:
    """EBUSY while a file is open; a pin alone makes nothing busy, and its pages stay counted until it is dropped."""
    opened = client.get(m.Open, "f", True, create=True, size_bytes=4 * PAGE)
    mapped = client.get(m.Map, opened.handle, 0, 4 * PAGE, "shared")
    pinned = client.get(m.Pin, mapped.mapping, 0, 3)
    client.get(m.Unlink, "f")
    assert client.get(m.Umount).errno == errno.EBUSY
    client.get(m.Unmap, mapped.mapping)
    client.get(m.Close, opened.handle)
    assert client.get(m.Umount).__class__ is m.Done
    assert client.free() == 13
    assert client.get(m.Open, "f", True, create=True).errno == errno.ENOENT
    assert client.get(m.Create, None, PAGE, b"").errno == errno.ENOENT
    assert client.get(m.Unpin, pinned.pin).__class__ is m.Done
    assert client.free() == 16
