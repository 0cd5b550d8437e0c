"""MemoryFile on real memory: granted means there; refused means nothing taken; nobody can cut a file."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import signal
import threading
import time

import pytest

from hugefs.errors import ClosedError, InvalidRequest, NoDescriptors, NoHugePages
from hugefs.linux import pool, smaps
from hugefs.memory import Backing, MappedPages, MemoryFile, _libc
from hugefs.memory import memory_file as module
from tests.memory import children
from tests.memory.conftest import PAGE_BYTES


def held_pages(file: MemoryFile) -> int:
    """How many pages of memory the kernel says the file has."""
    return os.fstat(file.fd).st_blocks * 512 // PAGE_BYTES


def mapped(file: MemoryFile, *, writable: bool = True) -> MappedPages:
    """All of it."""
    return MappedPages.shared(file.fd, 0, file.size_bytes, writable, file.backing, PAGE_BYTES)


def file_of(pages: int, backing: Backing, *, fixed: bool = False) -> MemoryFile:
    """A file of so many pages, none of them there yet."""
    return MemoryFile.create("test", PAGE_BYTES, backing, size_bytes=pages * PAGE_BYTES, fixed=fixed)


def test_a_full_pool_is_touched_to_its_last_page(hugetlb_pool):
    """The promise of the project: what was granted can be touched, here with not a single page left over."""
    with file_of(hugetlb_pool, Backing.HUGETLB) as file:
        file.back(0, file.size_bytes)
        assert pool(PAGE_BYTES).pages_free == pool(PAGE_BYTES).pages_reserved
        with file_of(1, Backing.HUGETLB) as another, pytest.raises(NoHugePages) as refused:
            another.back(0, PAGE_BYTES)
        assert (refused.value.wanted, refused.value.available) == (1, 0)
        children.run(lambda: children.touch_everything(memoryview(mapped(file))))


def test_new_pages_read_as_zeros(backing):
    """Another file's bytes would be a leak; the kernel zeroes, and this looks at every byte."""
    with file_of(4, backing) as file:
        file.back(0, file.size_bytes)
        with mapped(file) as pages:
            assert pages[:] == bytes(4 * PAGE_BYTES)
            pages[:] = b"\xff" * len(pages)
        file.drop(0, file.size_bytes)
        file.back(0, file.size_bytes)
        with mapped(file) as pages:
            assert pages[:] == bytes(4 * PAGE_BYTES)


def test_the_memory_is_what_backing_says(backing):
    """hugetlb and thp are really huge pages in the page tables, base is really not."""
    with file_of(4, backing) as file:
        file.back(0, file.size_bytes)
        assert file.backing is backing
        with mapped(file) as pages:
            children.touch_everything(memoryview(pages))
            seen = smaps(None, pages.address, pages.address + len(pages))
            assert pages.address % PAGE_BYTES == 0
    huge = {
        Backing.HUGETLB: seen.private_hugetlb_bytes + seen.shared_hugetlb_bytes,
        Backing.THP: seen.shmem_pmd_mapped_bytes,
        Backing.BASE: 4 * PAGE_BYTES if seen.shmem_pmd_mapped_bytes == 0 else 0,
    }
    assert huge[backing] == 4 * PAGE_BYTES


def test_a_part_that_is_not_huge_is_said(monkeypatch):
    """One extent of base pages makes the file's backing "base", until that extent is gone."""
    monkeypatch.setattr(module, "make_huge", lambda fd, offset, length: False)
    with file_of(2, Backing.THP) as file:
        file.back(0, PAGE_BYTES)
        assert file.backing == "base"
        assert held_pages(file) == 1
        file.drop(0, PAGE_BYTES)
        assert file.backing == "thp"


def test_backing_twice_keeps_the_contents(backing):
    """Idempotent: pages that are there keep their bytes, holes between them are filled."""
    with file_of(5, backing) as file:
        file.back(PAGE_BYTES, PAGE_BYTES)
        file.back(3 * PAGE_BYTES, PAGE_BYTES)
        with mapped(file) as pages:
            pages[PAGE_BYTES] = pages[4 * PAGE_BYTES - 1] = 77
            file.back(0, file.size_bytes)
            file.back(0, file.size_bytes)
            assert (pages[PAGE_BYTES], pages[4 * PAGE_BYTES - 1]) == (77, 77)
        assert held_pages(file) == 5


