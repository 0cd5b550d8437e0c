"""A server under load: many sessions, large requests beside small ones, clients that stand still; nothing grows."""

from __future__ import annotations

import gc
import os
import signal
import statistics
import threading
import time
from pathlib import Path

import pytest

import hugefs
from hugefs.wire import messages as wire
from tests.server.raw import RawClient, running_server
from tests.stories.storm import PAGE, everything_is_back, forked, leave, seconds, server_of, until, watched_mount


def test_two_hundred_sessions_come_and_go():
    """Each asks and makes something; at the end the server is as before: descriptors, sessions, pages."""
    with watched_mount(300 * PAGE, huge="off") as mount:
        server = server_of(mount)
        mount.zeros(1)
        gc.collect()
        before = _descriptors(server)
        for _ in range(max(1, int(seconds(1)))):
            others = [RawClient.connect(mount.address) for _ in range(200)]
            for number, other in enumerate(others):
                other.send(wire.Create, f"file-{number}", PAGE, b"")
            for other in others:
                reply, descriptors = other.receive()
                assert isinstance(reply, wire.Granted), reply
                os.close(descriptors[0])
            assert len(mount.holders()) == 200
            for number in range(200):
                mount.unlink(f"file-{number}")
            for other in others:
                other.close()
                RawClient.all.remove(other)
            everything_is_back(mount)
        assert until(lambda: _descriptors(server) == before), (_descriptors(server), before)


def _descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def test_small_requests_do_not_wait_for_large_ones():
    """Gigabytes are made and given back all the time; who asks for a page, or a number, hardly notices."""
    pages = 256 if _memory_gib() < 6 else 512
    with running_server(pages * 3, verify=False) as client:
        client.greet()
        stop = threading.Event()

        def glutton() -> None:
            mine = RawClient.connect(client.welcome.address)
            while not stop.is_set():
                reply, descriptors = mine.ask(wire.Create, None, pages * PAGE, b"")
                os.close(descriptors[0])
                mine.get(wire.Unmap, reply.mapping)

        threads = [threading.Thread(target=glutton) for _ in range(2)]
        for thread in threads:
            thread.start()
        asked, made = [], []
        end = time.monotonic() + seconds(1.5)
        while time.monotonic() < end:
            begin = time.monotonic()
            client.get(wire.Meminfo)
            asked.append(time.monotonic() - begin)
            begin = time.monotonic()
            reply = client.get(wire.Create, None, PAGE, b"")
            made.append(time.monotonic() - begin)
            client.get(wire.Unmap, reply.mapping)
        stop.set()
        for thread in threads:
            thread.join()
        for what, times in (("meminfo", asked), ("a page", made)):
            times.sort()
            p99 = times[len(times) * 99 // 100]
            print(f"{what}: {len(times)} times, median {statistics.median(times) * 1e3:.2f} ms, p99 {p99 * 1e3:.1f} ms")
        assert statistics.median(asked) < 0.02  # 512 pages take 300 ms and more
        assert statistics.median(made) < 0.1


def _memory_gib() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) / (1 << 20)


def test_a_stopped_client_harms_nobody(m: hugefs.Mount):
    """It asks and asks and then stands still, with answers unread: others are served, and its end is its end."""
    told, tells = os.pipe()
    address = m.address

    def ask_and_never_read() -> None:
        client = RawClient.connect(address)
        client.send(wire.Create, None, PAGE, b"")
        client.socket.settimeout(0.2)
        try:
            while True:
                client.send(wire.Holders)
        except TimeoutError:
            os.write(tells, b"x")
            signal.pause()

    child = forked(ask_and_never_read)
    os.read(told, 1)
    os.kill(child, signal.SIGSTOP)
    times = []
    for _ in range(100):
        begin = time.monotonic()
        assert m.meminfo().pages_free == 15
        times.append(time.monotonic() - begin)
    assert statistics.median(times) < 0.02
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert until(lambda: m.meminfo().pages_free == 16)
    os.close(told)
    os.close(tells)


# --- leaks ----------------------------------------------------------------------------------------------------------


def _resident_kib(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["RssAnon"].split()[0])


def _threads(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/task"))


@pytest.mark.parametrize(
    ("rounds", "connects"), [(150, 100), pytest.param(20_000, 5_000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_nothing_grows(rounds: int, connects: int):
    """Arrays made and dropped, names, files, mappings, clones, clients: memory, descriptors and threads stay."""
    with hugefs.mount(16 * PAGE, huge="off") as mount:
        server = server_of(mount)

        def live(times: int) -> None:
            for number in range(times):
                array = mount.zeros(10, name=f"n-{number}" if number % 3 == 0 else None)
                if number % 3 == 0:
                    mount.unlink(f"n-{number}")
                del array
                if number % 10 == 0:
                    with mount.open("f", "w+b", size=PAGE) as file, file.mmap() as mapping:
                        mapping.pin().release()
                    mount.unlink("f")

        def visit(times: int) -> None:
            for number in range(times):
                hugefs.connect(mount.address).meminfo()
                if number % 50 == 0:
                    child = forked(lambda: leave(0))
                    os.waitpid(child, 0)

        live(100 + rounds // 5)
        visit(60)
        gc.collect()
        before = [_resident_kib(server), _resident_kib(os.getpid())]
        counts = [_descriptors(server), _descriptors(os.getpid()), _threads(server), _threads(os.getpid())]
        live(rounds)
        visit(connects)
        gc.collect()
        after = [_resident_kib(server), _resident_kib(os.getpid())]
        assert until(
            lambda: [_descriptors(server), _descriptors(os.getpid()), _threads(server), _threads(os.getpid())] == counts
        )
        print(f"server {before[0]} to {after[0]} KiB, client {before[1]} to {after[1]} KiB")
        assert after[0] - before[0] < 2000  # of a leak of 100 bytes each time more would be seen
        assert after[1] - before[1] < 3000
        everything_is_back(mount)
