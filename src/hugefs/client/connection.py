"""A connection: one socket to one server, shared by all threads of this process.

Rule 1: a request is sent whole, under ``_sending``; answers come in any order and find their call by its number.
Rule 2: one of the waiting threads reads for all (the leader); when it has its answer the next one takes over. So
        nobody waits for somebody else's long ``wait=``, and no thread is needed that exists only to read.
Rule 3: nothing that was granted is lost. An exception in whoever waits (a Ctrl-C, a timeout) abandons its call, and
        what the answer brings later is given back: descriptor, mapping, open file, pin, the name that was made for it.
Rule 4: finalisers send too, at any point of any thread. What they say is queued, never waits for a lock, and is sent
        before the next request. Said twice it does no harm, because a server never uses a number twice.
Rule 5: ``_sending`` is taken before ``_receiving``. Both are re-entrant, and the leader's thread may read again: a
        signal handler or a finaliser that asks something must not wait for the very code it interrupted.
Rule 6: an exception out of a signal handler comes after a call. What must not come apart there is one call from C
        (``extend(map(...))``), or lines that call nothing; what gives something back can be done again from its start.
Rule 7: fork: see forking.py.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakValueDictionary, ref

from hugefs.client import forking
from hugefs.client.calls import Answer, Call, what_undoes
from hugefs.client.descriptor import Descriptor, OwnSocket
from hugefs.client.failures import as_exception, server_gone, unexpected
from hugefs.client.inbox import Inbox, Packet
from hugefs.errors import HugefsError, NoDescriptors, RemoteProtocolError, ServerGone
from hugefs.wire.codec import encode_request
from hugefs.wire.messages import (
    VERSION,
    Cancel,
    Clone,
    Cloned,
    Done,
    Failure,
    Hello,
    Introduce,
    Reply,
    Request,
    Unlink,
    Welcome,
)

__all__ = ["Connection"]

_R = TypeVar("_R", bound=Reply)
_T = TypeVar("_T")

_NUMBERS = 2**32 - 1
_serials = itertools.count(1)

_LOOK_AGAIN_SECONDS = 1.0
"""A signal handler may take the answer that the code it interrupted waits for: who sleeps looks again this often."""
_CANCEL_SECONDS = 1.0
_GREETING_SECONDS = 60.0


class Connection:
    """See the module. Kept alive by what was made over it: mounts, files, mappings, pins; closed when none is left."""

    def __init__(self, sock: socket.socket) -> None:
        self.serial = next(_serials)
        self.server = b""
        self.address = ""
        self.mount = ""
        self.page_bytes = 0
        self.pages_max: int | None = None
        self.whole_files: WeakValueDictionary[tuple[int, bool], object] = WeakValueDictionary()
        self._socket = OwnSocket(sock)
        self._process = os.getpid()
        self._numbers = itertools.count()
        self._greeted = False
        self._gone: str | None = None  # why nothing can be asked any more
        self._calls: dict[int, Call] = {}
        self._leader: dict[
            None, Call
        ] = {}  # at most one entry; a dict, because setdefault is atomic and tells who is in
        self._outbox: deque[Request] = deque()
        self._held: dict[ref[Any], Request] = {}
        self._dead: deque[ref[Any]] = deque()
        self._inbox = Inbox()
        self._frozen = False  # a fork is under way: finalisers' words wait, both processes will say them
        self._cloning: forking.Cloning | None = None
        self._new_locks()
        forking.adopt(self)

    def _new_locks(self) -> None:
        self._sending = threading.RLock()
        self._receiving = threading.RLock()

    def greet(self) -> None:
        """The first words. Raises what the server refuses with, ServerGone where there is none."""
        welcome = self.request(lambda number: Hello(number, VERSION), Welcome, seconds=_GREETING_SECONDS)
        if welcome.page_bytes <= 0 or welcome.page_bytes & (welcome.page_bytes - 1):
            raise RemoteProtocolError(f"the server says its pages have {welcome.page_bytes} bytes")
        self.server, self.address, self.mount = welcome.server, welcome.address, welcome.mount
        self.page_bytes, self.pages_max = welcome.page_bytes, welcome.pages_max
        self._greeted = True

    @property
    def usable(self) -> bool:
        """Whether something can be asked here, as far as is known."""
        return self._gone is None and self._greeted and self._process == os.getpid()

    # --- asking ---------------------------------------------------------------------------------------------------

    def request(self, make: Callable[[int], Request], wanted: type[_R], *, seconds: float | None = None) -> _R:
        """Ask, and wait for the answer. ``make`` is given the request's number. Raises what the server refuses with."""
        return self.grant(make, wanted, lambda reply, descriptor: reply, seconds=seconds)

    def grant(
        self,
        make: Callable[[int], Request],
        wanted: type[_R],
        take: Callable[[_R, Descriptor], _T],
        *,
        seconds: float | None = None,
    ) -> _T:
        """Ask for something, and make an object of it. Where ``take`` fails, what was granted is given back.

        ``take`` may keep the descriptor; else it is closed here. It must not ask the server anything.
        """
        call = self._ask(make)
        try:
            self._wait(call, seconds)
            with forking.undivided():
                answer = self._checked(call, wanted)
                made = take(answer.reply, answer.descriptor)  # type: ignore[arg-type]
                if not answer.descriptor.kept:
                    answer.descriptor.close()
                self._calls.pop(call.number, None)
        except BaseException:
            self._abandon(call)
            raise
        return made

    def hold(self, thing: object, message: Request) -> ref[Any]:
        """Say ``message`` once ``thing`` is gone without having let go itself. Returns what ``let_go`` wants.

        A finaliser does that, as a rule; but an exception of a signal handler may be raised as its very first act, and
        Python swallows it. The callback here is C's alone.
        """
        reference = ref(thing, self._dead.append)
        self._held[reference] = message
        return reference

    def let_go(self, reference: ref[Any] | None) -> None:
        """Queue the message now, once. For use inside ``forking.undivided``; ``flush`` sends it."""
        if reference is not None and (message := self._held.get(reference)) is not None:
            self.queue(message)
            self._held.pop(reference, None)

    def tell(self, *messages: Request) -> None:
        """Say something that is not answered, soon and in this order. For finalisers, too: never waits for a lock."""
        self.queue(*messages)
        self.flush()

    def queue(self, *messages: Request) -> None:
        """Say it with the next ``flush`` or request. For use inside ``forking.undivided``."""
        if self._gone is None:
            self._outbox.extend(messages)

    def flush(self) -> None:
        """Send what is queued; or leave it to the thread that is sending, which looks here when it is done."""
        try:
            self._flush()
        except BaseException:  # a signal handler's; in a finaliser Python swallows it, and nobody would come again
            self._flush()
            raise

    def _flush(self) -> None:
        while (self._outbox or self._dead) and self._can_send():
            got: list[bool] = []
            try:
                got.extend(map(self._sending.acquire, (False,)))  # rule 6
                if not got[0]:
                    return
                self._send_outbox()
            finally:
                if any(got):
                    self._sending.release()

    def _ask(self, make: Callable[[int], Request], *, freeze: bool = False) -> Call:
        number = next(self._numbers) % _NUMBERS + 1
        call = Call(number, make(number))
        packet = encode_request(call.request)
        self._check()
        try:
            with self._sending:
                self._check()
                self._send_outbox()
                self._calls[number] = call
                self._send(packet)
                self._frozen = self._frozen or freeze
            self.flush()
        except BaseException:
            self._abandon(call)
            raise
        return call

    def _checked(self, call: Call, wanted: type[_R]) -> Answer:
        if call.failure is not None:
            self._calls.pop(call.number, None)
            raise call.failure
        answer = call.answer
        assert answer is not None
        if isinstance(answer.reply, Failure):
            self._calls.pop(call.number, None)
            raise as_exception(answer.reply)
        if not isinstance(answer.reply, wanted):
            raise unexpected(answer.reply, wanted)
        if answer.cut:
            raise NoDescriptors(
                "this process has no descriptor left to receive a file with (RLIMIT_NOFILE); nothing was kept"
            )
        return answer

    def _abandon(self, call: Call) -> None:
        """Whoever asked does not wait any more: take back the question, give back the answer."""
        with self._receiving:
            if call.number not in self._calls:
                return
            call.abandoned = True
            if call.answer is not None:
                self._give_back(call.answer, call)
                return
            if self._gone is not None:
                self._calls.pop(call.number, None)
                return
        if isinstance(call.request, Cancel | Clone | Hello):
            return
        # Where the server had answered before it read this, the answer is here before the next one.
        with suppress(HugefsError):
            self.request(lambda number: Cancel(number, call.number), Done, seconds=_CANCEL_SECONDS)

    def _give_back(self, answer: Answer, call: Call | None) -> None:
        """Undo what an answer that nobody waits for has granted."""
        answer.descriptor.close()
        self.tell(*what_undoes(call.request if call is not None else None, answer.reply))
        if call is not None:
            self._calls.pop(call.number, None)

    # --- waiting --------------------------------------------------------------------------------------------------

    def _wait(self, call: Call, seconds: float | None) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        leader = self._leader
        try:
            while not call.settled:
                # Whose entry it is can be told also where an exception comes right after it was made.
                if leader.setdefault(None, call).thread == call.thread:
                    self._read_until(call, deadline)
                else:
                    call.sleep(self._seconds_left(deadline))
        finally:
            if leader.get(None) is call:
                del leader[None]
            self._wake_next(call)

    def _read_until(self, call: Call, deadline: float | None) -> None:
        """Read for everybody until this call is settled."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not call.settled:
            if not self._inbox:
                poll.poll(self._seconds_left(deadline) * 1000)
            self._receive()

    def _seconds_left(self, deadline: float | None) -> float:
        if deadline is None:
            return _LOOK_AGAIN_SECONDS
        left = deadline - time.monotonic()
        if left <= 0:
            raise server_gone(self.mount, "does not answer")
        return min(left, _LOOK_AGAIN_SECONDS)

    def _wake_next(self, done: Call) -> None:
        """Somebody else's turn to read."""
        for call in list(self._calls.values()):
            if call is not done and not call.settled and not call.abandoned:
                call.wake()
                return

    # --- the socket -----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._gone is None and self._process != os.getpid():
            self._hold_only("this process was forked without Python knowing, and its session could not be cloned")
        if self._gone is not None:
            raise server_gone(self.mount, self._gone)

    def _can_send(self) -> bool:
        return self._gone is None and not self._frozen and self._process == os.getpid()

    def _send_outbox(self) -> None:
        while self._dead:
            self.let_go(self._dead.popleft())
        while self._outbox and self._can_send():
            message = self._outbox[0]
            with suppress(ServerGone):
                self._send(encode_request(message))
            # Sent first: where an exception comes in between it is sent again, which does no harm; lost would.
            with suppress(ValueError):
                self._outbox.remove(message)

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet, socket.MSG_NOSIGNAL)
        except OSError:
            self._read_last_words()
            raise server_gone(self.mount, self._gone or "has ended or was killed") from None

    def _read_last_words(self) -> None:
        """The server hung up: perhaps it said why."""
        with self._receiving:
            while self._gone is None and self._receive():
                pass
            self._lose("has ended or was killed")

    def _receive(self) -> bool:
        """Take one packet, if there is one, and deliver it. Whether there was one. Never waits for the server."""
        with self._receiving:
            if self._gone is not None:
                self._lose(self._gone)  # whoever asked meanwhile
            elif not self._inbox:
                try:
                    self._inbox.take_in(self._socket)
                except BlockingIOError:
                    return False
                except ConnectionResetError:
                    return True  # the kernel says so once, before what was sent ahead of it can be read
                except OSError as error:
                    self._lose(f"has ended or was killed ({error.strerror})")
                    return False
            packet = self._inbox.head()
            if packet is None:
                return False
            if not packet.handed_out:
                self._deliver(packet)
            self._inbox.drop_head()
            return True

    def _deliver(self, packet: Packet) -> None:
        answer = packet.answer
        if answer is None:
            self._lose(packet.trouble)
            return
        call = self._calls.get(answer.reply.id)
        if call is not None and not call.abandoned and not call.settled:
            # Rule 6: nothing is called between these two lines.
            call.answer = answer
            packet.handed_out = True
            call.wake()
        elif answer.reply.id == 0 and isinstance(answer.reply, Failure):
            answer.descriptor.close()
            self._lose(f"has ended this session: {answer.reply.reason}", answer.reply)
        else:
            self._give_back(answer, call)

    def _lose(self, why: str, said: Failure | None = None) -> None:
        """Nothing can be asked any more, now or later. ``said``: the server's own last word to those who wait."""
        with self._receiving:
            if self._gone is None:
                self._gone = why
            self._outbox.clear()
            for call in list(self._calls.values()):
                if not call.settled:
                    call.failure = as_exception(said) if said else server_gone(self.mount, self._gone)
                    call.wake()

    # --- fork (see forking.py) --------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Hold still and ask for a clone."""
        self._cloning = cloning = forking.Cloning()
        if not self.usable:
            cloning.refusal = self._gone
            return
        for lock in (self._sending, self._receiving):
            if not lock.acquire(timeout=forking.PATIENCE_SECONDS):
                cloning.refusal = "was busy with another thread's request for too long"
                return
            cloning.locks.append(lock)
        try:
            cloning.call = self._ask(Clone, freeze=True)
        except HugefsError as error:
            cloning.refusal = str(error)

    def await_clone(self) -> None:
        """Read until the clone is there, and no further: what comes after it the clone does not hold."""
        cloning = self._cloning
        if cloning is None or cloning.call is None:
            return
        try:
            self._read_until(cloning.call, time.monotonic() + forking.PATIENCE_SECONDS)
            answer = self._checked(cloning.call, Cloned)
            self._calls.pop(cloning.call.number, None)
            cloning.clone = answer.descriptor
        except HugefsError as error:
            cloning.refusal = str(error)
            self._abandon(cloning.call)

    def after_fork_in_parent(self) -> None:
        """Forget the clone, go on."""
        cloning, self._cloning = self._cloning, None
        if cloning is not None:
            if cloning.clone is not None:
                cloning.clone.close()
            self._frozen = False
            for lock in reversed(cloning.locks):
                lock.release()
            self.flush()

    def after_fork_in_child(self) -> None:
        """Be the clone; or, where there is none, hold what the parent's session holds and ask nothing."""
        cloning, self._cloning = self._cloning, None
        self._new_locks()
        self._leader = {}
        self._process = os.getpid()
        self._frozen = False
        calls, self._calls = self._calls, {}
        if cloning is None or cloning.clone is None:
            refusal = cloning.refusal if cloning is not None else "another thread was just connecting"
            self._hold_only(f"cannot be asked by this forked process: its session could not be cloned ({refusal})")
        else:
            # In place, so that whatever refers to the socket refers to the clone from now on.
            os.dup2(cloning.clone.number, self._socket.fileno(), inheritable=False)
            cloning.clone.close()
            # The names of files are everybody's: to remove one is for the parent alone.
            self._outbox = deque(message for message in self._outbox if not isinstance(message, Unlink))
            self._outbox.appendleft(Introduce(0))
        for call in calls.values():
            # Its thread is not here to take it. (Where the handler of a signal forked, it is: then it gets an error.)
            if call.answer is not None:
                call.answer.descriptor.close()
                self.queue(*what_undoes(None, call.answer.reply))
            elif not call.settled:
                call.failure = server_gone(self.mount, "was asked by the parent of this process, which gets the answer")
                call.wake()
        self.flush()

    def _hold_only(self, why: str) -> None:
        if not self._greeted:
            self._socket.close()
        if self._gone is None:
            self._gone = why
        self._outbox.clear()
