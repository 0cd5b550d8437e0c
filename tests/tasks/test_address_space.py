"""Address spaces against a naive twin: one entry a page, no ranges, no Vmas.

Why: cutting, moving and overlaying is where a page is unmapped twice, or a neighbour loses his.
"""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from hugefs.errors import HugefsError
from hugefs.tasks import mmap, mremap, protection
from hugefs.tasks.machine import Machine
from hugefs.tasks.vma import PAGE_BYTES, HugeVma, OrdinaryVma
from tests.tasks.helpers import holds

ROOM = 12

PAGE = st.integers(0, ROOM - 1)
LENGTH = st.integers(1, 5)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("huge"), PAGE, LENGTH, st.booleans()),
        st.tuples(st.just("ordinary"), PAGE, LENGTH),
        st.tuples(st.just("unmap"), PAGE, LENGTH),
        st.tuples(st.just("protect"), PAGE, LENGTH, st.sampled_from(["rw", "ro", "none"])),
        st.tuples(st.just("move"), PAGE, LENGTH, PAGE),
    ),
    max_size=20,
)


class Twin:
    """The same address space: for each page, what is there. The identity of a mapping is a number."""

    def __init__(self) -> None:
        self.pages: dict[int, tuple[str, int, int, str]] = {}  # kind, file, page of the file, protection
        self.files = 0

    def put(self, kind: str, page: int, length: int) -> None:
        self.files += 1
        for i in range(length):
            self.pages[page + i] = (kind, self.files, i, "rw")

    def unmap(self, page: int, length: int) -> None:
        for i in range(length):
            self.pages.pop(page + i, None)

    def protect(self, page: int, length: int, wanted: str) -> None:
        for i in range(page, page + length):
            if i not in self.pages:
                return  # the kernel stops at a hole, and has done the rest
            self.pages[i] = (*self.pages[i][:3], wanted)

    def move(self, page: int, length: int, to: int) -> None:
        moved = [self.pages.get(page + i) for i in range(length)]
        self.unmap(page, length)
        for i, there in enumerate(moved):
            if there is not None:  # mapping after mapping: what lies between them does not unmap anything there
                self.pages[to + i] = there


def seen(task, base, files):
    """What the real address space has, in the twin's words."""
    shown = {}
    for page in range(ROOM * 2):
        vma = task.space.find(base + page * PAGE_BYTES)
        if isinstance(vma, HugeVma):
            inode = vma.mapping.inode
            shown[page] = ("huge", files[inode], vma.index(base + page * PAGE_BYTES), vma.protection)
        elif isinstance(vma, OrdinaryVma):
            place = vma.place(base + page * PAGE_BYTES) // PAGE_BYTES
            shown[page] = ("ordinary", files[id(vma.contents)], place, vma.protection)
    return shown


def movable(twin, page, length, to):
    """mremap with a fixed address begins where something is, and its places do not overlap."""
    return page in twin.pages and (to + length <= page or page + length <= to)


@settings(max_examples=200, deadline=None)
@given(EVENTS)
def test_it_is_one_entry_a_page(events):
    """Every page of the room, after every event."""
    machine, twin, files, kept = Machine(), Twin(), {}, []
    machine.fs.pool.resize(60)
    task = machine.task("P")
    mmap.map_ordinary(task, "room", ROOM * 2 * PAGE_BYTES, mmap.How(False))
    base = task.ranges["room"][0]
    mmap.unmap(task, base, ROOM * 2 * PAGE_BYTES)
    for number, (what, page, length, *rest) in enumerate(events):
        place = mmap.Place("room", page * PAGE_BYTES)
        address = base + page * PAGE_BYTES
        if what in ("huge", "ordinary"):
            twin.put(what, page, length)
            how = mmap.How(bool(rest) and rest[0])
            make = mmap.map_anonymous if what == "huge" else mmap.map_ordinary
            make(task, f"a{number}", length * PAGE_BYTES, how, place)
            vma = task.space.find(address)
            assert isinstance(vma, HugeVma | OrdinaryVma)
            kept.append(vma)  # so that an id is not given twice
            files[vma.mapping.inode if isinstance(vma, HugeVma) else id(vma.contents)] = twin.files
        elif what == "unmap":
            twin.unmap(page, length)
            mmap.unmap(task, address, length * PAGE_BYTES)
        elif what == "protect":
            twin.protect(page, length, rest[0])
            with suppress(HugefsError):
                protection.protect(task, address, length * PAGE_BYTES, rest[0])
        elif movable(twin, page, length, rest[0]):
            twin.move(page, length, rest[0])
            size = length * PAGE_BYTES
            mremap.remap(task, mremap.Move(address, size, size, True, False, base + rest[0] * PAGE_BYTES))
        assert seen(task, base, files) == twin.pages
        machine.verify()
    task.exit()
    machine.verify()
    assert machine.pool_counters() == (60, 60, 0, 0)


def test_a_huge_page_is_never_cut():
    """A boundary within one is EINVAL, and nothing changed; between base pages of ordinary memory it is fine."""
    holds("""
        pool 2                        -> ok     | 2/2/0/0
        P mmap a anon 2 private       -> ok     | 2/2/2/0
        P munmap a start=0 len=4K     -> EINVAL | 2/2/2/0
        P munmap a start=1p len=1p-4K -> EINVAL | 2/2/2/0
        P munmap a start=4K len=2p-4K -> EINVAL | 2/2/2/0
        P mmap o ordinary 1 private at a 4K -> EINVAL | 2/2/2/0
        P munmap a start=1p len=1b    -> EINVAL | 2/2/2/0
        P munmap a start=1b len=1p    -> EINVAL | 2/2/2/0
        P munmap a start=0 len=0      -> EINVAL | 2/2/2/0
        P munmap a start=1p len=1p    -> ok     | 2/2/1/0
        P munmap a                    -> ok     | 2/2/0/0
        P munmap a                    -> ok     | 2/2/0/0
        P mmap q ordinary 2 private   -> ok     | 2/2/0/0
        P munmap q start=4K len=4K    -> ok     | 2/2/0/0
        P read q                      -> ENOMEM | 2/2/0/0
    """)


def test_a_name_stands_for_its_range_for_good():
    """What is put over a part of a mapping is reached by that mapping's indexes, also in a child."""
    holds("""
        pool 4                          -> ok     | 4/4/0/0
        P mmap a anon 3 private         -> ok     | 4/4/3/0
        P mmap o ordinary 1 private at a 1 -> ok  | 4/4/2/0
        P store o 0 7                   -> ok     | 4/4/2/0
        P load a 1                      -> 7      | 4/4/2/0
        P fork C                        -> ok     | 4/4/2/0
        P store o 0 9                   -> ok     | 4/4/2/0
        C load a 1                      -> 7      | 4/4/2/0
        P munmap a 0 1                  -> ok     | 4/4/1/0
        P write a                       -> ENOMEM | 4/4/1/0
        P write a 2 1                   -> ok     | 4/3/0/0
        P munmap a                      -> ok     | 4/4/0/0
    """)
