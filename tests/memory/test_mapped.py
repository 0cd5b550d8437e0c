"""MappedPages: a real mmap object, that views keep alive, that holds no descriptor, and that fails cleanly."""

from __future__ import annotations

import gc
import os
import resource

import pytest

from hugefs.errors import InvalidRequest, NoHugePages, NotSupported, PermissionDenied, ViewsStillOpen
from hugefs.linux import meminfo, pool, smaps
from hugefs.memory import Backing, MappedPages, MemoryFile
from tests.memory import children
from tests.memory.conftest import PAGE_BYTES


@pytest.fixture
def file(backing):
    """Four backed pages."""
    with MemoryFile.create("test", PAGE_BYTES, backing, size_bytes=4 * PAGE_BYTES) as made:
        made.back(0, made.size_bytes)
        yield made


def whole(file: MemoryFile, *, writable: bool = True) -> MappedPages:
    """All of the file, shared."""
    return MappedPages.shared(file.fd, 0, file.size_bytes, writable, file.backing, PAGE_BYTES)


def descriptors() -> list[str]:
    """What /proc says this process has open."""
    return sorted(os.listdir("/proc/self/fd"))


def is_mapped(start: int, length: int) -> bool:
    """Whether anything lies in that range."""
    return smaps(None, start, start + length).mappings > 0


def test_views_block_close_and_nothing_changes(file):
    """CPython counts the views; an array must never point at nothing."""
    pages = whole(file)
    view = memoryview(pages)[PAGE_BYTES:]
    view[0] = 3
    for _ in range(2):
        with pytest.raises(ViewsStillOpen):
            pages.close()
    assert view[0] == 3
    assert pages[PAGE_BYTES] == 3
    view.release()
    pages.close()
    pages.close()
    assert not is_mapped(pages.address, 4 * PAGE_BYTES)


def test_numpy_arrays_live_on_it(file):
    """The main use: an array without a copy; it keeps the mapping alive when everything else is forgotten."""
    numpy = pytest.importorskip("numpy")
    array = numpy.frombuffer(whole(file), dtype="u4")
    address = array.ctypes.data
    gc.collect()
    array[:] = 7
    assert whole(file)[:4] == b"\x07\x00\x00\x00"
    assert is_mapped(address, 4 * PAGE_BYTES)
    del array
    gc.collect()
    assert not is_mapped(address, 4 * PAGE_BYTES)


def test_no_descriptor_is_kept(file):
    """A thousand mapped files must not need a thousand descriptors."""
    before = descriptors()
    pages = [whole(file), MappedPages.private(file.fd, 0, PAGE_BYTES, file.backing, PAGE_BYTES)]
    assert descriptors() == before
    del pages


def test_read_only_is_read_only(file):
    """Both for Python, which sees a read-only buffer, and for the page tables."""
    pages = whole(file, writable=False)
    view = memoryview(pages)
    assert view.readonly
    with pytest.raises(TypeError):
        pages[0] = 1
    view.release()
    pages.close()


def test_a_mapping_costs_no_page_of_the_pool(hugetlb_pool):
    """The anonymous huge mapping that lies underneath for a moment takes and reserves nothing."""
    before = meminfo()
    for _ in range(3):
        with (
            MemoryFile.create("test", PAGE_BYTES, Backing.BASE, size_bytes=4 * PAGE_BYTES) as file,
            whole(file) as pages,
        ):
            assert pages.address % PAGE_BYTES == 0
            assert meminfo() == before
    assert pool(PAGE_BYTES).pages_free - pool(PAGE_BYTES).pages_reserved == hugetlb_pool


def test_private_pages_are_copies_that_are_there(file):
    """Written by one process, seen by no other; and all copies exist before the first write."""
    shared = whole(file)
    shared[0] = 1
    private = MappedPages.private(file.fd, 0, file.size_bytes, file.backing, PAGE_BYTES)
    assert private[0] == 1
    if file.backing is not Backing.HUGETLB:
        assert private.backing is Backing.BASE
        assert smaps(None, private.address, private.address + len(private)).rss_bytes == file.size_bytes
    private[0] = 2
    assert (shared[0], private[0]) == (1, 2)
    shared.close()
    private.close()


