"""Simulated processes on the core's file system: address spaces, faults, forks, control groups, System V memory, pins.

Nothing of the core is written again here: a piece of an address space is a core Mapping at an address. ``machine`` is
the door; ``mmap``, ``mremap``, ``touch``, ``advice``, ``protection``, ``fork`` and ``shm`` are the calls of a task.
"""
