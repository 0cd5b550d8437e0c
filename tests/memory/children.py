"""Child processes for tests of real memory: what they do happens to them and not to the test run.

Rule: a child says how it ended. A signal is a failure with its name; SIGBUS and SIGKILL are what these tests look for.
"""

from __future__ import annotations

import ctypes
import encodings.ascii
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
LOADED = (
    encodings.ascii.getregentry()
)  # loaded now: a child that is another user may not be able to read Python's files any more


def start(work: Callable[[], object], *, uid: int | None = None, group: Path | None = None) -> int:
    """Fork a child that does ``work``, as another user or in a control group where wanted; its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: never outlive the test run
        work()
        status = 0
    except BaseException:  # noqa: BLE001 — whatever it was, a forked child must not return into pytest
        traceback.print_exc()
    finally:
        os._exit(status)


def finish(pid: int) -> None:
    """Wait for a child; fails the test where it did not end well, with the signal's name."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, f"the child ended with {signal.Signals(-code).name if code < 0 else code}"


def run(work: Callable[[], object], *, uid: int | None = None, group: Path | None = None) -> None:
    """Have a child do ``work`` and wait for it."""
    finish(start(work, uid=uid, group=group))


def touch_everything(pages: memoryview, page_bytes: int = 4096) -> None:
    """Write one byte of every base page: afterwards each has really been there."""
    for at in range(0, len(pages), page_bytes):
        pages[at] = 0x5A
