"""The whole file system against its naive twin: random walks from seeds, and Hypothesis looking for the short story.

Two ways on purpose. The walks are long and cheap and the same on every machine; Hypothesis is slower, and where it
finds something it finds the shortest sequence. Both print the calls that lead to the difference.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.core.helpers import PAGE
from tests.models.pair import NAMES, PAGES_OF_FILE, Pair
from tests.models.walk import walk


@pytest.mark.parametrize("first_seed", range(0, 120, 20))
def test_random_walks(first_seed):
    """Twenty seeds of 200 calls each; every counter, every page and every effect compared after every call."""
    for seed in range(first_seed, first_seed + 20):
        walk(seed, 200)


def test_a_difference_prints_how_to_get_there():
    """A failure that cannot be replayed is a rumour."""
    pair = Pair(4, 0)
    pair.mount(3, None, None)
    pair.open(0, "a")
    pair.twin.persistent = 3
    with pytest.raises(AssertionError) as caught:
        pair.fallocate(0, 0, 2, keep_size=False)
    said = str(caught.value)
    for part in ("counters (4, 2, 0, 0), the twin says (3, 1, 0, 0)", "to reproduce", "pair = Pair(4, 0)"):
        assert part in said
    for call in ("pair.mount(3, None, None)", "pair.open(0, 'a')", "pair.fallocate(0, 0, 2, False)", "pool total=4"):
        assert call in said


def test_an_effect_that_is_not_carried_out_is_a_difference():
    """What has memory must be what was granted: a lost Back is a page that a client touches in vain."""
    pair = Pair(4, 0)
    pair.mount(None, None, None)
    pair.open(0, "a")
    pair.fs.fallocate(pair.files[0].real, 0, PAGE)
    pair.twin.fallocate(pair.files[0].twin, 0, 1, keep_size=False)
    pair.fs.drain_effects()
    with pytest.raises(AssertionError, match="what has memory"):
        pair.compare()


WHICH = st.integers(0, 11)
INDEX = st.integers(0, PAGES_OF_FILE - 1)
LENGTH = st.integers(1, PAGES_OF_FILE)
FEW = st.integers(0, 3)


class EveryCall(RuleBasedStateMachine):
    """Two mounts of any kind, a small pool, every call there is. ``which`` chooses among what is there."""

    pair: Pair

    @initialize(total=st.integers(0, 8), overcommit=FEW)
    def start(self, total, overcommit):
        self.pair = Pair(total, overcommit)

    def part(self, index: int, length: int) -> tuple[int, int]:
        return index, min(PAGES_OF_FILE, index + length)

    def mapped(self, which: int, index: int, length: int) -> tuple[int, int, int]:
        """A part of a mapping; the whole of it where the numbers lie outside."""
        which %= len(self.pair.maps)
        where = self.pair.maps[which].real.where
        start, end = max(where.start, index), min(where.end, index + length)
        return (which, start, end) if start < end else (which, where.start, where.end)

    @precondition(lambda self: len(self.pair.mounts) < 2)
    @rule(size=st.none() | st.integers(0, 6), minimum=st.none() | FEW, inodes_max=st.sampled_from([None, None, 2, 4]))
    def mount(self, size, minimum, inodes_max):
        self.pair.mount(size, minimum, inodes_max)

    @precondition(lambda self: self.pair.mounts)
    @rule(which=WHICH, lazy=st.booleans())
    def umount(self, which, lazy):
        self.pair.umount(which % len(self.pair.mounts), lazy)

    @precondition(lambda self: self.pair.mounts)
    @rule(which=WHICH, name=st.sampled_from(NAMES))
    def open(self, which, name):
        self.pair.open(which % len(self.pair.mounts), name)

    @precondition(lambda self: self.pair.mounts)
    @rule(which=WHICH, name=st.sampled_from(NAMES))
    def unlink(self, which, name):
        self.pair.unlink(which % len(self.pair.mounts), name)

    @precondition(lambda self: self.pair.mounts)
    @rule(which=WHICH, old=st.sampled_from(NAMES), new=st.sampled_from(NAMES), rename=st.booleans())
    def name_again(self, which, old, new, rename):
        (self.pair.rename if rename else self.pair.link)(which % len(self.pair.mounts), old, new)

    @precondition(lambda self: self.pair.files)
    @rule(which=WHICH)
    def close(self, which):
        self.pair.close(which % len(self.pair.files))

    @precondition(lambda self: self.pair.files)
    @rule(which=WHICH, size=st.integers(0, PAGES_OF_FILE))
    def truncate(self, which, size):
        self.pair.truncate(which % len(self.pair.files), size)

    @precondition(lambda self: self.pair.files)
    @rule(which=WHICH, index=INDEX, length=LENGTH, keep_size=st.booleans())
    def fallocate(self, which, index, length, keep_size):
        self.pair.fallocate(which % len(self.pair.files), *self.part(index, length), keep_size)

    @precondition(lambda self: self.pair.files)
    @rule(which=WHICH, index=INDEX, length=LENGTH)
    def punch(self, which, index, length):
        self.pair.punch(which % len(self.pair.files), *self.part(index, length))

    @precondition(lambda self: self.pair.files)
    @rule(which=WHICH, index=INDEX, length=LENGTH, private=st.booleans(), writable=st.booleans(), reserve=st.booleans())
    def map(self, which, index, length, private, writable, reserve):
        which %= len(self.pair.files)
        self.pair.map(which, *self.part(index, length), private, writable, reserve)

    @precondition(lambda self: 0 < len(self.pair.maps) < 10)
    @rule(which=WHICH)
    def fork(self, which):
        self.pair.fork(which % len(self.pair.maps))

    @precondition(lambda self: 0 < len(self.pair.maps) < 10)
    @rule(which=WHICH, at=INDEX)
    def split(self, which, at):
        self.pair.split(which % len(self.pair.maps), at)

    @precondition(lambda self: self.pair.maps)
    @rule(which=WHICH, index=INDEX, length=LENGTH, write=st.booleans())
    def touch(self, which, index, length, write):
        self.pair.touch(*self.mapped(which, index, length), write)

    @precondition(lambda self: self.pair.maps)
    @rule(which=WHICH, index=INDEX, length=LENGTH, verb=st.sampled_from(["unmap", "discard", "pin"]))
    def on_a_mapping(self, which, index, length, verb):
        getattr(self.pair, verb)(*self.mapped(which, index, length))

    @precondition(lambda self: self.pair.pins)
    @rule(which=WHICH)
    def unpin(self, which):
        self.pair.unpin(which % len(self.pair.pins))

    @rule(count=st.integers(0, 8))
    def resize(self, count):
        self.pair.resize(count)

    @rule(count=FEW)
    def set_overcommit(self, count):
        self.pair.set_overcommit(count)

    def teardown(self):
        if hasattr(self, "pair"):
            self.pair.end()


TestEveryCall = EveryCall.TestCase
TestEveryCall.settings = settings(
    max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
