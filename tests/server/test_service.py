"""The service without a process around it: what happens while memory is being made ready, and when it cannot be had."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from hugefs.core.check import check
from hugefs.core.filesystem import Filesystem
from hugefs.core.mount_options import MountOptions
from hugefs.errors import NoHugePages
from hugefs.memory.backing import Backing
from hugefs.memory.memory_file import MemoryFile
from hugefs.server import handlers, handlers_names
from hugefs.server.handling import HANDLERS
from hugefs.server.service import Service
from hugefs.server.session import Session
from hugefs.server.store import Store
from hugefs.wire import messages as m
from hugefs.wire.codec import decode_reply

PAGE = 2 << 20
PAGES = 64
REGISTERED = (handlers.__name__, handlers_names.__name__)  # importing them is what registers


class Client:
    """A session, and the other end of its socket."""

    all: ClassVar[list[Client]] = []

    def __init__(self, service: Service) -> None:
        self.all.append(self)
        self.socket, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.service = service
        self.session = Session(ours, 1, 0, 0)
        self.session.greeted = True
        service.sessions[self.session] = None

    def ask(self, request: Any) -> None:
        """Have a request served."""
        self.service.dispatch(self.session, request)

    def answer(self) -> Any:
        """The next answer; its descriptor is closed."""
        packet, descriptors, _, _ = socket.recv_fds(self.socket, m.MESSAGE_BYTES_MAX, 1)
        for descriptor in descriptors:
            socket.close(descriptor)
        return decode_reply(packet)


@pytest.fixture
def service() -> Iterator[Service]:
    """A service with a mount of 64 base pages."""
    fs = Filesystem(PAGE, PAGES)
    superblock = fs.mount("test", MountOptions(PAGES))
    store = Store(PAGE, Backing.BASE, may_fall_back=True)
    made = Service(fs, superblock, store, HANDLERS, address="@test", identity=bytes(16), verify=True)
    yield made
    for session in list(made.sessions):
        made.end_session(session)
    while Client.all:
        Client.all.pop().socket.close()
    store.close()


class Gate:
    """Memory that is made ready only when a test says so, and only if it says that it can be had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.has_memory = True
        back = MemoryFile.back

        def gated(file: MemoryFile, offset: int, length: int) -> None:
            if length > PAGE:  # what is small is done at once
                assert self.opened.wait(20)
                if not self.has_memory:
                    raise NoHugePages("no memory, says the test")
            back(file, offset, length)

        monkeypatch.setattr(MemoryFile, "back", gated)

    def open(self, service: Service) -> None:
        """Let it go on, and take up what comes of it."""
        self.opened.set()
        deadline = time.monotonic() + 10
        while service.store._busy and time.monotonic() < deadline:
            service.store.finish_jobs()
            time.sleep(0.001)
        assert not service.store._busy


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """See Gate."""
    return Gate(monkeypatch)


def names(client: Client) -> list[str]:
    """What the root directory has."""
    client.ask(m.Listdir(9, ""))
    return list(client.answer().names)


def test_others_are_answered_while_memory_is_made_ready(service: Service, gate: Gate) -> None:
    """And who wants the file that is being made gets it afterwards, whole."""
    maker, other = Client(service), Client(service)
    maker.ask(m.Create(1, "a", 8 * PAGE, b""))
    other.ask(m.Meminfo(1))
    assert other.answer().pages_free == PAGES - 8
    other.ask(m.Get(2, "a", True))
    gate.open(service)
    assert isinstance(maker.answer(), m.Granted)
    assert other.answer().size_bytes == 8 * PAGE


