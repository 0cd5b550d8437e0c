"""Where this process's control groups are, as far as they can be seen from here.

Rule: a reader only. What cannot be read does not exist; a container sees its own group and not those around it.
Linux: /proc/self/cgroup (which group, seen from the hierarchy's root), /proc/self/mountinfo (where that is mounted,
and which part of it).
"""

from __future__ import annotations

from pathlib import Path

_NO_LIMIT = 1 << 60  # v1 writes "no limit" as the largest multiple of a page below 2^63


def read_number(path: Path) -> int | None:
    """The number in a control file; None for "max", for v1's way of saying so, and where there is no such file."""
    try:
        value = int(path.read_text())
    except (OSError, ValueError):
        return None
    return None if value >= _NO_LIMIT else value


def groups_are_visible() -> bool:
    """Whether there is a /proc to learn this process's groups from."""
    return Path("/proc/self/cgroup").exists()


def group_directories(controller: str) -> list[Path]:
    """The directories of this process's group for a controller and of all groups above it, the own one first.

    v1 and v2 both, where both are mounted; a directory without that controller simply lacks its files.
    """
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup" in line]
    except OSError:
        return []
    found = []
    for line in groups:
        _, controllers, group = line.split(":", 2)
        is_v2 = controllers == ""
        if not is_v2 and controller not in controllers.split(","):
            continue
        for mount in mounts:
            left, _, right = mount.partition(" - ")
            root, mount_point = left.split()[3:5]
            kind, _, options = right.split(" ", 2)
            if is_v2 and kind != "cgroup2":
                continue
            if not is_v2 and (kind != "cgroup" or controller not in options.split()[-1].split(",")):
                continue
            found += _upwards(Path(mount_point), root, group)
    return list(dict.fromkeys(found))


def _upwards(mount_point: Path, root: str, group: str) -> list[Path]:
    if root != "/":
        # A container: the mount shows only the part of the hierarchy below ``root``.
        if group != root and not group.startswith(root + "/"):
            return [mount_point]
        group = group[len(root) :]
    if "/.." in group:
        return [mount_point]  # the group lies outside of our cgroup namespace
    own = mount_point / group.lstrip("/")
    return [own, *(above for above in own.parents if above == mount_point or mount_point in above.parents)]
