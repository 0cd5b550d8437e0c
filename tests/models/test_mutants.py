"""The tests are tested: every mutant of tests/models/mutants.py must be noticed by a short form of the suite.

A survivor is a mistake that somebody could make tomorrow and nobody would hear of; it asks for a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from hugefs.core.pool import HugePool
from tests.core import (
    test_checkpoint,
    test_fault,
    test_file_pages,
    test_filesystem,
    test_inode,
    test_mapping,
    test_namespace,
    test_page,
    test_pool,
    test_reservation,
    test_reserve_map,
    test_subpool,
    test_superblock,
    test_worked_examples,
)
from tests.models.mutants import MUTANTS, Mutant, planted
from tests.models.walk import walk

pytestmark = pytest.mark.slow

MODULES = [
    test_worked_examples,
    test_fault,
    test_mapping,
    test_file_pages,
    test_pool,
    test_subpool,
    test_reserve_map,
    test_reservation,
    test_page,
    test_filesystem,
    test_superblock,
    test_inode,
    test_checkpoint,
    test_namespace,
]
LEFT_OUT = {"test_every_order_of_the_last_steps"}
"""Too slow to run a hundred times; what it can find the others must find."""


def cases(module: ModuleType) -> Iterator[Callable[[], Any]]:
    """The test functions of a module as calls, parametrized ones once for each set of values."""
    for name, function in vars(module).items():
        if name.startswith("test_") and name not in LEFT_OUT:
            marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
            for values in product(*[mark.args[1] for mark in marks]):
                given: dict[str, Any] = {}
                for mark, value in zip(marks, values, strict=True):
                    names = [mark.args[0]] if isinstance(mark.args[0], str) else list(mark.args[0])
                    given |= dict(zip(names, [value] if len(names) == 1 else value, strict=True))
                yield partial(function, **given)


CASES: list[Callable[[], Any]] = [
    *[partial(walk, seed, 150) for seed in range(5)],
    *[case for module in MODULES for case in cases(module)],
    *[partial(walk, seed, 200) for seed in range(5, 15)],
]


def noticed() -> bool:
    """Whether any case fails."""
    for case in CASES:
        try:
            case()
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it shows
            return True
    return False


def test_the_core_as_it_is_passes():
    """Otherwise every mutant would be "noticed"."""
    for case in CASES:
        case()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.function}: {mutant.what}")
def test_a_mistake_is_noticed(mutant: Mutant):
    """One place of the core, wrong on purpose."""
    with planted(mutant):
        assert noticed(), f"survived: {mutant}"


def test_a_mutant_is_taken_out_again():
    """A mistake that stayed planted would spoil every test after it."""
    mutant = MUTANTS[0]
    before = dict(vars(HugePool))
    with planted(mutant):
        assert vars(HugePool)["reserve"] is not before["reserve"]
    assert dict(vars(HugePool)) == before


@pytest.mark.parametrize(
    ("before", "after"), [("no such text", "x"), ("self.pages_reserved", "x"), ("missing > 0", "(missing > 0)")]
)
def test_a_mutant_that_changes_nothing_is_refused(before, after):
    """When the core changes its list must follow: text that is gone, or there twice, or means the same is an error."""
    mutant = Mutant("pool", "HugePool.reserve", before, after, "nothing")
    with pytest.raises(LookupError), planted(mutant):
        pass
