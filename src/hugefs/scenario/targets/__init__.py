"""Where scenarios run: ``sim``, ``linux``, ``server``. Each module offers ``opened(profile)``, a context manager.

Rule 1: a target's module is imported when it is asked for: the simulation needs no sockets, the kernel no core.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import cast

from hugefs.scenario.target import Target

__all__ = ["TARGET_NAMES", "open_target"]

TARGET_NAMES = ("sim", "linux", "server")


def open_target(name: str, *, profile: str | None = None) -> AbstractContextManager[Target]:
    """The target of that name, ready for any number of files within the block.

    ``profile`` names whose behaviour the simulation shows: "ideal" (also for None) or "linux-6.18".
    Raises CannotRunHere on entering, where this machine or user cannot.
    """
    if name not in TARGET_NAMES:
        raise ValueError(f"no target {name!r}; there are {', '.join(TARGET_NAMES)}")
    module = importlib.import_module(f"hugefs.scenario.targets.{name}")
    return cast("AbstractContextManager[Target]", module.opened(profile))
