"""Every verb with every option becomes the step it says, and the kernel's own notation is kept where it matters."""

from __future__ import annotations

import pytest

from hugefs.scenario import steps
from hugefs.scenario.grammar import VERBS, parse_step
from hugefs.scenario.sizes import PAGE_BYTES
from hugefs.scenario.steps import FilePath, Place, Span

P = PAGE_BYTES
DATA = FilePath("m", "d/data")

STEPS = {
    "pool 3": steps.Pool(3),
    "overcommit 0": steps.Overcommit(0),
    "mount m": steps.Mount("m", ""),
    "mount m size=4p min_size=2M nr_inodes=5 mode=1700 uid=3 gid=4": steps.Mount(
        "m", f"size={4 * P},min_size={P},nr_inodes=5,mode=1700,uid=3,gid=4"
    ),
    "mount m size=50% min_size=10%": steps.Mount("m", "size=50%,min_size=10%"),
    "mount m size=-1p": steps.Mount("m", f"size=-{P}"),
    "mount m options size=1,what is=this": steps.Mount("m", "size=1,what is=this"),
    "remount m size=4p": steps.Remount("m", f"size={4 * P}"),
    "remount m options size=x": steps.Remount("m", "size=x"),
    "umount m": steps.Umount("m"),
    "umount m lazy": steps.Umount("m", lazy=True),
    "cgroup g": steps.Cgroup("g"),
    "cgroup g/h max=3 rsvd_max=0": steps.Cgroup("g/h", 3, 0),
    "rmcgroup g/h": steps.RemoveCgroup("g/h"),
    "unpin io": steps.Unpin("io"),
    "unpin io irq": steps.Unpin("io", irq=True),
    "P enter g/h": steps.Enter("P", "g/h"),
    "P open f m/d/data": steps.Open("P", "f", DATA),
    "P open f m/d/data existing ro": steps.Open("P", "f", DATA, create=False, readonly=True),
    "P open f m/d/data trunc unlinked": steps.Open("P", "f", DATA, unlinked=True, truncate=True),
    "P memfd t": steps.Memfd("P", "t"),
    "P memfd t seal": steps.Memfd("P", "t", sealable=True),
    "P seal t grow": steps.Seal("P", "t", "grow"),
    "P close f": steps.Close("P", "f"),
    "P unlink m/d/data": steps.Unlink("P", DATA),
    "P rename m/d/data n/x": steps.Rename("P", DATA, FilePath("n", "x")),
    "P link m/d/data m/x": steps.Link("P", DATA, FilePath("m", "x")),
    "P mkdir m/x": steps.Mkdir("P", FilePath("m", "x")),
    "P truncate f 2p-1b": steps.Truncate("P", "f", 2 * P - 1),
    "P truncate f -1p": steps.Truncate("P", "f", -P),
    "P fallocate f 0 3": steps.Fallocate("P", "f", 0, 3 * P),
    "P fallocate f 0 3 insert_range": steps.Fallocate("P", "f", 0, 3 * P, "insert_range"),
    "P punch f 1 64K": steps.Punch("P", "f", P, 65536),
    "P fadvise willneed f 0 1p": steps.Fadvise("P", "f", 0, P),
    "P readahead f 0 1p": steps.Readahead("P", "f", 0, P),
    "P pread f 1p 4b": steps.Pread("P", "f", P, 4),
    "P pwrite f 0 3b": steps.Pwrite("P", "f", 0, 3),
    "P stat f": steps.Stat("P", "f", None),
    "P stat m/d/data": steps.Stat("P", None, DATA),
    "P mmap a f 4K 3 shared": steps.Mmap("P", "a", "file", "f", 4096, 3 * P, shared=True),
    "P mmap a f 0 3 private noreserve populate locked ro": steps.Mmap(
        "P", "a", "file", "f", 0, 3 * P, shared=False, noreserve=True, populate=True, locked=True, protection="ro"
    ),
    "P mmap a f 0 1 shared none at b 4K": steps.Mmap(
        "P", "a", "file", "f", 0, P, shared=True, protection="none", place=Place("b", 4096)
    ),
    "P mmap a anon 1 private at hole": steps.Mmap("P", "a", "anon", None, 0, P, shared=False, place=Place(None)),
    "P mmap a anon 1 private near hole+4K populate": steps.Mmap(
        "P", "a", "anon", None, 0, P, shared=False, populate=True, place=Place(None, 4096, hint=True)
    ),
    "P mmap a ordinary 1p+1b shared": steps.Mmap("P", "a", "ordinary", None, 0, P + 1, shared=True),
    "P munmap a": steps.Munmap("P", "a"),
    "P munmap a 1 2": steps.Munmap("P", "a", Span(P, 2 * P)),
    "P munmap a start=0 len=512K": steps.Munmap("P", "a", Span(0, 512 << 10)),
    "P munmap a len=1 start=-4K": steps.Munmap("P", "a", Span(-4096, P)),
    "P write a": steps.Write("P", "a"),
    "P read a 0 1": steps.Read("P", "a", Span(0, P)),
    "P store a 2 255": steps.Store("P", "a", 2, 255),
    "P load a 0": steps.Load("P", "a", 0),
    "P madvise soft_offline a 0 1": steps.Madvise("P", "a", Span(0, P), "soft_offline"),
    "P madvise dontneed a start=1p len=4K": steps.Madvise("P", "a", Span(P, 4096), "dontneed"),
    "P mprotect a 0 1 none": steps.Mprotect("P", "a", Span(0, P), "none"),
    "P mlock a": steps.Mlock("P", "a"),
    "P munlock a": steps.Munlock("P", "a"),
    "P mremap a 2 1 as b": steps.Mremap("P", "a", 2 * P, P, "b"),
    "P mremap a 2 2 maymove dontunmap to hole as b": steps.Mremap(
        "P", "a", 2 * P, 2 * P, "b", maymove=True, dontunmap=True, place=Place(None)
    ),
    "P mremap a 2 2 maymove to misaligned as b": steps.Mremap(
        "P", "a", 2 * P, 2 * P, "b", maymove=True, place=Place(None, 4096)
    ),
    "P mremap a 2 2 maymove to c 1 as b": steps.Mremap("P", "a", 2 * P, 2 * P, "b", maymove=True, place=Place("c", P)),
    "P fork C1": steps.Fork("P", "C1"),
    "P exit": steps.Exit("P"),
    "IO kill": steps.Kill("IO"),
    "P pin a 0 2 as io": steps.Pin("P", "a", Span(0, 2 * P), "io"),
    "P dio a start=1b len=4K": steps.Dio("P", "a", Span(1, 4096)),
    "P shmget s 3b noreserve": steps.Shmget("P", "s", 3, noreserve=True),
    "P shmat a s ro": steps.Shmat("P", "a", "s", readonly=True),
    "P shmdt a": steps.Shmdt("P", "a"),
    "P shmrm s": steps.Shmrm("P", "s"),
}


