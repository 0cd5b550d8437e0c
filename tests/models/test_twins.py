"""Every structure of the core has a naive twin: the same random events to both, every observable compared after each.

A twin has no runs, no halves and no clever order: a dict, a set, a list of events. Where the two differ one is wrong,
and it is hardly ever the twin.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from hugefs.core.page import HugePage, Memmap, PageState
from hugefs.core.page_cache import PageIndex
from hugefs.core.pool import HugePool
from hugefs.core.ranges import PageRange, RangeMap
from hugefs.core.reserve_map import FileReserveMap, Plan, PrivateReserveMap, ReserveMap
from hugefs.core.subpool import Subpool
from hugefs.errors import NoHugePages
from tests.core.helpers import counters_of

END = 12
RANGES = st.builds(PageRange, st.integers(0, END), st.integers(0, END))
FILLED = RANGES.filter(lambda where: where.pages > 0)
QUICK = settings(max_examples=60)


def inside(where: PageRange) -> range:
    """Its indexes one by one; none of an empty or inverted one."""
    return range(where.start, where.end)


@QUICK
@given(st.lists(st.tuples(st.sampled_from(["put", "remove"]), RANGES, st.sampled_from("ab"), RANGES), max_size=40))
def test_range_map_is_a_dict(events):
    """Values by page; and Rule 2: the runs are the longest possible, so that their number means something."""
    real: RangeMap[str] = RangeMap()
    twin: dict[int, str] = {}
    for verb, where, value, look in events:
        if verb == "put":
            real.put(where, value)
            twin.update(dict.fromkeys(inside(where), value))
        else:
            removed = {index: found for run, found in real.remove(where) for index in inside(run)}
            assert removed == {index: twin.pop(index) for index in inside(where) if index in twin}
        runs = real.runs()
        assert {index: found for run, found in runs for index in inside(run)} == twin
        assert all(run.pages > 0 for run, _ in runs)
        assert all(before[0].end < after[0].start or before[1] != after[1] for before, after in pairwise(runs))
        assert (real.pages, bool(real)) == (len(twin), bool(twin))
        seen = {index: found for run, found in real.runs(look) for index in inside(run)}
        assert seen == {index: twin[index] for index in inside(look) if index in twin}
        assert real.count(look) == len(seen)
        assert [i for gap in real.gaps(look) for i in inside(gap)] == [i for i in inside(look) if i not in twin]
        first = real.first(look)
        assert (first and first.start) == (min(seen) if seen else None)
        assert [real.at(index) for index in range(-1, END + 2)] == [twin.get(index) for index in range(-1, END + 2)]


@QUICK
@given(st.lists(st.tuples(st.booleans(), RANGES, st.integers(0, 3)), max_size=40))
def test_page_index_is_a_dict(events):
    """Frames by index; runs of consecutive frames join and split as they like, the frames stay."""
    real, twin = PageIndex(), dict[int, int]()
    for insert, where, frame in events:
        if insert:
            real.insert(where, frame * 4)
            twin.update({index: frame * 4 + index - where.start for index in inside(where)})
        else:
            out = {i: f for run, frames in real.remove(where) for i, f in zip(inside(run), inside(frames), strict=True)}
            assert out == {index: twin.pop(index) for index in inside(where) if index in twin}
        there = {i: f for run, frames in real.runs() for i, f in zip(inside(run), inside(frames), strict=True)}
        assert (there, real.pages) == (twin, len(twin))
        assert real.count(where) + sum(hole.pages for hole in real.holes(where)) == len(inside(where))


STEPS = st.lists(
    st.tuples(st.sampled_from(["plan", "commit", "abort", "remove"]), FILLED, st.integers(0, 9)), max_size=40
)


@QUICK
@given(st.sampled_from([FileReserveMap, PrivateReserveMap]), STEPS)
def test_reserve_maps_are_sets(kind: type[ReserveMap], events: list[tuple[str, PageRange, int]]):
    """Two plans at once, committed in any order, removals in between: what each says it added is what was new."""
    real, twin = kind(), set[int]()
    plans: list[Plan] = []
    for verb, where, which in events:
        if verb == "plan":
            plan = real.plan_add(where)
            assert plan.pages == len(set(inside(where)) - twin)
            plans.append(plan)
        elif verb == "remove":
            assert real.remove(where) == len(twin & set(inside(where)))
            twin -= set(inside(where))
        elif plans:
            plan = plans.pop(which % len(plans))
            if verb == "commit":
                assert real.commit_add(plan) == len(set(inside(plan.where)) - twin)
                twin |= set(inside(plan.where))
            else:
                real.abort_add(plan)
        assert real.plans_open == len(plans)
        assert real.count(where) == len(twin & set(inside(where)))
        run, promised = real.first_run(where)
        alike = {index in twin for index in inside(run)}
        assert alike == {promised if kind is FileReserveMap else not promised}
        assert run.start == where.start
        assert run.end == where.end or (run.end in twin) not in alike


class PageByPage:
    """A pool as a list of pages: each free or taken, each promise a mark of its own. One page at a time."""

    def __init__(self, total: int, overcommit: int) -> None:
        self.persistent = total
        self.surplus = 0
        self.taken = 0
        self.promises = 0
        self.overcommit = overcommit

    @property
    def free(self) -> int:
        return self.persistent + self.surplus - self.taken

    def room(self) -> None:
        """One more page than the promises need; a surplus one if there is none."""
        if self.free <= self.promises:
            if self.surplus >= self.overcommit:
                raise NoHugePages("none left")
            self.surplus += 1

    def shed(self) -> None:
        if self.surplus and self.free > self.promises:
            self.surplus -= 1

    def reserve_one(self) -> None:
        self.room()
        self.promises += 1

    def take_one(self) -> None:
        self.room()
        self.taken += 1

    def each(self, count: int, one: str) -> None:
        """``count`` times, or not at all."""
        before = vars(self).copy()
        try:
            for _ in range(count):
                getattr(self, one)()
        except NoHugePages:
            vars(self).update(before)
            raise

    def resize(self, count: int) -> None:
        while self.persistent < count:
            self.persistent += 1
            self.surplus -= bool(self.surplus)
        while self.persistent > count:
            self.persistent -= 1
            self.surplus += self.free < self.promises


POOL_CALLS = st.tuples(
    st.sampled_from(["reserve", "unreserve", "take_promised", "take_unpromised", "give_back", "resize", "overcommit"]),
    st.integers(0, 6),
    st.integers(0, 6),
)


@settings(max_examples=150)
@given(st.integers(0, 6), st.integers(0, 3), st.lists(POOL_CALLS, max_size=40))
def test_pool_runs_are_page_by_page(total, overcommit, events):
    """Many pages at once come to the same as one after the other, to the last surplus page; and a refused call changes
    nothing, where a page-by-page one would have to put back what it had."""
    real, twin = HugePool(total, overcommit), PageByPage(total, overcommit)
    for verb, count, part in events:
        outcomes = []
        for pool in (real, twin):
            with suppress(NoHugePages):
                apply(pool, verb, count, part)
                outcomes.append(pool)
        assert outcomes in ([], [real, twin])
        assert counters_of(real) == (twin.persistent + twin.surplus, twin.free, twin.promises, twin.surplus)
        assert real.pages_persistent == twin.persistent


def apply(pool: HugePool | PageByPage, verb: str, count: int, part: int) -> None:
    """One legal call; nobody gives back more than was taken."""
    if isinstance(pool, PageByPage):
        promises, taken = pool.promises, pool.taken
    else:
        promises, taken = pool.pages_reserved, pool.pages_total - pool.pages_free
    kept = min(count, promises)
    back = min(count, taken)
    if isinstance(pool, HugePool):
        calls = {
            "reserve": lambda: pool.reserve(count),
            "unreserve": lambda: pool.unreserve(kept),
            "take_promised": lambda: pool.take_promised(kept),
            "take_unpromised": lambda: pool.take_unpromised(count),
            "give_back": lambda: pool.give_back(back, promised=min(part, back)),
            "resize": lambda: pool.resize(count),
            "overcommit": lambda: pool.set_overcommit(count),
        }
        calls[verb]()
    elif verb in ("reserve", "take_unpromised"):
        pool.each(count, "reserve_one" if verb == "reserve" else "take_one")
    elif verb == "unreserve":
        for _ in range(kept):
            pool.promises -= 1
            pool.shed()
    elif verb == "take_promised":
        pool.promises -= kept
        pool.taken += kept
    elif verb == "give_back":
        pool.promises += min(part, back)
        for _ in range(back):
            pool.taken -= 1
            pool.shed()
    elif verb == "resize":
        pool.resize(count)
    else:
        pool.overcommit = count


@settings(max_examples=150)
@given(
    st.none() | st.integers(0, 6),
    st.integers(0, 4),
    st.lists(
        st.tuples(st.sampled_from(["get", "granted", "refused", "put", "unmount"]), st.integers(0, 4)), max_size=40
    ),
)
def test_subpool_is_its_list_of_events(maximum, minimum, events):
    """What it has used, what it only asked for and what the pool must hold for it are counted anew from all that ever
    happened: charges of other tasks come and go between a charge and the pool's answer."""
    real = Subpool(HugePool(100), maximum, minimum)
    granted, asked, mounted = 0, list[tuple[int, int]](), True  # asked: what a task wants, and how much from the pool
    promised = minimum  # promises that the pool has made for it, for pages or for the minimum
    for verb, count in events:
        used = granted + sum(pages for pages, _ in asked)
        if verb == "get" and mounted:
            with suppress(NoHugePages):
                from_pool = real.get_pages(count)
                assert maximum is None or used + count <= maximum
                asked.append((count, from_pool))
                continue
            assert maximum is not None
            assert used + count > maximum
        elif verb in ("granted", "refused") and asked:
            pages, from_pool = asked.pop(count % len(asked))
            if verb == "granted":
                granted += pages
                promised += from_pool - real.granted(from_pool)
            else:
                promised -= real.put_pages(pages, pages - from_pool)
        elif verb == "put" and granted >= count > 0:
            granted -= count
            promised -= real.put_pages(count)
        elif verb == "unmount" and mounted:
            mounted = False
            promised -= real.unmount()
        used = granted + sum(pages for pages, _ in asked)
        if not mounted and not used:
            assert (real.ended, promised, real.pages_reserved) == (True, 0, 0)
            return
        from_minimum = sum(pages - from_pool for pages, from_pool in asked)
        assert (real.ended, real.pages_used) == (False, used)
        assert real.pages_left == (None if maximum is None else maximum - used)
        assert real.pages_reserved == max(0, minimum - granted - from_minimum)
        assert promised == granted + from_minimum + real.pages_reserved


