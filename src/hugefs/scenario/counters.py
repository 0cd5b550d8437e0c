"""The counters after a step: the pool's, the mounts', the cgroups'; read, written and compared.

Rule 1: values are the kernel's unsigned 64-bit numbers. ``MAX-n`` is written for one that went below zero, and -1 for
        2**64-1 in a mount's blocks (no limit). Where inodes have no limit, 0 and 2**64-1 say the same.
Rule 2: one class for what is expected and for what was got; what is not expected is not there and not compared.
Rule 3: written in the order pool, mounts, their inodes, cgroups, their events; each kind in the order it appeared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "CgroupCounters",
    "Counters",
    "InodeCounters",
    "MountCounters",
    "PoolCounters",
    "differences",
    "format_counters",
    "parse_counters",
]

UNSIGNED_MAX = 2**64 - 1
_NEGATIVE_FROM = 2**63


class PoolCounters(NamedTuple):
    """HugePages_Total, _Free, _Rsvd and _Surp of the 2 MiB pool."""

    pages_total: int
    pages_free: int
    pages_reserved: int
    pages_surplus: int


class MountCounters(NamedTuple):
    """statfs of a mount: blocks, free, available, in pages; 2**64-1 for no limit, 0 where it has no quota at all."""

    pages_size: int
    pages_free: int
    pages_available: int


class InodeCounters(NamedTuple):
    """statfs of a mount: files and free files; 0 for no limit."""

    inodes_total: int
    inodes_free: int


class CgroupCounters(NamedTuple):
    """A hugetlb cgroup's charges in pages: pages in use, pages promised."""

    pages_current: int
    pages_reserved: int


@dataclass(frozen=True, slots=True)
class Counters:
    """Everything a scenario can see. ``pool`` is None, and a mapping lacks a name, where nothing is expected of it.

    ``inodes`` has the mounts with a limit of inodes; ``events`` the groups that met a limit, and how often.
    """

    pool: PoolCounters | None = None
    mounts: Mapping[str, MountCounters] = field(default_factory=dict)
    inodes: Mapping[str, InodeCounters] = field(default_factory=dict)
    cgroups: Mapping[str, CgroupCounters] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return format_counters(self)

    def as_json(self) -> dict[str, Any]:
        """The objects ``pool``, ``mounts`` and ``cgroups`` of ``--json``."""
        mounts = {
            name: {
                "size": _signed(blocks.pages_size),
                "free": _signed(blocks.pages_free),
                "available": _signed(blocks.pages_available),
                "inodes": (inodes := self.inodes.get(name, InodeCounters(0, 0))).inodes_total,
                "inodes_free": inodes.inodes_free,
            }
            for name, blocks in self.mounts.items()
        }
        cgroups = {
            name: {"current": current, "reserved": reserved, "events": self.events.get(name, 0)}
            for name, (current, reserved) in self.cgroups.items()
        }
        names = ("total", "free", "reserved", "surplus")
        pool = None if self.pool is None else dict(zip(names, self.pool, strict=True))
        return {"pool": pool, "mounts": mounts, "cgroups": cgroups}


def unsigned(value: int) -> int:
    """``value`` as the kernel's unsigned 64-bit number."""
    return value & UNSIGNED_MAX


def differences(expected: Counters, got: Counters, *, sees_touches: bool = True) -> list[str]:
    """What is expected and not so, one sentence each; empty where all that is expected holds.

    Without ``sees_touches`` the pool's free and reserved pages are compared by their difference alone.
    """
    found = []
    if expected.pool is not None:
        shown = got.pool
        if shown is None or _visible(expected.pool, sees_touches) != _visible(shown, sees_touches):
            found.append(f"pool {_format_pool(expected.pool)} expected, got {_format_pool(shown) if shown else 'none'}")
    for suffix, wanted, there, form in (
        ("", expected.mounts, got.mounts, _format_mount),
        (".inodes", expected.inodes, got.inodes, _format_group),
        ("", expected.cgroups, got.cgroups, _format_group),
    ):
        found += _differences_of(suffix, wanted, there, form)
    for name, events in expected.events.items():
        if got.events.get(name, 0) != events:
            found.append(f"{name}.events={events} expected, got {got.events.get(name, 0)}")
    return found


def _differences_of(
    suffix: str, expected: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]], form: Callable[[Any], str]
) -> list[str]:
    found = []
    for name, values in expected.items():
        there = got.get(name)
        if there is None and suffix and not any(values):
            continue
        if there != values:
            shown = "none" if there is None else form(there)
            found.append(f"{name}{suffix}={form(values)} expected, got {shown}")
    return found


