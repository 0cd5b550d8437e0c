"""The words of one step, taken from left to right by the grammar; what is missing or too much is said with the usage.

Rule 1: every complaint is a ValueError that names what was found and what would have been right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from hugefs.scenario import sizes
from hugefs.scenario.sizes import PAGE_BYTES
from hugefs.scenario.steps import FilePath, Place, Span

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:/[A-Za-z_][A-Za-z0-9_-]*)*", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,19}", re.ASCII)
_RESERVED = {"hole", "misaligned", "anon", "ordinary", "start", "len"}
_MISALIGNED_BYTES = 4096

T = TypeVar("T")
parse_size = lru_cache(maxsize=4096)(sizes.parse_size)
parse_pages = lru_cache(maxsize=4096)(sizes.parse_pages)


def is_name(text: str) -> bool:
    """Whether this can be the name of a mount, handle, mapping, segment or I/O."""
    return _NAME.fullmatch(text) is not None


class Words:
    """The arguments of one step, and its usage for the complaints."""

    __slots__ = ("_position", "_usage", "_words", "task")

    def __init__(self, words: Sequence[str], usage: str, task: str = "") -> None:
        self._words = words
        self._position = 0
        self._usage = usage
        self.task = task

    def take(self, what: str) -> str:
        """The next word, whatever it is; ``what`` names it where it is missing."""
        if self._position >= len(self._words):
            raise ValueError(f"{what} is missing; write: {self._usage}")
        self._position += 1
        return self._words[self._position - 1]

    def peek(self) -> str:
        """The next word, or an empty one at the end."""
        return self._words[self._position] if self._position < len(self._words) else ""

    def skip(self, word: str) -> bool:
        """Whether the next word is this one; it is taken then."""
        there = self._position < len(self._words) and self._words[self._position] == word
        self._position += there
        return there

    def rest(self) -> list[str]:
        """All words that are left."""
        left = list(self._words[self._position :])
        self._position = len(self._words)
        return left

    def end(self) -> None:
        """Complain about words that nothing has taken."""
        if self._position < len(self._words):
            left = " ".join(self._words[self._position :])
            raise ValueError(f"{shown(left)} is too much here; write: {self._usage}")

    def name(self, what: str) -> str:
        """A name."""
        word = self.take(what)
        if not _NAME.fullmatch(word) or word in _RESERVED:
            raise ValueError(f"{shown(word)} is no name; {what} is letters, digits, - and _; write: {self._usage}")
        return word

    def group(self, what: str) -> str:
        """A cgroup's name, with a slash for one inside another."""
        word = self.take(what)
        if not _GROUP.fullmatch(word):
            raise ValueError(f"{shown(word)} is no name of a group; write G, or G/H for H inside G")
        return word

    def path(self, what: str) -> FilePath:
        """A name on a mount."""
        word = self.take(what)
        mount, slash, name = word.partition("/")
        if not slash or not _NAME.fullmatch(mount):
            raise ValueError(f"{shown(word)} is no file on a mount; write MOUNT/PATH, such as m/data")
        if ".." in name.split("/"):
            raise ValueError(f"{shown(word)} leaves the mount; a path has no .. in it")
        return FilePath(mount, name)

    def size(self, what: str) -> int:
        """A size in bytes; may be negative."""
        word = self.take(what)
        try:
            return parse_size(word)
        except ValueError as error:
            raise ValueError(f"{what}: {error}; the step is: {self._usage}") from None

    def pages(self, what: str) -> int:
        """A whole number of pages, not negative."""
        word = self.take(what)
        try:
            return parse_pages(word)
        except ValueError as error:
            raise ValueError(f"{what}: {error}; the step is: {self._usage}") from None

    def integer(self, what: str, most: int) -> int:
        """A plain number up to ``most``."""
        word = self.take(what)
        if not _INTEGER.fullmatch(word) or int(word) > most:
            raise ValueError(f"{what}: {shown(word)} is no number from 0 to {most}; the step is: {self._usage}")
        return int(word)

    def choice(self, what: str, choices: Sequence[T]) -> T:
        """One of these words."""
        word = self.take(what)
        for choice in choices:
            if choice == word:
                return choice
        raise ValueError(f"{what}: {shown(word)} is none of {', '.join(map(str, choices))}; write: {self._usage}")

    def options(self, *known: str) -> set[str]:
        """All words that are left, each one of these and once."""
        found: set[str] = set()
        for word in self.rest():
            if word not in known:
                raise ValueError(f"{shown(word)} is none of {', '.join(known)}; write: {self._usage}")
            if word in found:
                raise ValueError(f"{word} stands twice; write: {self._usage}")
            found.add(word)
        return found

    def span(self, *, in_bytes: bool = False, pages: bool = True) -> Span | None:
        """``FIRST COUNT``, or ``start=SIZE len=SIZE`` where that is allowed; None where neither follows."""
        word = self.peek()
        if in_bytes and word.startswith(("start=", "len=")):
            return self._span_in_bytes()
        if not pages or not word or not (word[0].isdigit() or word[0] in "+-"):
            return None
        first = self.pages("FIRST")
        count = self.pages("COUNT")
        return Span(first * PAGE_BYTES, count * PAGE_BYTES)

    def _span_in_bytes(self) -> Span:
        found: dict[str, int] = {}
        for _ in range(2):
            key, equals, value = self.take("start=SIZE len=SIZE").partition("=")
            if not equals or key not in ("start", "len") or key in found:
                raise ValueError(f"{shown(key + equals + value)}: write start=SIZE and len=SIZE; {self._usage}")
            try:
                found[key] = parse_size(value)
            except ValueError as error:
                raise ValueError(f"{key}=: {error}") from None
        return Span(found["start"], found["len"])

    def place(self, word: str) -> Place:
        """What follows ``at``, ``near`` or ``to``: ``hole[+SIZE]``, ``misaligned``, or ``B FIRST``."""
        hint = word == "near"
        if word == "to" and self.skip("misaligned"):
            return Place(None, _MISALIGNED_BYTES)
        target = self.take("hole or a mapping")
        if target == "hole" or target.startswith(("hole+", "hole-")):
            offset = target.removeprefix("hole")
            try:
                return Place(None, parse_size(offset) if offset else 0, hint)
            except ValueError as error:
                raise ValueError(f"{shown(target)}: {error}") from None
        if hint:
            raise ValueError(f"near {shown(target)}: a hint is a free place: near hole or near hole+SIZE")
        if not _NAME.fullmatch(target):
            raise ValueError(f"{word} {shown(target)}: write {word} hole, or {word} B FIRST with a mapping's name")
        return Place(target, self.size("FIRST"))


def shown(text: str) -> str:
    """``text`` in quotes, never long."""
    return repr(text if len(text) <= 60 else f"{text[:50]}…")
