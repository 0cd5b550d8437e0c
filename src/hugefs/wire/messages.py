"""What a client and a server say to each other; the words, not how they travel.

Rule 1: a request carries ``id``; its answer carries the same one. ``id`` 0 asks for no answer (one way).
Rule 2: the first request is Hello, with the version; nothing else is understood before it.
Rule 3: who asks is never in a message: the server reads it from the socket.
Rule 4: every field is bounded here, so that what the codec lets through is safe to look at.
Rule 5: descriptors travel beside a message (SCM_RIGHTS), at most one; the answers that bring one say so.

Numbers named ``*_bytes`` are bytes, ``pages_*`` pages, ``first_page`` an index of pages within a mapping.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

VERSION = 1
MESSAGE_BYTES_MAX = 64 * 1024

Id = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Handle = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Pages = Annotated[int, msgspec.Meta(ge=0, le=2**51)]
Path = Annotated[str, msgspec.Meta(max_length=4095)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=10**9)]
Label = Annotated[bytes, msgspec.Meta(max_length=16 * 1024)]
Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
ServerId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
"""Random, made once per server: handles of another server are recognised by it."""


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True, forbid_unknown_fields=True):
    """Common shape: a MessagePack array whose first element is the message's name."""


class FileRef(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A file of this server beyond names: what a pickled handle holds. ``key`` is random: it cannot be guessed."""

    inode: Handle
    key: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


# --- the session -------------------------------------------------------------------------------------------------


class Hello(_Message, frozen=True):
    """First of all. Answer: Welcome, or Failure(EPROTO) for another version."""

    id: Id
    version: int


class Welcome(_Message, frozen=True):
    """The server, and the mount this session uses."""

    id: Id
    server: ServerId
    address: Text
    mount: Text
    page_bytes: Bytes
    pages_max: Pages | None


class Clone(_Message, frozen=True):
    """Another session that holds all this one holds (open files and mappings, under the same numbers), for a child
    about to be forked. Answer: Cloned, with the clone's descriptor.
    """

    id: Id


class Cloned(_Message, frozen=True):
    """Brings the descriptor of the new session."""

    id: Id


class Introduce(_Message, frozen=True):
    """A forked child speaks for the first time: the server takes its pid from the socket's credentials."""

    id: Id


class Cancel(_Message, frozen=True):
    """Stop waiting for request ``request``: it leaves the queue. If its answer is on its way, nothing happens."""

    id: Id
    request: Id


# --- arrays: one round trip each ----------------------------------------------------------------------------------


class Create(_Message, frozen=True):
    """A new file of ``size_bytes``, all its pages taken, mapped whole. Without ``path`` it is nameless and lives as
    long as its last mapping. ``label``: kept with the file. ``wait``: seconds to queue for pages. Answer: Granted.
    """

    id: Id
    path: Path | None
    size_bytes: Bytes
    label: Label
    wait: Seconds | None = None


class Get(_Message, frozen=True):
    """Map the whole file of that name. Answer: Granted."""

    id: Id
    path: Path
    writable: bool


class Attach(_Message, frozen=True):
    """Map the whole file of a handle. Answer: Granted, or ESTALE."""

    id: Id
    file: FileRef
    writable: bool


class Granted(_Message, frozen=True):
    """Brings the file's descriptor. All its pages are there: each can be touched, now and later."""

    id: Id
    mapping: Handle
    file: FileRef
    size_bytes: Bytes
    label: Label
    backing: Text


# --- files --------------------------------------------------------------------------------------------------------


class Open(_Message, frozen=True):
    """Open by name. ``size_bytes``: extend to at least this and take the pages of that part. Answer: Opened."""

    id: Id
    path: Path
    writable: bool
    create: bool = False
    exclusive: bool = False
    truncate: bool = False
    size_bytes: Bytes | None = None
    mode: Mode = 0o644


class OpenRef(_Message, frozen=True):
    """Open by a handle. Answer: Opened, or ESTALE."""

    id: Id
    file: FileRef
    writable: bool


class Opened(_Message, frozen=True):
    """Brings the file's descriptor (read-only where the file was opened so and the machine can make one)."""

    id: Id
    handle: Handle
    file: FileRef
    size_bytes: Bytes
    label: Label
    backing: Text


class Close(_Message, frozen=True):
    """Close an open file."""

    id: Id
    handle: Handle


class Truncate(_Message, frozen=True):
    """Set the size (whole pages). Takes no page; drops the pages beyond."""

    id: Id
    handle: Handle
    size_bytes: Bytes


class Fallocate(_Message, frozen=True):
    """Take the pages of a range."""

    id: Id
    handle: Handle
    offset_bytes: Bytes
    length_bytes: Bytes
    keep_size: bool = False


class PunchHole(_Message, frozen=True):
    """Give back the whole pages of a range; the rest of it reads as zeros."""

    id: Id
    handle: Handle
    offset_bytes: Bytes
    length_bytes: Bytes


class Map(_Message, frozen=True):
    """Map a range; ``access`` is "shared", "private" or "read". Answer: Mapped, with the descriptor to map."""

    id: Id
    handle: Handle
    offset_bytes: Bytes
    length_bytes: Bytes
    access: Annotated[str, msgspec.Meta(max_length=16)]


class Mapped(_Message, frozen=True):
    """The mapping; its promised pages are backed by memory. Brings the file's descriptor."""

    id: Id
    mapping: Handle
    backing: Text


class Unmap(_Message, frozen=True):
    """The client has unmapped this mapping; usually one way."""

    id: Id
    mapping: Handle


class Populate(_Message, frozen=True):
    """Take pages of a mapping, as a touch of each would: EFAULT beyond the file's end or where none is to be had."""

    id: Id
    mapping: Handle
    first_page: Pages
    pages_count: Pages
    write: bool = True


class Pin(_Message, frozen=True):
    """An I/O in flight uses these pages: they outlive mapping, file and mount until Unpin. Answer: Pinned."""

    id: Id
    mapping: Handle
    first_page: Pages
    pages_count: Pages


class Pinned(_Message, frozen=True):
    """The pin's number."""

    id: Id
    pin: Handle


class Unpin(_Message, frozen=True):
    """The I/O has ended; usually one way."""

    id: Id
    pin: Handle


# --- names --------------------------------------------------------------------------------------------------------


class Unlink(_Message, frozen=True):
    """Remove a name."""

    id: Id
    path: Path


class Rename(_Message, frozen=True):
    """Give a file another name, replacing what has it."""

    id: Id
    source: Path
    target: Path


class Link(_Message, frozen=True):
    """A second name."""

    id: Id
    source: Path
    target: Path


class Mkdir(_Message, frozen=True):
    """A directory."""

    id: Id
    path: Path
    mode: Mode = 0o755


class Rmdir(_Message, frozen=True):
    """Remove an empty directory."""

    id: Id
    path: Path


class Listdir(_Message, frozen=True):
    """Names in a directory, in order, those after ``after``. Answer: Listing."""

    id: Id
    path: Path
    after: Path | None = None


class Listing(_Message, frozen=True):
    """Some names; ``more``: ask again with ``after`` the last of them."""

    id: Id
    names: list[Path]
    more: bool


class Stat(_Message, frozen=True):
    """What a name, or an open file, is. Exactly one of the two is given. Answer: StatReply."""

    id: Id
    path: Path | None = None
    handle: Handle | None = None


class StatReply(_Message, frozen=True):
    """``mode`` with the file type bits; ``pages_count``: pages in the file."""

    id: Id
    inode: Handle
    mode: int
    links: int
    uid: int
    gid: int
    size_bytes: Bytes
    pages_count: Pages
    label: Label


# --- the mount and the pool -----------------------------------------------------------------------------------------


class Statvfs(_Message, frozen=True):
    """Answer: StatvfsReply."""

    id: Id


class StatvfsReply(_Message, frozen=True):
    """As hugetlbfs reports it: blocks are pages; 0 where the mount has no size, -1 where only min_size was given."""

    id: Id
    block_bytes: Bytes
    blocks: int
    blocks_free: int
    inodes: int
    inodes_free: int


class Meminfo(_Message, frozen=True):
    """Answer: MeminfoReply. Works after the unmount, too."""

    id: Id


class MeminfoReply(_Message, frozen=True):
    """The four counters of the pool, in pages; ``pages_available``: what the mount could still be granted now."""

    id: Id
    pages_total: Pages
    pages_free: Pages
    pages_reserved: Pages
    pages_surplus: Pages
    pages_available: Pages
    backing: Text
    waiting: int


class HolderRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One session's use of one file. ``how``: open, mapped, private, pinned or waiting. ``path`` is None for a nameless
    file, with ``(deleted)`` behind the last name of an unlinked one.
    """

    pid: int
    uid: int
    command: Text
    path: Text | None
    pages_count: Pages
    how: Text


class Holders(_Message, frozen=True):
    """Who holds pages, of one path or of all; from record ``start`` on. Answer: HoldersReply."""

    id: Id
    path: Path | None = None
    start: Pages = 0


class HoldersReply(_Message, frozen=True):
    """Some records; ``more``: ask again with ``start`` advanced by their number."""

    id: Id
    records: list[HolderRecord]
    more: bool


class Umount(_Message, frozen=True):
    """Unmount: EBUSY while files are open or mapped, unless ``lazy``. Pins do not make it busy."""

    id: Id
    lazy: bool = False


class Done(_Message, frozen=True):
    """It is done."""

    id: Id


class Failure(_Message, frozen=True):
    """It was refused and changed nothing (fallocate: what its documentation says it kept)."""

    id: Id
    errno: Annotated[int, msgspec.Meta(ge=1, le=4095)]
    reason: Text
    wanted: int | None = None
    available: int | None = None
    mount: Text | None = None
    holders: list[HolderRecord] = msgspec.field(default_factory=list)
    waited: bool = False


Request = (
    Hello
    | Clone
    | Introduce
    | Cancel
    | Create
    | Get
    | Attach
    | Open
    | OpenRef
    | Close
    | Truncate
    | Fallocate
    | PunchHole
    | Map
    | Unmap
    | Populate
    | Pin
    | Unpin
    | Unlink
    | Rename
    | Link
    | Mkdir
    | Rmdir
    | Listdir
    | Stat
    | Statvfs
    | Meminfo
    | Holders
    | Umount
)
Reply = (
    Welcome
    | Cloned
    | Granted
    | Opened
    | Mapped
    | Pinned
    | Listing
    | StatReply
    | StatvfsReply
    | MeminfoReply
    | HoldersReply
    | Done
    | Failure
)
