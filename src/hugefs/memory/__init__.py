"""Real bytes: huge pages from the kernel, by descriptor and by mapping. Knows nothing of names, quotas or users."""

from __future__ import annotations

from hugefs.memory.backing import Backing, Probed, probe
from hugefs.memory.mapped import MappedPages
from hugefs.memory.memory_file import MemoryFile

__all__ = ["Backing", "MappedPages", "MemoryFile", "Probed", "probe"]
