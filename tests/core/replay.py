"""A small replayer: runs a recording of a real kernel on the core and compares outcome and counters line by line.

It knows the steps that are the file system's own. What a recording needs beyond them (moving mappings, protection,
System V memory, cgroups, seals) raises Unsupported. Bytes are not the core's business: a load counts as a touch.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hugefs.core import check, namespace
from hugefs.core.filesystem import Filesystem
from hugefs.core.inode import Inode, OpenFile
from hugefs.core.mapping import Mapping
from hugefs.core.mount_options import parse_mount_options
from hugefs.core.ranges import PageRange
from hugefs.core.superblock import Superblock
from hugefs.errors import BusError, InvalidRequest, NotFound, NotSupported, PermissionDenied
from tests.core.helpers import PAGE, counters

UNITS = {"": PAGE, "p": PAGE, "b": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Difference(NamedTuple):
    """One line that did not come out as recorded."""

    line: int
    step: str
    recorded: str
    here: str


class Unsupported(Exception):
    """The recording has a step that is not the core's."""


def size_of(text: str) -> int:
    """``2p-1b`` in bytes."""
    terms: list[tuple[str, str]] = re.findall(r"([+-]?\d+)([pbKMG]?)", text)
    return sum(int(number) * UNITS[unit] for number, unit in terms)


