"""What a mount says about itself: who holds pages, and the four counters."""

from __future__ import annotations

from dataclasses import dataclass

from hugefs.units import format_size
from hugefs.wire.messages import HolderRecord, MeminfoReply

__all__ = ["Holder", "MemInfo"]


@dataclass(frozen=True)
class Holder:
    """One process's use of one file.

    ``path`` is None for a nameless file; the last name of an unlinked one has ``(deleted)`` behind it.
    ``how``: open, mapped, private, pinned or waiting.
    """

    pid: int
    uid: int
    command: str
    path: str | None
    pages: int
    how: str

    @classmethod
    def of(cls, record: HolderRecord) -> Holder:
        """The holder that a message tells of."""
        return cls(record.pid, record.uid, record.command, record.path, record.pages_count, record.how)

    def __str__(self) -> str:
        where = self.path if self.path is not None else "a nameless file"
        pages = "1 page" if self.pages == 1 else f"{self.pages} pages"
        return f"{self.command} (pid {self.pid}, uid {self.uid}): {pages} of {where}, {self.how}"


@dataclass(frozen=True)
class MemInfo:
    """The counters of the pool under a mount, in pages of ``page_bytes``; printed as /proc/meminfo has them.

    ``pages_total``: pages of the pool, ``pages_surplus`` of them beyond its size. ``pages_free``: in no file;
    ``pages_reserved`` of those are promised. ``pages_available``: what this mount could be granted now, by its own size
    and by the pool. ``waiting``: requests in the queue.
    """

    pages_total: int
    pages_free: int
    pages_reserved: int
    pages_surplus: int
    pages_available: int
    page_bytes: int
    backing: str
    waiting: int

    @classmethod
    def of(cls, reply: MeminfoReply, page_bytes: int) -> MemInfo:
        """The counters that a message tells of."""
        return cls(
            pages_total=reply.pages_total,
            pages_free=reply.pages_free,
            pages_reserved=reply.pages_reserved,
            pages_surplus=reply.pages_surplus,
            pages_available=reply.pages_available,
            page_bytes=page_bytes,
            backing=reply.backing,
            waiting=reply.waiting,
        )

    @property
    def total(self) -> int:
        """Short for ``pages_total``."""
        return self.pages_total

    @property
    def free(self) -> int:
        """Short for ``pages_free``."""
        return self.pages_free

    @property
    def reserved(self) -> int:
        """Short for ``pages_reserved``."""
        return self.pages_reserved

    @property
    def surplus(self) -> int:
        """Short for ``pages_surplus``."""
        return self.pages_surplus

    @property
    def available(self) -> int:
        """Short for ``pages_available``."""
        return self.pages_available

    @property
    def used(self) -> int:
        """Pages that are taken or promised."""
        return self.pages_total - self.pages_free + self.pages_reserved

    def __getitem__(self, name: str) -> int:
        """A counter by its name in /proc/meminfo: ``info["HugePages_Free"]``. Raises KeyError."""
        return self._by_kernel_name()[name]

    def _by_kernel_name(self) -> dict[str, int]:
        return {
            "HugePages_Total": self.pages_total,
            "HugePages_Free": self.pages_free,
            "HugePages_Rsvd": self.pages_reserved,
            "HugePages_Surp": self.pages_surplus,
        }

    def __str__(self) -> str:
        lines = (
            *((f"{name}:", count) for name, count in self._by_kernel_name().items()),
            ("available:", self.pages_available),
            ("Hugepagesize:", format_size(self.page_bytes)),
            ("backing:", self.backing),
        )
        return "\n".join(f"{name:<16} {value:>8}" for name, value in lines)
