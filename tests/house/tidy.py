"""The linter for what ruff does not know: our words, our lengths, our promises to a reader.

Every rule returns sentences that name file, line, and what to write instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

LINES_OF_FILE_MAX = 500
LINES_OF_FUNCTION_MAX = 80

# Written in pieces, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
OTHER_PLACES = re.compile(r"/wor[k]/|/roo[t]/|\.\./share[d]|/home/[a-z]")

BANNED_WORDS = {
    "addr": "address",
    "buf": "buffer",
    "cnt": "pages_… or the thing counted",
    "folio": "page",
    "hstate": "pool (HugePool)",
    "idx": "index (page_index)",
    "len_": "length or size_bytes",
    "mgr": "what it is, not that it manages",
    "npages": "pages_…",
    "num": "pages_… or the plural",
    "refcnt": "references",
    "resv": "reserved",
    "rsv": "reserved",
    "rsvd": "reserved",
    "spool": "subpool",
    "util": "what it does",
    "utils": "what it does",
    "vm_area_struct": "vma",
}
BANNED_NAMES = {
    "address_space_mapping": "page_cache",
    "n_pages": "pages_…: counts begin with their noun",
    "nr_pages": "pages_…: counts begin with their noun",
    "page_count": "pages_…: counts begin with their noun",
    "quota_used": "pages_used",
    "free_pages": "pages_free: counts begin with their noun",
    "reserved_pages": "pages_reserved: counts begin with their noun",
    "total_pages": "pages_total: counts begin with their noun",
    "used_pages": "pages_used: counts begin with their noun",
    "max_pages": "pages_max: counts begin with their noun",
    "min_pages": "pages_min: counts begin with their noun",
}
KERNEL_ROOM = "linux"
"""This room reads the kernel's own files and may use the kernel's own spelling."""


def problems_in_text(text: str, name: str) -> list[str]:
    """Unfinished notes, and paths that exist on one machine only."""
    found = []
    for line_number, line in enumerate(text.splitlines(), 1):
        if UNFINISHED.search(line):
            found.append(f"{name}:{line_number}: unfinished; do it, or write down where and why not")
        if OTHER_PLACES.search(line):
            found.append(f"{name}:{line_number}: a path of one machine; the project stands alone")
    return found


def problems_in_source(text: str, name: str) -> list[str]:
    """Lengths, names and docstrings of a module of the package."""
    tree = ast.parse(text)
    found = []
    lines = len(text.splitlines())
    if lines > LINES_OF_FILE_MAX:
        found.append(f"{name}: {lines} lines, at most {LINES_OF_FILE_MAX}: is there really one idea in it?")
    if not ast.get_docstring(tree):
        found.append(f"{name}: a module begins with a docstring: what it is for, and its rules")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LINES_OF_FUNCTION_MAX:
                found.append(f"{name}:{node.lineno}: {node.name}() has {length} lines, at most {LINES_OF_FUNCTION_MAX}")
    if KERNEL_ROOM not in Path(name).parts:
        for identifier, line_number in _names_given(tree):
            better = _better_name(identifier)
            if better:
                found.append(f"{name}:{line_number}: {identifier!r}: say {better}")
    return found


def problems_in_test(text: str, name: str) -> list[str]:
    """A test file says what it is about, and every test why it is there."""
    tree = ast.parse(text)
    found = [] if ast.get_docstring(tree) or not tree.body else [f"{name}: a test file begins with a docstring"]
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("test_") and not ast.get_docstring(node):
            found.append(f"{name}:{node.lineno}: {node.name}() needs a docstring: why must this hold?")
    return found


def _names_given(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names that this module gives: not those it only uses, which others chose."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield (node.id if isinstance(node, ast.Name) else node.attr), node.lineno


def _better_name(identifier: str) -> str | None:
    plain = identifier.lower().strip("_")
    if plain in BANNED_NAMES:
        return BANNED_NAMES[plain]
    return next((better for word, better in BANNED_WORDS.items() if word in plain.split("_")), None)
