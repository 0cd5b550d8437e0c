"""Documents that match the code: titles, decisions, invariants, commands."""

from __future__ import annotations

import importlib
import re
from datetime import date

import pytest

from tests.house.tree import DOCUMENTS, ROOT, SOURCE, documents, short

DECISIONS = sorted((DOCUMENTS / "decisions").glob("*.md"))


def titles(text: str) -> list[str]:
    """The first-level headings of a Markdown text; a comment in a block of code is none."""
    outside = re.sub(r"^(```|~~~).*?^\1[^\S\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^# .+$", outside, flags=re.MULTILINE)


def invariants_listed(text: str) -> list[tuple[str, str]]:
    """Number and text of each line that begins with an invariant: ``| I3 | …``, ``* **I3** …``, ``## I3: …``."""
    return re.findall(r"^[|*#\s`-]*I(\d+\w*)\b[*`]*\W*(.*)$", text, flags=re.MULTILINE)


def plain(sentence: str) -> str:
    """A sentence without mark-up, spacing and its final point."""
    return " ".join(re.sub(r"[*`|]", " ", sentence).split()).rstrip(" .")


@pytest.mark.parametrize("path", documents(), ids=short)
def test_a_document_has_one_title(path):
    """A page about two things is two pages."""
    assert len(titles(path.read_text(encoding="utf-8"))) == 1


def test_titles_in_code_do_not_count():
    """The counter itself: a shell comment is no heading."""
    assert titles("# A\n\n```\n# not one\n```\n\n## B\n") == ["# A"]
    assert titles("# A\n# B\n") == ["# A", "# B"]


@pytest.mark.parametrize("path", DECISIONS, ids=short)
def test_a_decision_is_numbered_and_dated(path):
    """A decision without a date cannot be weighed against what was known then."""
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+", path.stem)
    found = re.findall(r"^Date: (\d{4}-\d\d-\d\d)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(found) == 1
    date.fromisoformat(found[0])


def test_decisions_are_numbered_without_a_gap():
    """Each number once, none missing: a decision is overruled by a later one, never removed."""
    assert [int(path.stem[:4]) for path in DECISIONS] == list(range(len(DECISIONS)))


def test_invariants_are_listed_as_the_code_checks_them():
    """docs/invariants.md and core/check.py are one list: numbers, order, sentences."""
    if not (SOURCE / "core" / "check.py").exists():
        pytest.skip("src/hugefs/core/check.py is not written yet")
    check = importlib.import_module("hugefs.core.check")
    if not hasattr(check, "INVARIANTS"):
        pytest.skip("hugefs.core.check.INVARIANTS is not written yet")
    listed = invariants_listed((DOCUMENTS / "invariants.md").read_text(encoding="utf-8"))
    checked = [(number.removeprefix("I"), sentence) for number, sentence in check.INVARIANTS.items()]
    assert [number for number, _ in listed] == [number for number, _ in checked]
    for (number, line), (_, sentence) in zip(listed, checked, strict=True):
        assert plain(sentence) in plain(line), f"I{number}: docs/invariants.md must say: {sentence}"


def test_the_list_of_invariants_is_read_in_any_dress():
    """Rows, bullets and headings are read; a mention within a sentence is not."""
    text = "| I1 | `free` is right |\n* **I2** two.\n## I3: three\nas I4 says\n"
    assert [(number, plain(line)) for number, line in invariants_listed(text)] == [
        ("1", "free is right"),
        ("2", "two"),
        ("3", "three"),
    ]


def test_every_command_that_is_promised_exists():
    """`make …` in a document is a target of the Makefile; the README leads to the two that matter first."""
    targets = set(re.findall(r"^([a-z][a-z ]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    targets = {name for line in targets for name in line.split()}
    promised = {
        name
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
        for name in re.findall(r"`make ([a-z-]+)|^ {4}make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        for name in name
        if name
    }
    assert promised <= targets
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme
