"""Soft offlining: a page's contents move to another page, and the page leaves the machine for good.

The page's frame number stays with its contents: which piece of memory they are in was never in the books.

Linux: mm/memory-failure.c, soft_offline_in_use_page; dissolve_free_hugetlb_folio.
"""

from __future__ import annotations

from hugefs.core.ranges import PageRange
from hugefs.tasks.task import Task
from hugefs.tasks.vma import HugeVma

__all__ = ["soft_offline"]


def soft_offline(task: Task, vma: HugeVma, index: int) -> None:
    """Read the page in; its contents take a free page that is promised to nobody, and the pool has one page less.

    Where there is no such page, one is made outside the pool and takes the other's place in it. Raises BusError.
    """
    fs = task.machine.fs
    fs.touch(vma.mapping, PageRange(index, index + 1), write=False)
    if fs.pool.pages_available > 0:
        fs.pool.retire_free_page()
