"""Mapping: a buffer that nobody can pull away, and that is unmapped before it is given back."""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest

import hugefs
from hugefs import BusError, ClosedError, InvalidRequest, NoHugePages, NotSupported, ViewsStillOpen
from hugefs.client.connection import Connection
from tests.client.children import in_child

PAGE = 2 << 20


def mapped_here(pages):
    """Whether the kernel still has a mapping at its address."""
    return (
        re.search(f"^{pages.address:08x}-", Path("/proc/self/maps").read_text(encoding="ascii"), re.MULTILINE)
        is not None
    )


def test_it_is_a_buffer(m):
    """Slices, memoryview, frombuffer; what is written is in the file."""
    with m.open("f", "w+b", size="4M") as f, f.mmap() as pages:
        assert issubclass(type(pages), mmap.mmap)
        assert (len(pages), pages.size_bytes, pages.pages, pages.offset_bytes) == (2 * PAGE, 2 * PAGE, 2, 0)
        pages[:5] = b"hello"
        with memoryview(pages) as view:
            assert not view.readonly
            assert bytes(view[:5]) == b"hello"
        np.frombuffer(pages, "u1")[5] = 33
        assert f.pread(6, 0) == b"hello!"
        assert "4 MiB" in repr(pages)
        assert (pages.access, str(pages.backing), pages.name) == ("shared", "base", "f")


def test_a_mapping_for_reading_is_a_read_only_buffer(m):
    """The pages themselves cannot be written, not only the view of them."""
    with m.open("f", "w+b", size="2M") as f, f.mmap(access="read") as pages:
        assert memoryview(pages).readonly
        with pytest.raises(TypeError):
            pages[0] = 1
        assert not np.frombuffer(pages, "u1").flags.writeable
        assert pages.access == "read"


def test_part_of_a_file(m):
    """From the start of a page; the length is rounded up to whole pages."""
    with m.open("f", "w+b", size="8M") as f, f.mmap(PAGE, PAGE + 1) as pages:
        assert (pages.offset_bytes, pages.pages) == (PAGE, 2)
        pages[0] = 7
        assert f.pread(1, PAGE) == b"\7"


def test_a_private_mapping_is_a_copy_that_is_paid_for(m):
    """Its pages are charged at once, so that writing it cannot fail later."""
    with m.open("f", "w+b", size="8M") as f:
        f.write(b"hello")
        with f.mmap(access="private") as own:
            assert m.meminfo().pages_available == 8
            assert [holder.how for holder in m.holders()] == ["open", "private"]
            own[0] = 74
            assert own[:5] == b"Jello"
            assert f.pread(5, 0) == b"hello"
        assert m.meminfo().pages_available == 12
        with m.open("g", "w+b", size="20M"), pytest.raises(NoHugePages):
            f.mmap(access="private")


@pytest.mark.parametrize(
    "make", [memoryview, lambda pages: np.frombuffer(pages, "f4")[10:20], lambda pages: memoryview(pages)[5:]]
)
def test_it_cannot_be_closed_under_a_view(m, make):
    """A dangling view would be a crash at best. Nothing is changed by trying."""
    with m.open("f", "w+b", size="2M") as f:
        pages = f.mmap()
        view = make(pages)
        for _ in range(2):
            with pytest.raises(ViewsStillOpen):
                pages.close()
        assert not pages.closed
        assert [holder.how for holder in m.holders("f")] == ["mapped", "open"]
        assert bytes(view[:1]) is not None
        del view
        pages.close()
        assert pages.closed
        assert [holder.how for holder in m.holders("f")] == ["open"]


def test_leaving_a_with_block_with_live_views_says_so(m):
    """As close does: who keeps a view keeps the pages."""
    with m.open("f", "w+b", size="2M") as f:
        with pytest.raises(BufferError):
            with f.mmap() as pages:
                view = memoryview(pages)
        view[0] = 1
        view.release()
        pages.close()


def test_a_closed_mapping_is_closed(m):
    """A second close is no error; a use is an error that says so."""
    with m.open("f", "w+b", size="2M") as f:
        pages = f.mmap()
        assert mapped_here(pages)
        pages.close()
        pages.close()
        assert not mapped_here(pages)
        for use in (pages.pin, pages.populate, pages.resize, pages.__enter__, lambda: pages.connection):
            with pytest.raises(ClosedError):
                use()
        for use in (lambda: pages[0], lambda: memoryview(pages), pages.read):
            with pytest.raises(ValueError):
                use()
        assert "closed" in repr(pages)


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_it_is_unmapped_before_it_is_given_back(m, monkeypatch, how):
    """The other way round its pages could be another file's while this process still reaches them."""
    seen = []
    with m.open("f", "w+b", size="2M") as f:
        pages = f.mmap()
        address = pages.address
        queue = Connection.queue

        def look_and_queue(connection, *messages):
            seen.append((type(messages[0]).__name__, is_mapped(address)))
            queue(connection, *messages)

        monkeypatch.setattr(Connection, "queue", look_and_queue)
        if how == "closed":
            pages.close()
        else:
            del pages
    assert seen[0] == ("Unmap", False)


