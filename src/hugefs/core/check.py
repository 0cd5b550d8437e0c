"""The invariants, numbered, and a check that states which one broke and shows everything.

They hold whenever no operation is in the middle. Tests, the lab and conformance runs check after every operation; a
server only when it is told to, for the check looks at everything. ``docs/invariants.md`` lists them in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hugefs.core.filesystem import Filesystem
from hugefs.core.inode import Inode
from hugefs.core.mapping import Mapping
from hugefs.core.page import PageState
from hugefs.core.ranges import PageRange, RangeMap
from hugefs.core.subpool import Subpool
from hugefs.errors import InvariantError

__all__ = ["INVARIANTS", "check", "check_at_rest", "dump"]

INVARIANTS: dict[str, str] = {}
_CHECKS: dict[str, Callable[[Filesystem], bool]] = {}
_Check = Callable[[Filesystem], bool]


def _invariant(number: str, sentence: str) -> Callable[[_Check], _Check]:
    def register(function: _Check) -> _Check:
        INVARIANTS[number] = sentence
        _CHECKS[number] = function
        return function

    return register


def check(fs: Filesystem) -> None:
    """Raise InvariantError, with a dump of everything, if an invariant does not hold."""
    for number, holds in _CHECKS.items():
        if not holds(fs):
            raise InvariantError(f"{number} is broken: {INVARIANTS[number]}\n{dump(fs)}")


def check_at_rest(fs: Filesystem) -> None:
    """The same, and that nothing is left where nothing is mounted, pinned or mapped any more."""
    check(fs)
    pool = fs.pool
    left = fs.superblocks or fs.subpools or fs.pins or fs.memmap.pages_allocated or pool.pages_reserved
    if left or pool.pages_free != pool.pages_total or pool.pages_surplus:
        raise InvariantError(f"something was left behind\n{dump(fs)}")


def dump(fs: Filesystem) -> str:
    """Everything the books say, for a person to read."""
    pool = fs.pool
    counters = f"total={pool.pages_total} free={pool.pages_free} reserved={pool.pages_reserved}"
    lines = [f"pool {counters} surplus={pool.pages_surplus} overcommit={pool.pages_overcommit}"]
    for subpool in fs.subpools:
        limits = f"max={subpool.pages_max} min={subpool.pages_min} mounted={subpool.mounted}"
        granted = f"used={subpool.pages_used} asked={subpool.pages_asked} reserved={subpool.pages_reserved}"
        lines.append(f"subpool {limits} {granted}")
    for superblock in fs.superblocks:
        lines.append(f"mount {superblock.name} attached={superblock.attached} users={superblock.users}")
        for inode in superblock.inodes.values():
            lines += _dump_inode(inode)
    lines += [f"pin {pin.runs}" for pin in fs.pins]
    lines += [f"frames {run.start}..{run.end} {page}" for run, page in fs.memmap.runs()]
    return "\n".join(lines)


def _dump_inode(inode: Inode) -> list[str]:
    counts = f"links={inode.links} opens={inode.opens} size={inode.size_bytes}"
    pages = f"promised={inode.reserve_map.entries!r} cached={inode.cache.runs()}"
    lines = [f"  inode {inode.number} {inode.kind.value} {counts} {pages}"]
    lines += [
        f"    mapping {mapping.parts!r} private={mapping.private} owner={mapping.owns_reserve}"
        f" pages={mapping.pages.runs()} awaited={mapping.awaited.runs()} lost={mapping.reserve_lost}"
        for mapping in inode.mappings
    ]
    return lines


def _inodes(fs: Filesystem) -> Iterator[Inode]:
    for superblock in fs.superblocks:
        yield from superblock.inodes.values()


def _mappings(fs: Filesystem) -> Iterator[Mapping]:
    for inode in _inodes(fs):
        yield from inode.mappings


def _promised(fs: Filesystem, inode: Inode) -> int:
    """Promises of a file and its private mappings that are not taken yet, or that came back with a page."""
    own = inode.reserve_map.entries.pages - inode.cache.pages
    awaited = [frames for mapping in inode.mappings for _, frames in mapping.awaited.runs()]
    came_back = sum(freed.pages for frames in awaited for freed in fs.memmap.gaps(frames))
    return own + came_back + sum(mapping.pages_promised for mapping in inode.mappings)


def _charge(fs: Filesystem, subpool: Subpool) -> int:
    """What a mount's quota should say: its promises and its live pages."""
    promised = sum(_promised(fs, inode) for inode in _inodes(fs) if inode.superblock.subpool is subpool)
    return promised + sum(run.pages for run, page in fs.memmap.runs() if page.subpool is subpool)


