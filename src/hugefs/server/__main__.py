"""The private server: ``python -m hugefs.server``, started by ``hugefs.mount()``.

It detaches from who started it (so that it is nobody's zombie, and lives on where its starter is killed while others
still use it), makes its one mount, and serves until its last user is gone. It leaves nothing behind: its address is an
abstract one, without a file; its memory is in descriptors.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import resource
import secrets
import signal
import socket
import sys


def main() -> int:
    """Returns the exit status: 0 after the last user, 3 where the mount could not be made."""
    parser = argparse.ArgumentParser(prog="python -m hugefs.server", description=__doc__)
    parser.add_argument("--session-fd", type=int, required=True)
    parser.add_argument("--pages-max", type=int, required=True)
    parser.add_argument("--pages-min", type=int)
    parser.add_argument("--nr-inodes", type=int)
    parser.add_argument("--page-bytes", type=int, required=True)
    parser.add_argument("--huge", choices=("prefer", "require", "off"), default="prefer")
    arguments = parser.parse_args()
    first = socket.socket(fileno=arguments.session_fd)
    first.set_inheritable(False)
    try:
        if os.fork():
            os._exit(0)  # the starter waits for this process only; the server is its grandchild
    except OSError as error:
        return _cannot_start(first, error)
    _quiet_signals()
    return _serve(arguments, first)


def _serve(arguments: argparse.Namespace, first: socket.socket) -> int:
    # Imported after the fork, which is what the starter waits for.
    from hugefs.core.filesystem import Filesystem
    from hugefs.core.mount_options import MountOptions
    from hugefs.errors import HugefsError
    from hugefs.memory.backing import probe
    from hugefs.server import handlers, handlers_names  # noqa: F401  they register themselves
    from hugefs.server.handling import HANDLERS
    from hugefs.server.loop import Loop
    from hugefs.server.service import Service
    from hugefs.server.session import Session, peer_of
    from hugefs.server.store import Store

    logging.basicConfig(
        level=logging.DEBUG if os.environ.get("HUGEFS_LOG") else logging.WARNING,
        format="%(asctime)s hugefs[%(process)d] %(levelname)s %(message)s",
    )
    _raise_descriptor_limit()
    session = Session(first, *peer_of(first))
    try:
        probed = probe(arguments.page_bytes, arguments.pages_max, arguments.huge)
        for reason in probed.reasons:
            logging.getLogger("hugefs.server").info("%s", reason)
        fs = Filesystem(arguments.page_bytes, arguments.pages_max)
        options = MountOptions(
            arguments.pages_max, arguments.pages_min, arguments.nr_inodes, uid=session.uid, gid=session.gid
        )
        superblock = fs.mount("private", options)
        store = Store(arguments.page_bytes, probed.backing, may_fall_back=arguments.huge != "require")
        store.minimum.settle(arguments.pages_min or 0)
    except HugefsError as error:
        _refuse(session, error)
        return 3
    name = f"hugefs-{secrets.token_hex(12)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("\0" + name)
    listener.listen(512)
    service = Service(
        fs,
        superblock,
        store,
        HANDLERS,
        address="@" + name,
        identity=secrets.token_bytes(16),
        verify=bool(os.environ.get("HUGEFS_VERIFY")),
    )
    loop = Loop(service, listener, uid=session.uid)

    def stop(*_: object) -> None:
        loop.stopping = True
        os.eventfd_write(store.wake, 1)

    signal.signal(signal.SIGTERM, stop)
    loop.add(session)
    loop.run()
    loop.close()
    store.close()
    return 0


def _cannot_start(first: socket.socket, error: OSError) -> int:
    """The starter waits for our end, and only then says Hello; so these are the last words of a session."""
    from hugefs.server.session import Session, peer_of
    from hugefs.wire.messages import Failure

    reason = f"the server cannot become a process of its own (RLIMIT_NPROC, pids.max): {error.strerror}"
    session = Session(first, *peer_of(first))
    session.answer(Failure(0, error.errno or errno.EAGAIN, reason))
    session.close()
    return 3


def _refuse(session: object, error: Exception) -> None:
    """Answer the starter's Hello with why there is no server."""
    import select

    from hugefs.server.session import Session
    from hugefs.wire.messages import Failure

    assert isinstance(session, Session)
    select.select([session.socket], [], [], 30)
    received = session.receive()
    reason = getattr(error, "reason", str(error))
    number = getattr(error, "errno", None) or 12
    session.answer(
        Failure(
            received[1].id if received else 0,
            number,
            reason[:4000],
            wanted=getattr(error, "wanted", None),
            available=getattr(error, "available", None),
        )
    )
    session.close()


def _raise_descriptor_limit() -> None:
    """Take as many descriptors as we may have: each file is one, and each session."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _quiet_signals() -> None:
    """The terminal's Ctrl-C is for the user's program; our end comes with our last user."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
