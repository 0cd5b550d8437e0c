"""Bug: a mistake of a kernel, as functions of the core that are replaced by the kernel's own.

Rule 1: the right classes are never touched. A class with replaced methods is a new class, handed to the machine that
        shall behave so; another machine beside it stays right.
Rule 2: two mistakes replace two different functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Bug", "classes_with"]


@dataclass(frozen=True)
class Bug:
    """``what`` is wrong; ``linux``: the functions there; ``since`` and ``fixed``: versions; ``harm``: to whom, and how.

    ``shows``: the recording that shows it, by name. ``replaces``: class and method, and what stands there instead.
    """

    name: str
    what: str
    linux: str
    since: str
    fixed: str
    harm: str
    shows: str
    replaces: Mapping[tuple[type, str], Callable[..., Any]]


def classes_with(bugs: Iterable[Bug]) -> dict[type, type]:
    """For each class with a replaced method, the class to use in its place."""
    methods: dict[type, dict[str, Callable[..., Any]]] = {}
    for bug in bugs:
        for (owner, name), function in bug.replaces.items():
            if name not in vars(owner):
                raise ValueError(f"{bug.name}: {owner.__name__} has no {name}() of its own to replace")
            if name in methods.setdefault(owner, {}):
                raise ValueError(f"{bug.name}: {owner.__name__}.{name}() is replaced twice")
            methods[owner][name] = function
    return {owner: type(owner.__name__, (owner,), replaced) for owner, replaced in methods.items()}
