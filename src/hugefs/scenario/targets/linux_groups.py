"""hugetlb cgroups for scenarios, in a group of our own below the hierarchy's root.

Rule 1: a hierarchy that is mounted is used where it is; mounting it again could change its options for everybody.
        One that is not is mounted in the scenario's own namespace.
Rule 2: limits and charges are pages here, bytes there.
Rule 3: of version 2 the events are "max" of hugetlb.2MB.events; version 1 counts the same failures a limit.
Linux: mm/hugetlb_cgroup.c; Documentation/admin-guide/cgroup-v2.rst, "HugeTLB".
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hugefs.linux.huge_page_settings import CannotRunHere
from hugefs.scenario.counters import CgroupCounters
from hugefs.scenario.sizes import PAGE_BYTES
from hugefs.scenario.targets.process import World

__all__ = ["Groups"]

_PATIENCE_SECONDS = 2.0
_CONTROL = "cgroup.subtree_control"


@dataclass(frozen=True)
class _Version:
    """How one version of cgroups names its files."""

    kind: str
    limit: str
    current: str
    failures: tuple[str, ...]


_V1 = _Version("cgroup", "limit_in_bytes", "usage_in_bytes", ("failcnt", "rsvd.failcnt"))
_V2 = _Version("cgroup2", "max", "current", ("events",))


class Groups:
    """The groups of one scenario after the other."""

    def __init__(self, world: World) -> None:
        own = f"hugefs-scenario-{os.getpid()}"
        self._version, root = _hierarchy()
        try:
            seen_there = root
            if root is None:
                path = world.call("mount_groups", self._version.kind, "" if self._version is _V2 else "hugetlb")
                root, seen_there = Path(f"/proc/{world.pid}/root{path}"), Path(path)
            assert seen_there is not None
            self._root = root
            self._enabled = self._enable(root)
            control = str(seen_there / _CONTROL) if self._enabled else ""
            world.call("own_groups", str(seen_there / own), control)
            self._own = root / own
            self._own.mkdir(exist_ok=True)
            self._enable(self._own)
        except OSError as error:
            raise CannotRunHere(f"no hugetlb cgroups can be made here: {error}") from error
        self._files: dict[str, list[int]] = {}

    def make(self, group: str, pages_max: int | None, pages_reserved_max: int | None) -> None:
        """Make a group, or give one that exists these limits. Raises OSError."""
        path = self._own / group
        if path.parent != self._own:
            self._enable(path.parent)
        path.mkdir(exist_ok=True)
        for prefix, pages in (("", pages_max), ("rsvd.", pages_reserved_max)):
            if pages is not None:
                (path / f"hugetlb.2MB.{prefix}{self._version.limit}").write_text(str(pages * PAGE_BYTES))
        names = (self._version.current, f"rsvd.{self._version.current}", *self._version.failures)
        if group not in self._files:
            self._files[group] = [os.open(path / f"hugetlb.2MB.{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names]

    def enter(self, group: str, pid: int) -> None:
        """Move a process into a group. Raises OSError."""
        (self._own / group / "cgroup.procs").write_text(str(pid))

    def remove(self, group: str) -> None:
        """Remove a group. Raises OSError."""
        (self._own / group).rmdir()
        for fd in self._files.pop(group):
            os.close(fd)

    def counters(self) -> tuple[dict[str, CgroupCounters], dict[str, int]]:
        """Charges and events of every group."""
        charges: dict[str, CgroupCounters] = {}
        events: dict[str, int] = {}
        for group, (current, reserved, *failures) in self._files.items():
            charges[group] = CgroupCounters(_pages(current), _pages(reserved))
            count = sum(_last_number(fd) for fd in failures)
            if count:
                events[group] = count
        return charges, events

    def end(self) -> list[str]:
        """Remove all groups; those that stay, with the reason."""
        left = []
        for group in sorted(self._files, key=lambda name: name.count("/"), reverse=True):
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while True:
                try:
                    self.remove(group)
                except OSError as error:
                    if time.monotonic() < deadline:
                        time.sleep(0.005)
                        continue
                    left.append(f"group {group}: {error.strerror}")
                break
        return left

    def close(self) -> None:
        """The hierarchy is as it was."""
        with suppress(OSError):
            self._own.rmdir()
        if self._enabled:
            with suppress(OSError):
                (self._root / _CONTROL).write_text("-hugetlb")

    def _enable(self, group: Path) -> bool:
        """Groups inside this one get hugetlb counters; whether that was not so before."""
        if self._version is _V1:
            return False
        control = group / _CONTROL
        if "hugetlb" in control.read_text().split():
            return False
        control.write_text("+hugetlb")
        return True


def _hierarchy() -> tuple[_Version, Path | None]:
    """Which version has the hugetlb controller, and where that hierarchy is mounted, if it is."""
    try:
        lines = Path("/proc/cgroups").read_text().splitlines()
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError as error:
        raise CannotRunHere(f"this kernel has no cgroups: {error}") from error
    rows = {fields[0]: fields for fields in map(str.split, lines) if not fields[0].startswith("#")}
    if "hugetlb" not in rows or rows["hugetlb"][3] != "1":
        raise CannotRunHere("this kernel has no hugetlb cgroups")
    version = _V2 if rows["hugetlb"][1] == "0" else _V1
    for _, place, kind, options, *_ in map(str.split, mounts):
        if kind == version.kind and (version is _V2 or "hugetlb" in options.split(",")):
            return version, Path(place)
    return version, None


def _pages(fd: int) -> int:
    return int(os.pread(fd, 32, 0)) // PAGE_BYTES


def _last_number(fd: int) -> int:
    """The number in a file of one, or behind "max"."""
    return int(os.pread(fd, 64, 0).split()[-1])
