"""The floors hold: every import of the package goes downwards.

Why: one core serves real processes, simulated ones and the lab only as long as it knows none of them; and a client
that imported the server could decide what only the server may.
"""

from __future__ import annotations

import pytest

from tests.house.floors import FLOORS, violations, violations_of_file
from tests.house.tree import SOURCE, python_files


def test_every_import_goes_downwards():
    """The house as it is."""
    found = [line for path in python_files(SOURCE) for line in violations_of_file(path, SOURCE.parent)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hugefs.core.pool", "from hugefs.server import session"),
        ("hugefs.core.pool", "import hugefs.memory.backing"),
        ("hugefs.core.pool", "from ..memory import backing"),
        ("hugefs.core.pool", "from .. import memory"),
        ("hugefs.core.pool", "def f():\n    import os.path"),
        ("hugefs.core.pool", "from time import monotonic"),
        ("hugefs.core.pool", "import numpy as np"),
        ("hugefs.core.pool", "import hugefs"),
        ("hugefs.errors", "from hugefs.units import parse_size"),
        (
            "hugefs.client.mount",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hugefs.core import pool",
        ),
        ("hugefs.client.mount", "import importlib\nimportlib.import_module('hugefs.server.main')"),
        ("hugefs.client.mount", "from hugefs import server"),
        ("hugefs.server.main", "import numpy.linalg"),
        ("hugefs.server.main", "from hugefs import Mount"),
        ("hugefs.memory.backing", "import ctypes"),
        ("hugefs.memory.backing", "from ctypes import c_int"),
        ("hugefs.wire.codec", "from hugefs.tasks import task"),
        ("hugefs.bench.rates", "from hugefs.cli import main"),
        ("hugefs.attic.thing", "import os"),
        ("hugefs.lab.bugs.one", "from hugefs.lab import explorer"),
        ("hugefs.scenario.runner", "from hugefs.lab.explorer import explore"),
    ],
)
def test_the_checker_sees(module, source):
    """Each of these is one import too many; a checker that misses one holds nothing."""
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hugefs.core.pool", "from __future__ import annotations\nimport enum\nfrom hugefs.errors import Busy"),
        ("hugefs.core.pool", "from hugefs.core.ranges import PageRange\nfrom .subpool import Subpool"),
        ("hugefs.core.pool", "from hugefs import errors"),
        ("hugefs.lab.explorer", "from hugefs.lab.profile import PROFILES"),
        ("hugefs.scenario.targets.sim", "from hugefs.lab.profile import classes_of"),
        ("hugefs.memory._libc", "import ctypes\nimport os"),
        ("hugefs.server.main", "import os, socket\nfrom hugefs.core import pool\nfrom hugefs import wire, memory"),
        ("hugefs.client.mount", "import numpy\nfrom hugefs.wire import codec\nfrom hugefs.memory import backing"),
        ("hugefs.cli.demo", "import hugefs\nfrom hugefs import Mount\nfrom hugefs.bench import rates"),
        ("hugefs.__main__", "from hugefs.cli.main import main"),
    ],
)
def test_the_checker_lets_pass(module, source):
    """What the floors allow; a checker that cries wolf is soon switched off."""
    assert violations(source, module) == []


def test_the_front_door_opens_to_the_client_only():
    """`import hugefs` must not start to load the server or the lab."""
    assert violations("from hugefs.client import Mount\nfrom hugefs import errors", "hugefs", is_package=True) == []
    assert len(violations("from hugefs.server import main", "hugefs", is_package=True)) == 1
    assert len(violations("from .core import pool", "hugefs", is_package=True)) == 1


def test_relative_imports_in_a_package_resolve():
    """`.` is the package itself in an __init__.py, its parent's name elsewhere."""
    assert violations("from .pool import HugePool", "hugefs.core", is_package=True) == []
    assert len(violations("from ..server import main", "hugefs.core", is_package=True)) == 1


def test_every_room_stands_on_a_floor():
    """A new folder needs a decision about its floor before it gets its first import."""
    rooms = {path.stem for path in SOURCE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert rooms - {"__init__", "__pycache__"} <= FLOORS.keys()
