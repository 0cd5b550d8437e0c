"""Fork: the clone is there before the child is, each process speaks for itself, and a fork is never refused."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hugefs.client import forking
from hugefs.errors import ServerGone
from hugefs.wire import messages as m
from tests.client.children import in_child
from tests.client.fake_server import descriptors, granted

NOBODYS = 4_000_000
"""A number that no request of a test reaches."""


def meminfo(connection):
    """The smallest question."""
    return connection.request(m.Meminfo, m.MeminfoReply)


def create(connection):
    """The question whose answer brings something."""
    return connection.grant(
        lambda number: m.Create(number, None, 2 << 20, b"", 60.0), m.Granted, lambda reply, descriptor: reply
    )


def test_the_child_speaks_on_the_clone_and_introduces_itself_first(server):
    """The server knows the child from its own word on, and the parent's session hears nothing of it."""
    connection = server.connection()
    in_child(lambda: meminfo(connection))
    server.wait_for(lambda: 1 in server.ended)
    assert server.kinds(1) == ["Introduce", "Meminfo"]
    assert server.kinds(0) == ["Hello", "Clone"]
    meminfo(connection)
    assert server.ended == {1}


def test_parent_and_child_answer_side_by_side(server):
    """Two processes on one socket would steal each other's answers."""
    server.on[m.Stat] = lambda request: m.StatReply(request.id, 1, 0, 1, int(request.path), 0, 0, 0, b"")
    connection = server.connection()

    def ask(first):
        for number in range(first, first + 300):
            reply = connection.request(lambda request, number=number: m.Stat(request, str(number)), m.StatReply)
            assert reply.uid == number

    with ThreadPoolExecutor(1) as pool:
        mine = pool.submit(ask, 0)
        in_child(lambda: ask(1000))
        mine.result(20)


def test_neither_process_keeps_the_others_end(server):
    """The parent forgets the clone, the child the original: else the end of one would go unnoticed."""
    connection = server.connection()
    original = os.readlink(f"/proc/self/fd/{connection._socket.fileno()}")

    def child():
        assert not [name for name in descriptors() if name.endswith(original)]

    in_child(child)
    server.wait_for(lambda: 1 in server.ended)
    assert [name for name in descriptors() if name.endswith(original)]


def test_children_of_children(server):
    """Each of them has a session, and each ends with its process."""
    connection = server.connection()

    def grandchild():
        meminfo(connection)
        in_child(lambda: meminfo(connection))
        meminfo(connection)

    in_child(grandchild)
    server.wait_for(lambda: {1, 2} <= server.ended)
    assert server.kinds(2) == ["Introduce", "Meminfo"]


def test_two_connections_are_cloned_both(server):
    """A program with two mounts."""
    one, two = server.connection(), server.connection()

    def ask():
        meminfo(one)
        meminfo(two)

    in_child(ask)
    server.wait_for(lambda: {2, 3} <= server.ended)


def test_a_fork_does_not_wait_for_a_request_under_way(server):
    """Another thread queues for pages for a minute; it gets them later, and the child is not held up by it."""
    server.on[m.Create] = lambda request: None
    connection = server.connection()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(create, connection)
        server.wait_for(lambda: "Create" in server.kinds())
        start = time.monotonic()
        in_child(lambda: meminfo(connection))
        assert time.monotonic() - start < 5
        asked = next(request for _, request in server.received if isinstance(request, m.Create))
        server.say(*granted(asked.id))
        assert waiting.result(10).mapping == 7


def test_a_grant_that_nobody_in_the_child_will_take_is_given_back_there(server):
    """The answer is in the parent, its thread not yet awake, when another thread forks: the clone holds the mapping."""
    connection = server.connection()
    fake_call(connection, number=NOBODYS)
    before = len(memfds())
    reply, fd = granted(NOBODYS)
    server.say(reply, fd)
    meminfo(connection)  # reads it
    assert len(memfds()) == before + 1

    def child():
        meminfo(connection)
        assert len(memfds()) == before

    in_child(child)
    server.wait_for(lambda: 1 in server.ended)
    assert server.kinds(1) == ["Introduce", "Unmap", "Meminfo"]
    assert "Unmap" not in server.kinds(0)
    connection._abandon(connection._calls[NOBODYS])


def memfds():
    """The descriptors of fake files."""
    return [name for name in descriptors() if "memfd:fake" in name]


