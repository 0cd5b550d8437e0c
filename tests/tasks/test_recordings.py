"""Recordings of Linux 6.18.44, line for line: with that kernel's mistakes, and without them.

Why: the simulation is worth something only if a kernel answers and counts the same. Where the right behaviour differs,
the differing lines are written down here, so that nothing else can differ unnoticed.
"""

from __future__ import annotations

import pytest

from tests.tasks.helpers import RECORDINGS, play

LINES_LINUX_HAS_WRONG = {
    "PIN-03-anon-munmap": [7, 8],
    "PIN-19-read-pin": [11, 12, 13],
    "PIN-28-minsize-over": [12],
    "PIN-29-private-quota": [9, 10, 11, 12],
    "X-minsize": [12, 13, 14],
    "X-minsize-overcommit": [10],
    "X-quirk-dontneed-after-fork": [8, 9, 10],
    "X-quirk-owner-exits": [8],
    "X-quirk-quota": [9],
    "a-failed-fault-keeps-its-quota": [6, 7, 8, 9, 10, 11],
    "a-partial-move-strips-the-rest": [6, 7, 8],
}


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_with_its_mistakes_the_simulation_is_that_kernel(name):
    """Outcome and counters of every line."""
    assert play(name, "linux-6.18") == []


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_without_them_only_the_wrong_lines_differ(name):
    """Every invariant is checked after every step, and nothing is left at the end."""
    assert play(name, "ideal") == LINES_LINUX_HAS_WRONG.get(name, [])


def test_there_are_recordings():
    """An empty folder would pass everything above."""
    assert len(RECORDINGS) > 80
    assert set(LINES_LINUX_HAS_WRONG) <= set(RECORDINGS)
