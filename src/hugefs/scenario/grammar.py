"""The table of verbs: how each step is written, and the function that reads its arguments.

Rule 1: a verb belongs to the world or to a task, never to both.
Rule 2: the usage is what an error shows; it is the language's own notation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import get_args

from hugefs.scenario import steps
from hugefs.scenario.sizes import parse_size
from hugefs.scenario.steps import Step
from hugefs.scenario.words import Words, is_name, shown

__all__ = ["VERBS", "Verb", "is_task_name", "parse_step"]

_TASK = re.compile(r"[A-Z][A-Za-z0-9_-]*", re.ASCII)
_BYTE_MAX = 255
_COUNT_MAX = 2**63 - 1
_PROTECTIONS: tuple[steps.Protection, ...] = get_args(steps.Protection)
_ADVICES: tuple[steps.Advice, ...] = get_args(steps.Advice)
_SEALS: tuple[steps.SealName, ...] = get_args(steps.SealName)


@dataclass(frozen=True, slots=True)
class Verb:
    """How one verb is written."""

    usage: str
    parse: Callable[[Words], Step]
    of_task: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "of_task", self.usage.startswith("T "))


def is_task_name(word: str) -> bool:
    """Whether this word is a task's name: it starts with a capital letter."""
    return _TASK.fullmatch(word) is not None


def parse_step(text: str) -> Step:
    """The step that ``text`` says, without outcome, counters and comment. Raises ValueError."""
    words = text.split()
    task = ""
    if "A" <= text[0] <= "Z":
        task = words.pop(0)
        if not is_task_name(task):
            raise ValueError(
                f"{shown(task)} is no name of a task; write a capital letter, then letters, digits, - and _"
            )
        if not words:
            raise ValueError(f"{task} does nothing; write a verb after it, such as: {task} exit")
    word = words[0]
    verb = VERBS.get(word)
    if verb is None:
        raise ValueError(_unknown_verb(word))
    if verb.of_task and not task:
        raise ValueError(f"{word} is a task's step; write: {verb.usage}, with a task such as P for T")
    if task and not verb.of_task:
        raise ValueError(f"{word} is no task's step; write: {verb.usage}")
    left = Words(words[1:], verb.usage, task)
    if word in ("mount", "remount", "note"):
        # These take text as it stands, with its spaces.
        left = Words(text.split(None, 3 if len(words) > 2 and words[2] == "options" else -1)[1:], verb.usage, task)
    step = verb.parse(left)
    left.end()
    return step


def _unknown_verb(word: str) -> str:
    near = get_close_matches(word, VERBS, n=1, cutoff=0.5)
    if near:
        return f"there is no verb {shown(word)}; did you mean {near[0]}? write: {VERBS[near[0]].usage}"
    return f"there is no verb {shown(word)}; the verbs are {', '.join(VERBS)}"


# ── The world ──


def _mount_options(words: Words) -> str:
    """The text for mount(2): sizes in bytes; ``options TEXT`` as it is."""
    if words.skip("options"):
        return " ".join(words.rest())
    found: dict[str, str] = {}
    for word in words.rest():
        key, equals, value = word.partition("=")
        if not equals or key not in ("size", "min_size", "nr_inodes", "mode", "uid", "gid"):
            raise ValueError(
                f"{shown(word)} is no option of a mount; write size=S, min_size=S, nr_inodes=N, mode=O, uid=N, gid=N,"
                " or options TEXT for anything else"
            )
        if key in found:
            raise ValueError(f"{key}= stands twice")
        if key in ("size", "min_size") and not re.fullmatch(r"[0-9]+%", value, re.ASCII):
            value = str(parse_size(value))
        found[key] = value
    return ",".join(f"{key}={value}" for key, value in found.items())


def _cgroup(words: Words) -> Step:
    group = words.group("G")
    limits: dict[str, int] = {}
    for word in words.rest():
        key, equals, value = word.partition("=")
        if not equals or key not in ("max", "rsvd_max") or key in limits:
            raise ValueError(f"{shown(word)}: write: {VERBS['cgroup'].usage}, each limit once")
        limits[key] = Words([value], VERBS["cgroup"].usage).pages(f"{key}=")
    return steps.Cgroup(group, limits.get("max"), limits.get("rsvd_max"))


def _umount(words: Words) -> Step:
    return steps.Umount(words.name("M"), words.skip("lazy"))


def _unpin(words: Words) -> Step:
    return steps.Unpin(words.name("IO"), words.skip("irq"))


def _expect(words: Words) -> Step:
    words.take("COUNTERS")  # what they say is the line's, as in every other line
    words.rest()
    return steps.Expect()


# ── Files ──


def _open(words: Words) -> Step:
    handle, path = words.name("H"), words.path("M/PATH")
    options = words.options("existing", "ro", "unlinked", "trunc")
    return steps.Open(
        words.task,
        handle,
        path,
        create="existing" not in options,
        readonly="ro" in options,
        unlinked="unlinked" in options,
        truncate="trunc" in options,
    )


