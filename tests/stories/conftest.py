"""The mount that most stories are told on."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import hugefs
from tests.stories.aid import eventually, everything_came_back


@pytest.fixture
def m() -> Iterator[hugefs.Mount]:
    """16 pages; every story ends with all of them back and nobody holding any."""
    with hugefs.mount("32M", huge="off") as mount:
        yield mount
        gc.collect()
        eventually(lambda: everything_came_back(mount))
