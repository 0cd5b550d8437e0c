"""Scenarios: what tasks do to huge page files, step by step; the same file on the simulation, the kernel and a server.

Read ``steps`` for the verbs, ``target`` for what carries them out, ``runner`` for how a file is run and checked.
"""
