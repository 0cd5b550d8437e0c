"""Who may import whom: the floors of the house, and the checker that reads every import.

Rule 1: a module imports its own room, or a room on a strictly lower floor. Rooms on one floor do not know each other.
Rule 2: `import hugefs` inside the house is an import of the client, because that is what it loads.
Rule 3: a part of a room may have a floor of its own: the kernels' mistakes are the laboratory's, and stand below the
        scenarios, whose simulation can make them.
Rule 4: an import counts wherever it stands: in a function, under TYPE_CHECKING, or as importlib's argument.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FLOORS = {
    "errors": 0,
    "units": 0,
    "core": 1,
    "memory": 1,
    "linux": 1,
    "tasks": 2,
    "wire": 2,
    "server": 3,
    "client": 3,
    "fuse": 4,
    "lab.bug": 3,
    "lab.bugs": 3,
    "lab.differences": 3,
    "lab.profile": 3,
    "scenario": 4,
    "lab": 5,
    "bench": 6,
    "cli": 6,
    "__main__": 6,
}

PUBLIC = "hugefs"
"""The room of `hugefs/__init__.py`: it may import these and nothing else of the house."""
PUBLIC_IMPORTS = {"client", "errors"}

SAME_FLOOR = {("units", "errors"), ("cli", "bench"), ("__main__", "cli")}
"""A size can be wrong; `hugefs bench` and `python -m hugefs` start what stands next to them."""

NEVER = {
    "client": {"hugefs.core": "a client decides nothing", "hugefs.server": "a client decides nothing"},
    "server": {"numpy": "the server counts pages; arrays are the client's"},
    "core": dict.fromkeys(
        ["os", "socket", "mmap", "ctypes", "time", "random", "threading", "asyncio", "logging", "numpy"],
        "the core is pure bookkeeping: the same requests give the same books",
    ),
}

CTYPES_HOME = ("memory", "_libc")


@dataclass(frozen=True)
class Import:
    """One imported module, by its full dotted name, and the line it stands on."""

    module: str
    line: int


def imports_of(source: str, module: str, *, is_package: bool) -> Iterator[Import]:
    """Every module that ``source`` imports; ``module`` is its own dotted name, for relative imports."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *([base] if base else [])])
            if base == PUBLIC:
                # `from hugefs import errors` names a room; `from hugefs import Mount` a public name.
                yield from (Import(f"{PUBLIC}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield Import(base, node.lineno)
        elif isinstance(node, ast.Call) and _is_import_call(node.func) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno)


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of ``source``, one sentence each."""
    parts = module.split(".")
    room = _part_or_room(parts) if len(parts) > 1 else PUBLIC
    if room != PUBLIC and room not in FLOORS:
        return [f"{module}: no floor is written down for the room {room!r} (tests/house/floors.py)"]
    found = []
    for item in imports_of(source, module, is_package=is_package):
        reason = _objection(room, tuple(parts[1:]), item.module)
        if reason:
            found.append(f"{module}:{item.line}: imports {item.module}: {reason}")
    return found


def violations_of_file(path: Path, source_folder: Path) -> list[str]:
    """The same for a file under ``src``."""
    parts = list(path.relative_to(source_folder).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    if is_package:
        parts.pop()
    return violations(path.read_text(encoding="utf-8"), ".".join(parts), is_package=is_package)


def _objection(room: str, own_parts: tuple[str, ...], imported: str) -> str | None:
    top = imported.partition(".")[0]
    for name, reason in NEVER.get(room, {}).items():
        if imported == name or imported.startswith(f"{name}."):
            return reason
    if top == "ctypes" and own_parts != CTYPES_HOME:
        return "ctypes has one home, memory/_libc.py"
    if top != PUBLIC:
        return None
    other = _room_of(imported)
    if room == PUBLIC:
        return None if other in PUBLIC_IMPORTS else "hugefs/__init__.py holds the public names and nothing else"
    same_room = other.partition(".")[0] == room.partition(".")[0]
    if (same_room and FLOORS[other] <= FLOORS[room]) or (room, other) in SAME_FLOOR:
        return None
    if FLOORS[other] < FLOORS[room]:
        return None
    return f"{other} is on floor {FLOORS[other]}, {room} on floor {FLOORS[room]}; imports go strictly downwards"


def _room_of(imported: str) -> str:
    """The room of ``hugefs.…``; `hugefs` itself and its public names load the client."""
    parts = imported.split(".")
    return _part_or_room(parts) if len(parts) > 1 and parts[1] in FLOORS else "client"


def _part_or_room(parts: list[str]) -> str:
    """``lab.bugs`` of ``hugefs.lab.bugs.…``, where that part has its own floor; else the room."""
    return ".".join(parts[1:3]) if ".".join(parts[1:3]) in FLOORS else parts[1]


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in {"import_module", "__import__"}
