"""What a real kernel (Linux 6.18) did, step by step, is what the core does: outcome and counters of every line.

The four batteries of libhugetlbfs' ``counters`` test are among them: every map, touch, unmap and pool change, over a
pool of none, one, two and three pages.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.replay import Replayer, replay, size_of

RECORDINGS = Path(__file__).parent / "recordings"
KERNELS_MISTAKES = RECORDINGS / "kernels_mistakes"

HELD_ELSEWHERE = (
    "Linux takes the promise of a private page back while a fork or an I/O still holds the page: Rsvd wraps below zero"
    " and the quota shows room that is not there. Here a promise goes, or comes, with its page."
)
OVER_HELD = (
    "A mount with a minimum and no size does not count what it uses: Linux refills the minimum while pages still occupy"
    " it, and too much is reserved. Here the pool holds max(0, minimum - used)."
)
PROMISE_WITHOUT_PAGE = (
    "Linux gives a surplus page up although the promise that came back needs it, and reserves more than is free. Here"
    " a surplus page stays while a promise needs it."
)

DIFFERENT = {
    "PIN-03-anon-munmap": ([7, 8], HELD_ELSEWHERE),
    "PIN-19-read-pin": ([11, 12, 13], HELD_ELSEWHERE),
    "PIN-28-minsize-over": ([12], OVER_HELD),
    "PIN-29-private-quota": ([9, 10, 11, 12], HELD_ELSEWHERE),
    "X-minsize": ([12, 13, 14], OVER_HELD),
    "X-minsize-overcommit": ([10], PROMISE_WITHOUT_PAGE),
    "X-quirk-dontneed-after-fork": ([8, 9, 10], HELD_ELSEWHERE),
    "X-quirk-owner-exits": ([8], HELD_ELSEWHERE),
    "X-quirk-quota": ([9], HELD_ELSEWHERE),
}
"""Recording → the lines that differ, and which mistake of the kernel's it is."""


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.scenario")), ids=lambda path: path.stem)
def test_the_core_does_what_the_kernel_did(path: Path):
    """A recording is evidence: where the core differs, the core is wrong (or the difference is listed below)."""
    differences = replay(path)
    assert not differences, "\n".join(map(str, differences))


@pytest.mark.parametrize("path", sorted(KERNELS_MISTAKES.glob("*.scenario")), ids=lambda path: path.stem)
def test_it_differs_only_where_the_kernel_is_wrong(path: Path):
    """Each deliberate difference is pinned to its lines: all other lines of these recordings hold exactly."""
    lines, reason = DIFFERENT[path.stem]
    assert [difference.line for difference in replay(path)] == lines, reason


def test_every_listed_difference_has_its_recording():
    """A difference that nothing shows any more is removed from the list."""
    assert DIFFERENT.keys() == {path.stem for path in KERNELS_MISTAKES.glob("*.scenario")}


def test_the_replayer_sees_a_wrong_counter_and_a_wrong_outcome():
    """A replayer that finds nothing would pass everything."""
    text = "pool 2 -> ok | 2/2/0/0\nmount m size=1p -> ok | 2/2/0/0 m=1/1/1\nP open f m/f -> ok\n"
    assert Replayer().replay(text + "P mmap a f 0 2 shared -> ENOMEM | 2/2/0/0 m=1/1/1") == []
    wrong = ["ok | 2/2/0/0 m=1/1/1", "ENOMEM | 2/2/1/0 m=1/1/1", "ENOMEM | 2/2/0/0 m=1/0/0", "ENOMEM | 2/2/0/0 n=1/1/1"]
    for line in wrong:
        assert len(Replayer().replay(f"{text}P mmap a f 0 2 shared -> {line}")) == 1, line


def test_sizes_are_read_as_recordings_write_them():
    """Pages unless a unit is given; terms add and subtract."""
    page = 2 << 20
    assert [size_of(text) for text in ("3", "2p", "2p-1b", "64K", "1p+4K", "-1p")] == [
        3 * page, 2 * page, 2 * page - 1, 65536, page + 4096, -page,
    ]  # fmt: skip
