"""The bench runs, and says what it measured; how fast things are is no matter for a test."""

from __future__ import annotations

import json

import pytest

from hugefs.bench.timing import Contender, interleave, percentile
from tests.cli.test_demo import hugefs


@pytest.mark.slow
def test_the_bench_answers_every_question_as_json() -> None:
    """Ratios for each size, latencies, round trips, and the books at 1 GiB and 1 TiB."""
    done = hugefs("bench", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {row["size_bytes"] for row in told["life"]} == {2 << 20, 8 << 20}
    assert all(row["median"] > 0 and row["ratio"] > 0 for row in told["life"] + told["attach"])
    assert told["round_trips"]["per_second"] > 0
    assert set(told["books"]) == {"1 GiB", "1 TiB"}


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    """Twice as fast in every round is 2, however the machine's speed moves from round to round."""
    machine = [1.0, 1.0, 7.0, 0.5]  # how slow it was in each round; the first is not counted
    slow, fast = iter(machine), iter(machine)
    contenders = [Contender("slow", lambda: 2.0 * next(slow)), Contender("fast", lambda: next(fast))]
    reference, other = interleave(contenders, rounds=3)
    assert (reference.ratio, other.ratio, other.median, len(other.seconds)) == (1.0, 2.0, 1.0, 3)


def test_percentiles_are_values_that_were_measured() -> None:
    """The 99th percentile of few values is the largest."""
    assert (percentile([3.0, 1.0, 2.0], 0.5), percentile([3.0, 1.0, 2.0], 0.99)) == (2.0, 3.0)
