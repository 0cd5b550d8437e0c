"""charger.py: whoever pays is asked first, refunded where something fails, and paid back by whoever frees.

Here one purse pays for everyone; random calls with it: tests/models/pair.py, where it is settled after each.
"""

from __future__ import annotations

import pytest

from hugefs.core.charger import Charger
from hugefs.core.check import check, check_at_rest
from hugefs.core.filesystem import Filesystem
from hugefs.core.mount_options import MountOptions
from hugefs.errors import BusError, NoHugePages, NoSpace
from tests.core.helpers import PAGE, Purse, counters, create, end_everything, pages, refuses


def paid_world(limit: int, total: int = 8, **options: int) -> tuple[Filesystem, Purse]:
    """A mount ``m`` with a file ``f``, and a purse."""
    purse = Purse(limit)
    fs = Filesystem(PAGE, total, charger=purse)
    fs.mount("m", MountOptions(**options))
    return fs, purse


def test_nobody_pays_unless_somebody_is_named():
    """The server has no control groups: no limit, and nothing to remember."""
    charger = Charger()
    assert charger.charge_pages(5) is charger.charge_promises(5) is None
    assert charger.pages_chargeable(promised=True) == charger.pages_chargeable(promised=False) > 2**51
    charger.uncharge_pages(None, 5)
    charger.uncharge_promises(None, 5)


def test_promises_are_paid_when_made_and_pages_when_taken():
    """Rule 1. A shared promise stays paid while the page is there: it is the file's, taken or not."""
    fs, purse = paid_world(100)
    file = create(fs, next(iter(fs.superblocks)))
    shared, private = fs.map(file, 0, 2 * PAGE), fs.map(file, 0, 3 * PAGE, private=True)
    assert (purse.pages, purse.promises) == (0, 5)
    fs.touch(shared)
    fs.touch(private, pages(0, 1))
    assert (purse.pages, purse.promises) == (3, 5)
    fs.fallocate(file, 2 * PAGE, PAGE)
    assert (purse.pages, purse.promises) == (4, 6)
    fs.unmap(private)
    assert (purse.pages, purse.promises) == (3, 3)
    fs.punch_hole(file, 0, PAGE)
    assert (purse.pages, purse.promises) == (2, 2)
    assert purse.settled_with(fs)


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("options", [{}, {"pages_max": 5}, {"pages_min": 2}])
def test_a_refusal_by_the_purse_changes_nothing(options, private):
    """Its limit is met at mmap: neither quota nor pool has moved."""
    fs, purse = paid_world(2, **options)
    file = create(fs, next(iter(fs.superblocks)))
    refuses(fs, lambda: fs.map(file, 0, 3 * PAGE, private=private), NoHugePages)
    assert (purse.pages, purse.promises) == (0, 0)


@pytest.mark.parametrize("options", [{}, {"pages_max": 2}, {"pages_min": 2}])
@pytest.mark.parametrize("call", ["map", "map private", "fallocate", "touch"])
def test_a_refusal_by_quota_or_pool_is_refunded(call, options):
    """The purse was charged first: it must not pay for what was not given."""
    fs, purse = paid_world(100, total=2, **options)
    file = create(fs, next(iter(fs.superblocks)))
    mapping = fs.map(file, 0, 3 * PAGE, reserve=False)
    calls = {
        "map": lambda: fs.map(file, 0, 3 * PAGE),
        "map private": lambda: fs.map(file, 0, 3 * PAGE, private=True),
        "fallocate": lambda: fs.fallocate(file, 0, 3 * PAGE),
        "touch": lambda: fs.touch(mapping),
    }
    with pytest.raises((NoHugePages, NoSpace, BusError)):
        calls[call]()
    assert purse.settled_with(fs)
    check(fs)
    refuses(fs, calls[call], {"fallocate": NoSpace, "touch": BusError}.get(call, NoHugePages))
    assert purse.settled_with(fs)


@pytest.mark.parametrize("promised", [False, True])
def test_a_touch_goes_as_far_as_the_purse(promised):
    """Pages before the one that cannot be paid stay, promised or not."""
    fs, purse = paid_world(4)
    file = create(fs, next(iter(fs.superblocks)))
    mapping = fs.map(file, 0, 4 * PAGE, reserve=promised)
    purse.limit = 4 if promised else 2
    purse.pages += 2 if promised else 0
    with pytest.raises(BusError):
        fs.touch(mapping)
    purse.pages -= 2 if promised else 0
    assert file.inode.cache.pages == 2
    assert purse.settled_with(fs)
    check(fs)


def test_everything_is_paid_back():
    """Rule 2, whoever frees it: a pin's end, a fork's end, an unmount."""
    fs, purse = paid_world(100, pages_max=8, pages_min=2)
    mount = next(iter(fs.superblocks))
    file = create(fs, mount)
    private = fs.map(file, 0, 2 * PAGE, private=True)
    fs.touch(private)
    fs.fork(private)
    fs.discard(private, pages(0, 1))
    fs.split(private, 1)
    fs.pin(fs.map(file, 0, 2 * PAGE))
    fs.close(file)
    assert purse.settled_with(fs)
    end_everything(fs)
    fs.umount(mount)
    check_at_rest(fs)
    assert (counters(fs), purse.pages, purse.promises) == ((8, 8, 0, 0), 0, 0)