def _visible(pool: PoolCounters, sees_touches: bool) -> tuple[int, ...]:
    if sees_touches:
        return pool
    return (pool.pages_total, unsigned(pool.pages_free - pool.pages_reserved), pool.pages_surplus)


def format_counters(counters: Counters) -> str:
    """``counters`` as a line of a scenario has them."""
    parts = [] if counters.pool is None else [_format_pool(counters.pool)]
    parts += [f"{name}={_format_mount(values)}" for name, values in counters.mounts.items()]
    parts += [f"{name}.inodes={_format_group(values)}" for name, values in counters.inodes.items()]
    parts += [f"{name}={_format_group(values)}" for name, values in counters.cgroups.items()]
    parts += [f"{name}.events={events}" for name, events in counters.events.items() if events]
    return " ".join(parts)


def _format_pool(pool: PoolCounters) -> str:
    return "/".join(map(_format_unsigned, pool))


def _format_mount(values: tuple[int, ...]) -> str:
    return "/".join("-1" if value == UNSIGNED_MAX else _format_unsigned(value) for value in values)


def _format_group(values: tuple[int, ...]) -> str:
    return "/".join(map(_format_unsigned, values))


def _format_unsigned(value: int) -> str:
    return f"MAX-{UNSIGNED_MAX - value}" if value >= _NEGATIVE_FROM else str(value)


def _signed(value: int) -> int:
    return -1 if value == UNSIGNED_MAX else value


_VALUE = r"(?:MAX-|-)?[0-9]{1,20}"
_ITEM = re.compile(rf"(?:([^=\s]+)=)?({_VALUE}(?:/{_VALUE})*)", re.ASCII)
_WANTED = "write TOTAL/FREE/RSVD/SURP, then MOUNT=SIZE/FREE/AVAILABLE, MOUNT.inodes=TOTAL/FREE, CGROUP=CURRENT/RSVD"


def parse_counters(text: str) -> Counters:
    """The counters that ``text`` says. Raises ValueError. What a name is follows from how many values it has."""
    pool: PoolCounters | None = None
    mounts: dict[str, MountCounters] = {}
    inodes: dict[str, InodeCounters] = {}
    cgroups: dict[str, CgroupCounters] = {}
    events: dict[str, int] = {}
    for item in text.split():
        match = _ITEM.fullmatch(item)
        if not match:
            raise ValueError(f"{item!r} is no counter; {_WANTED}")
        name, values = match[1], [_parse_value(value, item) for value in match[2].split("/")]
        kind = {3: mounts, 2: cgroups, 1: events}.get(len(values))
        if name is None and len(values) == 4 and pool is None:
            pool = PoolCounters(*values)
        elif name is None:
            raise ValueError(f"{item!r}: the pool has four counters and stands once; {_WANTED}")
        elif name.endswith(".inodes") and len(values) == 2:
            # Of inodes "no limit" is written 0 as well as -1.
            kept = [0 if value == UNSIGNED_MAX else value for value in values]
            _once(inodes, name.removesuffix(".inodes"), InodeCounters(*kept), item)
        elif name.endswith(".events") and len(values) == 1:
            _once(events, name.removesuffix(".events"), values[0], item)
        elif "." in name:
            raise ValueError(f"{item!r} has {len(values)} values; {_WANTED}, CGROUP.events=N")
        elif kind is mounts:
            _once(mounts, name, MountCounters(*values), item)
        elif kind is cgroups:
            _once(cgroups, name, CgroupCounters(*values), item)
        else:
            raise ValueError(f"{item!r} has {len(values)} values; {_WANTED}")
    if pool is None and not (mounts or inodes or cgroups or events):
        raise ValueError(f"no counters; {_WANTED}")
    return Counters(pool, mounts, inodes, cgroups, events)


def _once(kind: dict[str, Any], name: str, values: Any, item: str) -> None:
    if name in kind:
        raise ValueError(f"{item!r}: {name} stands twice")
    kind[name] = values


def _parse_value(text: str, item: str) -> int:
    if text.startswith("MAX-"):
        value = UNSIGNED_MAX - int(text[4:])
    elif text.startswith("-"):
        value = UNSIGNED_MAX + 1 - int(text[1:])
    else:
        value = int(text)
    if not 0 <= value <= UNSIGNED_MAX:
        raise ValueError(f"{item!r}: {text} is no 64-bit counter")
    return value