@_invariant("I1", "every page is free or allocated: total = free + allocated")
def _pages_are_free_or_allocated(fs: Filesystem) -> bool:
    return fs.pool.pages_total == fs.pool.pages_free + fs.memmap.pages_allocated


@_invariant("I2", "no counter is negative, and surplus pages are among the total")
def _counters_make_sense(fs: Filesystem) -> bool:
    pool = fs.pool
    return min(pool.pages_free, pool.pages_reserved) >= 0 and 0 <= pool.pages_surplus <= pool.pages_total


@_invariant("I3", "reserved is the sum of all promises: of minimums, of files, of private mappings")
def _reserved_is_the_sum_of_promises(fs: Filesystem) -> bool:
    minimums = sum(subpool.pages_reserved for subpool in fs.subpools)
    return fs.pool.pages_reserved == minimums + sum(_promised(fs, inode) for inode in _inodes(fs))


@_invariant("I4", "a mount's used count is its promises and its live pages, also those it no longer reaches")
def _used_is_what_was_granted(fs: Filesystem) -> bool:
    return all(subpool.pages_used == _charge(fs, subpool) for subpool in fs.subpools)


@_invariant("I5", "the pool holds for a mount's minimum exactly what is not in use of it: max(0, min - used)")
def _minimum_is_held_once(fs: Filesystem) -> bool:
    return all(
        s.pages_asked == 0 and s.pages_reserved == max(0, (s.pages_min or 0) - s.pages_used) for s in fs.subpools
    )


@_invariant("I6", "every promise has a page: reserved is at most free")
def _promises_can_be_kept(fs: Filesystem) -> bool:
    return fs.pool.pages_reserved <= fs.pool.pages_free


@_invariant("I7", "every page in a file's cache is in the file's reserve map")
def _cached_pages_are_in_the_map(fs: Filesystem) -> bool:
    return all(
        inode.reserve_map.count(indexes) == indexes.pages for inode in _inodes(fs) for indexes, _ in inode.cache.runs()
    )


@_invariant("I8", "a mount never exceeds its size")
def _size_is_never_exceeded(fs: Filesystem) -> bool:
    return all(subpool.pages_max is None or 0 <= subpool.pages_used <= subpool.pages_max for subpool in fs.subpools)


@_invariant("I9", "no reserve map has a plan that was neither committed nor aborted")
def _no_plan_is_open(fs: Filesystem) -> bool:
    maps = [inode.reserve_map for inode in _inodes(fs)]
    private = [mapping.reserve_map for mapping in _mappings(fs) if mapping.reserve_map]
    return all(reserve_map.plans_open == 0 for reserve_map in [*maps, *private])


@_invariant("I10", "a page's references are its places: cache, private mappings and pins, each one")
def _references_are_places(fs: Filesystem) -> bool:
    places: RangeMap[tuple[int, int, int]] = RangeMap()  # cached, mapped, pinned

    def add(frames: PageRange, which: int) -> None:
        for gap in places.gaps(frames):
            places.put(gap, (0, 0, 0))
        for run, counts in places.runs(frames):
            more = [count + (position == which) for position, count in enumerate(counts)]
            places.put(run, (more[0], more[1], more[2]))

    for inode in _inodes(fs):
        for _, frames in inode.cache.runs():
            add(frames, 0)
    for mapping in _mappings(fs):
        for _, frames in mapping.pages.runs():
            add(frames, 1)
    for pin in fs.pins:
        for _, frames in pin.runs:
            add(frames, 2)
    if places.pages != fs.memmap.pages_allocated:
        return False
    for run, page in fs.memmap.runs():
        for _, (cached, mapped, pinned) in places.runs(run):
            state = PageState.CACHED if cached else PageState.PRIVATE if mapped else PageState.ORPHANED
            if page.references != cached + mapped + pinned or page.mapped != mapped or page.state is not state:
                return False
    return True


@_invariant("I11", "an inode lives exactly as long as a name, an open file or a mapping needs it")
def _inodes_are_needed(fs: Filesystem) -> bool:
    return all(inode.links > 0 or inode.in_use for inode in _inodes(fs))


@_invariant("I12", "a mount's users are its open files and mappings; detached and without users it is gone")
def _users_are_counted(fs: Filesystem) -> bool:
    for superblock in fs.superblocks:
        users = sum(inode.opens + len(inode.mappings) for inode in superblock.inodes.values())
        if users != superblock.users or not (superblock.attached or users):
            return False
    return True


@_invariant("I13", "a subpool lives exactly as long as its mount, or a page or promise of it")
def _subpools_are_needed(fs: Filesystem) -> bool:
    return all(not subpool.ended and (subpool.mounted or subpool.pages_used > 0) for subpool in fs.subpools)
