"""Which files a server can run: steps marked s alone, on one mount as big as its pool; else the reason is said."""

from __future__ import annotations

import pytest

from hugefs.scenario.on_server import why_not_on_private_server, why_not_on_server
from hugefs.scenario.parser import parse_text

REFUSED = {
    "cgroup": "cgroup g",
    "memfd": "P memfd f",
    "mmap anon": "P mmap a anon 1 shared",
    "mmap noreserve": "P open f m/f\nP mmap a f 0 1 shared noreserve",
    "mmap locked": "P open f m/f\nP mmap a f 0 1 shared locked",
    "mmap none": "P open f m/f\nP mmap a f 0 1 shared none",
    "mmap at a chosen place": "P open f m/f\nP mmap a f 0 1 shared at hole",
    "fallocate punch_hole": "P open f m/f\nP fallocate f 0 1p punch_hole",
    "stat": "P open f m/f\nP stat f",
    "unpin irq": "P open f m/f\nP mmap a f 0 1 shared\nP pin a 0 1 as io\nunpin io irq",
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_step_that_is_not_marked_is_named(what):
    """The line and the verb say why a file counts as `cannot run`."""
    found = why_not_on_server(parse_text(f"pool 4\nmount m size=4p\n{REFUSED[what]}\n"))
    assert found is not None
    assert f": {what}: a server has no such step" in found


NEEDS = {
    "no mount in it": "pool 4\nP exit",
    "a mount with a size": "pool 4\nmount m",
    "these are 4 and 3 pages": "pool 4\nmount m size=3p",
    "these are 0 and 0 pages": "pool 0\nmount m size=0",
    "for good": "pool 4\nmount m size=4p\npool 5",
    "no overcommit": "overcommit 1\npool 4\nmount m size=4p",
    "one mount, once": "pool 4\nmount m size=4p\nmount n size=4p",
    "no remount": "pool 4\nmount m size=4p\nremount m size=4p",
    "mode and owner": "pool 4\nmount m size=4p mode=777",
    "no options to be refused": "pool 4\nmount m options size=4x,colour",
    "no munmap of a part": "pool 4\nmount m size=4p\nP open f m/f\nP mmap a f 0 2 shared\nP munmap a 0 1",
    "for writing only": "pool 4\nmount m size=4p\nP open f m/f\nP mmap a f 0 2 private ro",
    "outlives the client": ("pool 4\nmount m size=4p\nP open f m/f\nP mmap a f 0 2 shared\nP pin a 0 1 as io\nP exit"),
}


@pytest.mark.parametrize("what", NEEDS)
def test_what_a_private_server_has_not_is_said(what):
    """Whoever reads it knows what another server would need."""
    found = why_not_on_private_server(parse_text(NEEDS[what] + "\n"))
    assert found is not None
    assert what in found


def test_a_file_of_marked_steps_can_run():
    """Sizes may be a percentage, pages may come and go, an I/O may end before its client."""
    text = (
        "pool 4\novercommit 0\nmount m size=100% min_size=1p nr_inodes=9\nP open f m/f ro\nP mmap a f 0 2 shared ro\n"
        "P munmap a 0 2\nQ open g m/f\nQ mmap b g 0 1 private\nQ pin b 0 1 as io\nunpin io\nQ exit\nexpect 4/4/0/0\n"
    )
    assert why_not_on_private_server(parse_text(text)) is None
