"""Interleaved timing: what is compared takes turns, so that a noisy machine is noisy for all.

Only ratios of one run mean anything. A ratio is the median over rounds of (time of the reference / time of this) within
the same round; above 1 is faster than the reference.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Contender", "Timed", "interleave", "percentile", "seconds_of"]


@dataclass(frozen=True)
class Contender:
    """Something to time. ``run`` returns seconds if it timed itself, None if the whole call counts."""

    name: str
    run: Callable[[], float | None]


@dataclass(frozen=True)
class Timed:
    """The rounds of one contender: seconds each, and the ratio to the reference in the same rounds."""

    name: str
    seconds: tuple[float, ...]
    ratio: float

    @property
    def median(self) -> float:
        """The middle round, in seconds."""
        return statistics.median(self.seconds)


def seconds_of(run: Callable[[], float | None]) -> float:
    """How long one call takes, or what it says it took."""
    began = time.perf_counter()
    own = run()
    return time.perf_counter() - began if own is None else own


def interleave(contenders: Sequence[Contender], rounds: int) -> list[Timed]:
    """Time all in turn, every second round backwards, after one that is not counted. The first is the reference."""
    taken: list[list[float]] = [[] for _ in contenders]
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds + 1):
            order = range(len(contenders)) if number % 2 else reversed(range(len(contenders)))
            for index in order:
                seconds = seconds_of(contenders[index].run)
                if number:
                    taken[index].append(seconds)
    finally:
        if was_enabled:
            gc.enable()
    return [
        Timed(
            contender.name,
            tuple(times),
            statistics.median(r / t for r, t in zip(taken[0], times, strict=True)),
        )
        for contender, times in zip(contenders, taken, strict=True)
    ]


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` (0 to 1) of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
