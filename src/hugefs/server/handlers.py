"""One function a request: what it does in the books, what it is answered, how it is undone.

Each looks first whether a file it concerns is busy (``service.idle``), changes the books only then, and ends with
``service.finish``.
"""

from __future__ import annotations

import errno
import socket

from hugefs.core import namespace
from hugefs.core.inode import Inode, OpenFile
from hugefs.core.mapping import Mapping
from hugefs.core.ranges import PageRange
from hugefs.errors import (
    Exists,
    HugefsError,
    InvalidRequest,
    IsDirectory,
    NoHugePages,
    PermissionDenied,
    RemoteProtocolError,
    from_errno,
)
from hugefs.server.handling import done, handles
from hugefs.server.holders import paths_of
from hugefs.server.service import Answer, Service
from hugefs.server.session import Session
from hugefs.wire import messages as m

# --- the session ----------------------------------------------------------------------------------------------------


@handles(m.Hello)
def _hello(service: Service, session: Session, request: m.Hello) -> None:
    if request.version != m.VERSION:
        raise RemoteProtocolError(f"this server speaks version {m.VERSION} of the protocol, not {request.version}")
    session.greeted = True
    session.answer(
        m.Welcome(
            request.id,
            service.identity,
            service.address,
            service.superblock.name,
            service.fs.page_bytes,
            service.superblock.options.pages_max,
        )
    )


@handles(m.Clone)
def _clone(service: Service, session: Session, request: m.Clone) -> None:
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        raise from_errno(error.errno or errno.EMFILE, f"the server has no descriptor left: {error.strerror}") from None
    child = session.clone(ours)
    for number, file in session.files.items():
        child.files[number] = service.fs.reopen(file.inode, writable=file.writable)
    for number, mapping in session.mappings.items():
        child.mappings[number] = service.fs.fork(mapping)
    service.sessions[child] = None
    service.new_sessions.append(child)
    session.answer(m.Cloned(request.id), theirs.detach(), close_after=True)


@handles(m.Introduce)
def _introduce(service: Service, session: Session, request: m.Introduce) -> None:
    done(service, session, request)


@handles(m.Cancel)
def _cancel(service: Service, session: Session, request: m.Cancel) -> None:
    for waiter in service.waiting.of(session):
        if waiter.request.id == request.request:
            service.waiting.remove(waiter)
            service.refuse_cancelled(session, waiter.request)
    if request.request in session.unanswered:
        session.cancelled.add(request.request)
    service.serve_waiters()
    done(service, session, request)


# --- arrays ---------------------------------------------------------------------------------------------------------