@pytest.mark.parametrize("ended", [False, True])
def test_a_file_whose_memory_cannot_be_had_was_never_there(service: Service, gate: Gate, ended: bool) -> None:
    """Whatever names others gave it meanwhile, whoever waited for it, and whether its maker still lives."""
    maker, other = Client(service), Client(service)
    gate.has_memory = False
    maker.ask(m.Create(1, "a", 8 * PAGE, b""))
    other.ask(m.Rename(1, "a", "b"))
    other.ask(m.Link(2, "b", "c"))
    other.ask(m.Get(3, "b", True))
    if ended:
        service.end_session(maker.session)
    gate.open(service)
    assert [other.answer().__class__ for _ in range(2)] == [m.Done, m.Done]
    assert other.answer().errno in (errno.ENOENT, errno.ENOMEM)
    if not ended:
        assert maker.answer().errno == errno.ENOMEM
    assert names(other) == []
    assert service.fs.pool.pages_free == PAGES
    check(service.fs)


def test_fallocate_on_a_file_others_use_takes_back_only_what_has_no_memory(service: Service, gate: Gate) -> None:
    """ENOSPC as fallocate says it; the pages that were there stay, the size does not grow."""
    client = Client(service)
    client.ask(m.Open(1, "f", True, create=True, size_bytes=PAGE))
    handle = client.answer().handle
    gate.has_memory = False
    client.ask(m.Fallocate(2, handle, 0, 16 * PAGE))
    gate.open(service)
    assert client.answer().errno == errno.ENOSPC
    client.ask(m.Stat(3, handle=handle))
    stat = client.answer()
    assert (stat.size_bytes, stat.pages_count) == (PAGE, 1)
    check(service.fs)


def test_who_gives_up_while_memory_is_made_ready_is_granted_nothing(service: Service, gate: Gate) -> None:
    """A cancelled request is undone and answered ECANCELED, also one that waits for a busy file."""
    maker, other = Client(service), Client(service)
    maker.ask(m.Create(1, "a", 8 * PAGE, b""))
    other.ask(m.Get(1, "a", True))
    other.ask(m.Cancel(2, 1))
    assert other.answer().id == 2
    maker.ask(m.Cancel(2, 1))
    assert maker.answer().id == 2
    gate.open(service)
    for client in (maker, other):
        refusal = client.answer()
        assert (refusal.id, refusal.errno) == (1, errno.ECANCELED)
        assert not client.session.mappings
        assert not client.session.cancelled
        assert not client.session.unanswered
    assert names(other) == []
    assert service.fs.pool.pages_free == PAGES
    maker.ask(m.Cancel(3, 1))  # long answered: nothing happens, and nothing is remembered
    assert maker.answer().id == 3
    assert not maker.session.cancelled


def test_an_io_is_told_with_the_name_its_file_had(service: Service) -> None:
    """A pin outlives its file; who asks who holds pages still learns what it was."""
    client = Client(service)
    client.ask(m.Open(1, "f", True, create=True, size_bytes=PAGE))
    handle = client.answer().handle
    client.ask(m.Map(2, handle, 0, PAGE, "shared"))
    mapping = client.answer().mapping
    client.ask(m.Pin(3, mapping, 0, 1))
    client.answer()
    client.ask(m.Rename(4, "f", "g"))
    client.ask(m.Unlink(5, "g"))
    client.ask(m.Unmap(6, mapping))
    client.ask(m.Close(7, handle))
    client.ask(m.Holders(8))
    answers = [client.answer() for _ in range(5)]
    assert [(r.path, r.how, r.pages_count) for r in answers[-1].records] == [("g (deleted)", "pinned", 1)]


def test_a_private_mapping_beyond_the_end_makes_the_file_longer(service: Service) -> None:
    """As the kernel does it for every writable mapping; its pages are its own, the file gets none."""
    client = Client(service)
    client.ask(m.Open(1, "f", True, create=True, size_bytes=PAGE))
    handle = client.answer().handle
    client.ask(m.Map(2, handle, 0, 3 * PAGE, "private"))
    assert isinstance(client.answer(), m.Mapped)
    client.ask(m.Stat(3, handle=handle))
    stat = client.answer()
    assert (stat.size_bytes, stat.pages_count) == (3 * PAGE, 1)
    assert service.fs.pool.pages_free == PAGES - 1 - 3
