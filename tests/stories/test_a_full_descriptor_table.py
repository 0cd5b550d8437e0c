"""No descriptor is left: a clear error, nothing taken, nothing lost; and arrays need none once they are mapped."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, resource, hugefs
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
mount = hugefs.mount("64M", huge="off")

# As many arrays as pages, with a table of forty.
resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
arrays = [mount.full(10, number) for number in range(32)]
assert [int(array[0]) for array in arrays] == list(range(32))
del arrays

fillers = []
try:
    while True:
        fillers.append(os.dup(0))
except OSError:
    pass
for ask in (lambda: mount.zeros(3, name="x"), lambda: mount.open("y", "x+b"), lambda: mount.put([1])):
    try:
        ask()
    except hugefs.NoDescriptors as error:
        assert "descriptor" in str(error), error
    else:
        raise AssertionError
for start in (lambda: hugefs.mount("4M"), lambda: hugefs.connect(mount.address)):
    try:
        start()
    except hugefs.NoDescriptors:
        pass
    else:
        raise AssertionError

# A child is not refused; it is told why it can only hold.
pid = os.fork()
if pid == 0:
    try:
        mount.meminfo()
    except hugefs.ServerGone as error:
        os._exit(0 if "descriptor" in str(error) else 2)
    os._exit(1)
assert os.waitpid(pid, 0)[1] == 0

for filler in fillers:
    os.close(filler)
if "y" in mount.listdir():
    mount.unlink("y")
assert mount.listdir() == [], mount.listdir()
assert mount.holders() == [], mount.holders()
assert mount.meminfo().pages_free == 32
assert mount.zeros(3).tolist() == [0, 0, 0]
"""


def test_a_full_descriptor_table():
    """In a process of its own, because it is that process's table."""
    subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], check=True, timeout=60)