@handles(m.Create)
def _create(service: Service, session: Session, request: m.Create) -> None:
    fs, superblock = service.fs, service.superblock
    if request.size_bytes == 0:
        raise InvalidRequest("an array of 0 bytes has no pages")
    pages = -(-request.size_bytes // fs.page_bytes)
    if request.path is not None and namespace.find(superblock, request.path) is not None:
        raise Exists(f"{request.path} exists", mount=superblock.name)
    shortage = _shortage(service, pages)
    if shortage is not None:
        pages_max = superblock.options.pages_max
        if request.wait and not (pages_max is not None and pages > pages_max) and superblock.attached:
            service.wait_for_pages(session, request, pages)
            return
        if service.store.when_any_idle(lambda: service.dispatch(session, request)):
            return  # pages may be on their way back
        raise shortage
    if request.path is None:
        file = fs.open_unnamed(superblock, uid=session.uid, gid=session.gid)
    else:
        file = fs.open(superblock, request.path, create=True, exclusive=True, uid=session.uid, gid=session.gid)
    try:
        fs.fallocate(file, 0, pages * fs.page_bytes)
        mapping = fs.map(file, 0, pages * fs.page_bytes)
    except HugefsError:
        if request.path is not None:
            fs.unlink(superblock, request.path)
        fs.close(file)
        fs.drain_effects()
        raise
    file.inode.label = request.label
    fs.close(file)
    service.store.file(file.inode, fixed_bytes=pages * fs.page_bytes)

    def undo() -> None:
        _remove_names(service, mapping.inode)
        fs.unmap(mapping)

    service.finish(session, request, lambda: _granted(service, session, request.id, mapping, writable=True), undo)


def _remove_names(service: Service, inode: Inode) -> None:
    """A file that could not be made loses its name, and what others have made of it meanwhile (rename, link)."""
    while inode.links and (path := paths_of(service.superblock).get(inode.number)) is not None:
        service.fs.unlink(service.superblock, path)


def _shortage(service: Service, pages: int) -> NoHugePages | None:
    """Why a new file of so many pages cannot be had now, None if it can."""
    superblock = service.superblock
    available = service.fs.reservations.pages_obtainable(superblock.subpool)
    waiting = 0 if service.served else len(service.waiting)
    if pages <= available and not waiting:
        return None
    reason = f"mount {superblock.name}: {pages} pages wanted, {available} of {superblock.options.pages_max} available"
    if waiting:
        reason += f", and {waiting} waiting for them before you"
    return NoHugePages(reason, wanted=pages, available=available, mount=superblock.name)


def _granted(service: Service, session: Session, request_id: int, mapping: Mapping, *, writable: bool) -> Answer:
    memory = service.store.file(mapping.inode)
    descriptor, close_after = service.store.descriptor(memory, writable=writable)
    number = session.new_number()
    session.mappings[number] = mapping
    return (
        m.Granted(
            request_id,
            number,
            m.FileRef(mapping.inode.number, memory.key),
            mapping.inode.size_bytes,
            mapping.inode.label,
            str(memory.backing or service.store.backing),
        ),
        descriptor,
        close_after,
    )


@handles(m.Get)
def _get(service: Service, session: Session, request: m.Get) -> None:
    inode = service.idle(namespace.lookup(service.superblock, request.path))
    _attach(service, session, request, inode)


@handles(m.Attach)
def _attach_reference(service: Service, session: Session, request: m.Attach) -> None:
    _attach(service, session, request, service.idle(service.by_reference(request.file).inode))


def _attach(service: Service, session: Session, request: m.Get | m.Attach, inode: Inode) -> None:
    """Map a whole file, holes included."""
    fs = service.fs
    if inode.is_directory:
        raise IsDirectory("a directory has no pages")
    if inode.size_bytes == 0:
        raise InvalidRequest("this file is empty: there is nothing to map")
    service.store.file(inode)
    file = fs.reopen(inode, writable=True)
    try:
        mapping = fs.map(file, 0, inode.size_bytes, writable=False)
    finally:
        fs.close(file)
    service.finish(
        session,
        request,
        lambda: _granted(service, session, request.id, mapping, writable=request.writable),
        lambda: fs.unmap(mapping),
    )


# --- files ----------------------------------------------------------------------------------------------------------


@handles(m.Open)
def _open(service: Service, session: Session, request: m.Open) -> None:
    fs = service.fs
    inode = namespace.find(service.superblock, request.path)
    if inode is not None:
        service.idle(inode)
    if not request.writable and (request.truncate or request.create or request.size_bytes is not None):
        raise PermissionDenied("a file that is opened read-only can neither be made nor changed")
    old_size = inode.size_bytes if inode and not request.truncate else 0
    file = fs.open(
        service.superblock,
        request.path,
        create=request.create,
        exclusive=request.exclusive,
        truncate=request.truncate,
        writable=request.writable,
        mode=request.mode,
        uid=session.uid,
        gid=session.gid,
    )
    service.store.file(file.inode)

    def undo() -> None:
        if inode is None:
            _remove_names(service, file.inode)
        else:
            file.inode.size_bytes = old_size
        fs.close(file)

    try:
        if request.size_bytes is not None and request.size_bytes > old_size:
            fs.fallocate(file, old_size, request.size_bytes - old_size)
    except HugefsError:
        service.abandon(file.inode, undo)
        raise
    service.finish(session, request, lambda: _opened(service, session, request.id, file), undo)


def _opened(service: Service, session: Session, request_id: int, file: OpenFile) -> Answer:
    memory = service.store.file(file.inode)
    descriptor, close_after = service.store.descriptor(memory, writable=file.writable)
    number = session.new_number()
    session.files[number] = file
    return (
        m.Opened(
            request_id,
            number,
            m.FileRef(file.inode.number, memory.key),
            file.inode.size_bytes,
            file.inode.label,
            str(memory.backing or service.store.backing),
        ),
        descriptor,
        close_after,
    )


@handles(m.OpenRef)
def _open_reference(service: Service, session: Session, request: m.OpenRef) -> None:
    inode = service.idle(service.by_reference(request.file).inode)
    file = service.fs.reopen(inode, writable=request.writable)
    service.finish(
        session, request, lambda: _opened(service, session, request.id, file), lambda: service.fs.close(file)
    )


@handles(m.Close)
def _close(service: Service, session: Session, request: m.Close) -> None:
    file = service.open_file(session, request.handle)
    del session.files[request.handle]
    service.release_file(file)
    done(service, session, request)


@handles(m.Truncate)
def _truncate(service: Service, session: Session, request: m.Truncate) -> None:
    file = service.open_file(session, request.handle)
    inode = service.idle(file.inode)
    if request.size_bytes > inode.size_bytes and request.size_bytes % service.fs.page_bytes == 0 and file.writable:
        service.store.grow(service.store.file(inode), request.size_bytes)
    service.fs.truncate(file, request.size_bytes)
    done(service, session, request)
    service.serve_waiters()


@handles(m.Fallocate)
def _fallocate(service: Service, session: Session, request: m.Fallocate) -> None:
    file = service.open_file(session, request.handle)
    inode = service.idle(file.inode)
    old_size = inode.size_bytes
    try:
        service.fs.fallocate(file, request.offset_bytes, request.length_bytes, keep_size=request.keep_size)
    except HugefsError as error:  # what it got stays, and must have its memory before the answer
        refusal = error

        def refuse() -> Answer:
            raise refusal

        service.finish(session, request, refuse)
        return

    def undo() -> None:
        inode.size_bytes = old_size

    service.finish(session, request, lambda: (m.Done(request.id), None, False), undo)


@handles(m.PunchHole)
def _punch_hole(service: Service, session: Session, request: m.PunchHole) -> None:
    file = service.open_file(session, request.handle)
    service.idle(file.inode)
    service.fs.punch_hole(file, request.offset_bytes, request.length_bytes)
    done(service, session, request)
    service.serve_waiters()


# --- mappings -------------------------------------------------------------------------------------------------------


@handles(m.Map)
def _map(service: Service, session: Session, request: m.Map) -> None:
    if request.access not in ("shared", "private", "read"):
        raise InvalidRequest(f"access {request.access!r}: 'shared', 'private' or 'read' was expected")
    file = service.open_file(session, request.handle)
    inode = service.idle(file.inode)
    old_size = inode.size_bytes
    private = request.access == "private"
    mapping = service.fs.map(
        file, request.offset_bytes, request.length_bytes, private=private, writable=request.access != "read"
    )
    if private:
        _take_private(service, mapping)

    def undo() -> None:
        inode.size_bytes = old_size
        service.fs.unmap(mapping)

    def answer() -> Answer:
        memory = service.store.file(inode)
        service.store.grow(memory, mapping.where.end * service.fs.page_bytes)
        descriptor, close_after = service.store.descriptor(memory, writable=file.writable and request.access != "read")
        number = session.new_number()
        session.mappings[number] = mapping
        return m.Mapped(request.id, number, str(memory.backing or service.store.backing)), descriptor, close_after

    service.finish(session, request, answer, undo)


def _take_private(service: Service, mapping: Mapping) -> None:
    """Count the copies as made: the client makes them before it uses the mapping, and a fork of it has them, too."""
    try:
        service.fs.touch(mapping, write=True)
    except HugefsError:
        service.fs.unmap(mapping)
        raise


@handles(m.Unmap)
def _unmap(service: Service, session: Session, request: m.Unmap) -> None:
    mapping = service.mapping(session, request.mapping)
    del session.mappings[request.mapping]
    service.release_mapping(mapping)
    done(service, session, request)


def _pages_of(mapping: Mapping, first: int, count: int) -> PageRange:
    if count == 0 or first + count > mapping.where.pages:
        raise InvalidRequest(f"pages {first} to {first + count} of a mapping of {mapping.where.pages} pages")
    return PageRange(first, first + count).shift(mapping.where.start)


@handles(m.Populate)
def _populate(service: Service, session: Session, request: m.Populate) -> None:
    mapping = service.mapping(session, request.mapping)
    service.idle(mapping.inode)
    service.fs.touch(mapping, _pages_of(mapping, request.first_page, request.pages_count), write=request.write)
    done(service, session, request)


@handles(m.Pin)
def _pin(service: Service, session: Session, request: m.Pin) -> None:
    mapping = service.mapping(session, request.mapping)
    service.idle(mapping.inode)
    pin = service.fs.pin(mapping, _pages_of(mapping, request.first_page, request.pages_count))

    def answer() -> Answer:
        number = session.new_number()
        session.pins[number] = pin
        return m.Pinned(request.id, number), None, False

    service.finish(session, request, answer, lambda: service.fs.unpin(pin))


@handles(m.Unpin)
def _unpin(service: Service, session: Session, request: m.Unpin) -> None:
    if request.pin not in session.pins:
        raise from_errno(errno.EBADF, f"this session has no pin {request.pin}")
    service.release_pin(session.pins.pop(request.pin))
    done(service, session, request)