def _fallocate(words: Words) -> Step:
    handle, offset, length = words.name("H"), words.size("OFFSET"), words.size("LENGTH")
    modes: tuple[steps.FallocateMode, ...] = get_args(steps.FallocateMode)
    mode = words.choice("mode", modes) if words.peek() else ""
    return steps.Fallocate(words.task, handle, offset, length, mode)


def _fadvise(words: Words) -> Step:
    words.choice("advice", ("willneed",))
    return steps.Fadvise(words.task, words.name("H"), words.size("OFFSET"), words.size("LENGTH"))


def _on_range(made: Callable[[str, str, int, int], Step]) -> Callable[[Words], Step]:
    return lambda words: made(words.task, words.name("H"), words.size("OFFSET"), words.size("LENGTH"))


def _stat(words: Words) -> Step:
    if "/" in words.peek():
        return steps.Stat(words.task, None, words.path("M/PATH"))
    return steps.Stat(words.task, words.name("H, or M/PATH,"), None)


# ── Memory ──


def _mmap(words: Words) -> Step:
    task, mapping = words.task, words.name("A")
    source = words.take("H, anon or ordinary")
    handle, offset = None, 0
    if source not in ("anon", "ordinary"):
        if not is_name(source):
            raise ValueError(f"{shown(source)} is no handle, nor anon nor ordinary; write: {VERBS['mmap'].usage}")
        handle, offset = source, words.size("OFFSET")
    length = words.size("LENGTH")
    shared = words.choice("sharing", ("shared", "private")) == "shared"
    place = None
    flags: set[str] = set()
    while word := words.peek():
        if word in ("at", "near"):
            if place is not None:
                raise ValueError("a mapping has one place: at or near stands twice")
            words.take("place")
            place = words.place(word)
            continue
        flag = words.choice("option", ("noreserve", "populate", "locked", "ro", "none", "at", "near"))
        if flag in flags:
            raise ValueError(f"{flag} stands twice")
        flags.add(flag)
    if {"ro", "none"} <= flags:
        raise ValueError("ro and none contradict each other; write one of them")
    return steps.Mmap(
        task,
        mapping,
        "anon" if source == "anon" else "ordinary" if source == "ordinary" else "file",
        handle,
        offset,
        length,
        shared,
        noreserve="noreserve" in flags,
        populate="populate" in flags,
        locked="locked" in flags,
        protection="ro" if "ro" in flags else "none" if "none" in flags else "rw",
        place=place,
    )


def _on_span(made: Callable[[str, str, steps.Span | None], Step], *, in_bytes: bool = False) -> Callable[[Words], Step]:
    return lambda words: made(words.task, words.name("A"), words.span(in_bytes=in_bytes))


def _on_mapping(made: Callable[[str, str], Step]) -> Callable[[Words], Step]:
    return lambda words: made(words.task, words.name("A"))


def _madvise(words: Words) -> Step:
    advice = words.choice("WHAT", _ADVICES)
    return steps.Madvise(words.task, words.name("A"), words.span(in_bytes=True), advice)


def _mprotect(words: Words) -> Step:
    mapping, span = words.name("A"), words.span()
    return steps.Mprotect(words.task, mapping, span, words.choice("protection", _PROTECTIONS))


def _mremap(words: Words) -> Step:
    mapping, old, new = words.name("A"), words.size("OLD"), words.size("NEW")
    maymove = words.skip("maymove")
    dontunmap = words.skip("dontunmap")
    maymove = words.skip("maymove") or maymove
    place = words.place("to") if words.skip("to") else None
    words.choice("as", ("as",))
    return steps.Mremap(words.task, mapping, old, new, words.name("C"), maymove, dontunmap, place)


def _pin(words: Words) -> Step:
    mapping, span = words.name("A"), words.span(in_bytes=True)
    words.choice("as", ("as",))
    return steps.Pin(words.task, mapping, span, words.name("IO"))


def _child(words: Words) -> str:
    child = words.take("C")
    if not is_task_name(child):
        raise ValueError(f"{shown(child)} is no name of a task: it starts with a capital letter")
    return child


