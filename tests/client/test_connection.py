"""The connection: answers find who asked, nobody waits for another's answer, and nothing granted is lost."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hugefs.errors import (
    Exists,
    NoDescriptors,
    NoHugePages,
    PermissionDenied,
    RemoteProtocolError,
    ServerGone,
    WaitTimeout,
)
from hugefs.wire import messages as m
from tests.client.fake_server import descriptors, granted


def meminfo(connection):
    """The smallest question."""
    return connection.request(m.Meminfo, m.MeminfoReply)


def create(connection, path="weights", take=lambda reply, descriptor: reply):
    """The question whose answer brings something."""
    return connection.grant(lambda number: m.Create(number, path, 2 << 20, b"", 60.0), m.Granted, take)


def raise_interrupt(*_):
    """A signal handler as Python's own for Ctrl-C."""
    raise KeyboardInterrupt


@pytest.fixture
def interrupts():
    """SIGUSR1 acts as Ctrl-C does."""
    before = signal.signal(signal.SIGUSR1, raise_interrupt)
    yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_answers_in_any_order_find_who_asked(server):
    """A server that makes memory ready in the background answers the small question first."""
    asked: list[Any] = []
    server.on[m.Stat] = asked.append
    connection = server.connection()

    def ask(name):
        return connection.request(lambda number: m.Stat(number, name), m.StatReply).uid

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, str(number)) for number in range(8)]
        server.wait_for(lambda: len(asked) == 8)
        for request in reversed(asked):
            server.say(m.StatReply(request.id, 1, 0, 1, int(request.path), 0, 0, 0, b""))
        assert [answer.result(10) for answer in answers] == list(range(8))


def test_a_long_wait_does_not_hold_up_other_threads(server):
    """One thread queues for pages for a minute; the others go on, whoever of them reads the socket."""
    server.on[m.Create] = lambda request: None
    connection = server.connection()
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(create, connection)
        server.wait_for(lambda: "Create" in server.kinds())
        for _ in range(100):
            meminfo(connection)
        asked = next(request for _, request in server.received if isinstance(request, m.Create))
        server.say(*granted(asked.id))
        assert waiting.result(10).mapping == 7


def test_whoever_has_its_answer_hands_the_reading_on(server):
    """The thread that read for all is served first; the others must not sleep for ever over their answers."""
    held: list[m.Create] = []
    server.on[m.Create] = held.append
    connection = server.connection()
    with ThreadPoolExecutor(4) as pool:
        answers = []
        for number in range(4):
            answers.append(pool.submit(create, connection, f"file{number}"))
            server.wait_for(lambda number=number: len(held) == number + 1)
        for request, answer in zip(held, answers, strict=True):
            start = time.monotonic()
            server.say(*granted(request.id))
            answer.result(10)
            assert time.monotonic() - start < 0.9  # at once, and not when somebody happens to look again


def test_many_threads_share_one_connection(server):
    """Under load every answer still belongs to its question."""
    server.on[m.Stat] = lambda request: m.StatReply(request.id, 1, 0, 1, int(request.path), 0, 0, 0, b"")
    connection = server.connection()

    def ask(number):
        reply = connection.request(lambda request: m.Stat(request, str(number)), m.StatReply)
        return reply.uid == number

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(2000)))


def test_a_failure_becomes_its_exception(server):
    """With all that the server said about it."""
    holder = m.HolderRecord(1, 2, "python", "weights", 3, "mapped")
    server.on[m.Create] = lambda request: m.Failure(request.id, 12, "full", 9, 1, "fake", [holder])
    connection = server.connection()
    with pytest.raises(NoHugePages) as caught:
        create(connection)
    error = caught.value
    assert (error.wanted, error.available, error.mount, error.errno) == (9, 1, "fake", 12)
    assert (error.holders[0].pid, error.holders[0].pages, error.holders[0].how) == (1, 3, "mapped")
    assert not isinstance(error, WaitTimeout)
    server.on[m.Create] = lambda request: m.Failure(request.id, 12, "full", waited=True)
    with pytest.raises(WaitTimeout):
        create(connection)
    server.on[m.Create] = lambda request: m.Failure(request.id, 17, "there")
    with pytest.raises(Exists):
        create(connection)


def test_an_interrupted_wait_is_taken_back(server, interrupts):
    """Ctrl-C while queueing: the server is told, and the program goes on with a connection that works."""
    server.on[m.Create] = lambda request: interrupts()
    connection = server.connection()
    with pytest.raises(KeyboardInterrupt):
        create(connection)
    asked = next(request for _, request in server.received if isinstance(request, m.Create))
    cancelled = next(request for _, request in server.received if isinstance(request, m.Cancel))
    assert cancelled.request == asked.id
    assert meminfo(connection).pages_total == 1


