"""Starting a private server: a process of its own, so that it serves while its starter computes.

It is connected to its starter by a socketpair from its first moment on, and ends when nobody is connected any more:
whatever happens to the starter, nothing stays behind.
"""

from __future__ import annotations

import errno
import os
import site
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np

from hugefs.client import forking
from hugefs.client.connection import Connection
from hugefs.client.registry import register, require_linux
from hugefs.errors import FallbackRefused, NoHugePages, NotSupported, ServerGone, from_errno

__all__ = ["launch"]

_LOG = "HUGEFS_LOG"
_HINT = f"set {_LOG}=stderr in the environment to see what it says"
_START_SECONDS = 60.0
_STDERR = 2


def launch(pages_max: int, pages_min: int, inodes: int | None, page_bytes: int, huge: str) -> Connection:
    """A new private server, and the first connection to it.

    Raises NoHugePages (FallbackRefused) where the mount cannot be had, ServerGone where the server does not come up.
    """
    require_linux()
    arguments = ["--pages-max", str(pages_max), "--page-bytes", str(page_bytes), "--huge", huge]
    if pages_min:
        arguments += ["--pages-min", str(pages_min)]
    if inodes is not None:
        arguments += ["--nr-inodes", str(inodes)]
    connection = _start(arguments)
    try:
        connection.greet()
    except ServerGone as error:
        raise ServerGone(f"the server could not be started: {error.reason} ({_HINT})") from None
    except NoHugePages as error:
        if huge == "require" and error.reason.startswith(("huge", "thp")):
            raise FallbackRefused(error.reason, wanted=error.wanted, available=error.available) from None
        raise
    return register(connection)


def _start(arguments: list[str]) -> Connection:
    if not sys.executable:
        raise NotSupported("a server cannot be started: sys.executable, the Python to run it with, is not known")
    quiet = None if os.environ.get(_LOG) == "stderr" else subprocess.DEVNULL
    try:
        with forking.undivided():  # no child inherits the server's end: its starter's death would go unnoticed
            ours, theirs = map(_not_standard, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            with theirs:
                connection = Connection(ours)
                command = [sys.executable, "-P", "-m", "hugefs.server", "--session-fd", str(theirs.fileno())]
                process = subprocess.Popen(
                    command + arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=quiet,
                    cwd="/",
                    env=_environment(),
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        process.wait(_START_SECONDS)  # the server's parent: it forks the server and goes
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise ServerGone(f"the server could not be started within {_START_SECONDS:.0f} seconds ({_HINT})") from None
    except OSError as error:
        raise from_errno(error.errno or errno.EIO, f"the server could not be started: {error.strerror}") from error
    return connection


def _not_standard(sock: socket.socket) -> socket.socket:
    """The socket under a number above 2: where this process has no stdin, stdout or stderr it may have got one of
    theirs, which the server's own would replace, and which libraries write to.
    """
    if sock.fileno() > _STDERR:
        return sock
    import fcntl  # not everywhere, and `import hugefs` works everywhere

    with sock:
        return socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1))


def _environment() -> dict[str, str]:
    """Ours, so that the server finds this very hugefs and what it needs; without what would make its Python wait or
    talk. This process may have found them through ``sys.path`` alone.
    """
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONINSPECT", "PYTHONSTARTUP"}}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # it computes nothing; and where threads are few, they are not for that
    files = (__file__, np.__file__, msgspec.__file__)
    homes = dict.fromkeys(str(Path(file).resolve().parents[up]) for file, up in zip(files, (2, 1, 1), strict=True))
    # What is installed is found anyway, and site-packages before the standard library would shadow some of it.
    found_anyway = {str(Path(home).resolve()) for home in (*site.getsitepackages(), site.getusersitepackages())}
    missing = [home for home in homes if home not in found_anyway]
    if missing:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (*missing, environment.get("PYTHONPATH"))))
    return environment
