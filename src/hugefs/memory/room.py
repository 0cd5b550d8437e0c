"""How much memory may still be taken before the kernel's OOM killer wakes: this machine's, and this process's cgroups'.

Base pages have no reservation: the kernel hands them out until none is left and then kills somebody. So ask first.

Rule 1: every limit that can be seen counts: MemAvailable, and memory.max and memory.high (cgroup v2) or
        memory.limit_in_bytes (v1) of the process's group and of all groups above it.
Rule 2: a margin always stays: page tables, slab and everybody else need memory too.
Rule 3: what cannot be read is no limit. Without /proc the machine's free memory comes from sysconf.
Rule 4: amounts that threads of this process are just taking count as taken (``claim``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hugefs.errors import NoHugePages
from hugefs.memory.cgroups import group_directories, read_number

_MIB = 1 << 20

_claim_lock = threading.Lock()
_claimed_bytes = 0


@dataclass(frozen=True)
class Room:
    """What may still be taken, the margin already deducted; ``limit`` names what ends it, for messages."""

    available_bytes: int
    limit: str


def say_bytes(count: int) -> str:
    """An amount for people: "96 MiB", "1.5 GiB"."""
    value, unit = float(max(count, 0)), "bytes"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, bigger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def memory_room() -> Room | None:
    """The tightest of all limits; None where none can be seen."""
    rooms = [*_machine_room(), *_group_rooms()]
    return min(rooms, key=lambda room: room.available_bytes, default=None)


@contextmanager
def claim(wanted_bytes: int, page_bytes: int) -> Iterator[None]:
    """Hold room for ``wanted_bytes`` while they are being taken.

    Raises NoHugePages, with the amounts, where there is not that much; nothing was taken then.
    """
    global _claimed_bytes
    with _claim_lock:
        require_room(wanted_bytes, page_bytes)
        _claimed_bytes += wanted_bytes
    try:
        yield
    finally:
        with _claim_lock:
            _claimed_bytes -= wanted_bytes


def require_room(wanted_bytes: int, page_bytes: int) -> None:
    """Raises NoHugePages where ``wanted_bytes`` cannot be taken without danger."""
    room = memory_room()
    if room is None or wanted_bytes <= room.available_bytes - _claimed_bytes:
        return
    available = max(0, room.available_bytes - _claimed_bytes)
    raise NoHugePages(
        f"{say_bytes(wanted_bytes)} of memory wanted, {say_bytes(available)} to be had: {room.limit}",
        wanted=-(-wanted_bytes // page_bytes),
        available=available // page_bytes,
    )


def _forget_claims() -> None:
    # A forked child has none of the threads that were taking memory, and perhaps a lock that nobody will release.
    global _claim_lock, _claimed_bytes
    _claim_lock = threading.Lock()
    _claimed_bytes = 0


os.register_at_fork(after_in_child=_forget_claims)


def _machine_room() -> list[Room]:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError, IndexError):
        base_page_bytes = os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * base_page_bytes
        available = os.sysconf("SC_AVPHYS_PAGES") * base_page_bytes
        if total <= 0 or available < 0:
            return []
    margin = max(64 * _MIB, total // 64)
    limit = f"the machine has {say_bytes(available)} available, of which {say_bytes(margin)} stay for others"
    return [Room(available - margin, limit)]


def _group_rooms() -> list[Room]:
    rooms = []
    for directory in group_directories("memory"):
        for limit_name, usage_name in (
            ("memory.max", "memory.current"),
            ("memory.high", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            ("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"),
        ):
            limit = read_number(directory / limit_name)
            usage = None if limit is None else read_number(directory / usage_name)
            if limit is None or usage is None:
                continue  # most groups have no limit, and then nothing else of them needs to be read
            # The kernel counts a group's usage in batches of 64 base pages per CPU, hence never an exact fit.
            margin = min(256 * _MIB, max(8 * _MIB, limit // 32))
            text = (
                f"{directory / limit_name} is {say_bytes(limit)}, {say_bytes(usage)} are in use, "
                f"{say_bytes(margin)} stay free"
            )
            rooms.append(Room(limit - usage + _reclaimable_bytes(directory) - margin, text))
    return rooms


def _reclaimable_bytes(directory: Path) -> int:
    """File cache of a cgroup that goes when memory is needed: all of the inactive, half of the active."""
    try:
        lines = (directory / "memory.stat").read_text().splitlines()
        stat = {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}
    except (OSError, ValueError):
        return 0
    # v1 counts the groups below under total_*, v2 always includes them.
    prefix = "total_" if "total_inactive_file" in stat else ""
    return stat.get(prefix + "inactive_file", 0) + stat.get(prefix + "active_file", 0) // 2
