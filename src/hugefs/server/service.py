"""The service: takes requests of sessions, one at a time, applies the core, has its effects carried out, answers.

Rule 1: an operation is: look whether a file it concerns is busy (then it waits its turn), do it in the books, have the
        memory made ready, answer. Nobody is told before the memory is there.
Rule 2: where memory cannot be had, the operation is undone in the books, and the answer says what was missing.
Rule 3: a session that ends gives back all it holds, now; what concerns a busy file follows in that file's turn.
"""

from __future__ import annotations

import errno
import hmac
import logging
import time
from collections.abc import Callable
from typing import TypeAlias

from hugefs.core.check import check
from hugefs.core.effects import Back, Effect
from hugefs.core.filesystem import Filesystem
from hugefs.core.inode import Inode, OpenFile
from hugefs.core.mapping import Mapping
from hugefs.core.pin import Pin
from hugefs.core.superblock import Superblock
from hugefs.errors import (
    BadHandle,
    HugefsError,
    InvariantError,
    NoHugePages,
    NoSpace,
    RemoteProtocolError,
    StaleHandle,
    from_errno,
)
from hugefs.server.holders import holder_records
from hugefs.server.session import Session
from hugefs.server.store import FileMemory, Refusal, Store
from hugefs.server.waiting import Waiter, WaitingList
from hugefs.wire.messages import Create, Failure, Fallocate, FileRef, Hello, Introduce, Open, Reply, Request

__all__ = ["Answer", "Handler", "Parked", "Service"]

log = logging.getLogger("hugefs.server")

# A reply, the descriptor that goes with it, and whether the descriptor is to be closed afterwards.
Answer: TypeAlias = tuple[Reply, int | None, bool]
Handler: TypeAlias = "Callable[[Service, Session, Request], None]"
_HOLDERS_IN_A_REFUSAL = 8


class Parked(Exception):
    """A request concerns a file that is busy: it is done in that file's turn. Raised before anything is changed."""

    def __init__(self, inode: int) -> None:
        super().__init__(inode)
        self.inode = inode


