"""The twelve lines of the README, as a user would run them, with every way to start a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np
import hugefs

def train(weights, row):
    weights[row] += row            # into the same pages
    return os.getpid(), float(weights.sum() >= 0), type(weights).__name__

def look(mount, file):
    return sorted(mount.listdir()), file.pread(5, 0), mount.meminfo().pages_total

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with hugefs.mount("64M", huge="off") as m:
        w = m.zeros((8, 1 << 20), "f4", name="weights")
        f = m.open("notes", "w+b")
        f.write(b"hello")
        with ProcessPoolExecutor(4, mp_context=context) as pool:
            done = list(pool.map(train, [w] * 8, range(8)))
            assert {kind for _, _, kind in done} == {"HugeArray"}, done
            assert os.getpid() not in {pid for pid, _, _ in done}
            assert pool.submit(look, m, f).result() == (["notes", "weights"], b"hello", 32)
            m.unlink("weights")
            assert pool.submit(np.sum, w[3:5, ::2]).result() == 7 * (1 << 19)
        assert [float(row[7]) for row in w] == list(range(8))
        assert m.meminfo().pages_free == 32 - 16 - 1
        assert {holder.pid for holder in m.holders()} == {os.getpid()}
        del w
        assert m.meminfo().pages_free == 31
        assert "HugePages_Total:" in str(m.meminfo())
"""


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_workers_map_the_same_pages(tmp_path, start_method):
    """No copies: what a worker writes the others see; the pages stay while anybody uses them, and no longer."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", program, start_method],
        check=False,
        timeout=100,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