def test_what_an_interrupted_wait_is_granted_later_is_given_back(server, interrupts):
    """The grant was on its way when Ctrl-C came: its descriptor, its mapping and its name must not stay."""
    server.on[m.Create] = lambda request: interrupts()
    connection = server.connection()
    before = descriptors()
    with pytest.raises(KeyboardInterrupt):
        create(connection)
    asked = next(request for _, request in server.received if isinstance(request, m.Create))
    server.say(*granted(asked.id, mapping=99))
    meminfo(connection)
    server.wait_for(lambda: "Unmap" in server.kinds())
    assert m.Unmap(0, 99) in [request for _, request in server.received]
    assert m.Unlink(0, "weights") in [request for _, request in server.received]
    assert descriptors() == before


def test_an_answer_that_came_with_the_interrupt_is_given_back(server, interrupts):
    """The other order: the answer first, and the exception before anybody took it."""

    def interrupted(reply, descriptor):
        raise KeyboardInterrupt

    connection = server.connection()
    before = descriptors()
    with pytest.raises(KeyboardInterrupt):
        create(connection, take=interrupted)
    server.wait_for(lambda: "Unmap" in server.kinds())
    assert server.kinds().index("Unlink") < server.kinds().index("Unmap")
    assert descriptors() == before


def test_an_answer_to_nobody_is_given_back(server):
    """A grant whose question this process never asked, as far as it knows."""
    connection = server.connection()
    before = descriptors()
    server.say(*granted(1000))
    server.say(m.Mapped(1001, 8, "base"), os.memfd_create("nobody"))
    server.say(m.Opened(1002, 9, m.FileRef(1, b"k" * 16), 0, b"", "base"), os.memfd_create("nobody"))
    server.say(m.Pinned(1003, 10))
    meminfo(connection)
    server.wait_for(lambda: len(server.received) >= 6)
    said = {request for _, request in server.received}
    assert {m.Unmap(0, 7), m.Unmap(0, 8), m.Close(0, 9), m.Unpin(0, 10)} <= said
    assert descriptors() == before


def test_a_full_descriptor_table_is_said_and_the_grant_given_back(server):
    """The kernel drops a descriptor for which there is no room; the pages behind it must not stay taken."""
    connection = server.connection()
    fd = granted(0)[1]
    server.on[m.Create] = lambda request: (granted_with(request.id), fd)

    def granted_with(number):
        return m.Granted(number, 7, m.FileRef(5, b"k" * 16), 2 << 20, b"", "base")

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd, hard))  # the lowest free number is beyond it
    holes = []
    try:
        while True:
            holes.append(os.dup(fd))
    except OSError:
        pass
    try:
        with pytest.raises(NoDescriptors):
            create(connection)
        server.wait_for(lambda: "Unmap" in server.kinds())
        meminfo(connection)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for hole in holes:
            os.close(hole)


def test_more_descriptors_than_promised_are_closed(server):
    """A server that is not ours could fill the table of descriptors otherwise."""
    connection = server.connection()
    before = descriptors()
    fds = [os.memfd_create("many") for _ in range(2)]
    socket.send_fds(server._sockets[0], [m_bytes(m.Done(4242))], fds)
    for fd in fds:
        os.close(fd)
    meminfo(connection)
    assert descriptors() == before


def m_bytes(reply):
    """A reply's packet."""
    from hugefs.wire.codec import encode_reply

    return encode_reply(reply)


def test_a_server_that_ends_is_gone_for_who_waits_and_for_who_comes(server):
    """No request may hang on a server that is dead."""
    server.on[m.Create] = lambda request: None
    connection = server.connection()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(create, connection, f"f{number}") for number in range(3)]
        server.wait_for(lambda: server.kinds().count("Create") == 3)
        start = time.monotonic()
        server.hang_up()
        for answer in waiting:
            with pytest.raises(ServerGone):
                answer.result(10)
        assert time.monotonic() - start < 0.9  # at once, and not when they look again
    for _ in range(3):
        with pytest.raises(ServerGone, match="stays usable"):
            meminfo(connection)
    connection.tell(m.Unmap(0, 7))  # what finalisers say then is not an error


def test_what_a_server_said_before_it_hung_up_is_told(server):
    """ "You spoke wrongly" is a better text than "connection reset"."""
    connection = server.connection()
    server.say(m.Failure(0, 71, "wrong version of everything"))
    server.hang_up()
    with pytest.raises((ServerGone, RemoteProtocolError), match="wrong version of everything"):
        meminfo(connection)


def test_a_refusal_to_everything_reaches_who_asks_first(server):
    """A server of another user answers no question, it says at once that one may not ask."""
    server.on[m.Hello] = lambda request: m.Failure(0, 13, "this server belongs to uid 0")
    with pytest.raises(PermissionDenied, match="belongs to"):
        server.connection()


@pytest.mark.parametrize("noise", [b"\x00", b"\xff" * 100, b"\x93\xa5Hello\x01\x01"])
def test_a_server_that_speaks_no_sense_is_gone(server, noise):
    """It is not believed again; and nothing hangs."""
    server.on[m.Meminfo] = lambda request: server.say(noise)
    connection = server.connection()
    for _ in range(2):
        with pytest.raises(ServerGone, match="another language"):
            meminfo(connection)


