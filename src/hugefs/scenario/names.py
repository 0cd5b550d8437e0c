"""The names of a scenario as it goes on: which exist, whose they are, which are gone; before a step and after it.

    names = Names()
    names.problem(step)                # a sentence, or None where the step may be done now
    names.note(line, step, outcome)    # what the step changed; an outcome of None is not known (yet)

Rule 1: the same book is kept while parsing, with the outcomes that the file expects, and while running, with those got.
Rule 2: a handle or mapping belongs to the task that made it and to what that task forks later. A mapping's name stands
        for its address range, so munmap does not end it; a handle ends with its close.
Rule 3: handles, mappings and segments are named once in a file; mounts, groups and I/Os may come again when gone.
Rule 4: with an unknown outcome a name that may be gone is taken as there: the run will tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from hugefs.scenario import steps
from hugefs.scenario.outcome import KILLED, Outcome
from hugefs.scenario.steps import Step, TaskStep

__all__ = ["Names"]


class _Task:
    """What one task has: handles and mappings by name, with the line that made each."""

    __slots__ = ("ended", "handles", "mappings")

    def __init__(self, handles: dict[str, int] | None = None, mappings: dict[str, int] | None = None) -> None:
        self.handles = dict(handles or {})
        self.mappings = dict(mappings or {})
        self.ended = ""


class Names:
    """Every name of one run of one scenario."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}
        self._made: dict[tuple[str, str], int] = {}  # (kind, name) of what is named once: the line that named it
        self._failed: dict[tuple[str, str], str] = {}  # those whose step failed, and how
        self._closed: dict[tuple[str, str], int] = {}  # (task, handle): the line that closed it
        self._mounts: dict[str, bool] = {}  # True: surely mounted; False: perhaps
        self._groups: dict[str, bool] = {}
        self._ios: dict[str, bool] = {}
        self._gone: dict[tuple[str, str], int] = {}  # (kind, name) of mounts, groups, I/Os: where it ended

    def problem(self, step: Step) -> str | None:
        """Why this step cannot be done now, in a sentence that says what would be right; None where it can."""
        if isinstance(step, TaskStep):
            task = self._tasks.get(step.task)
            if task is not None and task.ended:
                return f"{step.task} {task.ended}; a task that has ended takes no further step"
        check = _CHECKS.get(type(step))
        return check(self, step) if check else None

    def note(self, line: int, step: Step, outcome: Outcome | None) -> None:
        """Keep the books after a step; ``outcome`` is None where it is not known."""
        if isinstance(step, TaskStep) and step.task not in self._tasks:
            self._tasks[step.task] = _Task()
        if outcome == KILLED and isinstance(step, TaskStep):
            self._end(line, step, outcome)
            return
        change = _CHANGES.get(type(step))
        if change is not None:
            change(self, line, step, outcome)

    # ── What must hold before ──

    def _handle(self, step: Step) -> str | None:
        assert isinstance(step, TaskStep)
        name: str | None = getattr(step, "handle", None)
        return None if name is None else self._owned("handle", step.task, name)

    def _mapping(self, step: Step) -> str | None:
        assert isinstance(step, TaskStep)
        name: str = getattr(step, "mapping", "")
        return self._owned("mapping", step.task, name)

    def _owned(self, kind: str, task_name: str, name: str) -> str | None:
        task = self._tasks.get(task_name)
        own = {} if task is None else task.handles if kind == "handle" else task.mappings
        if name in own:
            return None
        if (kind, name) in self._failed:
            return f"{kind} {name} was never had: {self._failed[kind, name]}"
        if kind == "handle" and (task_name, name) in self._closed:
            return f"handle {name} was closed by {task_name} in line {self._closed[task_name, name]}; open another"
        if (kind, name) in self._made:
            made = self._made[kind, name]
            return f"{kind} {name} of line {made} is not {task_name}'s: it was not forked with it"
        return f"there is no {kind} {name} here{_near(name, own)}"

    def _new(self, kind: str, name: str) -> str | None:
        line = self._made.get((kind, name))
        return None if line is None else f"the {kind} {name} was named in line {line} before; a name is used once"

    def _mount_of(self, path: steps.FilePath) -> str | None:
        return self._there("mount", self._mounts, path.mount)

    def _there(self, kind: str, book: dict[str, bool], name: str) -> str | None:
        if name in book:
            return None
        ended = self._gone.get((kind, name))
        if ended is not None:
            return f"{kind} {name} ended in line {ended}; it must be made again before it is used"
        return f"there is no {kind} {name} here{_near(name, book)}"

    def _check_mount(self, step: steps.Mount) -> str | None:
        if self._mounts.get(step.mount):
            return f"{step.mount} is mounted already; umount it first, or take another name"
        return None

    def _check_cgroup(self, step: steps.Cgroup) -> str | None:
        parent = step.group.rpartition("/")[0]
        return self._there("group", self._groups, parent) if parent else None

    def _check_open(self, step: steps.Open) -> str | None:
        return self._new("handle", step.handle) or self._mount_of(step.path)

    def _check_two_paths(self, step: steps.Rename | steps.Link) -> str | None:
        return self._mount_of(step.path) or self._mount_of(step.new_path)

    def _check_stat(self, step: steps.Stat) -> str | None:
        return self._handle(step) if step.path is None else self._mount_of(step.path)

    def _check_place(self, task: str, place: steps.Place | None) -> str | None:
        return None if place is None or place.mapping is None else self._owned("mapping", task, place.mapping)

    def _check_mmap(self, step: steps.Mmap) -> str | None:
        return self._new("mapping", step.mapping) or self._handle(step) or self._check_place(step.task, step.place)

    def _check_mremap(self, step: steps.Mremap) -> str | None:
        return self._mapping(step) or self._new("mapping", step.new_mapping) or self._check_place(step.task, step.place)

    def _check_fork(self, step: steps.Fork) -> str | None:
        if step.child == step.task:
            return f"{step.task} cannot fork itself under its own name; write another one"
        return f"{step.child} is a task already; a child needs a new name" if step.child in self._tasks else None

    def _check_pin(self, step: steps.Pin) -> str | None:
        if self._ios.get(step.io):
            return f"{step.io} is in flight already; unpin it first, or take another name"
        return self._mapping(step)

    def _segment(self, step: steps.Shmat | steps.Shmrm) -> str | None:
        key = ("segment", step.segment)
        if key in self._failed:
            return f"segment {step.segment} was never had: {self._failed[key]}"
        if key not in self._made:
            known = [name for kind, name in self._made if kind == "segment"]
            return f"there is no segment {step.segment} here{_near(step.segment, known)}"
        return None

    def _check_shmat(self, step: steps.Shmat) -> str | None:
        return self._new("mapping", step.mapping) or self._segment(step)

    # ── What changes after ──

    def _name(self, kind: str, name: str, line: int, step: TaskStep, outcome: Outcome | None) -> None:
        """A handle, mapping or segment is named; it is the task's unless the step failed."""
        self._made[kind, name] = line
        if outcome is not None and not outcome.succeeded:
            self._failed[kind, name] = f"its {step.verb} in line {line} came to {outcome}"
            return
        self._failed.pop((kind, name), None)
        if kind == "handle":
            self._tasks[step.task].handles[name] = line
        elif kind == "mapping":
            self._tasks[step.task].mappings[name] = line

    def _appear(self, book: dict[str, bool], name: str, outcome: Outcome | None) -> None:
        if outcome is None or outcome.succeeded:
            book[name] = True

    def _disappear(self, kind: str, book: dict[str, bool], name: str, line: int, outcome: Outcome | None) -> None:
        if outcome is None:
            book[name] = False
        elif outcome.succeeded:
            book.pop(name, None)
            self._gone[kind, name] = line

    def _close(self, line: int, step: steps.Close, outcome: Outcome | None) -> None:
        self._tasks[step.task].handles.pop(step.handle, None)
        self._closed[step.task, step.handle] = line

    def _fork(self, line: int, step: steps.Fork, outcome: Outcome | None) -> None:
        if outcome is None or outcome.succeeded:
            parent = self._tasks[step.task]
            self._tasks[step.child] = _Task(parent.handles, parent.mappings)

    def _end(self, line: int, step: TaskStep, outcome: Outcome | None) -> None:
        how = {"exit": "has exited", "kill": "was killed"}.get(step.verb, "died")
        self._tasks[step.task].ended = f"{how} in line {line}"

    def _pin(self, line: int, step: steps.Pin, outcome: Outcome | None) -> None:
        # A pin that failed holds nothing, and its end is no error.
        self._ios[step.io] = outcome is None or outcome.succeeded