MEMMAP_CALLS = st.tuples(
    st.sampled_from(["allocate", "cache", "own", "get", "map", "put", "unmap", "uncache", "restore"]), RANGES
)


@QUICK
@given(st.lists(MEMMAP_CALLS, max_size=40))
def test_memmap_is_a_dict_per_page(events):
    """Each page by itself: its state, its references, its mappings. Runs only save work."""
    real, twin, total = Memmap(), dict[int, HugePage](), 0
    for verb, where in events:
        if verb == "allocate":
            count = len(inside(where))
            if count:
                assert real.allocate(count, None, restore_reserve=True) == PageRange(total, total + count)
                twin.update(dict.fromkeys(range(total, total + count), HugePage(PageState.HELD, 1, 0, None, True)))
                total += count
            continue
        for frames in legal_runs(verb, where, twin):
            act(verb, real, frames)
            for index in inside(frames):
                after = act_on_one(verb, twin.pop(index))
                if after:
                    twin[index] = after
        known = {index: page for run, page in real.runs() for index in inside(run)}
        assert (known, real.pages_allocated) == (twin, len(twin))
        assert [i for gap in real.gaps(where) for i in inside(gap)] == [i for i in inside(where) if i not in twin]


def legal_runs(verb: str, where: PageRange, twin: dict[int, HugePage]) -> list[PageRange]:
    """The parts of a range on which the call makes sense, as callers find them."""
    needs = {
        "cache": lambda page: page.state is PageState.HELD,
        "own": lambda page: page.state is PageState.HELD,
        "map": lambda page: page.mapped > 0,
        "unmap": lambda page: page.mapped > 0,
        "uncache": lambda page: page.state is PageState.CACHED,
        "put": lambda page: page.references > page.mapped + (page.state in (PageState.CACHED, PageState.HELD)),
    }
    wanted = needs.get(verb, lambda page: page.state is not PageState.HELD)
    entries: RangeMap[bool] = RangeMap()
    for index in inside(where):
        if index in twin and wanted(twin[index]):
            entries.put(PageRange(index, index + 1), True)
    return [run for run, _ in entries.runs()]


