"""docs/differences.md, written from the files in bugs/: where Linux differs from what the simulation does by itself."""

from __future__ import annotations

from hugefs.lab.profile import PROFILES

__all__ = ["differences_page"]

_HEAD = """# Where Linux 6.18 differs

hugefs keeps its books right. Linux 6.18 does not always: in the places below its counters, or what it answers, are
wrong, and `--profile linux-6.18` makes the simulation equal to it, line for line. Everywhere else the two agree. Each
place is one file in `src/hugefs/lab/bugs/`, which replaces functions of the core by the kernel's versions; this page
is written from those files (`hugefs.lab.differences`), and a test holds it to them.

The scenario named with each shows it: its lines are the kernel's, and without the file the simulation differs there.
"""


def differences_page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for bug in PROFILES["linux-6.18"]:
        replaced = ", ".join(f"`{owner.__name__}.{name}`" for owner, name in bug.replaces)
        parts.append(
            f"## {bug.name.replace('_', ' ').capitalize()}\n\n"
            f"{bug.what}\n\n"
            f"- **Who can be hurt, and how:** {bug.harm}\n"
            f"- **Linux:** {bug.linux}; since {bug.since}; fixed: {bug.fixed}\n"
            f"- **Scenario:** `{bug.shows}`\n"
            f"- **Replaces:** {replaced} (`lab/bugs/{bug.name}.py`)\n"
        )
    return "\n".join(parts)