def test_a_refusal_gives_back_exactly_what_it_took(hugetlb_pool):
    """Pages that were there before stay, with their bytes; those of the failed call are back in the pool."""
    with file_of(hugetlb_pool + 2, Backing.HUGETLB) as file:
        file.back(2 * PAGE_BYTES, 3 * PAGE_BYTES)
        with MappedPages.shared(file.fd, 2 * PAGE_BYTES, PAGE_BYTES, True, Backing.HUGETLB, PAGE_BYTES) as pages:
            pages[5] = 9
            before = pool(PAGE_BYTES)
            with pytest.raises(NoHugePages) as refused:
                file.back(0, file.size_bytes)
            assert (refused.value.wanted, refused.value.available) == (hugetlb_pool - 1, hugetlb_pool - 3)
            assert pool(PAGE_BYTES) == before
            assert pages[5] == 9
        assert held_pages(file) == 3


def test_an_interrupt_by_the_user_gives_back_too(monkeypatch, backing):
    """Ctrl-C in the middle must not leave pages that nobody's books know of."""
    taken: list[None] = []
    original = MemoryFile._back_hole

    def interrupted(self, start, end, not_huge):
        if taken:
            raise KeyboardInterrupt
        taken.append(original(self, start, end, not_huge))

    with file_of(5, backing) as file:
        file.back(PAGE_BYTES, PAGE_BYTES)
        monkeypatch.setattr(MemoryFile, "_back_hole", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.back(0, file.size_bytes)
        assert taken
        assert held_pages(file) == 1


def test_drop_returns_memory_and_clear_keeps_it(backing):
    """drop is for pages nobody uses any more; clear is for pages that are to be used again."""
    with file_of(4, backing) as file:
        file.back(0, file.size_bytes)
        with mapped(file) as pages:
            pages[:] = b"\xff" * len(pages)
            file.clear(PAGE_BYTES, PAGE_BYTES)
            assert held_pages(file) == 4
            expected = b"\xff" * PAGE_BYTES + bytes(PAGE_BYTES) + b"\xff" * 2 * PAGE_BYTES
            assert pages[:] == expected
        file.drop(0, 2 * PAGE_BYTES)
        assert held_pages(file) == 2
        assert file.backed_bytes == 2 * PAGE_BYTES
        file.clear(0, file.size_bytes)  # what is not backed stays so
        assert held_pages(file) == 2


def test_clear_survives_a_client_that_punches_holes(hugetlb_pool):
    """The server clears pages that a client may have taken away; under a full pool that is an error, not its death."""
    file = file_of(2, Backing.HUGETLB)
    file.back(0, file.size_bytes)
    _libc.punch_hole(file.fd, 0, PAGE_BYTES)
    with file_of(hugetlb_pool - 1, Backing.HUGETLB) as rest:
        rest.back(0, rest.size_bytes)

        def clear():
            with pytest.raises(OSError) as refused:
                file.clear(0, file.size_bytes)
            assert refused.value.errno in {errno.EFAULT, errno.ENOMEM}

        children.run(clear)
    file.close()


@pytest.mark.parametrize("fixed", [False, True])
def test_nobody_can_cut_a_file(backing, fixed):
    """A client that truncates would kill its neighbours by SIGBUS: the seals forbid it, and nobody can unseal."""
    with file_of(2, backing, fixed=fixed) as file:
        for size in (0, PAGE_BYTES):
            with pytest.raises(PermissionError) as refused:
                os.ftruncate(file.fd, size)
            assert refused.value.errno == errno.EPERM
        with pytest.raises(PermissionError):
            fcntl.fcntl(file.fd, _libc.F_ADD_SEALS, _libc.F_SEAL_GROW)
        if fixed:
            with pytest.raises(PermissionError):
                os.ftruncate(file.fd, 3 * PAGE_BYTES)
            with pytest.raises(InvalidRequest):
                file.grow(3 * PAGE_BYTES)
        else:
            file.grow(3 * PAGE_BYTES)
            assert os.fstat(file.fd).st_size == file.size_bytes == 3 * PAGE_BYTES
        with pytest.raises(InvalidRequest):
            file.grow(PAGE_BYTES)


def test_a_reader_cannot_become_a_writer(backing):
    """Not by mapping, not by writing, and not by reopening the descriptor through /proc as another user."""
    with file_of(1, backing) as file:
        file.back(0, PAGE_BYTES)
        fd = file.read_only_fd()
        if fd is None:
            pytest.skip("no /proc")

        def attempts():
            for attempt in (
                lambda: MappedPages.shared(fd, 0, PAGE_BYTES, True, backing, PAGE_BYTES),
                lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR),
                lambda: _libc.punch_hole(fd, 0, PAGE_BYTES),
            ):
                with pytest.raises(OSError):
                    attempt()
            with MappedPages.shared(fd, 0, PAGE_BYTES, False, backing, PAGE_BYTES) as pages:
                assert pages[0] == 0

        if os.geteuid() != 0:
            pytest.skip("not root")
        children.run(attempts, uid=65534)
        os.close(fd)


