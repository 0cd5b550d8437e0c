"""The loop: one thread that waits for sockets and for memory that is ready, and hands requests to the service.

Rule 1: one request at a time, one of each session in turn, so that a flood of one client is no standstill for others;
        in the order in which they were sent (the kernel stamps them).
Rule 2: nothing here blocks: every socket is non-blocking, a client that does not read is not read from either.
Rule 3: without sessions there is no reason to be: a private server ends with its last user.
Rule 4: what is given back, and the end of a session, is done before any request that came in the same moment. Who asks
        after he saw another process let go, or end, finds its pages free.
Rule 5: it does not sleep at once: a client that asks again finds it awake. Waking a processor that went idle takes
        longer than an answer, in a virtual machine several times as long. Who needs the processor gets it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import time

from hugefs.errors import RemoteProtocolError
from hugefs.server.service import Service
from hugefs.server.session import Session, peer_of
from hugefs.wire.messages import Close, Failure, Request, Unmap, Unpin

__all__ = ["Loop"]

log = logging.getLogger("hugefs.server")
_ACCEPT_AGAIN_SECONDS = 0.2
_GIVEN_BACK_AT_ONCE = 256
_AWAKE_SECONDS = 150e-6


class Loop:
    """Sockets in, requests out. ``uid``: whose processes may connect, besides root's."""

    def __init__(self, service: Service, listener: socket.socket, uid: int) -> None:
        self.service = service
        self._listener = listener
        self._uid = uid
        self._selector = selectors.EpollSelector()
        self._accept_again: float | None = None
        self.stopping = False
        self._awake_until = 0.0
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._selector.register(service.store.wake, selectors.EVENT_READ, service.store.finish_jobs)

    def add(self, session: Session) -> None:
        """A session that is connected already."""
        self.service.sessions[session] = None
        self._register(session)

    def run(self) -> None:
        """Serve until the last session has ended."""
        service = self.service
        while not self.stopping:
            if not service.sessions:
                self._accept_all()  # who connected at the last moment still counts
                if not service.sessions:
                    return
            requests: list[tuple[int, Session, Request]] = []
            for key, events in self._wait():
                if isinstance(key.data, Session):
                    requests += self._take(key.data, events)
                elif key.data is None:
                    self._accept_all()
                else:
                    key.data()
            requests.sort(key=lambda item: item[0])
            for _, session, request in requests:
                self._serve(session, request)
            self._after_events()
            self._awake_until = time.monotonic() + _AWAKE_SECONDS

    def close(self) -> None:
        """End every session."""
        for session in list(self.service.sessions):
            self._end(session)
        self._selector.close()
        self._listener.close()

    def _after_events(self) -> None:
        service = self.service
        while service.new_sessions:
            self._register(service.new_sessions.pop())
        deadline = service.waiting.earliest_deadline
        if deadline is not None and deadline <= time.monotonic():
            service.serve_waiters()
        if self._accept_again is not None and self._accept_again <= time.monotonic():
            self._accept_again = None
            self._selector.register(self._listener, selectors.EVENT_READ, None)

    def _register(self, session: Session) -> None:
        self._selector.register(session.socket, selectors.EVENT_READ, session)
        session.when_stuck = self._watch  # also where the answer comes out of turn: from another thread's work, a queue
        self._watch(session)

    def _wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Whatever is next. After something was done it looks again for a moment before it sleeps (rule 5)."""
        while time.monotonic() < self._awake_until:
            events = self._selector.select(0)
            if events:
                return events
            os.sched_yield()
        return self._selector.select(self._timeout())

    def _timeout(self) -> float | None:
        deadlines = [d for d in (self.service.waiting.earliest_deadline, self._accept_again) if d is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _take(self, session: Session, events: int) -> list[tuple[int, Session, Request]]:
        """The next request of a session; what it gives back on the way, and its end, are done at once (rule 4)."""
        if events & selectors.EVENT_WRITE:
            session.flush()
            self._watch(session)
        if session.has_outgoing:
            return []
        try:
            for _ in range(_GIVEN_BACK_AT_ONCE):
                received = session.receive()
                if received is None:
                    return []
                sent, request = received
                if request.id or not isinstance(request, Unmap | Close | Unpin):
                    return [(sent, session, request)]
                self.service.dispatch(session, request)
        except EOFError:
            self._end(session)
        except RemoteProtocolError as error:
            self._hang_up(session, error)
        return []

    def _serve(self, session: Session, request: Request) -> None:
        try:
            self.service.dispatch(session, request)
        except RemoteProtocolError as error:
            self._hang_up(session, error)
        else:
            self._watch(session)

    def _hang_up(self, session: Session, error: RemoteProtocolError) -> None:
        log.info("pid %d: %s", session.pid, error)
        session.answer(Failure(0, errno.EPROTO, str(error)[:500]))
        self._end(session)

    def _watch(self, session: Session) -> None:
        """A session with unread answers is written to; any other is read from."""
        if session.ended:
            return
        wanted = selectors.EVENT_WRITE if session.has_outgoing else selectors.EVENT_READ
        if self._selector.get_key(session.socket).events != wanted:
            self._selector.modify(session.socket, wanted, session)

    def _end(self, session: Session) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(session.socket)
        with contextlib.suppress(ValueError):
            self.service.new_sessions.remove(session)
        self.service.end_session(session)

    def _accept_all(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    log.warning("no descriptor for a new session: %s", error)
                    if self._accept_again is None:
                        self._selector.unregister(self._listener)  # else the loop would spin until one is free
                    self._accept_again = time.monotonic() + _ACCEPT_AGAIN_SECONDS
                return
            pid, uid, gid = peer_of(sock)
            session = Session(sock, pid, uid, gid)
            if uid not in (self._uid, 0):
                session.answer(Failure(0, errno.EACCES, f"this server belongs to uid {self._uid}"))
                session.close()
                continue
            self.add(session)