class Service:
    """One mount on one pool, and the sessions that use it."""

    def __init__(
        self,
        fs: Filesystem,
        superblock: Superblock,
        store: Store,
        handlers: dict[type[Request], Handler],
        *,
        address: str,
        identity: bytes,
        verify: bool = False,
    ) -> None:
        self.fs = fs
        self.superblock = superblock
        self.store = store
        self.address = address
        self.identity = identity
        self.sessions: dict[Session, None] = {}
        self.new_sessions: list[Session] = []  # clones that the loop has not seen yet
        self.waiting = WaitingList()
        self.served: Create | None = None  # a request from the queue, while its turn has come
        self._handlers = handlers
        self._verify = verify

    # --- requests -------------------------------------------------------------------------------------------------

    def dispatch(self, session: Session, request: Request) -> None:
        """Do what a session asks."""
        if session.ended:
            return
        if not session.greeted and not isinstance(request, Hello):
            raise RemoteProtocolError("the first message must be Hello")
        if not session.introduced and not isinstance(request, Introduce):
            log.debug("a clone spoke before it introduced itself")
        try:
            self._attempt(session, request, lambda: self._handlers[type(request)](self, session, request))
        except Parked as parked:
            session.unanswered.add(request.id)
            self.store.when_idle(parked.inode, lambda: self._dispatch_parked(session, request))
        if self._verify:
            check(self.fs)

    def _dispatch_parked(self, session: Session, request: Request) -> None:
        """The file is not busy any more: now, unless the client has given up meanwhile."""
        session.unanswered.discard(request.id)
        if request.id in session.cancelled:
            self.refuse_cancelled(session, request)
        else:
            self.dispatch(session, request)

    def refuse_cancelled(self, session: Session, request: Request) -> None:
        """Whoever asked does not wait any more; this is the end of it."""
        session.cancelled.discard(request.id)
        self.refuse(session, request, from_errno(errno.ECANCELED, "cancelled"))

    def _attempt(self, session: Session, request: Request, action: Callable[[], None]) -> None:
        """Whatever goes wrong is answered."""
        try:
            action()
        except Parked:
            raise
        except InvariantError as error:
            log.exception("request %s found the books wrong: this is a bug in hugefs", type(request).__name__)
            self.refuse(session, request, error)
        except HugefsError as error:
            self.refuse(session, request, error)
        except Exception:
            log.exception("request %s failed: this is a bug in hugefs", type(request).__name__)
            self.refuse(session, request, RemoteProtocolError("internal error of the server", number=errno.EIO))

    def finish(
        self,
        session: Session,
        request: Request,
        answer: Callable[[], Answer],
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Have the effects of what was just done carried out, then answer; or undo it where memory could not be had.

        ``undo`` gives back what the request was granted; the pages that have no memory are taken back here.
        """
        effects = self.fs.drain_effects()
        if not effects:
            self._settle_minimum()
            self._answer(session, request, answer, undo)
            return

        def then(refusals: list[Refusal]) -> None:
            self._attempt(session, request, lambda: finished(refusals))

        def finished(refusals: list[Refusal]) -> None:
            session.unanswered.discard(request.id)
            unwanted = undo is not None and (session.ended or request.id in session.cancelled)
            undone = bool(refusals) or unwanted
            if undone:
                if undo:
                    undo()
                self._retract(refusals)
                self._carry_out_rest()
            if refusals:
                session.cancelled.discard(request.id)
                self.refuse(session, request, refusals[0].error)
            elif unwanted:
                self.refuse_cancelled(session, request)
            else:
                session.cancelled.discard(request.id)
                self._answer(session, request, answer, undo)
            self._settle_minimum()
            if undone:
                self.serve_waiters()

        session.unanswered.add(request.id)
        self.store.carry_out(effects, then)

    def _answer(
        self, session: Session, request: Request, answer: Callable[[], Answer], undo: Callable[[], None] | None
    ) -> None:
        if session.ended:
            return
        try:
            reply, descriptor, close_after = answer()
        except HugefsError as error:  # no descriptor for it, say
            if undo:
                undo()
                self._carry_out_rest()
            self.refuse(session, request, error)
            self.serve_waiters()
            return
        if request.id:
            session.answer(reply, descriptor, close_after=close_after)

    def _retract(self, refusals: list[Refusal]) -> None:
        for refusal in refusals:
            inode = self.superblock.inodes.get(refusal.inode)
            if inode is not None:
                self.fs.retract(inode, refusal.pages)

    def abandon(self, inode: Inode, undo: Callable[[], None]) -> None:
        """Undo an operation that ran out of pages on its way: what it took so far goes back, and has no memory yet."""
        effects = self.fs.drain_effects()
        for effect in effects:
            if isinstance(effect, Back):
                self.fs.retract(inode, effect.pages)
        undo()
        rest: list[Effect] = [effect for effect in effects if not isinstance(effect, Back)]
        self.store.carry_out(rest + self.fs.drain_effects(), self._retract)

    def _carry_out_rest(self) -> None:
        """Effects of undoing, and of sessions that ended: nobody waits for them."""
        effects = self.fs.drain_effects()
        if effects:
            self.store.carry_out(effects, self._retract)

    def _settle_minimum(self) -> None:
        if self.superblock.subpool is not None and self.superblock.options.pages_min:
            self.store.settle_minimum(self.superblock.subpool.pages_reserved)

    def refuse(self, session: Session, request: Request, error: HugefsError, *, waited: bool = False) -> None:
        """Answer with an error; where pages were missing, with those who hold the rest."""
        if not request.id or session.ended:
            return
        if isinstance(error, NoHugePages) and isinstance(request, Fallocate | Open):
            error = NoSpace(error.reason, wanted=error.wanted, available=error.available)  # what fallocate(2) says
        short = isinstance(error, NoHugePages | NoSpace)
        holders = holder_records(self.superblock, self.sessions, self.store, self.waiting) if short else []
        number = getattr(error, "errno", None) or errno.EIO
        reason = getattr(error, "reason", None) or str(error)
        session.answer(
            Failure(
                request.id,
                number,
                reason[:1000],
                wanted=getattr(error, "wanted", None),
                available=getattr(error, "available", None),
                mount=self.superblock.name if short else getattr(error, "mount", None),
                holders=holders[:_HOLDERS_IN_A_REFUSAL],
                waited=waited,
            )
        )

    # --- what handlers look up ------------------------------------------------------------------------------------

    def idle(self, inode: Inode) -> Inode:
        """The inode, if its memory is not being made ready; else the request waits its turn."""
        if self.store.is_busy(inode.number):
            raise Parked(inode.number)
        return inode

    def open_file(self, session: Session, number: int) -> OpenFile:
        """An open file of a session."""
        if number not in session.files:
            raise BadHandle(f"this session has no open file {number}")
        return session.files[number]

    def mapping(self, session: Session, number: int) -> Mapping:
        """A mapping of a session."""
        if number not in session.mappings:
            raise BadHandle(f"this session has no mapping {number}")
        return session.mappings[number]

    def by_reference(self, reference: FileRef) -> FileMemory:
        """The file of a handle. Raises StaleHandle where it is gone, or was never of this server."""
        file = self.store.files.get(reference.inode)
        if file is None or not hmac.compare_digest(file.key, reference.key):
            raise StaleHandle("the file of this handle is gone (its last user closed it), or the handle is not genuine")
        return file

    # --- giving back ----------------------------------------------------------------------------------------------

    def give_back(self, inode: Inode, release: Callable[[], None]) -> None:
        """Close or unmap something, in its file's turn; then see whether somebody waited for the pages."""

        def now() -> None:
            release()
            self._carry_out_rest()
            self._settle_minimum()
            self.serve_waiters()

        self.store.when_idle(inode.number, now)

    def release_file(self, file: OpenFile) -> None:
        """Close an open file that a session held."""
        self.give_back(file.inode, lambda: self.fs.close(file))

    def release_mapping(self, mapping: Mapping) -> None:
        """Unmap a mapping that a session held."""
        self.give_back(mapping.inode, lambda: self.fs.unmap(mapping))

    def release_pin(self, pin: Pin) -> None:
        """The I/O has ended."""
        self.give_back(pin.origin, lambda: self.fs.unpin(pin))

    def end_session(self, session: Session) -> None:
        """A session is over: it holds nothing from now on."""
        session.close()
        self.sessions.pop(session, None)
        for waiter in self.waiting.of(session):
            self.waiting.remove(waiter)
        files, session.files = session.files, {}
        mappings, session.mappings = session.mappings, {}
        pins, session.pins = session.pins, {}
        for pin in pins.values():
            self.release_pin(pin)
        for mapping in mappings.values():
            self.release_mapping(mapping)
        for file in files.values():
            self.release_file(file)
        self.serve_waiters()

    # --- waiting --------------------------------------------------------------------------------------------------

    def serve_waiters(self) -> None:
        """Serve the first in the queue as long as that works, and send away who has waited long enough."""
        if self.served is not None:
            return  # this is the serving of one of them, and the next is looked at afterwards
        for waiter in self.waiting.expired(time.monotonic()):
            self.waiting.remove(waiter)
            available = self.fs.reservations.pages_obtainable(self.superblock.subpool)
            error = NoHugePages(
                f"mount {self.superblock.name}: {waiter.pages} pages wanted, {available} available after waiting"
                f" {waiter.request.wait:g} seconds",
                wanted=waiter.pages,
                available=available,
            )
            self.refuse(waiter.session, waiter.request, error, waited=True)
        while self.waiting.first is not None:
            waiter = self.waiting.first
            if self.fs.reservations.pages_obtainable(self.superblock.subpool) < waiter.pages:
                return
            self.waiting.remove(waiter)
            self.served = waiter.request
            try:
                self.dispatch(waiter.session, waiter.request)
            finally:
                self.served = None

    def wait_for_pages(self, session: Session, request: Create, pages: int) -> None:
        """Queue a request."""
        assert request.wait is not None
        self.waiting.add(Waiter(session, request, pages, time.monotonic() + request.wait))
