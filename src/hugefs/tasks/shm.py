"""System V shared memory on huge pages.

Rule 1: a segment is a file without a name that promises its pages when it is made; attaching promises nothing.
Rule 2: a removed segment ends with its last attachment.

Linux: ipc/shm.c; hugetlb_file_setup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hugefs.core.inode import OpenFile
from hugefs.core.ranges import PageRange
from hugefs.errors import InvalidRequest, NoHugePages
from hugefs.tasks.vma import PAGE_BYTES, HugeVma, Protection

if TYPE_CHECKING:
    from hugefs.core.filesystem import Filesystem
    from hugefs.tasks.task import Task

__all__ = ["Segment", "attach", "detach", "get", "remove"]

_SIZE_BYTES_MAX = 2**63 - PAGE_BYTES


class Segment:
    """``file`` keeps the pages until the segment is removed and nobody has it attached."""

    def __init__(self, fs: Filesystem, file: OpenFile) -> None:
        self.fs = fs
        self.file = file
        self.removed = False

    def remove(self) -> None:
        """IPC_RMID."""
        self.removed = True
        self.settle()

    def settle(self) -> None:
        """An attachment may have been the last one."""
        if self.removed and not self.file.closed and not self.file.inode.mappings:
            self.fs.close(self.file)


def get(task: Task, name: str, size: int, *, reserve: bool = True) -> None:
    """shmget: a new segment, with its promises. Raises InvalidRequest, NoHugePages."""
    machine = task.machine
    if not 0 < size <= _SIZE_BYTES_MAX:
        raise InvalidRequest(f"a segment of {size} bytes")
    pages = -(-size // PAGE_BYTES)
    file = machine.fs.open_unnamed(machine.internal)
    file.inode.size_bytes = pages * PAGE_BYTES
    if reserve:
        try:
            machine.fs.files.reserve(file.inode, PageRange(0, pages))
        except NoHugePages:
            machine.fs.close(file)
            raise
    machine.segments[name] = Segment(machine.fs, file)


def attach(task: Task, name: str, segment_name: str, *, readonly: bool = False) -> None:
    """shmat: the whole segment at a fresh address. Raises InvalidRequest where it is gone."""
    machine = task.machine
    segment = machine.segments[segment_name]
    if segment.file.closed:
        raise InvalidRequest(f"segment {segment_name} is gone")
    length = segment.file.inode.size_bytes
    mapping = machine.fs.map(segment.file, 0, length, writable=not readonly, reserve=False)
    start = machine.fresh_address(length)
    protection: Protection = "ro" if readonly else "rw"
    task.space.insert(HugeVma(start, mapping, protection, may_write=not readonly, segment=segment))
    task.ranges[name] = (start, length)


def detach(task: Task, name: str) -> None:
    """shmdt: what is left of the attachment at the mapping's address. Raises InvalidRequest where none is."""
    start, _ = task.ranges[name]
    attached = [vma for vma in task.space.vmas if isinstance(vma, HugeVma) and vma.segment is not None]
    ours = [vma for vma in attached if vma.start - vma.mapping.where.start * PAGE_BYTES == start]
    if not ours:
        raise InvalidRequest(f"no segment is attached at {name}")
    segment = ours[0].segment
    for vma in ours:
        if vma.segment is segment:
            task.unmap(vma.start, vma.end)


def remove(task: Task, name: str) -> None:
    """shmctl(IPC_RMID). Raises InvalidRequest where it is gone."""
    segment = task.machine.segments[name]
    if segment.file.closed:
        raise InvalidRequest(f"segment {name} is gone")
    segment.remove()