@pytest.mark.parametrize("text", STEPS)
def test_a_line_is_the_step_it_says(text):
    """The table of the language, line for line."""
    assert parse_step(text) == STEPS[text]


def test_the_table_of_this_test_has_every_verb():
    """A verb without a line here could mean anything."""
    own = {"expect", "note"}
    assert {step.verb for step in STEPS.values()} | own == set(VERBS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("P reed a", "did you mean read"),
        ("muont m", "did you mean mount"),
        ("P", "P does nothing"),
        ("write a", "write is a task's step"),
        ("P pool 3", "pool is no task's step"),
        ("P! exit", "no name of a task"),
        ("P exit now", "'now' is too much here; write: T exit"),
        ("P open f", "M/PATH is missing"),
        ("P open f data", "no file on a mount"),
        ("P unlink m/d/../../x", "leaves the mount"),
        ("P open f m/x ro ro", "ro stands twice"),
        ("P open f m/x rw", "'rw' is none of existing, ro, unlinked, trunc"),
        ("P open 1f m/x", "no name"),
        ("pool -1", "no number of pages"),
        ("pool many", "is no size"),
        ("pool 99999999999999999999", "more than a file can have"),
        ("mount m size=", "is no size"),
        ("mount m size=1p size=2p", "size= stands twice"),
        ("mount m colour=red", "no option of a mount"),
        ("umount m now", "too much"),
        ("cgroup /g", "no name of a group"),
        ("cgroup g min=3", "write: cgroup G"),
        ("cgroup g max=3 max=4", "each limit once"),
        ("P seal t all", "'all' is none of shrink, grow, write"),
        ("P truncate f 1x", "SIZE: '1x' is no size"),
        ("P fallocate f 0 1 hole", "none of"),
        ("P fadvise dontneed f 0 1", "'dontneed' is none of willneed"),
        ("P mmap a f 0 3", "sharing is missing"),
        ("P mmap a f 0 3 both", "'both' is none of shared, private"),
        ("P mmap a f 0 3 shared ro none", "contradict"),
        ("P mmap a f 0 3 shared ro ro", "ro stands twice"),
        ("P mmap a f 0 3 shared at hole near hole", "at or near stands twice"),
        ("P mmap a f 0 3 shared near b 0", "a hint is a free place"),
        ("P mmap a f 0 3 shared at hole+x", "is no size"),
        ("P mmap a ? 0 3 shared", "no handle"),
        ("P mmap hole f 0 3 shared", "no name"),
        ("P munmap a 1", "COUNT is missing"),
        ("P munmap a start=0", "start=SIZE len=SIZE is missing"),
        ("P munmap a start=0 start=1", "write start=SIZE and len=SIZE"),
        ("P write a 0 1b", "no number of pages"),
        ("P store a 0 256", "no number from 0 to 255"),
        ("P madvise nothing a", "'nothing' is none of dontneed"),
        ("P mprotect a 0 1 rx", "'rx' is none of rw, ro, none"),
        ("P mremap a 2 2", "as is missing"),
        ("P mremap a 2 2 to nowhere! 0 as b", "write to hole, or to B FIRST"),
        ("P fork c", "starts with a capital letter"),
        ("P pin a 0 1", "as is missing"),
        ("P shmat a s rw", "too much"),
        ("expect", "COUNTERS is missing"),
    ],
)
def test_a_step_that_is_none_says_what_would_be_one(text, complaint):
    """Whoever made the slip reads the line and mends it, without the manual."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_step(text)
    assert complaint in str(caught.value)
