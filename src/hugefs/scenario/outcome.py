"""What a step came to: ``ok``, an errno's name, ``SIGBUS``, ``KILLED``, a number, or the facts that stat answers.

Rule 1: an outcome is a value: two that say the same are equal, and those without facts are made once.
Rule 2: of facts only the keys that are expected are compared; everything else is compared whole.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass

from hugefs.scenario.sizes import format_size, parse_size

__all__ = ["KILLED", "OK", "SIGBUS", "Outcome", "facts", "failed", "number", "parse_outcome"]

FACT_KEYS = ("size", "pages", "links", "mode", "uid", "gid")
_ERRNO_NAMES = frozenset(name for name in vars(errno) if name.startswith("E"))
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``word`` is ok, an errno's name, SIGBUS or KILLED; else it is empty and ``value`` or ``facts`` says it.

    ``facts`` are pairs in the order of FACT_KEYS; size in bytes, mode as the permission bits.
    """

    word: str = ""
    value: int | None = None
    facts: tuple[tuple[str, int], ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the step did what it says."""
        return self.word in ("", "ok")

    def satisfies(self, expected: Outcome) -> bool:
        """Whether this is what was expected; of facts, those that were written."""
        if expected.facts:
            got = dict(self.facts)
            return all(got.get(key) == value for key, value in expected.facts)
        return self == expected

    def only(self, keys: Iterable[str]) -> Outcome:
        """The same with those facts alone; without keys, or where there are no facts, itself."""
        wanted = set(keys)
        kept = tuple(fact for fact in self.facts if fact[0] in wanted)
        return Outcome(facts=kept) if kept else self

    def __str__(self) -> str:
        if self.facts:
            return ",".join(f"{key}={_format_fact(key, value)}" for key, value in self.facts)
        return self.word or str(self.value)


OK = Outcome("ok")
SIGBUS = Outcome("SIGBUS")
KILLED = Outcome("KILLED")
_FAILED: dict[int, Outcome] = {}


def failed(errno_number: int) -> Outcome:
    """The outcome of a call that failed with this errno."""
    outcome = _FAILED.get(errno_number)
    if outcome is None:
        # Two names for one number: the language (and every manual page of fallocate) says EOPNOTSUPP.
        name = "EOPNOTSUPP" if errno_number == errno.EOPNOTSUPP else errno.errorcode.get(errno_number)
        outcome = _FAILED[errno_number] = Outcome(name or f"E{errno_number}")
    return outcome


def number(value: int) -> Outcome:
    """The outcome of a step that answers a number: a byte loaded, bytes written."""
    return Outcome(value=value)


def facts(*, size_bytes: int, pages: int, links: int, mode: int, uid: int, gid: int) -> Outcome:
    """What ``stat`` answers; ``mode`` is st_mode, of which the permission bits are kept."""
    return Outcome(
        facts=(
            ("size", size_bytes),
            ("pages", pages),
            ("links", links),
            ("mode", mode & 0o7777),
            ("uid", uid),
            ("gid", gid),
        )
    )


def parse_outcome(text: str) -> Outcome:
    """The outcome that ``text`` says. Raises ValueError."""
    if text in ("ok", "SIGBUS", "KILLED"):
        return Outcome(text)
    if text in _ERRNO_NAMES:
        return failed(int(getattr(errno, text)))
    if _NUMBER.fullmatch(text):
        return number(int(text))
    if "=" in text:
        return _parse_facts(text)
    raise ValueError(
        f"{text!r} is no outcome; write ok, an errno such as ENOMEM, SIGBUS, KILLED, a number, or facts such as"
        " size=2p,links=1"
    )


def _parse_facts(text: str) -> Outcome:
    found: dict[str, int] = {}
    for item in text.split(","):
        key, _, value = item.partition("=")
        if key not in FACT_KEYS:
            raise ValueError(
                f"{item!r} is no fact of stat; these are {', '.join(FACT_KEYS)}, written as {FACT_KEYS[0]}=2p"
            )
        if key in found:
            raise ValueError(f"{key}= stands twice")
        found[key] = _parse_fact(key, value)
    return Outcome(facts=tuple((key, found[key]) for key in FACT_KEYS if key in found))


def _parse_fact(key: str, text: str) -> int:
    if key == "size":
        return parse_size(text)
    try:
        return int(text, 8 if key == "mode" else 10)
    except ValueError:
        raise ValueError(f"{key}={text}: {text!r} is no {'octal ' if key == 'mode' else ''}number") from None


def _format_fact(key: str, value: int) -> str:
    if key == "size":
        return format_size(value)
    return f"{value:o}" if key == "mode" else str(value)
