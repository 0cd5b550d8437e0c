"""Who holds pages: one record per process, file and way of holding.

A page that several hold is in the records of each: this answers "who must let go", not "how many pages are there".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from hugefs.core.inode import Inode
from hugefs.core.superblock import Superblock
from hugefs.server.session import Session
from hugefs.server.store import Store
from hugefs.server.waiting import WaitingList
from hugefs.wire.messages import HolderRecord

__all__ = ["command_of", "holder_records", "paths_of"]


def command_of(pid: int) -> str:
    """What a process is called; "?" where it cannot be known."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"


def paths_of(superblock: Superblock) -> dict[int, str]:
    """A name of each inode that has one."""
    paths: dict[int, str] = {}
    pending = [("", superblock.root)] if superblock.root else []
    while pending:
        prefix, directory = pending.pop()
        for name, inode in directory.children.items():
            paths.setdefault(inode.number, prefix + name)
            if inode.is_directory:
                pending.append((prefix + name + "/", inode))
    return paths


def holder_records(
    superblock: Superblock, sessions: Iterable[Session], store: Store, waiting: WaitingList, only: Inode | None = None
) -> list[HolderRecord]:
    """All records, the largest first. ``only``: of this file."""
    paths = paths_of(superblock)
    commands: dict[int, str] = {}

    def path_of(inode: Inode) -> str | None:
        if inode.number in paths:
            return paths[inode.number]
        return f"{inode.last_name} (deleted)" if inode.last_name else None

    def record(session: Session, inode: Inode | None, pages: int, how: str, path: str | None = None) -> HolderRecord:
        command = commands.setdefault(session.pid, command_of(session.pid))
        path = path_of(inode) if inode else path
        return HolderRecord(session.pid, session.uid, command, path, pages, how)

    records = []
    held = set()
    for session in sessions:
        for (inode, how), pages in _held_by(session).items():
            held.add(inode)
            if only is None or inode is only:
                records.append(record(session, inode, pages, how))
    if only is None:
        records += [record(waiter.session, None, waiter.pages, "waiting", waiter.request.path) for waiter in waiting]
    for inode in superblock.inodes.values():
        if inode not in held and inode.reserve_map.entries.pages and (only is None or inode is only):
            pages = inode.reserve_map.entries.pages
            records.append(HolderRecord(0, inode.uid, "-", path_of(inode), pages, "named"))
    return sorted(records, key=lambda r: (-r.pages_count, r.pid, r.path or "", r.how))


def _held_by(session: Session) -> dict[tuple[Inode, str], int]:
    held: dict[tuple[Inode, str], int] = {}
    for inode, how, pages in _uses(session):
        key = (inode, how)
        # Two open files or mappings of one file hold its pages once; two private mappings hold pages each.
        held[key] = held.get(key, 0) + pages if how in ("private", "pinned") else max(held.get(key, 0), pages)
    return held


def _uses(session: Session) -> Iterator[tuple[Inode, str, int]]:
    for file in session.files.values():
        yield file.inode, "open", file.inode.reserve_map.entries.pages
    for mapping in session.mappings.values():
        if mapping.private:
            yield mapping.inode, "private", mapping.pages_promised + mapping.pages.pages
        else:
            yield (
                mapping.inode,
                "mapped",
                sum(mapping.inode.reserve_map.count(part) for part, _ in mapping.parts.runs()),
            )
    for pin in session.pins.values():
        yield pin.origin, "pinned", pin.pages
