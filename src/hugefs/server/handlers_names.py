"""Requests about names, about the mount and about the pool: no memory moves, except what a removed name gives back."""

from __future__ import annotations

import stat as stat_bits

from hugefs.core import namespace
from hugefs.errors import InvalidRequest
from hugefs.server.handling import done, handles
from hugefs.server.holders import holder_records
from hugefs.server.service import Service
from hugefs.server.session import Session
from hugefs.wire import messages as m

_NAMES_AT_ONCE = 200
_RECORDS_AT_ONCE = 100


# --- names ----------------------------------------------------------------------------------------------------------


@handles(m.Unlink)
def _unlink(service: Service, session: Session, request: m.Unlink) -> None:
    service.fs.unlink(service.superblock, request.path)
    done(service, session, request)
    service.serve_waiters()


@handles(m.Rename)
def _rename(service: Service, session: Session, request: m.Rename) -> None:
    service.fs.rename(service.superblock, request.source, request.target)
    done(service, session, request)
    service.serve_waiters()


@handles(m.Link)
def _link(service: Service, session: Session, request: m.Link) -> None:
    service.fs.link(service.superblock, request.source, request.target)
    done(service, session, request)


@handles(m.Mkdir)
def _mkdir(service: Service, session: Session, request: m.Mkdir) -> None:
    service.fs.mkdir(service.superblock, request.path, mode=request.mode, uid=session.uid, gid=session.gid)
    done(service, session, request)


@handles(m.Rmdir)
def _rmdir(service: Service, session: Session, request: m.Rmdir) -> None:
    service.fs.rmdir(service.superblock, request.path)
    done(service, session, request)


@handles(m.Listdir)
def _listdir(service: Service, session: Session, request: m.Listdir) -> None:
    names = namespace.list_names(service.superblock, request.path)
    after = request.after
    names = [name for name in names if after is None or name > after]
    session.answer(m.Listing(request.id, names[:_NAMES_AT_ONCE], len(names) > _NAMES_AT_ONCE))


@handles(m.Stat)
def _stat(service: Service, session: Session, request: m.Stat) -> None:
    if (request.path is None) == (request.handle is None):
        raise InvalidRequest("either a path or an open file was expected")
    if request.handle is not None:
        inode = service.open_file(session, request.handle).inode
    else:
        inode = namespace.lookup(service.superblock, request.path or "")
    session.answer(
        m.StatReply(
            request.id,
            inode.number,
            inode.mode | (stat_bits.S_IFDIR if inode.is_directory else stat_bits.S_IFREG),
            inode.links,
            inode.uid,
            inode.gid,
            inode.size_bytes,
            inode.cache.pages,
            inode.label,
        )
    )


# --- the mount and the pool -------------------------------------------------------------------------------------------


@handles(m.Statvfs)
def _statvfs(service: Service, session: Session, request: m.Statvfs) -> None:
    s = service.superblock.statfs()
    session.answer(m.StatvfsReply(request.id, s.block_bytes, s.blocks, s.blocks_free, s.inodes, s.inodes_free))


@handles(m.Meminfo)
def _meminfo(service: Service, session: Session, request: m.Meminfo) -> None:
    pool, superblock = service.fs.pool, service.superblock
    available = service.fs.reservations.pages_obtainable(superblock.subpool) if superblock.attached else 0
    session.answer(
        m.MeminfoReply(
            request.id,
            pool.pages_total,
            pool.pages_free,
            pool.pages_reserved,
            pool.pages_surplus,
            available,
            str(service.store.backing_got),
            len(service.waiting),
        )
    )


@handles(m.Holders)
def _holders(service: Service, session: Session, request: m.Holders) -> None:
    only = None if request.path is None else namespace.lookup(service.superblock, request.path)
    records = holder_records(service.superblock, service.sessions, service.store, service.waiting, only)
    part = records[request.start : request.start + _RECORDS_AT_ONCE]
    session.answer(m.HoldersReply(request.id, part, len(records) > request.start + _RECORDS_AT_ONCE))


@handles(m.Umount)
def _umount(service: Service, session: Session, request: m.Umount) -> None:
    service.fs.umount(service.superblock, lazy=request.lazy)
    done(service, session, request)