def test_signals_do_not_stop_it(backing):
    """hugetlb gives up a fallocate at each signal; under a timer it must still get done."""
    signals = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: signals.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        with file_of(12, backing) as file:
            file.back(0, file.size_bytes)
            file.clear(0, file.size_bytes)
            assert held_pages(file) == 12
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert signals


def test_a_kernel_that_starts_again_at_each_signal_is_got_past(monkeypatch):
    """Some kernels undo a shmem fallocate at a signal; asking for the same again would never end under a timer."""
    taken: list[tuple[int, int]] = []
    calls: list[int] = []

    def fallocate(fd, offset, length):
        calls.append(length)
        assert len(calls) < 100, "asks for the same again and again"
        if length > PAGE_BYTES:
            raise InterruptedError(errno.EINTR, "a signal")
        taken.append((offset, length))

    with file_of(8, Backing.BASE) as file:
        monkeypatch.setattr(_libc, "fallocate", fallocate)
        file.back(0, file.size_bytes)
    assert taken == [(at * PAGE_BYTES, PAGE_BYTES) for at in range(8)]


def test_other_threads_go_on_meanwhile():
    """The server answers others while pages are being made: the GIL is not held during the system calls."""
    with file_of(64, Backing.BASE) as file:
        worker = threading.Thread(target=file.back, args=(0, file.size_bytes))
        turns = 0
        worker.start()
        while worker.is_alive():
            turns += 1
            time.sleep(0)
        assert turns > 50


def test_descriptors_run_out_with_a_name():
    """EMFILE says which thing ran out and is not confused with memory."""

    def exhaust():
        files = [file_of(1, Backing.BASE)]
        limit = files[0].fd + 8  # whatever the test run has open itself
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        with pytest.raises(NoDescriptors):
            files.extend(file_of(1, Backing.BASE) for _ in range(limit))
        with pytest.raises(NoDescriptors):
            files[0].read_only_fd()

    children.run(exhaust)


def test_requests_that_make_no_sense_are_refused():
    """Between pages, beyond the end, nothing at all, or after close."""
    with pytest.raises(InvalidRequest):
        MemoryFile.create("test", PAGE_BYTES, Backing.BASE, size_bytes=1)
    file = file_of(2, Backing.BASE)
    for call in (file.back, file.drop):
        for offset, length in ((1, PAGE_BYTES), (0, 5)):
            with pytest.raises(InvalidRequest):
                call(offset, length)
    for call in (file.back, file.drop, file.clear):
        for offset, length in ((0, 0), (-PAGE_BYTES, PAGE_BYTES), (PAGE_BYTES, 2 * PAGE_BYTES)):
            with pytest.raises(InvalidRequest):
                call(offset, length)
    assert file.backed_bytes == 0
    file.close()
    file.close()
    with pytest.raises(ClosedError):
        file.back(0, PAGE_BYTES)
    with pytest.raises(ClosedError):
        assert file.fd


def test_every_descriptor_is_close_on_exec(backing):
    """A program started by the server inherits nobody's memory."""
    with file_of(1, backing) as file:
        assert not os.get_inheritable(file.fd)
        fd = file.read_only_fd()
        if fd is not None:
            assert not os.get_inheritable(fd)
            os.close(fd)


def test_clear_takes_any_bytes(backing):
    """A hole need not end where a page ends: what it covers of a page becomes zero, and nothing else."""
    with file_of(2, backing) as file:
        file.back(0, 2 * PAGE_BYTES)
        with mmap.mmap(file.fd, 2 * PAGE_BYTES) as pages:
            pages[:] = b"x" * (2 * PAGE_BYTES)
            file.clear(PAGE_BYTES - 5, 10)
            file.clear(3, 1)
            assert pages[PAGE_BYTES - 6 : PAGE_BYTES + 6] == b"x" + bytes(10) + b"x"
            assert pages[2:5] == b"x\0x"
            assert pages[:].count(0) == 11
