"""A random walk of both worlds, from a seed: quick, and the same on every machine."""

from __future__ import annotations

from random import Random

from tests.models.pair import NAMES, PAGES_OF_FILE, Pair

__all__ = ["WEIGHTS", "walk"]

WEIGHTS = {
    "mount": 2,
    "umount": 2,
    "open": 8,
    "close": 4,
    "unlink": 3,
    "link": 2,
    "rename": 2,
    "truncate": 4,
    "fallocate": 5,
    "punch": 5,
    "map": 14,
    "fork": 6,
    "split": 3,
    "unmap": 6,
    "touch": 20,
    "discard": 5,
    "pin": 5,
    "unpin": 4,
    "resize": 3,
    "set_overcommit": 1,
}


def walk(seed: int, steps: int, *, end: bool = True) -> Pair:
    """``steps`` random calls, then the end of everything."""
    random = Random(seed)
    pair = Pair(random.randint(0, 8), random.choice([0, 0, 1, 3]))
    verbs = random.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=steps)
    for verb in verbs:
        step(pair, verb, random)
    if end:
        pair.end()
    return pair


def step(pair: Pair, verb: str, random: Random) -> None:
    """One random call of this kind, where there is something to call it on."""
    start = random.randrange(PAGES_OF_FILE)
    end = random.randint(start + 1, PAGES_OF_FILE)
    if verb == "mount":
        if len(pair.mounts) < 3:
            pair.mount(
                random.choice([None, 0, 1, 3, 6]), random.choice([None, None, 0, 1, 3]), random.choice([None, 3, 0])
            )
    elif verb in ("resize", "set_overcommit"):
        getattr(pair, verb)(random.randint(0, 8 if verb == "resize" else 3))
    elif verb in ("open", "unlink", "umount", "link", "rename"):
        if pair.mounts:
            on_a_mount(pair, verb, random)
    elif verb in ("close", "truncate", "fallocate", "punch", "map"):
        if pair.files:
            on_a_file(pair, verb, random, start, end)
    elif verb == "unpin":
        if pair.pins:
            pair.unpin(random.randrange(len(pair.pins)))
    elif pair.maps:
        on_a_mapping(pair, verb, random)


def on_a_mount(pair: Pair, verb: str, random: Random) -> None:
    which = random.randrange(len(pair.mounts))
    if verb == "umount":
        pair.umount(which, random.random() < 0.5)
    elif verb in ("link", "rename"):
        getattr(pair, verb)(which, random.choice(NAMES), random.choice(NAMES))
    else:
        getattr(pair, verb)(which, random.choice(NAMES))


def on_a_file(pair: Pair, verb: str, random: Random, start: int, end: int) -> None:
    which = random.randrange(len(pair.files))
    if verb == "close":
        pair.close(which)
    elif verb == "truncate":
        pair.truncate(which, random.randint(0, PAGES_OF_FILE))
    elif verb == "fallocate":
        pair.fallocate(which, start, end, random.random() < 0.3)
    elif verb == "punch":
        pair.punch(which, start, end)
    else:
        pair.map(which, start, end, random.random() < 0.6, random.random() < 0.8, random.random() < 0.8)


def on_a_mapping(pair: Pair, verb: str, random: Random) -> None:
    which = random.randrange(len(pair.maps))
    where = pair.maps[which].real.where
    start = random.randrange(where.start, where.end)
    end = random.randint(start + 1, where.end)
    if random.random() < 0.3:
        start, end = where
    if verb == "fork":
        if len(pair.maps) < 12:
            pair.fork(which)
    elif verb == "split":
        if len(pair.maps) < 12:
            pair.split(which, end)
    elif verb == "touch":
        pair.touch(which, start, end, random.random() < 0.7)
    else:
        getattr(pair, verb)(which, start, end)
