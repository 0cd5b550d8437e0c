"""Clients killed by the hundred at random moments: everything comes back, and what was published is whole."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import pages_available
from tests.stories.storm import Storm, everything_is_back, pool, replayable, seconds, until, watched_mount


@pytest.mark.parametrize(
    ("huge", "pages"),
    [
        ("off", 24),
        ("off", 200),
        pytest.param("prefer", 40, marks=pytest.mark.slow),
        pytest.param("require", 40, marks=pytest.mark.slow),
    ],
)
def test_everything_comes_back_whoever_was_killed(
    huge: str, pages: int, tmp_path: Path, request: pytest.FixtureRequest
):
    """The promise of the whole: exact counters and whole files, after any deaths. 24 pages: full most of the time.

    With "require" on huge pages, with room for one private copy of each page that a fork may write.
    """
    with ExitStack() as held:
        if huge == "require":
            held.enter_context(pool(2 * pages))
        available = pages_available()
        chance = held.enter_context(replayable(request.node.nodeid))
        mount = held.enter_context(watched_mount(pages << 21, huge=huge))
        storm = Storm(mount, chance, tmp_path)
        storm.rage(seconds(3))
        kept = storm.survivors_are_whole()
        everything_is_back(mount)
        if huge == "require":  # the kernel counts the same
            assert until(lambda: pages_available() == available)
        print(
            f"{storm.kills} kills, {storm.counted('forks')} forks, {storm.counted('operations')} operations,"
            f" {sum(storm.endings.values())} processes ended, {kept} names left over"
        )
        assert storm.kills > 10
        assert storm.counted("operations") > 100
