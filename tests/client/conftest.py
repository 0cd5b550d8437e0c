"""Fixtures of the client's tests."""

from __future__ import annotations

import gc
import stat
from collections.abc import Iterator

import pytest

import hugefs
from tests.client.fake_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake server, stopped afterwards."""
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def mounts_of_a_module() -> Iterator[list[hugefs.Mount]]:
    """At most one mount: starting a server for each test would take longer than the tests."""
    mounts: list[hugefs.Mount] = []
    yield mounts
    for mount in mounts:
        mount.close()


@pytest.fixture
def m(mounts_of_a_module: list[hugefs.Mount]) -> Iterator[hugefs.Mount]:
    """A mount of 16 pages with nothing in it; and everything must have come back to it afterwards.

    On base pages, so that it is the same everywhere.
    """
    mount = mounts_of_a_module.pop() if mounts_of_a_module else hugefs.mount("32M", huge="off")
    yield mount
    remove_all(mount)
    gc.collect()
    assert mount.holders() == []
    info = mount.meminfo()
    assert (info.pages_free, info.pages_reserved, info.pages_available) == (16, 0, 16)
    mounts_of_a_module.append(mount)  # where the books were not clean, the next test has another


def remove_all(mount: hugefs.Mount, directory: str = "") -> None:
    """Every name."""
    for name in mount.listdir(directory):
        path = f"{directory}/{name}" if directory else name
        if stat.S_ISDIR(mount.stat(path).st_mode):
            remove_all(mount, path)
            mount.rmdir(path)
        else:
            mount.unlink(path)
