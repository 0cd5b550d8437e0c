"""AddressSpace: a task's Vmas, ordered and disjoint, by byte address.

Rule 1: a range is cut out whole or not at all: where a boundary would stand inside a huge page, nothing is changed.
Rule 2: mappings of huge pages never merge, nor do they in the kernel (VM_DONTEXPAND); ordinary ones do.

Linux: ``struct mm_struct``; mm/vma.c, vms_gather_munmap_vmas.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise

from hugefs.core.filesystem import Filesystem
from hugefs.core.mapping import Mapping
from hugefs.core.ranges import PageRange
from hugefs.errors import InvalidRequest
from hugefs.tasks.vma import HugeVma, OrdinaryVma, Vma

__all__ = ["AddressSpace"]


class AddressSpace:
    """``vmas`` in the order of their addresses."""

    def __init__(self, fs: Filesystem) -> None:
        self.fs = fs
        self.vmas: list[Vma] = []
        self._starts: list[int] = []

    def find(self, address: int) -> Vma | None:
        """What is mapped at an address."""
        i = bisect_right(self._starts, address) - 1
        return self.vmas[i] if i >= 0 and address < self.vmas[i].end else None

    def overlapping(self, start: int, end: int) -> list[Vma]:
        """What is mapped somewhere between two addresses."""
        i = bisect_right(self._starts, start) - 1
        if i < 0 or self.vmas[i].end <= start:
            i += 1
        return self.vmas[i : bisect_left(self._starts, end)] if start < end else []

    def insert(self, vma: Vma) -> None:
        """Put a Vma where nothing is."""
        assert not self.overlapping(vma.start, vma.end), "something is mapped there"
        i = bisect_left(self._starts, vma.start)
        self.vmas.insert(i, vma)
        self._starts.insert(i, vma.start)

    def carve(self, start: int, end: int) -> list[Vma]:
        """Cut at both addresses; what is between them, still in place. Raises InvalidRequest, and changed nothing."""
        for boundary in (start, end):
            vma = self.find(boundary)
            if vma is not None and not vma.can_be_cut(boundary):
                raise InvalidRequest(f"a mapping of huge pages cannot be cut at address {boundary:#x}")
        for boundary in (start, end):
            vma = self.find(boundary)
            if vma is not None and vma.start < boundary:
                self.insert_tail(vma, boundary)
        return self.overlapping(start, end)

    def insert_tail(self, vma: Vma, address: int) -> None:
        """Cut a Vma in two."""
        self.insert(vma.cut(self.fs, address))

    def carve_to_move(self, start: int, end: int) -> list[Vma]:
        """As ``carve``; these Vmas go to another address of this task, with all they have."""
        return self.carve(start, end)

    def merge_around(self, start: int, end: int) -> None:
        """Ordinary neighbours that differ in nothing are one again, in and next to a range."""
        vmas = self.overlapping(start - 1, end + 1)
        for vma, following in pairwise(vmas):
            if isinstance(vma, OrdinaryVma) and isinstance(following, OrdinaryVma) and vma.continues_in(following):
                self.remove([following, vma])
                vma.end = following.end
                self.insert(vma)
                self.merge_around(start, end)
                return

    def remove(self, vmas: list[Vma]) -> None:
        """Take Vmas out, without a word to their memory."""
        if len(vmas) == len(self.vmas):
            self.vmas, self._starts = [], []
            return
        for vma in vmas:
            i = bisect_left(self._starts, vma.start)
            del self.vmas[i], self._starts[i]

    def unmap(self, start: int, end: int) -> list[Vma]:
        """Unmap what is between two addresses. Raises InvalidRequest, and changed nothing. Linux: do_vmi_munmap."""
        vmas = self.carve(start, end)
        self.remove(vmas)
        self._release(vmas)
        return vmas

    def unmap_everything(self) -> list[Vma]:
        """The task ends. Linux: exit_mmap."""
        vmas = self.vmas
        self.remove(vmas)
        self._release(vmas)
        return vmas

    def _release(self, vmas: list[Vma]) -> None:
        parts: list[tuple[Mapping, PageRange]] = [
            (vma.mapping, vma.mapping.where) for vma in vmas if isinstance(vma, HugeVma)
        ]
        if parts:
            self.fs.unmap_all(parts)

    def fork(self) -> AddressSpace:
        """A child's: the same addresses, the same pages, no promises."""
        child = type(self)(self.fs)
        copies: dict[int, dict[int, int]] = {}  # pieces of one mapping keep common contents
        for vma in self.vmas:
            if vma.dont_fork:
                continue
            if isinstance(vma, HugeVma):
                copy: Vma = HugeVma(
                    vma.start,
                    self.fs.fork(vma.mapping),
                    vma.protection,
                    may_write=vma.may_write,
                    segment=vma.segment,
                )
            else:
                assert isinstance(vma, OrdinaryVma)
                contents = vma.contents
                if not vma.shared:
                    contents = copies.setdefault(id(vma.contents), dict(vma.contents))
                copy = OrdinaryVma(
                    vma.start, vma.end, vma.protection, shared=vma.shared, contents=contents, first=vma.first
                )
            child.vmas.append(copy)
            child._starts.append(copy.start)
        return child
