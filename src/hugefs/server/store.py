"""The store: which file has which memory, and the carrying out of the core's effects on it.

Rule 1: the books are kept by one thread; memory is made ready by others where it would take long, so that no client
        makes another wait. Small steps are done at once: handing them over would cost more.
Rule 2: while memory of a file is being made ready the file is *busy*, and whatever concerns it waits its turn (the
        kernel's inode lock). So the effects of one file are carried out in their order.
Rule 3: what is granted is backed before anyone is told. Where memory cannot be had the caller takes the grant back.
Rule 4: files that are gone give their memory back in a thread of its own; who finds no memory waits for it first,
        and does so in a thread, too.
Rule 5: a file whose descriptor somebody has stays on the memory that this descriptor is of.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from hugefs.core.effects import Back, Clear, Effect, Forget
from hugefs.core.inode import Inode
from hugefs.core.ranges import PageRange
from hugefs.errors import HugefsError, NoHugePages, from_errno
from hugefs.memory.backing import Backing
from hugefs.memory.hugetlb_room import pool_room
from hugefs.memory.memory_file import MemoryFile

__all__ = ["FileMemory", "Refusal", "Store"]

log = logging.getLogger("hugefs.server")

# What is done at once takes about half a millisecond at most (bench/ has the figures): pages of each backing.
_PAGES_AT_ONCE = {Backing.HUGETLB: 4, Backing.THP: 1, Backing.BASE: 1}
_PAGES_LARGE = 64  # larger ones have threads of their own, so that smaller ones do not wait for them
_FALLBACK = {Backing.HUGETLB: Backing.THP, Backing.THP: Backing.BASE}
_FREEING_SECONDS_MAX = 60.0


class FileMemory:
    """A file's memory, made when it is first needed; ``key`` is what a handle of it must show.

    ``handed_out``: whether a
    client was given its descriptor.
    """

    def __init__(self, inode: Inode, size_bytes: int, fixed: bool) -> None:
        self.inode = inode
        self.key = secrets.token_bytes(16)
        self.memory: MemoryFile | None = None
        self.size_bytes = size_bytes
        self.fixed = fixed
        self.handed_out = False

    @property
    def backing(self) -> Backing | None:
        """What it is on, None while it has no memory."""
        return self.memory.backing if self.memory else None


class Refusal:
    """Pages whose memory could not be had, and why."""

    def __init__(self, inode: int, pages: PageRange, error: HugefsError) -> None:
        self.inode = inode
        self.pages = pages
        self.error = error


class Store:
    """The memory of all files of a server. ``wake`` is readable when ``finish_jobs`` has something to do."""

    def __init__(self, page_bytes: int, backing: Backing, *, may_fall_back: bool) -> None:
        self.page_bytes = page_bytes
        self.backing = backing
        self.may_fall_back = may_fall_back
        self.files: dict[int, FileMemory] = {}
        self.minimum = Minimum(page_bytes, backing)
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._busy: dict[int, deque[Callable[[], None]]] = {}
        self._finished: SimpleQueue[tuple[set[int], list[Refusal], Callable[[list[Refusal]], None]]] = SimpleQueue()
        self._makers = _threads(2, "make-large")
        self._makers_of_small = _threads(1, "make-small")
        self._freer = _threads(1, "give-back")
        self._freeing = 0
        self._freed = threading.Condition()

    # --- files ----------------------------------------------------------------------------------------------------

    def file(self, inode: Inode, *, fixed_bytes: int | None = None) -> FileMemory:
        """The memory of a file. ``fixed_bytes``: its size for ever, where it is made now."""
        found = self.files.get(inode.number)
        if found is None:
            found = FileMemory(inode, fixed_bytes or 0, fixed_bytes is not None)
            self.files[inode.number] = found
        return found

    def descriptor(self, file: FileMemory, *, writable: bool) -> tuple[int, bool]:
        """A descriptor of the file's memory, and whether the caller must close it."""
        memory = self._memory(file)
        if not file.handed_out:
            if not memory.backed_bytes:
                memory = self._with_a_future(file, memory)
            file.handed_out = True
        memory.grow(max(memory.size_bytes, self._whole_pages(file.inode.size_bytes)))
        read_only = None if writable else memory.read_only_fd()
        return (memory.fd, False) if read_only is None else (read_only, True)

    def grow(self, file: FileMemory, size_bytes: int) -> None:
        """The file may be mapped and read up to here."""
        if file.memory is not None:
            file.memory.grow(max(file.memory.size_bytes, self._whole_pages(size_bytes)))

    @property
    def backing_got(self) -> Backing:
        """The least of what the mount was promised and what its files are on."""
        order = list(Backing)
        got = [file.memory.backing for file in self.files.values() if file.memory] + [self.backing]
        return max(got, key=order.index)

    def _memory(self, file: FileMemory) -> MemoryFile:
        if file.memory is None:
            file.memory = self._new_memory(file, self.backing)
        return file.memory

    def _with_a_future(self, file: FileMemory, memory: MemoryFile) -> MemoryFile:
        """Of an empty file that is handed out: on lesser memory where the machine's pool has nothing left for it."""
        if memory.backing is not Backing.HUGETLB or not self.may_fall_back or self.minimum.held_bytes:
            return memory
        room = pool_room(self.page_bytes)
        if room is None or room.pages_available + room.pages_overcommit > 0:
            return memory
        file.memory = self._new_memory(file, _FALLBACK[memory.backing])
        memory.close()
        return file.memory

    def _new_memory(self, file: FileMemory, backing: Backing) -> MemoryFile:
        return MemoryFile.create(
            f"hugefs:{file.inode.number}",
            self.page_bytes,
            backing,
            size_bytes=self._whole_pages(file.size_bytes),
            fixed=file.fixed,
            require_huge=not self.may_fall_back and backing is not Backing.BASE,
        )

    def _whole_pages(self, size_bytes: int) -> int:
        return -(-size_bytes // self.page_bytes) * self.page_bytes

    # --- busy files -----------------------------------------------------------------------------------------------

    def is_busy(self, inode: int) -> bool:
        """Whether memory of this file is being made ready."""
        return inode in self._busy

    def when_idle(self, inode: int, action: Callable[[], None]) -> None:
        """Do it in this file's turn; at once where it is not busy."""
        if inode in self._busy:
            self._busy[inode].append(action)
        else:
            action()

    def when_any_idle(self, action: Callable[[], None]) -> bool:
        """Do it after the next job on any busy file. False where none is busy: then it is not done."""
        for waiting in self._busy.values():
            waiting.append(action)
            return True
        return False

    # --- effects --------------------------------------------------------------------------------------------------

    def carry_out(self, effects: list[Effect], then: Callable[[list[Refusal]], None]) -> None:
        """Carry the effects of one operation out, then call ``then`` with what could not be backed."""
        slow: list[Effect] = []
        pages = 0
        for effect in effects:
            if isinstance(effect, Forget):
                self._forget(effect.inode)
            elif effect.inode in self.files:
                slow.append(effect)
                pages += effect.length_bytes // self.page_bytes if isinstance(effect, Clear) else effect.pages.pages
        if pages <= _PAGES_AT_ONCE[self.backing]:
            freeing = self._freeing > 0
            refusals = self._work(slow, may_wait=False)
            if not (refusals and freeing):
                then(refusals)
                return
        inodes = {effect.inode for effect in slow}
        for inode in inodes:
            self._busy[inode] = deque()
        makers = self._makers if pages > _PAGES_LARGE else self._makers_of_small
        makers.submit(self._work_elsewhere, slow, inodes, then)

    def finish_jobs(self) -> None:
        """Take up what other threads have finished. Called by the one thread that keeps the books."""
        try:
            os.eventfd_read(self.wake)
        except BlockingIOError:
            return
        while not self._finished.empty():
            inodes, refusals, then = self._finished.get()
            waiting = {inode: self._busy.pop(inode) for inode in inodes}
            _do(lambda: then(refusals))  # noqa: B023  done at once
            for inode, actions in waiting.items():
                while actions and inode not in self._busy:
                    _do(actions.popleft())
                if actions:  # one of them made the file busy again
                    self._busy[inode].extendleft(reversed(actions))

    def close(self) -> None:
        """The server ends: its memory goes with it."""
        self._makers.shutdown(cancel_futures=True)
        self._makers_of_small.shutdown(cancel_futures=True)
        self._freer.shutdown(cancel_futures=True)

    def _work_elsewhere(self, effects: list[Effect], inodes: set[int], then: Callable[[list[Refusal]], None]) -> None:
        self._finished.put((inodes, self._work(effects), then))
        os.eventfd_write(self.wake, 1)

    def _work(self, effects: Iterable[Effect], *, may_wait: bool = True) -> list[Refusal]:
        """Each effect on its own: where one page cannot be had, the others still can. Done again it does no harm."""
        refusals: list[Refusal] = []
        for effect in effects:
            file = self.files.get(effect.inode)
            if file is None:
                continue
            try:
                self._carry_out_one(file, effect, may_wait)
            except HugefsError as error:
                self._failed(effect, error, refusals)
            except OSError as error:
                reason = f"memory could not be made ready: {error.strerror}"
                self._failed(effect, from_errno(error.errno or errno.EIO, reason), refusals)
            except Exception as error:
                log.exception("%s failed: this is a bug in hugefs", effect)
                self._failed(effect, from_errno(errno.EIO, f"memory could not be made ready: {error!r}"), refusals)
        return refusals

    def _failed(self, effect: Effect, error: HugefsError, refusals: list[Refusal]) -> None:
        """What cannot be backed is refused; what cannot be cleared or dropped stays, and somebody should know."""
        if isinstance(effect, Back):
            refusals.append(Refusal(effect.inode, effect.pages, error))
        else:
            log.error("%s could not be carried out: %s", effect, error)

    def _carry_out_one(self, file: FileMemory, effect: Effect, may_wait: bool) -> None:
        if isinstance(effect, Back):
            self._back(file, effect.pages.start * self.page_bytes, effect.pages.pages * self.page_bytes, may_wait)
        elif file.memory is not None and not isinstance(effect, Forget):
            if isinstance(effect, Clear):
                offset, length = effect.offset_bytes, effect.length_bytes
            else:
                offset, length = effect.pages.start * self.page_bytes, effect.pages.pages * self.page_bytes
            end = min(offset + length, file.memory.size_bytes)
            if offset < end:
                (file.memory.clear if isinstance(effect, Clear) else file.memory.drop)(offset, end - offset)

    def _back(self, file: FileMemory, offset: int, length: int, may_wait: bool) -> None:
        """Back a range: from the machine, else after what is being given back, else from the mount's minimum, else on
        lesser pages where the mount may, the file has none yet, and nobody has its descriptor.
        """
        memory = self._memory(file)
        memory.grow(max(memory.size_bytes, offset + length))
        freeing = self._freeing > 0  # looked at first: what comes back while we try is worth another try
        more_room: list[Callable[[], bool]] = [
            lambda: True,
            lambda: self._wait_for_freed() or freeing,
            lambda: self.minimum.release(length),
        ]
        refusal = None
        for find_room in more_room:
            try:
                if find_room():
                    memory.back(offset, length)
                    return
            except NoHugePages as error:
                refusal = error
                if freeing and not may_wait:
                    raise
        lesser = _FALLBACK.get(memory.backing)
        if lesser is None or not self.may_fall_back or memory.backed_bytes or file.handed_out:
            assert refusal is not None
            raise refusal
        file.memory = self._new_memory(file, lesser)
        memory.close()
        self._back(file, offset, length, may_wait)

    def settle_minimum(self, pages_reserved: int) -> None:
        """Hold what the mount's minimum has not in use. Letting go is done at once, taking back in a thread."""
        missing = pages_reserved * self.page_bytes - self.minimum.held_bytes
        if missing < 0:
            self.minimum.settle(pages_reserved)
        elif missing > 0:
            self._freer.submit(self._fill_minimum, pages_reserved)

    def _fill_minimum(self, pages_reserved: int) -> None:
        try:
            self.minimum.settle(pages_reserved)
        except HugefsError as error:  # tried again after the next operation
            log.warning("the mount's minimum is not all backed: %s", error)

    # --- giving back ----------------------------------------------------------------------------------------------

    def _forget(self, inode: int) -> None:
        file = self.files.pop(inode, None)
        if file is None or file.memory is None:
            return
        if file.memory.backed_bytes <= _PAGES_AT_ONCE[file.memory.backing] * self.page_bytes:
            file.memory.close()
            return
        with self._freed:
            self._freeing += 1
        self._freer.submit(self._free, file.memory)

    def _free(self, memory: MemoryFile) -> None:
        memory.close()
        with self._freed:
            self._freeing -= 1
            self._freed.notify_all()

    def _wait_for_freed(self) -> bool:
        """Wait until the memory of files that are gone is back. False where there was none to wait for."""
        with self._freed:
            if not self._freeing:
                return False
            self._freed.wait_for(lambda: self._freeing == 0, _FREEING_SECONDS_MAX)
            return True


def _threads(count: int, name: str) -> ThreadPoolExecutor:
    """Threads that are all there from the start: later, in the middle of an operation, they might not be had."""
    threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)
    all_there = threading.Barrier(count)
    try:
        for _ in range(count):
            threads.submit(all_there.wait)
    except RuntimeError as error:
        all_there.abort()
        reason = f"a server needs threads, and cannot start one (RLIMIT_NPROC, RLIMIT_AS, pids.max): {error}"
        raise from_errno(errno.EAGAIN, reason) from None
    return threads


