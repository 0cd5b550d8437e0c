"""The public names: what `import hugefs` gives is what the README lists, no more and no less."""

from __future__ import annotations

import importlib
import re

import pytest

from hugefs import errors
from tests.house.tree import ROOT, SOURCE

NAMES = {"mount", "connect", "Mount", "HugeFile", "Mapping", "HugeArray"}
ERROR_CLASSES = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}

needs_the_package = pytest.mark.skipif(
    not (SOURCE / "__init__.py").exists(), reason="src/hugefs/__init__.py is not written yet"
)


@needs_the_package
def test_all_is_what_is_promised():
    """A name that is exported by accident is a name somebody will depend on."""
    package = importlib.import_module("hugefs")
    assert set(package.__all__) == NAMES | ERROR_CLASSES
    assert len(package.__all__) == len(set(package.__all__))


@needs_the_package
def test_every_public_name_is_there():
    """`from hugefs import *` works, and every name says in its docstring what it is."""
    package = importlib.import_module("hugefs")
    for name in package.__all__:
        assert getattr(package, name).__doc__, name


def test_the_readme_shows_every_name():
    """Who only reads the README knows all there is."""
    words = set(re.findall(r"\w+", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert words >= NAMES


def test_the_readme_lists_every_error():
    """The table of errors and errors.py are the same list."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Errors\n")[2].partition("\n## ")[0]
    listed = {name for row in section.splitlines() if row.startswith("|") for name in re.findall(r"`([A-Z]\w+)`", row)}
    assert listed == ERROR_CLASSES


def test_every_error_class_is_exported():
    """errors.__all__ names each public class of the module."""
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.HugefsError) and not name.startswith("_")
    }
    assert defined == ERROR_CLASSES