def fake_call(connection, number):
    """A request of a thread that is not going to look at its answer."""
    from hugefs.client.calls import Call

    call = Call(number, m.Create(number, None, 2 << 20, b""))
    connection._calls[number] = call
    return call


def test_what_comes_after_the_clone_is_not_read_before_the_fork(server):
    """The clone does not hold it; were it mapped before the fork, the child would use what is in nobody's books."""
    connection = server.connection()
    call = fake_call(connection, number=NOBODYS)

    def hold_the_fork_up():
        with forking.undivided():
            held.set()
            time.sleep(0.3)

    held = threading.Event()

    def clone_then_grant(request):
        threading.Thread(target=hold_the_fork_up).start()
        held.wait(10)
        reply, fd = server._clone(request)
        server.say(reply, fd)
        server.say(*granted(NOBODYS))

    server.on[m.Clone] = clone_then_grant

    def child():
        assert call.answer is None
        assert call.failure is not None

    server.on[m.Create] = lambda request: None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(create, connection)  # it reads for all
        server.wait_for(lambda: "Create" in server.kinds())
        in_child(child)
        asked = next(request for _, request in server.received if isinstance(request, m.Create))
        server.say(*granted(asked.id))
        waiting.result(10)
    assert call.answer is not None
    assert "Unmap" not in server.kinds(1)
    connection._abandon(call)


def test_what_is_said_between_clone_and_fork_both_say(server):
    """A finaliser of the parent unmaps something after the clone was made: the clone holds it too."""
    connection = server.connection()

    def clone_and_tell(request):
        connection.tell(m.Unmap(0, 55))  # as any thread's finaliser might
        return server._clone(request)

    server.on[m.Clone] = clone_and_tell
    in_child(lambda: meminfo(connection))
    meminfo(connection)
    assert server.kinds(0) == ["Hello", "Clone", "Unmap", "Meminfo"]
    assert server.kinds(1) == ["Introduce", "Unmap", "Meminfo"]


def test_a_name_is_removed_by_one_process_only(server):
    """Twice removed it could be somebody else's the second time."""
    connection = server.connection()

    def clone_and_tell(request):
        connection.tell(m.Unlink(0, "mine"))
        return server._clone(request)

    server.on[m.Clone] = clone_and_tell
    in_child(lambda: meminfo(connection))
    meminfo(connection)
    assert "Unlink" in server.kinds(0)
    assert "Unlink" not in server.kinds(1)


def test_undivided_work_is_not_cut_by_a_fork(server):
    """Unmapped, but not yet said so: a fork in between would leave the clone with a mapping that nobody gives back."""
    connection = server.connection()
    inside, go = threading.Event(), threading.Event()

    def unmap():
        with forking.undivided():
            inside.set()
            go.wait(10)
            connection.queue(m.Unmap(0, 66))
        connection.flush()

    thread = threading.Thread(target=unmap)
    thread.start()
    inside.wait(10)
    threading.Timer(0.2, go.set).start()
    in_child(lambda: meminfo(connection))
    thread.join()
    meminfo(connection)
    assert "Unmap" in server.kinds(1)
    assert "Unmap" in server.kinds(0)


def test_without_a_clone_the_child_holds_and_says_why(server):
    """The server has no descriptor left: the fork goes on, the child's memory stays valid, its requests explain."""
    server.on[m.Clone] = lambda request: m.Failure(request.id, 23, "the server has no descriptor left")
    connection = server.connection()

    def grandchild():
        with pytest.raises(ServerGone):
            meminfo(connection)

    def child():
        for _ in range(2):
            with pytest.raises(ServerGone, match=r"could not be cloned.*no descriptor left"):
                meminfo(connection)
        connection.tell(m.Unmap(0, 1))
        in_child(grandchild)

    in_child(child)
    meminfo(connection)
    assert server.kinds(0) == ["Hello", "Clone", "Meminfo"]


def test_without_a_clone_the_session_lives_as_long_as_the_child(server):
    """What it maps must stay in the books, although the parent is gone."""
    server.on[m.Clone] = lambda request: m.Failure(request.id, 23, "no")
    connection = server.connection()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        os.read(go_read, 1)
        os._exit(0)
    os.close(go_read)
    del connection
    gc.collect()
    time.sleep(0.3)
    assert 0 not in server.ended
    os.close(go_write)
    os.waitpid(pid, 0)
    server.wait_for(lambda: 0 in server.ended)