def test_private_hugetlb_is_reserved_or_refused(hugetlb_pool):
    """Ten pages in the file and six left: a private mapping of six is granted and touched, one more is refused."""
    with MemoryFile.create("test", PAGE_BYTES, Backing.HUGETLB, size_bytes=10 * PAGE_BYTES) as file:
        file.back(0, file.size_bytes)
        before = pool(PAGE_BYTES)
        with pytest.raises(NoHugePages):
            MappedPages.private(file.fd, 0, 7 * PAGE_BYTES, Backing.HUGETLB, PAGE_BYTES)
        assert pool(PAGE_BYTES) == before
        with MappedPages.private(file.fd, 0, 6 * PAGE_BYTES, Backing.HUGETLB, PAGE_BYTES) as private:
            assert pool(PAGE_BYTES).pages_free - pool(PAGE_BYTES).pages_reserved == 0
            children.touch_everything(memoryview(private))
        assert pool(PAGE_BYTES) == before


def test_a_failed_overlay_leaves_nothing_mapped(file):
    """Where the file cannot be put over it, the address space goes too."""
    fd = os.open(f"/proc/self/fd/{file.fd}", os.O_RDONLY)
    before = smaps().mappings
    for _ in range(20):
        with pytest.raises(PermissionDenied):
            MappedPages.shared(fd, 0, file.size_bytes, True, file.backing, PAGE_BYTES)
    gc.collect()
    assert smaps().mappings <= before + 2
    os.close(fd)


def test_a_full_address_space_is_said(file):
    """RLIMIT_AS is a refusal with a text, not a crash."""

    def map_too_much() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        with pytest.raises(NoHugePages, match="address space"):
            MappedPages.shared(file.fd, 0, 1 << 31, True, file.backing, PAGE_BYTES)

    children.run(map_too_much)


def test_what_would_move_it_is_refused(file):
    """Its place and length are known to views and to the mount's books."""
    with whole(file) as pages:
        assert pages.size() == len(pages) == 4 * PAGE_BYTES
        with pytest.raises(NotSupported):
            pages.resize(PAGE_BYTES)
        with pytest.raises(NotSupported):
            pages.move(0, 1, 1)
        for offset, length in ((1, PAGE_BYTES), (0, 1), (0, 0), (-PAGE_BYTES, PAGE_BYTES)):
            with pytest.raises(InvalidRequest):
                MappedPages.shared(file.fd, offset, length, True, file.backing, PAGE_BYTES)


def test_a_child_keeps_what_it_inherited(file):
    """fork: the child's mapping is the same memory, also when the parent has closed its own."""
    pages = whole(file)
    read_end, write_end = os.pipe()

    def write_late() -> None:
        os.read(read_end, 1)
        pages[9] = 99

    child = children.start(write_late)
    pages.close()
    os.write(write_end, b"x")
    children.finish(child)
    os.close(read_end)
    os.close(write_end)
    with whole(file) as again:
        assert again[9] == 99


def test_an_ordinary_user_can_do_all_of_it(backing):
    """Nothing here needs privilege, once the administrator has put pages into the pool."""

    def work() -> None:
        assert os.geteuid() != 0
        with MemoryFile.create("test", PAGE_BYTES, backing, size_bytes=2 * PAGE_BYTES) as file:
            file.back(0, file.size_bytes)
            assert file.backing is backing
            with whole(file) as pages:
                children.touch_everything(memoryview(pages))
            file.clear(0, PAGE_BYTES)
            file.drop(PAGE_BYTES, PAGE_BYTES)
            MappedPages.private(file.fd, 0, PAGE_BYTES, backing, PAGE_BYTES).close()

    children.run(work, uid=65534 if os.geteuid() == 0 else None)
