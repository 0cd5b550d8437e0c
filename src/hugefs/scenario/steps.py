"""What a scenario can say: one frozen class a verb, its arguments parsed.

Rule 1: offsets, lengths and sizes are bytes and may be negative where the call must refuse them; ``Span`` is bytes
        within a mapping's address range; pool and group sizes are pages.
Rule 2: the world's steps have no ``task``; every other step is some task's.
Rule 3: ``on_server.py`` says which of them a client of a server can do; ``grammar.py`` how each is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Protection = Literal["rw", "ro", "none"]
Advice = Literal["dontneed", "remove", "willneed", "free", "cold", "dontfork", "dofork", "soft_offline"]
FallocateMode = Literal["", "keep_size", "punch_hole", "zero_range", "collapse_range", "insert_range"]
SealName = Literal["shrink", "grow", "write"]


@dataclass(frozen=True, slots=True)
class FilePath:
    """A name on a mount: ``m/dir/data`` is mount m, name dir/data; an empty name is the mount's root."""

    mount: str
    name: str

    def __str__(self) -> str:
        return f"{self.mount}/{self.name}"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a mapping's address range, from its start; may lie beyond its end."""

    start_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is asked for: in ``mapping``'s range, or where it is None in a free huge-aligned place.

    ``offset_bytes`` is added to it. ``hint``: that place only if it is free, no MAP_FIXED.
    """

    mapping: str | None
    offset_bytes: int = 0
    hint: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Anything that a line can say."""

    verb: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class TaskStep(Step):
    """Something that a task does."""

    task: str


# ── The world ──


@dataclass(frozen=True, slots=True)
class Pool(Step):
    """Write nr_hugepages."""

    verb: ClassVar[str] = "pool"
    pages: int


@dataclass(frozen=True, slots=True)
class Overcommit(Step):
    """Write nr_overcommit_hugepages."""

    verb: ClassVar[str] = "overcommit"
    pages: int


@dataclass(frozen=True, slots=True)
class Mount(Step):
    """``options`` is the comma separated text that hugetlbfs takes: sizes are in bytes there, or percent."""

    verb: ClassVar[str] = "mount"
    mount: str
    options: str


@dataclass(frozen=True, slots=True)
class Remount(Step):
    """As Mount, for a mount that there is."""

    verb: ClassVar[str] = "remount"
    mount: str
    options: str


@dataclass(frozen=True, slots=True)
class Umount(Step):
    """``lazy`` is MNT_DETACH."""

    verb: ClassVar[str] = "umount"
    mount: str
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class Cgroup(Step):
    """Make a hugetlb cgroup; ``group`` has a slash for one inside another. One that exists gets these limits."""

    verb: ClassVar[str] = "cgroup"
    group: str
    pages_max: int | None = None
    pages_reserved_max: int | None = None


@dataclass(frozen=True, slots=True)
class RemoveCgroup(Step):
    """Remove a group; what is still charged to it moves to its parent."""

    verb: ClassVar[str] = "rmcgroup"
    group: str


@dataclass(frozen=True, slots=True)
class Expect(Step):
    """Check the counters (those of the line), change nothing. The runner's own."""

    verb: ClassVar[str] = "expect"


@dataclass(frozen=True, slots=True)
class Note(Step):
    """Shown in reports. The runner's own."""

    verb: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True, slots=True)
class Unpin(Step):
    """The I/O ends and drops its pages; ``irq``: in interrupt context."""

    verb: ClassVar[str] = "unpin"
    io: str
    irq: bool = False


# ── Files ──


@dataclass(frozen=True, slots=True)
class Enter(TaskStep):
    """The task moves into a group."""

    verb: ClassVar[str] = "enter"
    group: str


@dataclass(frozen=True, slots=True)
class Open(TaskStep):
    """``create`` is O_CREAT; ``unlinked``: unlink it at once."""

    verb: ClassVar[str] = "open"
    handle: str
    path: FilePath
    create: bool = True
    readonly: bool = False
    unlinked: bool = False
    truncate: bool = False


@dataclass(frozen=True, slots=True)
class Memfd(TaskStep):
    """A nameless hugetlb file."""

    verb: ClassVar[str] = "memfd"
    handle: str
    sealable: bool = False


@dataclass(frozen=True, slots=True)
class Seal(TaskStep):
    """F_ADD_SEALS."""

    verb: ClassVar[str] = "seal"
    handle: str
    seal: SealName


@dataclass(frozen=True, slots=True)
class Close(TaskStep):
    """Close a handle."""

    verb: ClassVar[str] = "close"
    handle: str


@dataclass(frozen=True, slots=True)
class Unlink(TaskStep):
    """Remove a name."""

    verb: ClassVar[str] = "unlink"
    path: FilePath


@dataclass(frozen=True, slots=True)
class Rename(TaskStep):
    """Rename, over a file that may be there."""

    verb: ClassVar[str] = "rename"
    path: FilePath
    new_path: FilePath


@dataclass(frozen=True, slots=True)
class Link(TaskStep):
    """A second name."""

    verb: ClassVar[str] = "link"
    path: FilePath
    new_path: FilePath


@dataclass(frozen=True, slots=True)
class Mkdir(TaskStep):
    """A directory."""

    verb: ClassVar[str] = "mkdir"
    path: FilePath


@dataclass(frozen=True, slots=True)
class Truncate(TaskStep):
    """ftruncate."""

    verb: ClassVar[str] = "truncate"
    handle: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _HandleRange(TaskStep):
    """A call on a range of a file."""

    handle: str
    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Fallocate(_HandleRange):
    """fallocate with that mode alone; ``mode`` is empty for none."""

    verb: ClassVar[str] = "fallocate"
    mode: FallocateMode = ""