def is_mapped(address):
    """By address."""
    return f"{address:x}-" in Path("/proc/self/maps").read_text(encoding="ascii")


def test_a_forgotten_mapping_is_closed(m):
    """With its last view."""
    with m.open("f", "w+b", size="2M") as f:
        view = memoryview(f.mmap())
        assert len(m.holders()) == 2
        view.release()
        del view
        assert len(m.holders()) == 1


def test_what_makes_no_sense_for_memory_of_a_file_is_refused(m):
    """Size and place are in the books."""
    with m.open("f", "w+b", size="2M") as f, f.mmap() as pages:
        with pytest.raises(NotSupported):
            pages.resize(PAGE * 2)
        with pytest.raises(NotSupported):
            pages.move(0, 1, 1)
        with pytest.raises(TypeError, match="pickle the file"):
            pickle.dumps(pages)
        for first, count in ((0, 2), (1, None), (-1, 1), (0, 0), (0, -1), (True, 1), (0.0, 1), ("0", 1)):
            with pytest.raises(InvalidRequest):
                pages.pin(first, count)
            with pytest.raises(InvalidRequest):
                pages.populate(first, count)


def test_a_pin_outlives_its_mapping_and_its_file(m):
    """The I/O that uses the pages knows nothing of either."""
    with m.open("f", "w+b", size="6M") as f:
        pages = f.mmap()
        with pages.pin(1, 2) as pin:
            assert sorted(holder.how for holder in m.holders()) == ["mapped", "open", "pinned"]
            pages.close()
            f.close()
            m.unlink("f")
            (holder,) = m.holders()
            assert (holder.pages, holder.how) == (2, "pinned")
            assert m.meminfo().pages_free == 14
        assert pin.released
        assert m.meminfo().pages_free == 16


def test_a_pin_that_was_forgotten_is_released(m):
    """And a second release is no error."""
    with m.open("f", "w+b", size="2M") as f, f.mmap() as pages:
        pin = pages.pin()
        assert "held" in repr(pin)
        pin.release()
        pin.release()
        pages.pin()
        gc.collect()
        assert "pinned" not in [holder.how for holder in m.holders()]


def test_a_forked_child_has_no_part_in_a_pin(m):
    """It has none to release: neither its own nor its parent's."""
    with m.open("f", "w+b", size="2M") as f, f.mmap() as pages, pages.pin() as pin:

        def child():
            assert pin.released
            pin.release()
            with pages.pin():
                assert [holder.how for holder in m.holders()].count("pinned") == 2

        in_child(child)
        deadline = time.monotonic() + 5
        while len(m.holders()) > 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [holder.how for holder in m.holders()].count("pinned") == 1


def test_populate_takes_the_pages_of_a_hole(m):
    """A file may be longer than its pages, and mapping it promises the rest: then they are taken."""
    with m.open("f", "w+b") as f:
        f.truncate(4 * PAGE)
        with f.mmap() as pages:
            assert m.meminfo().pages_available == 12
            assert m.meminfo().pages_free + m.meminfo().pages_reserved >= 12
            pages.populate(1, 2)
            pages.populate()
            assert m.meminfo().pages_free == 12
            assert m.meminfo().pages_reserved == 0
            f.truncate(2 * PAGE)
            with pytest.raises(BusError):
                pages.populate()


def test_a_mapping_keeps_the_server(m):
    """Mount and file are closed: what is mapped is still in the books of a server that still serves."""
    mount = hugefs.mount("4M", huge="off")
    f = mount.open("f", "w+b", size="2M")
    pages = f.mmap()
    f.close()
    mount.close()
    del f
    with pages.pin():
        pages[0] = 1
    other = hugefs.connect(mount.address)
    assert [holder.how for holder in other.holders("f")] == ["mapped"]
    other.close()
    pages.close()
    del pages, other
    gc.collect()
    deadline = time.monotonic() + 5
    while True:
        try:
            hugefs.connect(mount.address).close()
        except hugefs.ServerGone:
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_mapping_works_in_a_forked_child(m):
    """Closed there, it is closed there only."""
    with m.open("f", "w+b", size="2M") as f, f.mmap() as pages:

        def child():
            pages[0] = 9
            pages.close()
            holders = m.holders()
            assert [(holder.pid == os.getpid(), holder.how) for holder in holders].count((True, "mapped")) == 0
            assert [(holder.pid == os.getpid(), holder.how) for holder in holders].count((False, "mapped")) == 1

        in_child(child)
        assert pages[0] == 9