def test_the_wrong_answer_is_a_protocol_error(server):
    """And what it grants is given back."""
    server.on[m.Meminfo] = lambda request: granted(request.id)
    connection = server.connection()
    before = descriptors()
    with pytest.raises(RemoteProtocolError, match="Granted"):
        meminfo(connection)
    server.wait_for(lambda: "Unmap" in server.kinds())
    assert descriptors() == before


@pytest.mark.parametrize("page_bytes", [0, 3 << 20])
def test_pages_of_no_possible_size_are_refused(server, page_bytes):
    """Everything after the greeting divides by it."""
    server.on[m.Hello] = lambda request: m.Welcome(request.id, b"s" * 16, "@fake", "fake", page_bytes, 1)
    with pytest.raises(RemoteProtocolError):
        server.connection()


def test_what_is_told_arrives_before_the_next_question(server):
    """``del array`` and then a new one: its pages are free for it."""
    connection = server.connection()
    for number in range(1, 200):
        connection.tell(m.Unmap(0, number))
        meminfo(connection)
        assert server.kinds()[-2:] == ["Unmap", "Meminfo"]


def test_a_busy_server_loses_nothing_that_is_told(server):
    """Finalisers may speak faster than a server listens: more than the socket holds, from several threads."""
    connection = server.connection()
    server.paused.set()

    def tell(first):
        for number in range(first, first + 1000):
            connection.tell(m.Unmap(0, number))

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(tell, first) for first in (1, 1001, 2001, 3001)]
        time.sleep(0.2)
        server.paused.clear()
        for one in done:
            one.result(30)
    meminfo(connection)
    numbers = [request.mapping for _, request in server.received if isinstance(request, m.Unmap)]
    assert sorted(numbers) == list(range(1, 4001))


def test_a_finaliser_never_waits_for_a_sender(server):
    """It runs wherever the collector strikes, also in a thread that holds what the sender waits for."""
    connection = server.connection()
    held, go = threading.Event(), threading.Event()

    def hold():
        with connection._sending:
            held.set()
            go.wait(10)
        meminfo(connection)  # as every sender does: what is queued goes first

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    start = time.monotonic()
    connection.tell(m.Unmap(0, 5))
    assert time.monotonic() - start < 1
    go.set()
    thread.join()
    assert server.kinds()[-2:] == ["Unmap", "Meminfo"]


def test_a_finaliser_may_speak_in_the_middle_of_a_request(server):
    """The collector runs between any two lines of the connection itself."""
    connection = server.connection()
    told: list[int] = []

    class Forgotten:
        def __init__(self):
            self.itself = self

        def __del__(self):
            told.append(len(told) + 1)
            connection.tell(m.Unmap(0, len(told)))

    threshold = gc.get_threshold()
    gc.set_threshold(3, 1, 1)
    try:
        for _ in range(300):
            Forgotten()
            meminfo(connection)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    meminfo(connection)
    said = {request.mapping for _, request in server.received if isinstance(request, m.Unmap)}
    assert said == set(range(1, 301))


def test_a_signal_handler_may_ask_while_the_program_waits(server):
    """SIGTERM while queueing for pages, and the handler wants to print who holds them."""
    connection = server.connection()
    asked: list[m.Create] = []
    seen = []

    def ask_and_interrupt(request):
        asked.append(request)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handler(*_):
        seen.append(meminfo(connection))
        # The handler's own reading takes what the interrupted code waits for, too.
        server.say(*granted(asked[0].id))
        seen.append(meminfo(connection))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        server.on[m.Create] = ask_and_interrupt
        assert create(connection).mapping == 7
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(seen) == 2


def test_a_connection_is_closed_with_its_last_user(server):
    """The server learns of the end of a program's use by the end of the socket."""
    connection = server.connection()
    del connection
    server.wait_for(lambda: 0 in server.ended)


def test_a_default_timeout_of_other_sockets_is_not_ours(server):
    """Programs call socket.setdefaulttimeout; a wait for pages is longer."""
    socket.setdefaulttimeout(0.05)
    try:
        connection = server.connection()
        answer = server.on[m.Meminfo]

        def answer_late(request):
            time.sleep(0.2)
            return answer(request)

        server.on[m.Meminfo] = answer_late
        assert meminfo(connection).pages_total == 1
        server.paused.set()
        threading.Timer(0.3, server.paused.clear).start()
        for number in range(1, 3001):  # more than the socket holds
            connection.tell(m.Unmap(0, number))
        meminfo(connection)
        assert server.kinds().count("Unmap") == 3000
    finally:
        socket.setdefaulttimeout(None)


def test_a_server_that_does_not_answer_the_greeting_is_given_up(server, monkeypatch):
    """A mount must fail rather than hang, when what listens is not a server."""
    monkeypatch.setattr("hugefs.client.connection._GREETING_SECONDS", 0.2)
    server.on[m.Hello] = lambda request: None
    with pytest.raises(ServerGone, match="does not answer"):
        server.connection()