def act(verb: str, memmap: Memmap, frames: PageRange) -> None:
    if verb == "own":
        memmap.move(frames, PageState.PRIVATE)
        memmap.set_mapped(frames)
    else:
        {
            "cache": lambda: memmap.move(frames, PageState.CACHED),
            "get": lambda: memmap.get(frames),
            "map": lambda: memmap.get(frames, mapped=1),
            "put": lambda: memmap.put(frames),
            "unmap": lambda: memmap.put(frames, unmapped=True),
            "uncache": lambda: memmap.put(frames, uncached=True),
            "restore": lambda: memmap.set_restore_reserve(frames),
        }[verb]()


def act_on_one(verb: str, page: HugePage) -> HugePage | None:
    """The same on one page; None where that was its last reference."""
    if verb in ("cache", "own"):
        state = PageState.CACHED if verb == "cache" else PageState.PRIVATE
        return page._replace(state=state, restore_reserve=False, mapped=int(verb == "own"))
    if verb in ("get", "map"):
        return page._replace(references=page.references + 1, mapped=page.mapped + (verb == "map"))
    if verb == "restore":
        return page._replace(restore_reserve=True)
    page = page._replace(references=page.references - 1, mapped=page.mapped - (verb == "unmap"))
    if verb == "uncache" or (verb == "unmap" and not page.mapped):
        page = page._replace(state=PageState.ORPHANED)
    return page if page.references else None