def test_a_dead_server_does_not_hold_up_a_fork(server):
    """A program must be able to fork whatever became of the server."""
    connection = server.connection()
    server.hang_up()

    def child():
        with pytest.raises(ServerGone):
            meminfo(connection)

    in_child(child)
    with pytest.raises(ServerGone):
        meminfo(connection)


def test_a_server_that_stands_still_holds_up_a_fork_for_a_while_only(server, monkeypatch):
    """And the clone that comes too late is closed."""
    monkeypatch.setattr(forking, "PATIENCE_SECONDS", 0.3)
    kept: list[m.Clone] = []
    server.on[m.Clone] = kept.append
    connection = server.connection()
    before = descriptors()
    start = time.monotonic()

    def child():
        with pytest.raises(ServerGone, match="does not answer"):
            meminfo(connection)

    in_child(child)
    assert time.monotonic() - start < 5
    reply, fd = server._clone(kept[0])
    server.say(reply, fd)
    meminfo(connection)
    assert descriptors() - before == {
        name for name in descriptors() if name.startswith(f"{server._sockets[1].fileno()}:")
    }


def test_a_full_descriptor_table_does_not_stop_a_fork(server):
    """The clone has nowhere to go: the child holds only."""
    import resource

    connection = server.connection()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    reply_fd: list[int] = []

    def clone(request):
        reply, fd = server._clone(request)
        reply_fd.append(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        return reply, fd

    server.on[m.Clone] = clone
    fillers = [os.dup(0) for _ in range(3)]
    try:
        pid = os.fork()
        if pid == 0:
            try:
                meminfo(connection)
            except ServerGone as error:
                os._exit(0 if "no descriptor left" in str(error) else 2)
            os._exit(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)
    assert os.waitpid(pid, 0)[1] == 0
    meminfo(connection)


def test_threads_that_fork_at_once(server):
    """Each fork has its own clone, whichever thread makes it."""
    one, two = server.connection(), server.connection()

    def fork(_):
        in_child(lambda: (meminfo(one), meminfo(two)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fork, range(24)))
    meminfo(one)
    meminfo(two)


def test_forks_amid_the_requests_of_other_threads(server):
    """Every interleaving that chance brings: nobody hangs, every child's connection works."""
    connection = server.connection()
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            meminfo(connection)
            connection.tell(m.Unmap(0, 1))

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(busy) for _ in range(4)]
        try:
            for _ in range(50):
                in_child(lambda: meminfo(connection))
        finally:
            stop.set()
        for one in working:
            one.result(20)


def test_a_signal_handler_that_forks_while_the_program_waits(server):
    """The child's copy of the interrupted code waits for an answer that is the parent's: it must not wait for ever."""
    connection = server.connection()
    asked: list[m.Create] = []
    statuses = []

    def ask_and_interrupt(request):
        asked.append(request)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handler(*_):
        pid = os.fork()
        if pid:
            statuses.append(os.waitpid(pid, 0)[1])
            server.say(*granted(asked[0].id))
        else:
            signal.alarm(10)

    server.on[m.Create] = ask_and_interrupt
    before = signal.signal(signal.SIGUSR1, handler)
    parent = os.getpid()
    try:
        try:
            reply = create(connection)
        except ServerGone as error:
            if os.getpid() != parent:
                os._exit(0 if "parent" in str(error) else 2)
            raise
        if os.getpid() != parent:
            os._exit(3)
        assert reply.mapping == 7
        assert statuses == [0]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_fork_behind_pythons_back(server):
    """A library that forks in C runs no hook: its child must not speak on the parent's session."""
    code = """
import ctypes, os, sys, hugefs
with hugefs.mount("4M", huge="off") as mount:
    array = mount.zeros(10)
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        try:
            mount.meminfo()
        except hugefs.ServerGone as error:
            array[3] = 5
            del array
            os._exit(0 if "without Python knowing" in str(error) else 2)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert array[3] == 5
    assert mount.meminfo().pages_free == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_executed_program_inherits_nothing(server):
    """Descriptors are closed on exec: else the server would wait for a program that knows nothing of it."""
    connection = server.connection()
    process = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        del connection
        gc.collect()
        server.wait_for(lambda: 0 in server.ended)
    finally:
        process.kill()
        process.wait()
