"""The same calls give the same books, in every interpreter, whatever it hashes with.

Why: a schedule that the lab prints must replay, and two servers given the same requests must not differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[1] + "/src")
from hugefs.core.check import dump
from tests.models.walk import walk
for seed in range(12):
    pair = walk(seed, 120, end=False)
    print(pair.effects)
    print(*[line for line in dump(pair.fs).splitlines() if not line.startswith("frames")], sep="\\n")
    print(*[(run, page.state, page.references, page.mapped) for run, page in pair.fs.memmap.runs()], sep="\\n")
"""


def books(hash_seed: str) -> str:
    """What an interpreter of its own says after a dozen random walks."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", SCRIPT, str(ROOT)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_two_interpreters_keep_the_same_books():
    """Twelve random walks, every effect, every counter, every page."""
    first, second = books("1"), books("4711")
    assert first == second
    assert first.count("pool total=") == 12
