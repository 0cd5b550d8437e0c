"""What tests of real memory need: pages in the kernel's pool for the time of a test, and control groups.

Rule: everything is put back; what cannot be had here is a skip with its reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hugefs.linux.huge_page_settings import CannotRunHere, huge_page_settings
from hugefs.memory import Backing, probe
from hugefs.memory.cgroups import group_directories

PAGE_BYTES = 2 << 20
POOL_PAGES = 16


@pytest.fixture
def hugetlb_pool() -> Iterator[int]:
    """Exactly 16 free huge pages of 2 MiB; how many these are."""
    try:
        with huge_page_settings(POOL_PAGES, pages_overcommit=0):
            yield POOL_PAGES
    except CannotRunHere as error:
        pytest.skip(f"huge pages cannot be set up: {error}")


@pytest.fixture(params=list(Backing))
def backing(request: pytest.FixtureRequest) -> Backing:
    """Each kind of memory in turn; with hugetlb, the pool of 16 pages."""
    kind: Backing = request.param
    if kind is Backing.HUGETLB:
        request.getfixturevalue("hugetlb_pool")
    elif kind is Backing.THP and probe(PAGE_BYTES, 1 << 40).backing is not Backing.THP:
        pytest.skip("this kernel makes no transparent huge pages for shared memory")
    return kind


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A memory control group below our own, without a limit yet; v1 or v2, whichever can be had."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    for parent in group_directories("memory"):
        group = parent / f"hugefs-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "memory.limit_in_bytes").exists() or (group / "memory.max").exists():
            yield group
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("no memory control group can be made here")


def limit_memory(group: Path, limit_bytes: int) -> None:
    """Set the limit, in whichever version's file."""
    name = "memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes"
    (group / name).write_text(str(limit_bytes))


@pytest.fixture
def hugetlb_group(hugetlb_pool: int, tmp_path: Path) -> Iterator[Path]:
    """A hugetlb control group of four pages. Needs the pool's lock, because it switches the controller on."""
    root = next((path for path in group_directories("hugetlb") if (path / "cgroup.controllers").exists()), None)
    while root is not None and (root.parent / "cgroup.controllers").exists():
        root = root.parent
    if root is not None and "hugetlb" in (root / "cgroup.controllers").read_text().split():
        yield from _group_of_version_2(root)
    else:
        yield from _group_of_version_1(tmp_path)


def _group_of_version_2(root: Path) -> Iterator[Path]:
    switch = root / "cgroup.subtree_control"
    was_on = "hugetlb" in switch.read_text().split()
    group = root / f"hugefs-test-{os.getpid()}"
    try:
        if not was_on:
            switch.write_text("+hugetlb")
        group.mkdir()
    except OSError as error:
        pytest.skip(f"the hugetlb controller cannot be switched on: {error.strerror}")
    try:
        (group / "hugetlb.2MB.max").write_text(str(4 * PAGE_BYTES))
        yield group
    finally:
        group.rmdir()
        if not was_on:
            switch.write_text("-hugetlb")


def _group_of_version_1(directory: Path) -> Iterator[Path]:
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "cgroup", "-o", "hugetlb", "none", str(directory)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no hugetlb control groups in this kernel")
    group = directory / "hugefs-test"
    try:
        group.mkdir()
        (group / "hugetlb.2MB.limit_in_bytes").write_text(str(4 * PAGE_BYTES))
        yield group
    finally:
        with suppress(OSError):
            group.rmdir()
        subprocess.run(["umount", str(directory)], check=True)
