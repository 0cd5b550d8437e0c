"""The tree is tidy: nothing unfinished, nothing too long, one word for one idea."""

from __future__ import annotations

import pytest

from tests.house.tidy import problems_in_source, problems_in_test, problems_in_text
from tests.house.tree import SOURCE, TESTS, python_files, short, text_files


def test_nothing_is_left_unfinished_or_tied_to_one_machine():
    """A note to oneself helps nobody else, and a path of the author's machine breaks on every other."""
    found = [line for path in text_files() for line in problems_in_text(path.read_text(encoding="utf-8"), short(path))]
    assert not found, "\n".join(found)


def test_modules_are_short_named_by_the_glossary_and_introduced():
    """Each file is one idea, each count begins with its noun, and each module first says what it is."""
    found = [
        line
        for path in python_files(SOURCE)
        for line in problems_in_source(path.read_text(encoding="utf-8"), short(path))
    ]
    assert not found, "\n".join(found)


def test_every_test_says_why():
    """Who breaks a test in two years must be able to tell whether the test or the change is wrong."""
    found = [
        line for path in python_files(TESTS) for line in problems_in_test(path.read_text(encoding="utf-8"), short(path))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line", ["# TO-DO: later", "x = 1  # FIX-ME", "X-XX", "see /w-ork/x", "/r-oot/a", "..-/shared"]
)
def test_the_linter_sees_text(line):
    """Each line is one problem, reported with its number. The hyphens keep this file itself clean."""
    line = line.replace("-", "")
    assert len(problems_in_text(f"fine\n{line}\n", "a.md")) == 1
    assert problems_in_text(f"fine\n{line}\n", "a.md")[0].startswith("a.md:2: ")


@pytest.mark.parametrize("line", ["todos os nomes", "the root/leaf", "Trotzdem", "MAXXXL", "work/life"])
def test_the_linter_lets_text_pass(line):
    """Ordinary words that only look alike."""
    assert problems_in_text(line, "a.md") == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def f(page_idx): pass", "page_index"),
        ("total_pages = 1", "pages_total"),
        ("self.nr_pages = 1", "pages_…"),
        ("class Spool: pass", "subpool"),
        ("for folio in x: pass", "page"),
        ("def f():\n" + "    pass\n" * 80, "81 lines"),
        ("x = 1\n" * 500, "501 lines"),
    ],
)
def test_the_linter_sees_source(body, words):
    """One snapshot for each rule."""
    found = problems_in_source(f'"""A module."""\n{body}', "src/hugefs/core/a.py")
    assert len(found) == 1
    assert words in found[0]


def test_the_linter_lets_source_pass():
    """Names that others chose may be used, and the room that reads the kernel spells as the kernel does."""
    assert problems_in_source('"""A module."""\nx = y.resv + nr_pages\npages_total = 1', "src/hugefs/core/a.py") == []
    assert problems_in_source('"""A module."""\nresv = 1', "src/hugefs/linux/a.py") == []
    assert len(problems_in_source("x = 1", "src/hugefs/core/a.py")) == 1


def test_the_linter_sees_a_test_without_a_reason():
    """File and function are looked at separately."""
    assert len(problems_in_test("def test_x(): pass", "test_a.py")) == 2
    assert problems_in_test('"""A."""\ndef test_x():\n    """B."""\ndef helper(): pass', "test_a.py") == []
