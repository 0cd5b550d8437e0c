"""What could harm a kernel is refused before it runs; what only looks like it is not.

Why: each of these leaves the kernel's counters wrong until reboot, or crashes it, on the machine of whoever tries it.
"""

from __future__ import annotations

import pytest

from hugefs.scenario.dangerous import why_dangerous
from hugefs.scenario.parser import parse_text

PART = "a part of a private mapping moves"
BOTH = "on a mount with size= and min_size="
MINIMUM = "more pages may be pinned than the min_size="
PRIVATE = "a private page is pinned while its limited mount goes"

HARMFUL = {
    "the first half moves": ("P mmap a anon 2 private\nP mremap a 1 1 to hole as b", PART),
    "a file's private half moves": (
        "mount m\nP open f m/f\nP mmap a f 0 2 private\nP mremap a 1 1 to hole as b",
        PART,
    ),
    "one piece of two": ("P mmap a anon 2 private\nP mprotect a 0 1 ro\nP mremap a 2 2 to hole as b", PART),
    "what a partial munmap left": (
        "P mmap a anon 4 private\nP munmap a 2 2\nP mremap a 2 2 to hole as b",
        PART,
    ),
    "what dontfork has cut": (
        "P mmap a anon 2 private\nP madvise dontfork a 1 1\nP mremap a 2 2 to hole as b",
        PART,
    ),
    "what a shrink has cut": (
        "P mmap a anon 2 private\nP mremap a 2 1 as b\nP mremap b 1 1 to hole as c",
        PART,
    ),
    "a child's": ("P mmap a anon 2 private\nP mprotect a 0 1 ro\nP fork C\nC mremap a 2 2 to hole as b", PART),
    "through another name": (
        "P mmap a ordinary 2 private\nP mmap b anon 2 private at a 0\nP mremap a 1 1 to hole as c",
        PART,
    ),
    "where another one was put over it": (
        "P mmap a anon 2 private\nP mmap b anon 1 shared at a 1\nP mremap a 2 2 to hole as c",
        PART,
    ),
    "where another one was moved over it": (
        "P mmap a anon 2 private\nP mmap b anon 1 shared\nP mremap b 1 1 to a 1 as c\nP mremap a 2 2 to hole as d",
        PART,
    ),
    "where a fixed mapping failed": (
        "P mmap a anon 2 private\nP mmap b anon 1 shared at a 1 -> ENOMEM\nP mremap a 2 2 to hole as c",
        PART,
    ),
    "a promise that the pool refuses": (
        "mount m size=6p min_size=1p -> ok\nP open f m/f\nP mmap a f 0 5 shared -> ENOMEM | 4/4/1/0 m=6/6/6",
        BOTH,
    ),
    "a promise that the pool may refuse": ("mount m size=6p min_size=1p\nP open f m/f\nP mmap a f 0 5 shared", BOTH),
    "a page that the pool may refuse": (
        "mount m size=6p min_size=1p\nP mmap z anon 4 private\nP open f m/f\nP fallocate f 0 1p",
        BOTH,
    ),
    "a touch that fails": (
        "mount m size=6p min_size=1p\nP open f m/f\nP mmap a f 0 2 shared noreserve -> ok\nP write a -> SIGBUS",
        BOTH,
    ),
    "a refusal by a group": (
        "cgroup g max=1\nmount m size=6p min_size=1p\nP open f m/f -> ok | 4/4/1/0\nP mmap a f 0 1 shared -> ENOMEM",
        BOTH,
    ),
    "more pins than the minimum": (
        "mount m min_size=1p\nP open f m/f\nP mmap a f 0 2 shared\nP pin a 0 2 as io\nP exit\numount m",
        MINIMUM,
    ),
    "a pin beyond the minimum": (
        "mount m min_size=1p\nP open f m/f\nP mmap a f 0 2 shared\nP pin a 1 1 as io\nP exit\numount m",
        MINIMUM,
    ),
    "a pin after a lazy umount": (
        "mount m min_size=1p\nP open f m/f\nP mmap a f 0 2 shared\numount m lazy\nP pin a 0 1 as io",
        MINIMUM,
    ),
    "a pinned private page": (
        "mount m size=2p\nP open f m/f\nP mmap a f 0 1 private\nP write a\nP pin a 0 1 as io\nP exit\numount m",
        PRIVATE,
    ),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_what_harms_is_refused_with_its_reason(what):
    """The last line is the harmful one."""
    text, reason = HARMFUL[what]
    found = why_dangerous(parse_text(f"pool 4\n{text}\n"))
    assert found is not None
    assert reason in found
    assert found.startswith(f"line {text.count(chr(10)) + 2} ")


HARMLESS = {
    "the whole moves": "P mmap a anon 2 private\nP mremap a 2 2 to hole as b\nP mremap b 2 1 to hole as c",
    "a shared half moves": "P mmap a anon 2 shared\nP mremap a 1 1 to hole as b",
    "ordinary memory": "P mmap a ordinary 2 private\nP mremap a 1 1 to hole as b",
    "nothing moves": "P mmap a anon 2 private\nP mremap a 1 1 maymove as b",
    "it is gone": "P mmap a anon 2 private\nP mprotect a 0 1 ro\nP munmap a -> ok\nP mremap a 2 2 to hole as b",
    "it was replaced as a whole": (
        "P mmap a anon 2 private\nP mprotect a 0 1 ro\nP mmap b anon 2 private at a 0 -> ok\n"
        "P mremap a 2 2 to hole as c"
    ),
    "the child's own is whole": "P mmap a anon 2 private\nP fork C\nP mprotect a 0 1 ro\nC mremap a 2 2 to hole as b",
    "advice that cuts nothing": "P mmap a anon 2 private\nP madvise dontneed a 0 1\nP mremap a 2 2 to hole as b",
    "the quota itself refuses": (
        "mount m size=2p min_size=1p -> ok\nP open f m/f -> ok | 4/4/1/0\nP mmap a f 0 3 shared -> ENOMEM | 4/4/1/0"
    ),
    "there is enough": "mount m size=2p min_size=1p\nP open f m/f\nP mmap a f 0 2 shared\nP write a",
    "a size alone": "mount m size=2p\nP open f m/f\nP mmap a f 0 9 shared -> ENOMEM",
    "pins within the minimum": (
        "mount m min_size=3p\nP open f m/f\nP mmap a f 0 2 shared\nP pin a 0 2 as io\nP exit\numount m"
    ),
    "unpinned before": (
        "mount m min_size=1p\nP open f m/f\nP mmap a f 0 2 private\nP pin a 0 2 as io\nunpin io\nP exit\numount m"
    ),
    "a refused umount": (
        "mount m min_size=1p\nP open f m/f\nP mmap a f 0 2 private\nP pin a 0 2 as io\numount m -> EBUSY"
    ),
    "no limits": "mount m\nP open f m/f\nP mmap a f 0 1 private\nP pin a 0 1 as io\nP exit\numount m",
    "a mount that is refused": "mount m options size=1,colour=red -> EINVAL",
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_only_looks_harmful_runs(what):
    """What is refused without need is a scenario that nobody can check."""
    assert why_dangerous(parse_text(f"pool 4\n{HARMLESS[what]}\n")) is None