_CHECKS: dict[type[Step], Callable[[Names, Any], str | None]] = {
    steps.Mount: Names._check_mount,
    steps.Remount: lambda names, step: names._there("mount", names._mounts, step.mount),
    steps.Umount: lambda names, step: names._there("mount", names._mounts, step.mount),
    steps.Cgroup: Names._check_cgroup,
    steps.RemoveCgroup: lambda names, step: names._there("group", names._groups, step.group),
    steps.Enter: lambda names, step: names._there("group", names._groups, step.group),
    steps.Unpin: lambda names, step: names._there("I/O", names._ios, step.io),
    steps.Open: Names._check_open,
    steps.Memfd: lambda names, step: names._new("handle", step.handle),
    **dict.fromkeys((steps.Unlink, steps.Mkdir), lambda names, step: names._mount_of(step.path)),
    **dict.fromkeys((steps.Rename, steps.Link), Names._check_two_paths),
    **dict.fromkeys(
        (
            steps.Seal,
            steps.Close,
            steps.Truncate,
            steps.Fallocate,
            steps.Punch,
            steps.Fadvise,
            steps.Readahead,
            steps.Pread,
            steps.Pwrite,
        ),
        Names._handle,
    ),
    steps.Stat: Names._check_stat,
    steps.Mmap: Names._check_mmap,
    steps.Mremap: Names._check_mremap,
    **dict.fromkeys(
        (
            steps.Munmap,
            steps.Write,
            steps.Read,
            steps.Store,
            steps.Load,
            steps.Madvise,
            steps.Mprotect,
            steps.Mlock,
            steps.Munlock,
            steps.Dio,
            steps.Shmdt,
        ),
        Names._mapping,
    ),
    steps.Pin: Names._check_pin,
    steps.Fork: Names._check_fork,
    steps.Shmget: lambda names, step: names._new("segment", step.segment),
    steps.Shmat: Names._check_shmat,
    steps.Shmrm: Names._segment,
}
_CHANGES: dict[type[Step], Callable[[Names, int, Any, Outcome | None], None]] = {
    steps.Mount: lambda names, line, step, got: names._appear(names._mounts, step.mount, got),
    steps.Umount: lambda names, line, step, got: names._disappear("mount", names._mounts, step.mount, line, got),
    steps.Cgroup: lambda names, line, step, got: names._appear(names._groups, step.group, got),
    steps.RemoveCgroup: lambda names, line, step, got: names._disappear("group", names._groups, step.group, line, got),
    steps.Unpin: lambda names, line, step, got: names._disappear("I/O", names._ios, step.io, line, got),
    steps.Open: lambda names, line, step, got: names._name("handle", step.handle, line, step, got),
    steps.Memfd: lambda names, line, step, got: names._name("handle", step.handle, line, step, got),
    steps.Close: Names._close,
    steps.Mmap: lambda names, line, step, got: names._name("mapping", step.mapping, line, step, got),
    steps.Mremap: lambda names, line, step, got: names._name("mapping", step.new_mapping, line, step, got),
    steps.Shmat: lambda names, line, step, got: names._name("mapping", step.mapping, line, step, got),
    steps.Shmget: lambda names, line, step, got: names._name("segment", step.segment, line, step, got),
    steps.Fork: Names._fork,
    steps.Pin: Names._pin,
    steps.Exit: Names._end,
    steps.Kill: Names._end,
}


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
