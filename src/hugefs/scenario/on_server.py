"""Which steps a client of a server can do: those that the language marks with an **s**.

Rule 1: a file with one other step cannot run on a server at all; the reason names the first such line.
Rule 2: ``pool`` and ``overcommit`` are the size of the server's own pool; ``note`` and ``expect`` run everywhere.
"""

from __future__ import annotations

from hugefs.core.mount_options import parse_mount_options
from hugefs.errors import HugefsError
from hugefs.scenario import steps
from hugefs.scenario.scenario import Scenario
from hugefs.scenario.sizes import PAGE_BYTES

__all__ = ["not_on_server", "why_not_on_private_server", "why_not_on_server"]

_ALWAYS = (
    steps.Pool,
    steps.Overcommit,
    steps.Mount,
    steps.Remount,
    steps.Umount,
    steps.Expect,
    steps.Note,
    steps.Open,
    steps.Close,
    steps.Unlink,
    steps.Rename,
    steps.Link,
    steps.Mkdir,
    steps.Truncate,
    steps.Punch,
    steps.Munmap,
    steps.Write,
    steps.Read,
    steps.Store,
    steps.Load,
    steps.Fork,
    steps.Exit,
    steps.Kill,
    steps.Pin,
)


def not_on_server(step: steps.Step) -> str | None:
    """What no client of a server can do about this step, or None."""
    if isinstance(step, _ALWAYS):
        return None
    if isinstance(step, steps.Fallocate):
        return None if step.mode in ("", "keep_size") else f"fallocate {step.mode}"
    if isinstance(step, steps.Unpin):
        return "unpin irq" if step.irq else None
    if isinstance(step, steps.Mmap):
        words = (
            (step.source != "file", step.source),
            (step.noreserve, "noreserve"),
            (step.locked, "locked"),
            (step.protection == "none", "none"),
            (step.place is not None, "at a chosen place"),
        )
        return next((f"mmap {word}" for there, word in words if there), None)
    return step.verb


def why_not_on_server(scenario: Scenario) -> str | None:
    """The first line of this file that no client of a server can do, or None."""
    for line in scenario:
        found = not_on_server(line.step)
        if found is not None:
            return f"line {line.number}: {found}: a server has no such step"
    return None


def why_not_on_private_server(scenario: Scenario) -> str | None:
    """Why this file cannot run on a private server: one mount with a size, on a pool of just that size; or None."""
    found = why_not_on_server(scenario)
    if found is not None:
        return found
    private = _Private()
    for line in scenario:
        found = private.objection(line.step)
        if found is not None:
            return f"line {line.number} ({line.text}): a private server has {found}"
    return None if private.has_mount else "there is no mount in it, and a server without one does not exist"


class _Private:
    """What a file wants of a server, line after line."""

    def __init__(self) -> None:
        self.has_mount = False
        self._pages = 0
        self._mappings: dict[str, int] = {}
        self._pins: dict[str, str] = {}

    def objection(self, step: steps.Step) -> str | None:
        """What a private server has instead of what this step needs, or None."""
        if isinstance(step, steps.Pool):
            if self.has_mount:
                return "a pool as big as its mount, for good"
            self._pages = step.pages
        elif isinstance(step, steps.Overcommit) and step.pages:
            return "no overcommit"
        elif isinstance(step, steps.Mount):
            return self._mount(step)
        elif isinstance(step, steps.Remount):
            return "no remount"
        elif isinstance(step, steps.Mmap):
            if not step.shared and step.protection == "ro":
                return "private mappings for writing only"
            self._mappings[step.mapping] = -(-step.length_bytes // PAGE_BYTES) * PAGE_BYTES
        elif isinstance(step, steps.Munmap):
            if step.span not in (None, steps.Span(0, self._mappings.get(step.mapping, 0))):
                return "no munmap of a part"
        elif isinstance(step, steps.Pin):
            self._pins[step.io] = step.task
        elif isinstance(step, steps.Unpin):
            self._pins.pop(step.io, None)
        elif isinstance(step, steps.Exit | steps.Kill) and step.task in self._pins.values():
            return "no I/O that outlives the client that began it"
        return None

    def _mount(self, step: steps.Mount) -> str | None:
        if self.has_mount:
            return "one mount, once"
        self.has_mount = True
        try:
            options = parse_mount_options(step.options, page_bytes=PAGE_BYTES, pages_configured=self._pages)
        except HugefsError as error:
            return f"no options to be refused: {error}"
        if any(item.startswith(("mode=", "uid=", "gid=")) for item in step.options.split(",")):
            return "the mode and owner of who started it"
        if options.pages_max is None:
            return "a mount with a size"
        if options.pages_max != self._pages or not self._pages:
            return f"a pool as big as its mount, and these are {self._pages} and {options.pages_max} pages"
        return None