class Replayer:
    """The world of one recording. Handles and mappings are kept per task: ``opens["P"]["f"]``."""

    def __init__(self) -> None:
        self.fs = Filesystem(PAGE)
        self.nameless = self.fs.mount("kernel's own")
        self.mounts: dict[str, Superblock] = {}
        self.opens: dict[str, dict[str, OpenFile]] = {}
        self.maps: dict[str, dict[str, Mapping]] = {}
        self.pins: dict[str, object] = {}

    def replay(self, text: str) -> list[Difference]:
        """Run a whole recording; what differs, line by line."""
        differences = []
        for number, whole_line in enumerate(text.splitlines(), 1):
            line = whole_line.partition("#")[0].strip()
            if not line or line.startswith("note "):
                continue
            step, arrow, rest = line.partition("->")
            outcome, _, recorded = rest.partition("|") if arrow else ("", "", line.removeprefix("expect "))
            here = self.outcome(step.split())
            check.check(self.fs)
            shown = self.shown()
            wanted = recorded.split() if not arrow or recorded else []
            touched = here == "ok" and outcome.strip().isdigit() and " load " in step
            if not arrow and not line.startswith("expect "):
                continue
            same = not arrow or touched or here == outcome.strip()
            if not same or not set(wanted) <= set(shown.values()):
                found = " ".join(shown.get(item.partition("=")[0], shown["pool"]) for item in wanted)
                differences.append(Difference(number, step.strip(), rest.strip(), f"{here} | {found}"))
        return differences

    def shown(self) -> dict[str, str]:
        """The counters as a recording writes them."""
        shown = {"pool": "/".join(str(counter) for counter in counters(self.fs))}
        for name, superblock in self.mounts.items():
            said = superblock.statfs()
            shown[name] = f"{name}={said.blocks}/{said.blocks_free}/{said.blocks_available}"
            shown[f"{name}.inodes"] = f"{name}.inodes={said.inodes}/{said.inodes_free}"
        return shown

    def outcome(self, words: list[str]) -> str:
        """Run one step; its outcome in the recording's words."""
        task, verb, arguments = ("", words[0], words[1:]) if words[0].islower() else (words[0], words[1], words[2:])
        step: Callable[..., str | None] | None = getattr(self, f"do_{verb}", None)
        if step is None:
            raise Unsupported(" ".join(words))
        if task:
            self.opens.setdefault(task, {})
            self.maps.setdefault(task, {})
            arguments = [task, *arguments]
        try:
            return step(*arguments) or "ok"
        except BusError:
            return "SIGBUS"
        except OSError as error:
            return errno.errorcode[error.errno or 0].replace("ENOTSUP", "EOPNOTSUPP")

    # --- the world ------------------------------------------------------------------------------------------------

    def do_pool(self, count: str) -> None:
        self.fs.pool.resize(int(count))

    def do_overcommit(self, count: str) -> None:
        self.fs.pool.set_overcommit(int(count))

    def do_mount(self, name: str, *options: str) -> None:
        texts = [re.sub(r"(?<=size=)[^%]+$", lambda size: str(size_of(size[0])), option) for option in options]
        configured = self.fs.pool.pages_configured
        parsed = parse_mount_options(",".join(texts), page_bytes=PAGE, pages_configured=configured)
        self.mounts[name] = self.fs.mount(name, parsed)

    def do_umount(self, name: str, lazy: str = "") -> None:
        self.fs.umount(self.mounts[name], lazy=bool(lazy))
        del self.mounts[name]

    def do_remount(self, name: str, *_options: str) -> None:
        assert self.mounts[name].attached  # Linux: hugetlbfs has no reconfigure; options are taken and do nothing

    def do_expect(self, *_counters: str) -> None:
        pass

    def do_unpin(self, name: str) -> None:
        self.fs.unpin(self.pins.pop(name))  # type: ignore[arg-type]

    # --- files ----------------------------------------------------------------------------------------------------

    def place(self, path: str) -> tuple[Superblock, str]:
        """``m/f`` as mount and path."""
        mount, _, name = path.partition("/")
        return self.mounts[mount], name

    def do_open(self, task: str, name: str, path: str, *how: str) -> None:
        superblock, file_name = self.place(path)
        create, truncate, writable = "existing" not in how, "trunc" in how, "ro" not in how
        self.opens[task][name] = self.fs.open(
            superblock, file_name, create=create, truncate=truncate, writable=writable
        )
        if "unlinked" in how:
            self.fs.unlink(superblock, file_name)

    def do_memfd(self, task: str, name: str, *seal: str) -> None:
        if seal:
            raise Unsupported("seals")
        self.opens[task][name] = self.fs.open_unnamed(self.nameless)

    def do_close(self, task: str, name: str) -> None:
        self.fs.close(self.opens[task].pop(name))

    def do_unlink(self, _task: str, path: str) -> None:
        self.fs.unlink(*self.place(path))

    def do_link(self, _task: str, source: str, target: str) -> None:
        self.fs.link(*self.place(source), self.place(target)[1])

    def do_rename(self, _task: str, source: str, target: str) -> None:
        self.fs.rename(*self.place(source), self.place(target)[1])

    def do_mkdir(self, _task: str, path: str) -> None:
        self.fs.mkdir(*self.place(path))

    def do_truncate(self, task: str, name: str, size: str) -> None:
        self.fs.truncate(self.opens[task][name], size_of(size))

    def do_fallocate(self, task: str, name: str, offset: str, length: str, mode: str = "") -> None:
        if mode not in ("", "keep_size"):
            raise NotSupported(f"the core has no {mode}")
        self.fs.fallocate(self.opens[task][name], size_of(offset), size_of(length), keep_size=bool(mode))

    def do_punch(self, task: str, name: str, offset: str, length: str) -> None:
        self.fs.punch_hole(self.opens[task][name], size_of(offset), size_of(length))

    def do_readahead(self, task: str, name: str, *_where: str) -> None:
        assert not self.opens[task][name].closed

    def do_pread(self, task: str, name: str, offset: str, length: str) -> str:
        return str(max(0, min(size_of(length), self.opens[task][name].inode.size_bytes - size_of(offset))))

    def do_pwrite(self, *_arguments: str) -> None:
        raise InvalidRequest("hugetlbfs has no write(2)")

    def do_stat(self, task: str, name: str) -> str:
        inode: Inode = self.opens[task][name].inode if "/" not in name else namespace.lookup(*self.place(name))
        size, rest = divmod(inode.size_bytes, PAGE)
        text = "0" if inode.size_bytes == 0 else f"{size}p" + (f"+{rest}b" if rest else "")
        return f"size={text},pages={inode.cache.pages},links={inode.links}"

    # --- mappings -------------------------------------------------------------------------------------------------

    def do_mmap(self, task: str, name: str, of: str, *rest: str) -> None:
        if {"at", "near", "none"} & set(rest) or of == "ordinary":
            raise Unsupported("mmap " + " ".join(rest))
        offset, length, *how = ["0", *rest] if of == "anon" else rest
        file = self.fs.open_unnamed(self.nameless) if of == "anon" else self.opens[task][of]
        private, reserve, writable = "private" in how, "noreserve" not in how, "ro" not in how
        try:
            mapping = self.fs.map(
                file, size_of(offset), size_of(length), private=private, reserve=reserve, writable=writable
            )
        finally:
            if of == "anon":
                self.fs.close(file)
        self.maps[task][name] = mapping
        if {"populate", "locked"} & set(how):
            self.fs.touch(mapping, write=private and writable)

    def part(self, task: str, name: str, where: tuple[str, ...]) -> tuple[Mapping, PageRange]:
        """A mapping, and ``FIRST COUNT`` of it as indexes of the file."""
        mapping = self.maps[task][name]
        first, count = (int(word) for word in where) if where else (0, mapping.where.pages)
        return mapping, PageRange(mapping.where.start + first, mapping.where.start + first + count)

    def do_munmap(self, task: str, name: str, *where: str) -> None:
        if where and "=" in where[0]:
            raise InvalidRequest("a part of a page cannot be unmapped")
        if name in self.maps[task]:
            mapping, part = self.part(task, name, where)
            if mapping.parts:
                self.fs.unmap(mapping, part)

    def touch(self, task: str, name: str, where: tuple[str, ...], write: bool) -> str | None:
        if name not in self.maps[task]:
            return "ENOMEM"  # its mmap failed: nothing is mapped there
        mapping, part = self.part(task, name, where)
        if write and not mapping.writable:
            return "EINVAL"
        whole = mapping.parts.count(part) == part.pages
        singles = [PageRange(index, index + 1) for index in range(part.start, part.end)]
        for piece in [part] if whole else singles:
            if mapping.parts.count(piece) == 0:
                return "ENOMEM"
            self.fs.touch(mapping, piece, write=write)
        return None

    def do_write(self, task: str, name: str, *where: str) -> str | None:
        return self.touch(task, name, where, write=True)

    def do_read(self, task: str, name: str, *where: str) -> str | None:
        return self.touch(task, name, where, write=False)

    def do_store(self, task: str, name: str, page: str, _value: str) -> str | None:
        return self.access(task, name, page, write=True)

    def do_load(self, task: str, name: str, page: str) -> str | None:
        return self.access(task, name, page, write=False)

    def access(self, task: str, name: str, page: str, write: bool) -> str | None:
        """One byte; here a bus error kills the task."""
        try:
            return self.touch(task, name, (page, "1"), write)
        except BusError:
            self.do_exit(task)
            return "KILLED"

    def do_mlock(self, task: str, name: str) -> str | None:
        return self.touch(task, name, (), write=False)

    def do_munlock(self, task: str, name: str) -> None:
        assert self.maps[task][name].parts

    def do_madvise(self, task: str, what: str, name: str, *where: str) -> None:
        mapping = self.maps[task][name]
        start, length = (size_of(word.partition("=")[2]) for word in where) if where and "=" in where[0] else (-1, 0)
        _, part = self.part(task, name, () if start >= 0 else where)
        if what == "remove":
            if mapping.private:
                raise PermissionDenied("REMOVE needs a shared mapping")
            file = self.fs.reopen(mapping.inode, writable=True)
            offset, length = (
                (part.start * PAGE + start, length) if start >= 0 else (part.start * PAGE, part.pages * PAGE)
            )
            self.fs.punch_hole(file, offset, length)
            self.fs.close(file)
        elif what == "dontneed":
            if start >= 0:
                part = PageRange(part.start + start // PAGE, part.start + (start + length) // PAGE)
            if part.pages:
                self.fs.discard(mapping, part)
        elif what != "willneed":
            raise InvalidRequest(f"madvise {what}")

    def do_pin(self, task: str, name: str, first: str, count: str, _as: str, pin: str) -> str | None:
        try:
            self.pins[pin] = self.fs.pin(*self.part(task, name, (first, count)))
        except BusError:
            return "EFAULT"
        return None

    # --- tasks ----------------------------------------------------------------------------------------------------

    def do_fork(self, task: str, child: str) -> None:
        self.opens[child] = {
            name: self.fs.reopen(file.inode, writable=file.writable) for name, file in self.opens[task].items()
        }
        self.maps[child] = {name: self.fs.fork(mapping) for name, mapping in self.maps[task].items() if mapping.parts}

    def do_exit(self, task: str) -> None:
        for mapping in self.maps.pop(task).values():
            if mapping.parts:
                self.fs.unmap(mapping)
        for file in self.opens.pop(task).values():
            self.fs.close(file)

    do_kill = do_exit


def replay(path: Path) -> list[Difference]:
    """Replay a recording to its end, and see that nothing is left of it."""
    replayer = Replayer()
    differences = replayer.replay(path.read_text(encoding="utf-8"))
    if replayer.mounts or replayer.pins or replayer.opens.keys() - {"P"}:
        raise NotFound(f"{path.name} does not end what it began")
    if "P" in replayer.opens:
        replayer.do_exit("P")
    replayer.fs.umount(replayer.nameless)
    check.check_at_rest(replayer.fs)
    return differences
