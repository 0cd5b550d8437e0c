"""Backing: what kind of memory files get here, and why not a better kind.

Rule 1: say what was got. A fallback is never silent: each better kind that could not be had is a sentence that names
        the reason and what would mend it.
Rule 2: never change a setting of the system.
Rule 3: an answer is about now. Somebody else may take the pages before we do; then backing a file says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from hugefs.errors import FallbackRefused, InvalidRequest
from hugefs.memory import _libc
from hugefs.memory.hugetlb_room import can_reserve, group_room, how_to_mend, pool_room
from hugefs.memory.thp import make_huge, shmem_mode, thp_page_bytes


class Backing(StrEnum):
    """The kinds of memory a file can have, the best first."""

    HUGETLB = "hugetlb"  # pages of the kernel's reserved pool: never split, never swapped
    THP = "thp"  # shared memory in transparent huge pages: as fast, but the kernel may split them under pressure
    BASE = "base"  # shared memory in base pages (4 KiB)


@dataclass(frozen=True)
class Probed:
    """What can be had, and for each better kind a sentence why it cannot and what would mend it."""

    backing: Backing
    reasons: tuple[str, ...] = ()


def probe(page_bytes: int, pages_wanted: int, huge: str = "prefer") -> Probed:
    """The best backing to be had now for ``pages_wanted`` pages of ``page_bytes``.

    ``huge``: "require" raises FallbackRefused where neither hugetlb nor THP can be had, "prefer" falls back and says
    why, "off" takes base pages without looking.
    """
    if huge not in {"require", "prefer", "off"}:
        raise InvalidRequest(f'huge is "require", "prefer" or "off", not {huge!r}')
    if page_bytes < 1 << 20 or page_bytes & (page_bytes - 1) or pages_wanted < 0:
        raise InvalidRequest(f"no such pages: {pages_wanted} of {page_bytes} bytes")
    if huge == "off":
        return Probed(Backing.BASE, ('huge pages were not asked for: huge="off"',))
    reasons: list[str] = []
    for backing, why_not in ((Backing.HUGETLB, _why_no_hugetlb), (Backing.THP, _why_no_thp)):
        reason = why_not(page_bytes, max(1, pages_wanted))
        if reason is None:
            return Probed(backing, tuple(reasons))
        reasons.append(reason)
    if huge == "require":
        raise FallbackRefused("; ".join(reasons), wanted=pages_wanted, available=0)
    return Probed(Backing.BASE, tuple(reasons))


def _why_no_hugetlb(page_bytes: int, pages_wanted: int) -> str | None:
    """None where hugetlb can be had."""
    limited = group_room(page_bytes)
    if limited is not None and limited[0] < pages_wanted:
        return f"hugetlb: {pages_wanted} pages wanted, and this process's control group forbids it: {limited[1]}"
    room = pool_room(page_bytes)
    if room is not None and room.pages_available >= pages_wanted:
        return None
    if room is not None and room.pages_available + room.pages_overcommit < pages_wanted:
        return (
            f"hugetlb: {pages_wanted} pages of {page_bytes >> 20} MiB wanted, {room.pages_available} free; "
            f"mend it with: {how_to_mend(page_bytes, pages_wanted - room.pages_available)}"
        )
    # Either overcommit has to make pages, and whether memory is contiguous enough only the kernel knows; or there is
    # no sysfs to ask.
    if can_reserve(page_bytes, pages_wanted):
        return None
    return (
        f"hugetlb: the kernel does not grant {pages_wanted} pages of {page_bytes >> 20} MiB; "
        f"mend it with: {how_to_mend(page_bytes, pages_wanted)}"
    )


def _why_no_thp(page_bytes: int, pages_wanted: int) -> str | None:
    """None where THP can be had. Found out by having one page made."""
    huge_bytes = thp_page_bytes()
    if page_bytes % huge_bytes:
        return f"thp: pages of {page_bytes} bytes are not made of transparent huge pages of {huge_bytes}"
    try:
        fd = os.memfd_create("hugefs-probe", _libc.MFD_CLOEXEC)
    except OSError as error:
        return f"thp: {error.strerror}"
    try:
        os.ftruncate(fd, huge_bytes)
        if make_huge(fd, 0, huge_bytes):
            return None
    except OSError as error:
        return f"thp: {error.strerror}"
    finally:
        os.close(fd)
    mode = shmem_mode()
    mend = "mend it with: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
    if mode is None:
        return "thp: this kernel has no transparent huge pages for shared memory"
    if mode == "deny":
        return f"thp: shmem_enabled is deny; {mend}"
    return f"thp: shmem_enabled is {mode} and the kernel made no huge page when asked (MADV_COLLAPSE); {mend}"
