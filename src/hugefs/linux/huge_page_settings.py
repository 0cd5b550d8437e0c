"""The machine's huge page settings, changed for the time of a block and put back whatever happens. For tests and demos.

Rule 1: one lock for the machine: two such blocks never overlap, whoever runs them.
Rule 2: before anything is changed, a journal says what it was. A normal end, an exception and SIGTERM put it back;
        after SIGKILL the next holder of the lock finds the journal and does it.
Rule 3: what cannot be done here is CannotRunHere with the reason, and then nothing is changed.
Rule 4: the server never uses this: hugefs does not change settings of a machine.
Linux: Documentation/admin-guide/mm/hugetlbpage.rst; the pool may give fewer pages than were written without an error.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from hugefs.errors import HugefsError
from hugefs.linux.counters import pool

_POOLS = Path("/sys/kernel/mm/hugepages")
_SHMEM_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
_LOCK_DIRECTORIES = (Path("/run/lock"), Path("/tmp"))
_PATIENCE_SECONDS = 120.0
_LOCK_NAME = "hugefs-huge-page-settings.lock"
_JOURNAL = Path("/run/hugefs-huge-page-settings.journal")  # only root writes /run: nobody else can plant one


class CannotRunHere(HugefsError, RuntimeError):
    """These settings cannot be had on this machine or by this user; the text says why. Not a failure."""


@contextmanager
def huge_page_settings(
    pages: int | None = None,
    *,
    pages_overcommit: int | None = None,
    shmem_enabled: str | None = None,
    page_bytes: int = 2 << 20,
) -> Iterator[None]:
    """Hold the machine's lock, with ``pages`` available in the pool of ``page_bytes``; all is as before afterwards.

    Available is free and promised to nobody: what others have, or were promised, comes on top. Not to be nested: the
    inner one would wait for the outer one. None leaves a setting alone. ``shmem_enabled``: a word the kernel
    offers there ("never", "advise", "deny", …).
    Raises CannotRunHere: not root, no such pages in this kernel, not enough contiguous memory, or somebody else has had
    the lock for two minutes.
    """
    if os.geteuid() != 0:
        raise CannotRunHere("changing huge page settings needs root")
    directory = _POOLS / f"hugepages-{page_bytes // 1024}kB"
    wanted: dict[Path, str] = {}
    # Overcommit first: if it were raised last, pages could be missing for a moment, and when restoring it goes last.
    if pages_overcommit is not None:
        wanted[directory / "nr_overcommit_hugepages"] = str(pages_overcommit)
    if pages is not None:
        wanted[directory / "nr_hugepages"] = ""  # known when the lock is held
    if shmem_enabled is not None:
        wanted[_SHMEM_ENABLED] = shmem_enabled
    with _machine_lock():
        _restore_from_journal()
        before = {path: _read_setting(path) for path in wanted}
        with _sigterm_as_exit():
            _write_journal(before)
            try:
                for path, value in wanted.items():
                    _write_setting(path, value or str((pages or 0) + _held_by_others(page_bytes)))
                yield
            finally:
                _restore_from_journal()


def _held_by_others(page_bytes: int) -> int:
    counters = pool(page_bytes)
    return counters.pages_total - counters.pages_free + counters.pages_reserved


@contextmanager
def _machine_lock() -> Iterator[None]:
    fd = _open_lock()
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _locked(fd):
            if time.monotonic() > deadline:
                raise CannotRunHere(
                    f"another process has held the huge page settings for {_PATIENCE_SECONDS:g} seconds"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open_lock() -> int:
    for directory in _LOCK_DIRECTORIES:
        path = directory / _LOCK_NAME
        # No O_CREAT on what exists: in a sticky directory the kernel refuses that on files of others
        # (fs.protected_regular). No following of links: /tmp is everybody's.
        for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CREAT):
            try:
                fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            except OSError:
                continue
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return fd
            os.close(fd)
    raise CannotRunHere(f"no lock file can be made in any of {', '.join(map(str, _LOCK_DIRECTORIES))}")


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM unwind the stack like SystemExit, so that ``finally`` runs. Only the main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _read_setting(path: Path) -> str:
    try:
        text = path.read_text().strip()
        if path.name == "nr_hugepages":
            # Reading counts surplus pages too, writing means those without: put back as read, they would stay forever.
            return str(int(text) - int((path.parent / "surplus_hugepages").read_text()))
    except OSError as error:
        raise CannotRunHere(f"this kernel has no {path}: {error.strerror}") from error
    # A choice shows all words with the chosen one in brackets, a number is just that.
    return text.partition("[")[2].partition("]")[0] or text


def _write_setting(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise CannotRunHere(f"{path} cannot be set to {value}: {error.strerror}") from error
    got = _read_setting(path)
    if got != value:
        raise CannotRunHere(
            f"{path}: {value} wanted, the kernel gave {got} (not enough contiguous memory, or pages still in use)"
        )


def _write_journal(before: dict[Path, str]) -> None:
    draft = _JOURNAL.with_suffix(".draft")
    try:
        draft.write_text(json.dumps({str(path): value for path, value in before.items()}))
        draft.rename(_JOURNAL)
    except OSError as error:
        raise CannotRunHere(f"no journal can be written to {_JOURNAL}: {error.strerror}") from error


def _restore_from_journal() -> None:
    """Put back what the journal says, in reverse order; then the journal goes. Needs the lock."""
    try:
        saved: dict[str, str] = json.loads(_JOURNAL.read_text())
    except FileNotFoundError:
        return
    except ValueError:
        saved = {}  # not ours: a journal appears by rename, complete
    for name, value in reversed(saved.items()):
        with suppress(OSError):
            Path(name).write_text(value)
    _JOURNAL.unlink(missing_ok=True)
