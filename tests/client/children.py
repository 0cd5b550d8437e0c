"""Work in a forked child, whose failure is this process's failure."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable


def in_child(work: Callable[[], object], seconds: float = 20) -> None:
    """Fork, do it in the child; whatever goes wrong there fails the test here."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        signal.alarm(int(seconds))
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 (whatever it is, the parent is told)
            os.write(tell, traceback.format_exc().encode()[-8000:])
        finally:
            os._exit(status)
    os.close(tell)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(told, "rb") as pipe:
        text = pipe.read().decode()
    assert status == 0, f"the child ended with {status}\n{text}"