@dataclass(frozen=True, slots=True)
class Punch(_HandleRange):
    """fallocate with PUNCH_HOLE and KEEP_SIZE."""

    verb: ClassVar[str] = "punch"


@dataclass(frozen=True, slots=True)
class Fadvise(_HandleRange):
    """posix_fadvise(WILLNEED)."""

    verb: ClassVar[str] = "fadvise"


@dataclass(frozen=True, slots=True)
class Readahead(_HandleRange):
    """readahead(2)."""

    verb: ClassVar[str] = "readahead"


@dataclass(frozen=True, slots=True)
class Pread(_HandleRange):
    """pread; the outcome is the number of bytes."""

    verb: ClassVar[str] = "pread"


@dataclass(frozen=True, slots=True)
class Pwrite(_HandleRange):
    """pwrite; the outcome is the number of bytes."""

    verb: ClassVar[str] = "pwrite"


@dataclass(frozen=True, slots=True)
class Stat(TaskStep):
    """stat of a handle or of a path; the outcome is facts."""

    verb: ClassVar[str] = "stat"
    handle: str | None
    path: FilePath | None


# ── Memory ──


@dataclass(frozen=True, slots=True)
class Mmap(TaskStep):
    """Map a file (``source`` "file"), huge anonymous memory ("anon") or base pages ("ordinary") as ``mapping``."""

    verb: ClassVar[str] = "mmap"
    mapping: str
    source: Literal["file", "anon", "ordinary"]
    handle: str | None
    offset_bytes: int
    length_bytes: int
    shared: bool
    noreserve: bool = False
    populate: bool = False
    locked: bool = False
    protection: Protection = "rw"
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class _SpanStep(TaskStep):
    """A call on a part of a mapping's range; ``span`` is None for all of it."""

    mapping: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Munmap(_SpanStep):
    """munmap; the name keeps standing for the range."""

    verb: ClassVar[str] = "munmap"


@dataclass(frozen=True, slots=True)
class Write(_SpanStep):
    """Touch page after page for writing; stops at the first that fails."""

    verb: ClassVar[str] = "write"


@dataclass(frozen=True, slots=True)
class Read(_SpanStep):
    """Touch page after page for reading; stops at the first that fails."""

    verb: ClassVar[str] = "read"


@dataclass(frozen=True, slots=True)
class Store(TaskStep):
    """One real byte at the page's start; a fault that fails kills the task."""

    verb: ClassVar[str] = "store"
    mapping: str
    page_index: int
    value: int


@dataclass(frozen=True, slots=True)
class Load(TaskStep):
    """One real byte from the page's start; the outcome is its value, or KILLED."""

    verb: ClassVar[str] = "load"
    mapping: str
    page_index: int


@dataclass(frozen=True, slots=True)
class Madvise(_SpanStep):
    """madvise."""

    verb: ClassVar[str] = "madvise"
    advice: Advice = "dontneed"


@dataclass(frozen=True, slots=True)
class Mprotect(_SpanStep):
    """mprotect."""

    verb: ClassVar[str] = "mprotect"
    protection: Protection = "rw"


@dataclass(frozen=True, slots=True)
class Mlock(TaskStep):
    """mlock of the whole mapping."""

    verb: ClassVar[str] = "mlock"
    mapping: str


@dataclass(frozen=True, slots=True)
class Munlock(TaskStep):
    """munlock of the whole mapping."""

    verb: ClassVar[str] = "munlock"
    mapping: str


@dataclass(frozen=True, slots=True)
class Mremap(TaskStep):
    """mremap of ``old_bytes`` from the mapping's start; ``place`` is MREMAP_FIXED."""

    verb: ClassVar[str] = "mremap"
    mapping: str
    old_bytes: int
    new_bytes: int
    new_mapping: str
    maymove: bool = False
    dontunmap: bool = False
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Pin(_SpanStep):
    """An I/O takes references on these pages, reading: all of them, or EFAULT and none."""

    verb: ClassVar[str] = "pin"
    io: str = ""


@dataclass(frozen=True, slots=True)
class Dio(_SpanStep):
    """O_DIRECT write of these bytes to a scratch file; the outcome is the number written."""

    verb: ClassVar[str] = "dio"


# ── Tasks and System V memory ──


@dataclass(frozen=True, slots=True)
class Fork(TaskStep):
    """``child`` starts with the task's handles and mappings, under the same names."""

    verb: ClassVar[str] = "fork"
    child: str


@dataclass(frozen=True, slots=True)
class Exit(TaskStep):
    """The task ends by itself."""

    verb: ClassVar[str] = "exit"


@dataclass(frozen=True, slots=True)
class Kill(TaskStep):
    """The task gets SIGKILL."""

    verb: ClassVar[str] = "kill"


@dataclass(frozen=True, slots=True)
class Shmget(TaskStep):
    """shmget(SHM_HUGETLB); ``size_bytes`` as it is."""

    verb: ClassVar[str] = "shmget"
    segment: str
    size_bytes: int
    noreserve: bool = False


@dataclass(frozen=True, slots=True)
class Shmat(TaskStep):
    """Attach a segment as ``mapping``."""

    verb: ClassVar[str] = "shmat"
    mapping: str
    segment: str
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Shmdt(TaskStep):
    """Detach."""

    verb: ClassVar[str] = "shmdt"
    mapping: str


@dataclass(frozen=True, slots=True)
class Shmrm(TaskStep):
    """IPC_RMID."""

    verb: ClassVar[str] = "shmrm"
    segment: str
