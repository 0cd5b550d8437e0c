"""Vma: a piece of an address space. Huge pages: a core Mapping at an address. Base pages: bytes that nobody counts.

Rule 1: one Vma, one Mapping: it is split where the Vma is split, and the Mapping's first page stands at ``start``.
Rule 2: a Vma of huge pages is cut at huge page boundaries only; elsewhere it is EINVAL.
Rule 3: protection and address are the Vma's; pages, promises and who owns them are the Mapping's.

Linux: ``struct vm_area_struct``; hugetlb_vm_op_split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from hugefs.core.ranges import PageRange

if TYPE_CHECKING:
    from hugefs.core.filesystem import Filesystem
    from hugefs.core.mapping import Mapping
    from hugefs.tasks.shm import Segment

__all__ = ["BASE_PAGE_BYTES", "PAGE_BYTES", "HugeVma", "OrdinaryVma", "Protection", "Vma"]

PAGE_BYTES = 2 << 20
BASE_PAGE_BYTES = 4096

Protection: TypeAlias = Literal["rw", "ro", "none"]


class Vma:
    """``may_write``: mprotect may make it writable. ``shared``: as the mmap said. ``dont_fork``: a child has it not."""

    alignment_bytes = BASE_PAGE_BYTES

    def __init__(self, start: int, end: int, protection: Protection, *, shared: bool, may_write: bool) -> None:
        self.start = start
        self.end = end
        self.protection = protection
        self.shared = shared
        self.may_write = may_write
        self.dont_fork = False

    def allows(self, write: bool) -> bool:
        """Whether the protection lets a touch through."""
        return self.protection == "rw" or (self.protection == "ro" and not write)

    def can_be_cut(self, address: int) -> bool:
        """Whether a boundary may stand there."""
        return not self.start < address < self.end or (address - self.start) % self.alignment_bytes == 0

    def move_to(self, start: int) -> None:
        """The same memory at another address."""
        self.start, self.end = start, start + self.end - self.start

    def cut(self, fs: Filesystem, address: int) -> Vma:
        """Keep what is below ``address``; what is from there on is returned."""
        raise AssertionError("each kind knows how")

    def _tail_like(self, tail: Vma) -> None:
        tail.dont_fork = self.dont_fork
        self.end = tail.start


class HugeVma(Vma):
    """Huge pages. ``segment``: the System V segment that it is an attachment of."""

    alignment_bytes = PAGE_BYTES

    def __init__(
        self,
        start: int,
        mapping: Mapping,
        protection: Protection,
        *,
        may_write: bool = True,
        segment: Segment | None = None,
    ) -> None:
        end = start + mapping.where.pages * PAGE_BYTES
        super().__init__(start, end, protection, shared=not mapping.private, may_write=may_write)
        self.mapping = mapping
        self.segment = segment

    @property
    def owns_reserve(self) -> bool:
        """Whether its pages were promised to it."""
        return self.mapping.owns_reserve

    @property
    def reserve_lost(self) -> bool:
        """Whether the owner of the promise took a page from it."""
        return self.mapping.reserve_lost

    def index(self, address: int) -> int:
        """The file's page at an address."""
        return self.mapping.where.start + (address - self.start) // PAGE_BYTES

    def pages(self, start: int, end: int) -> PageRange:
        """The file's pages between two addresses, as far as they are in here; whole pages."""
        first, last = max(start, self.start), min(end, self.end)
        return PageRange(self.index(first), self.index(last - 1) + 1 if last > first else self.index(first))

    def cut(self, fs: Filesystem, address: int) -> HugeVma:
        """As in Vma; the Mapping is split there."""
        rest = fs.split(self.mapping, self.index(address))
        tail = HugeVma(address, rest, self.protection, may_write=self.may_write, segment=self.segment)
        self._tail_like(tail)
        return tail


class OrdinaryVma(Vma):
    """Base pages. ``contents``: bytes by their place, ``first`` is the place of ``start``. Never in any counter."""

    def __init__(
        self,
        start: int,
        end: int,
        protection: Protection,
        *,
        shared: bool,
        contents: dict[int, int] | None = None,
        first: int = 0,
    ) -> None:
        super().__init__(start, end, protection, shared=shared, may_write=True)
        self.contents: dict[int, int] = {} if contents is None else contents
        self.first = first
        self.locked = False

    def place(self, address: int) -> int:
        """Where in ``contents`` the byte of an address is."""
        return self.first + address - self.start

    def continues_in(self, other: OrdinaryVma) -> bool:
        """Whether the other one follows, with the same bytes and the same rights."""
        alike = all(getattr(self, name) == getattr(other, name) for name in ("protection", "locked", "dont_fork"))
        return (
            alike
            and self.contents is other.contents
            and self.end == other.start
            and self.place(self.end) == other.first
        )

    def clear(self, start: int, end: int) -> None:
        """Zeros between two addresses."""
        first, last = self.place(max(start, self.start)), self.place(min(end, self.end))
        for place in [place for place in self.contents if first <= place < last]:
            del self.contents[place]

    def cut(self, fs: Filesystem, address: int) -> OrdinaryVma:
        """As in Vma; both parts keep their bytes."""
        tail = OrdinaryVma(
            address,
            self.end,
            self.protection,
            shared=self.shared,
            contents=self.contents,
            first=self.place(address),
        )
        tail.locked = self.locked
        self._tail_like(tail)
        return tail
