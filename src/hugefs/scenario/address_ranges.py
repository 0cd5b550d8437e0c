"""What lies where in the address spaces of a scenario's tasks, as far as the file tells; for what must be known before.

Rule 1: an area is memory that no other name reaches but by ``at`` and ``to``; every name is a range of one area.
Rule 2: a piece that was ever cut, or may have been, stays cut: in doubt there is more here than on the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Piece", "Range", "Space"]


@dataclass(frozen=True, slots=True)
class Range:
    """Pages of an area; ``end`` is not among them."""

    area: int
    start: int
    end: int

    def meets(self, other: Range) -> bool:
        """Whether they have a page in common."""
        return self.area == other.area and self.start < other.end and other.start < self.end

    def covers(self, other: Range) -> bool:
        """Whether all of the other is in it."""
        return self.area == other.area and self.start <= other.start and other.end <= self.end


@dataclass(frozen=True, slots=True)
class Piece:
    """What one mmap or mremap put somewhere."""

    where: Range
    is_private_huge: bool
    is_cut: bool = False


class Space:
    """One task's address space. A file may have tens of thousands of areas, each with a piece or two."""

    def __init__(self, areas: dict[int, tuple[Piece, ...]] | None = None) -> None:
        self._areas = areas or {}

    def copy(self) -> Space:
        """The space of a forked child."""
        return Space(dict(self._areas))

    def cut(self, where: Range) -> None:
        """Something concerns these pages alone: pieces that reach beyond them are in parts from now on."""
        self._areas[where.area] = tuple(
            replace(piece, is_cut=True) if where.meets(piece.where) and not where.covers(piece.where) else piece
            for piece in self._pieces(where)
        )

    def put(self, where: Range, *, is_private_huge: bool, is_sure: bool) -> None:
        """Something is mapped there; ``is_sure`` where it is known that the call worked."""
        if is_sure:
            self.remove(where)
        else:
            self.cut(where)
        self._areas[where.area] = (*self._pieces(where), Piece(where, is_private_huge))

    def remove(self, where: Range) -> None:
        """Nothing is mapped there any more."""
        self.cut(where)
        kept: list[Piece] = []
        for piece in self._pieces(where):
            if not where.meets(piece.where):
                kept.append(piece)
                continue
            before = replace(piece.where, end=max(piece.where.start, where.start))
            after = replace(piece.where, start=min(piece.where.end, where.end))
            kept += [replace(piece, where=part) for part in (before, after) if part.start < part.end]
        self._areas[where.area] = tuple(kept)

    def has_private_huge(self, where: Range) -> bool:
        """Whether any private huge memory is there."""
        return any(piece.is_private_huge and where.meets(piece.where) for piece in self._pieces(where))

    def has_part(self, where: Range) -> bool:
        """Whether a part of private huge memory is there, and not all of it as it was mapped."""
        return any(
            piece.is_private_huge and where.meets(piece.where) and (piece.is_cut or not where.covers(piece.where))
            for piece in self._pieces(where)
        )

    def _pieces(self, where: Range) -> tuple[Piece, ...]:
        return self._areas.get(where.area, ())
