"""The project's own files, for the house tests. No git: a copy without its history is held to the same rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "hugefs"
TESTS = ROOT / "tests"
DOCUMENTS = ROOT / "docs"

_NOT_OURS = {
    ".git",
    ".venv",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    "build",
    "dist",
}
_TEXT = {".py", ".md", ".toml", ".scenario", ".sh", ".yaml", ".yml", ".json", ".html", ".css", ".cfg", ".txt", ""}


def python_files(top: Path) -> list[Path]:
    """Every module under ``top``, in order."""
    return [path for path in _files(top) if path.suffix == ".py"]


def documents() -> list[Path]:
    """Every Markdown file of the project, wherever it lies."""
    return [path for path in _files(ROOT) if path.suffix == ".md"]


def text_files() -> list[Path]:
    """Everything a person may read: sources, documents, settings, scripts."""
    return [path for path in _files(ROOT) if path.suffix in _TEXT]


def short(path: Path) -> str:
    """``path`` as a message shows it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _files(top: Path) -> Iterator[Path]:
    for entry in sorted(top.iterdir()):
        if entry.name in _NOT_OURS or entry.name.startswith(".coverage") or entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry
