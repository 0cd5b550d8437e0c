"""Limits of control groups: a refusal in time, and nobody is killed for what was granted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hugefs.errors import FallbackRefused, NoHugePages
from hugefs.memory import Backing, MappedPages, MemoryFile, probe
from tests.memory import children
from tests.memory.conftest import PAGE_BYTES, limit_memory


def fill_to_refusal(backing: Backing, pages_at_once: int, pages_max: int) -> list[MemoryFile]:
    """File after file until one is refused; the files that were granted."""
    files: list[MemoryFile] = []
    while sum(file.size_bytes for file in files) < pages_max * PAGE_BYTES:
        file = MemoryFile.create("test", PAGE_BYTES, backing, size_bytes=pages_at_once * PAGE_BYTES)
        try:
            file.back(0, file.size_bytes)
        except NoHugePages:
            assert os.fstat(file.fd).st_blocks == 0
            return files
        files.append(file)
    raise AssertionError("nothing was refused")


def touch_all(files: list[MemoryFile]) -> None:
    """Every base page of every file, by this process."""
    for file in files:
        with MappedPages.shared(file.fd, 0, file.size_bytes, True, file.backing, PAGE_BYTES) as pages:
            children.touch_everything(memoryview(pages))


@pytest.mark.parametrize("kind", [Backing.BASE, Backing.THP])
def test_a_memory_group_is_filled_to_refusal_and_touched(memory_group, kind):
    """Base pages have no reservation: the kernel would kill. We refuse before, and what was granted is touched."""
    if kind is Backing.THP and probe(PAGE_BYTES, 1 << 40).backing is not Backing.THP:
        pytest.skip("this kernel makes no transparent huge pages for shared memory")
    limit_memory(memory_group, 96 << 20)

    def fill() -> None:
        files = fill_to_refusal(kind, 3, 60)
        assert sum(file.size_bytes for file in files) > 48 << 20, "refused far too early"
        for _ in range(2):
            children.run(lambda: touch_all(files))
        touch_all(files)

    children.run(fill, group=memory_group)


def test_private_copies_are_refused_in_time(memory_group):
    """A private mapping takes its copies when it is made, within the same limits."""
    limit_memory(memory_group, 64 << 20)

    def copy() -> None:
        file = MemoryFile.create("test", PAGE_BYTES, Backing.BASE, size_bytes=8 * PAGE_BYTES)
        file.back(0, file.size_bytes)
        copies: list[MappedPages] = []
        with pytest.raises(NoHugePages):
            copies.extend(MappedPages.private(file.fd, 0, file.size_bytes, Backing.BASE, PAGE_BYTES) for _ in range(5))
        assert copies
        for pages in copies:
            children.touch_everything(memoryview(pages))

    children.run(copy, group=memory_group)


def test_a_hugetlb_group_refuses_at_back_and_not_at_touch(hugetlb_group):
    """The pool has 16 pages, the group four: fallocate is charged, so the refusal comes before anybody touches."""

    def fill() -> None:
        assert probe(PAGE_BYTES, 4).backing is Backing.HUGETLB
        assert "control group" in probe(PAGE_BYTES, 5).reasons[0]
        files = fill_to_refusal(Backing.HUGETLB, 1, 16)
        assert len(files) == 4
        children.run(lambda: touch_all(files))

    children.run(fill, group=hugetlb_group)


def test_private_hugetlb_copies_are_charged_when_mapped(hugetlb_group):
    """A group is charged for private pages at the touch, and the answer is SIGBUS: so they are touched at once."""

    def copy() -> None:
        file = MemoryFile.create("test", PAGE_BYTES, Backing.HUGETLB, size_bytes=2 * PAGE_BYTES)
        file.back(0, file.size_bytes)
        one = MappedPages.private(file.fd, 0, 2 * PAGE_BYTES, Backing.HUGETLB, PAGE_BYTES)
        with pytest.raises(NoHugePages):
            MappedPages.private(file.fd, 0, PAGE_BYTES, Backing.HUGETLB, PAGE_BYTES)
        children.touch_everything(memoryview(one))

    children.run(copy, group=hugetlb_group)


def test_the_refusal_says_amounts_and_which_limit(memory_group):
    """The text is for whoever has to mend it."""
    limit_memory(memory_group, 64 << 20)

    def ask() -> None:
        file = MemoryFile.create("test", PAGE_BYTES, Backing.BASE, size_bytes=1 << 30)
        with pytest.raises(
            NoHugePages, match=r"1 GiB of memory wanted, .* MiB to be had: .*memory\..* is 64 MiB"
        ) as it:
            file.back(0, file.size_bytes)
        assert it.value.wanted == 512
        assert 0 < (it.value.available or 0) < 32

    children.run(ask, group=memory_group)


def test_more_than_the_machine_has_is_refused():
    """Not tried and then killed: refused, and nothing was taken. If this fails, the child is the first to be killed."""

    def ask() -> None:
        Path("/proc/self/oom_score_adj").write_text("1000")
        with MemoryFile.create("test", PAGE_BYTES, Backing.BASE, size_bytes=1 << 44) as file:
            with pytest.raises(NoHugePages, match="the machine has"):
                file.back(0, file.size_bytes)
            assert os.fstat(file.fd).st_blocks == 0

    children.run(ask)


def test_without_proc_the_machine_is_still_asked(monkeypatch):
    """A sandbox without /proc: free memory comes from the kernel by sysconf, control groups are not to be seen."""
    real_open = open
    monkeypatch.setattr("hugefs.memory.cgroups.Path", lambda name: Path("/nonexistent" + str(name)))
    monkeypatch.setattr(
        "builtins.open",
        lambda name, *rest, **more: real_open("/nonexistent" if name == "/proc/meminfo" else name, *rest, **more),
    )

    def ask() -> None:
        Path("/proc/self/oom_score_adj").write_text("1000")
        with MemoryFile.create("test", PAGE_BYTES, Backing.BASE, size_bytes=1 << 44) as file:
            with pytest.raises(NoHugePages, match="the machine has"):
                file.back(0, file.size_bytes)
            file.back(0, 2 * PAGE_BYTES)
            assert file.backed_bytes == 2 * PAGE_BYTES

    children.run(ask)


def test_require_says_reason_and_remedy(monkeypatch):
    """FallbackRefused is to be read by whoever runs the machine."""
    monkeypatch.setattr("hugefs.memory.backing.make_huge", lambda fd, offset, length: False)
    with pytest.raises(FallbackRefused, match=r"hugetlb: .*nr_hugepages.*; thp: .*shmem_enabled"):
        probe(PAGE_BYTES, 1 << 30, "require")
    got = probe(PAGE_BYTES, 1 << 30, "prefer")
    assert got.backing is Backing.BASE
    assert len(got.reasons) == 2
    assert probe(PAGE_BYTES, 1, "off").backing is Backing.BASE