def _do(action: Callable[[], None]) -> None:
    """Nothing that goes wrong with one request ends the server for all."""
    try:
        action()
    except Exception:
        log.exception("an action failed: this is a bug in hugefs")


class Minimum:
    """The memory of a mount's min_size that no file uses yet: kept, so that nobody else on the machine can take it.

    It holds as many pages as the subpool has promises (``pages_reserved``): it shrinks when files take them and grows
    when they come back. Between the two another program may be faster where the machine's pool is otherwise empty;
    only a hugetlbfs mount of one's own could exclude that, and it needs root.
    """

    def __init__(self, page_bytes: int, backing: Backing) -> None:
        self._page_bytes = page_bytes
        self._backing = backing
        self._memory: MemoryFile | None = None
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """How much it holds now."""
        return self._memory.backed_bytes if self._memory else 0

    def release(self, length: int) -> bool:
        """Let go of memory that is about to be taken by a file. False where there is none."""
        with self._lock:
            if self._memory is None or not self.held_bytes:
                return False
            held = self.held_bytes
            kept = max(0, held - length)
            self._memory.drop(kept, held - kept)
            return True

    def settle(self, pages_reserved: int) -> None:
        """Hold exactly so many pages. Raises NoHugePages where they cannot be had."""
        with self._lock:
            wanted, held = pages_reserved * self._page_bytes, self.held_bytes
            if wanted < held and self._memory:
                self._memory.drop(wanted, held - wanted)
            elif wanted > held:
                if self._memory is None:
                    self._memory = MemoryFile.create("hugefs:minimum", self._page_bytes, self._backing)
                self._memory.grow(max(wanted, self._memory.size_bytes))
                self._memory.back(held, wanted - held)
