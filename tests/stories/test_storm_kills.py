"""Clients killed by the hundred at random moments: everything comes back, and what was published is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.storm import Storm, everything_is_back, replayable, seconds, watched_mount


@pytest.mark.parametrize("pages", [24, 200])
def test_everything_comes_back_whoever_was_killed(pages: int, tmp_path: Path, request: pytest.FixtureRequest):
    """The promise of the whole: exact counters and whole files, after any deaths. 24 pages: full most of the time."""
    with replayable(request.node.nodeid) as chance, watched_mount(pages << 21, huge="off") as mount:
        storm = Storm(mount, chance, tmp_path)
        storm.rage(seconds(4))
        kept = storm.survivors_are_whole()
        everything_is_back(mount)
        print(
            f"{storm.kills} kills, {storm.counted('forks')} forks, {storm.counted('operations')} operations,"
            f" {sum(storm.endings.values())} processes ended, {kept} names left over"
        )
        assert storm.kills > 10
        assert storm.counted("operations") > 100