VERBS: dict[str, Verb] = {
    "pool": Verb("pool N", lambda words: steps.Pool(words.pages("N"))),
    "overcommit": Verb("overcommit N", lambda words: steps.Overcommit(words.pages("N"))),
    "mount": Verb(
        "mount M [size=S] [min_size=S] [nr_inodes=N] [mode=O] [uid=N] [gid=N], or mount M options TEXT",
        lambda words: steps.Mount(words.name("M"), _mount_options(words)),
    ),
    "remount": Verb(
        "remount M OPTIONS, or remount M options TEXT",
        lambda words: steps.Remount(words.name("M"), _mount_options(words)),
    ),
    "umount": Verb("umount M [lazy]", _umount),
    "cgroup": Verb("cgroup G [max=N] [rsvd_max=N]", _cgroup),
    "rmcgroup": Verb("rmcgroup G", lambda words: steps.RemoveCgroup(words.group("G"))),
    "expect": Verb("expect COUNTERS", _expect),
    "note": Verb("note TEXT", lambda words: steps.Note(" ".join(words.rest()))),
    "unpin": Verb("unpin IO [irq]", _unpin),
    "enter": Verb("T enter G", lambda words: steps.Enter(words.task, words.group("G"))),
    "open": Verb("T open H M/PATH [existing] [ro] [unlinked] [trunc]", _open),
    "memfd": Verb(
        "T memfd H [seal]", lambda words: steps.Memfd(words.task, words.name("H"), sealable=words.skip("seal"))
    ),
    "seal": Verb(
        "T seal H shrink|grow|write",
        lambda words: steps.Seal(words.task, words.name("H"), words.choice("seal", _SEALS)),
    ),
    "close": Verb("T close H", lambda words: steps.Close(words.task, words.name("H"))),
    "unlink": Verb("T unlink M/PATH", lambda words: steps.Unlink(words.task, words.path("M/PATH"))),
    "rename": Verb("T rename M/A M/B", lambda words: steps.Rename(words.task, words.path("M/A"), words.path("M/B"))),
    "link": Verb("T link M/A M/B", lambda words: steps.Link(words.task, words.path("M/A"), words.path("M/B"))),
    "mkdir": Verb("T mkdir M/D", lambda words: steps.Mkdir(words.task, words.path("M/D"))),
    "truncate": Verb(
        "T truncate H SIZE", lambda words: steps.Truncate(words.task, words.name("H"), words.size("SIZE"))
    ),
    "fallocate": Verb(
        "T fallocate H OFFSET LENGTH [keep_size|punch_hole|zero_range|collapse_range|insert_range]", _fallocate
    ),
    "punch": Verb("T punch H OFFSET LENGTH", _on_range(steps.Punch)),
    "fadvise": Verb("T fadvise willneed H OFFSET LENGTH", _fadvise),
    "readahead": Verb("T readahead H OFFSET LENGTH", _on_range(steps.Readahead)),
    "pread": Verb("T pread H OFFSET LENGTH", _on_range(steps.Pread)),
    "pwrite": Verb("T pwrite H OFFSET LENGTH", _on_range(steps.Pwrite)),
    "stat": Verb("T stat H, or T stat M/PATH", _stat),
    "mmap": Verb(
        "T mmap A H OFFSET LENGTH shared|private [noreserve] [populate] [locked] [ro|none]"
        " [at B FIRST|at hole[+SIZE]|near hole[+SIZE]], with anon or ordinary in place of H OFFSET",
        _mmap,
    ),
    "munmap": Verb(
        "T munmap A [FIRST COUNT], or T munmap A start=SIZE len=SIZE", _on_span(steps.Munmap, in_bytes=True)
    ),
    "write": Verb("T write A [FIRST COUNT]", _on_span(steps.Write)),
    "read": Verb("T read A [FIRST COUNT]", _on_span(steps.Read)),
    "store": Verb(
        "T store A PAGE VALUE",
        lambda words: steps.Store(words.task, words.name("A"), words.pages("PAGE"), words.integer("VALUE", _BYTE_MAX)),
    ),
    "load": Verb("T load A PAGE", lambda words: steps.Load(words.task, words.name("A"), words.pages("PAGE"))),
    "madvise": Verb(
        "T madvise dontneed|remove|willneed|free|cold|dontfork|dofork|soft_offline A [FIRST COUNT],"
        " or with start=SIZE len=SIZE",
        _madvise,
    ),
    "mprotect": Verb("T mprotect A FIRST COUNT none|ro|rw", _mprotect),
    "mlock": Verb("T mlock A", _on_mapping(steps.Mlock)),
    "munlock": Verb("T munlock A", _on_mapping(steps.Munlock)),
    "mremap": Verb("T mremap A OLD NEW [maymove] [dontunmap] [to hole|misaligned|B FIRST] as C", _mremap),
    "fork": Verb("T fork C", lambda words: steps.Fork(words.task, _child(words))),
    "exit": Verb("T exit", lambda words: steps.Exit(words.task)),
    "kill": Verb("T kill", lambda words: steps.Kill(words.task)),
    "pin": Verb("T pin A FIRST COUNT as IO", _pin),
    "dio": Verb(
        "T dio A start=SIZE len=SIZE", lambda words: steps.Dio(words.task, words.name("A"), words.span(in_bytes=True))
    ),
    "shmget": Verb(
        "T shmget S SIZE [noreserve]",
        lambda words: steps.Shmget(words.task, words.name("S"), words.size("SIZE"), words.skip("noreserve")),
    ),
    "shmat": Verb(
        "T shmat A S [ro]",
        lambda words: steps.Shmat(words.task, words.name("A"), words.name("S"), words.skip("ro")),
    ),
    "shmdt": Verb("T shmdt A", _on_mapping(steps.Shmdt)),
    "shmrm": Verb("T shmrm S", lambda words: steps.Shmrm(words.task, words.name("S"))),
}
