"""mremap of a part of a private mapping takes the promises from the whole of it, and carries only the part's along."""

from __future__ import annotations

from hugefs.lab.bug import Bug
from hugefs.tasks.address_space import AddressSpace
from hugefs.tasks.vma import HugeVma, Vma

__all__ = ["BUG"]


def _carve_to_move(self: AddressSpace, start: int, end: int) -> list[Vma]:
    """Linux: clear_vma_resv_huge_pages, which is given the whole mapping."""
    before = [(vma.start, vma.end) for vma in self.overlapping(start, end)]
    moved = self.carve(start, end)
    for old_start, old_end in before:
        for vma in self.overlapping(old_start, old_end):
            if vma not in moved and isinstance(vma, HugeVma) and vma.owns_reserve:
                vma.mapping.reserve_map = None
    return moved


BUG = Bug(
    name="a_partial_move_strips_the_rest",
    what="When a part of a private mapping is moved by mremap, the parts left behind lose their promises without giving"
    " them back.",
    linux="clear_vma_resv_huge_pages, called by move_vma",
    since="5.16",
    fixed="not yet",
    harm="The promises of the rest are counted until the machine is started again, and its owner can die of SIGBUS."
    " Never to be tried on a machine one wants to keep.",
    shows="a-partial-move-strips-the-rest",
    replaces={(AddressSpace, "carve_to_move"): _carve_to_move},
)
