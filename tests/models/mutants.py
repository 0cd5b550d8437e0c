"""Mutants: the core broken on purpose, one place at a time. Each must be noticed, or the tests only look good.

A mutant is a function of the core in which one piece of text is another. It is compiled anew in its own module and put
in place for a while; nothing is written to disk. ``notices()`` is a short form of the suite: recordings, worked
examples, the orders in which a file can end, random walks beside the twin, other tasks at checkpoints.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

__all__ = ["MUTANTS", "Mutant", "planted"]


class Mutant(NamedTuple):
    """In ``module``, in ``function`` (``Class.method``), ``before`` becomes ``after``; ``what`` that means."""

    module: str
    function: str
    before: str
    after: str
    what: str


def _m(where: str, before: str, after: str, what: str) -> Mutant:
    module, function = where.split(":")
    return Mutant(module, function, before, after, what)


MUTANTS = [
    # --- the pool ---
    _m("pool:HugePool.reserve", "self.pages_reserved += pages", "pass", "a promise is not counted"),
    _m("pool:HugePool.reserve", "self.pages_free += missing", "pass", "surplus pages are made and lost"),
    _m("pool:HugePool.unreserve", "self._unmake_surplus(unneeded)", "pass", "idle surplus pages stay in the total"),
    _m("pool:HugePool.unreserve", "self.pages_surplus, ", "", "persistent pages go with a promise"),
    _m("pool:HugePool.take_promised", "self.pages_reserved -= pages", "pass", "a promise is kept twice"),
    _m("pool:HugePool.take_unpromised", "self.pages_available", "self.pages_free", "other people's promises are taken"),
    _m("pool:HugePool.give_back", ", self.pages_available + pages", "", "a promise loses its surplus page"),
    _m("pool:HugePool.give_back", "self.pages_reserved += promised", "pass", "a promise does not come back"),
    _m(
        "pool:HugePool.resize",
        "self.pages_surplus += self.pages_persistent - pages",
        "pass",
        "no surplus after shrinking",
    ),
    _m("pool:HugePool.resize", "self.pages_surplus -= min(", "0 - min(", "growing does not adopt surplus pages"),
    _m("pool:HugePool.resize", "self.pages_configured = self.pages_persistent", "pass", "percentages of an old pool"),
    _m("pool:HugePool._make_surplus", "pages > self._pages_makable", "False", "overcommit without a limit"),
    # --- the quota ---
    _m("subpool:Subpool.get_pages", "pages > left", "pages > left + 1", "the size may be exceeded by one"),
    _m(
        "subpool:Subpool.get_pages",
        "self.pages_reserved -= from_minimum",
        "pass",
        "the minimum is used again and again",
    ),
    _m(
        "subpool:Subpool.get_pages",
        "self.pages_asked += pages - from_minimum",
        "pass",
        "a refused charge holds the minimum",
    ),
    _m("subpool:Subpool.granted", "self.pages_reserved -= unneeded", "pass", "the minimum over-holds after a grant"),
    _m("subpool:Subpool.put_pages", "self.pages_reserved += refill", "pass", "the minimum is not filled again"),
    _m(
        "subpool:Subpool.put_pages",
        "refill = min(promised, ",
        "refill = min(0, ",
        "the minimum never gets a promise back",
    ),
    _m("subpool:Subpool.put_pages", "self.pages_used -= pages", "pass", "quota is never given back"),
    _m("subpool:Subpool.put_pages", "not self.mounted and self.pages_used == 0", "False", "a quota never ends"),
    _m("subpool:Subpool.put_pages", "not self.mounted and ", "", "a quota ends under its mount"),
    _m(
        "subpool:Subpool.unmount",
        "self._end() if self.pages_used == 0 else 0",
        "self._end()",
        "a quota ends before its pages",
    ),
    _m("subpool:Subpool._end", "return reserved", "return 0", "the minimum's promises stay for ever"),
    _m("subpool:Subpool.__init__", "pool.reserve(pages_min or 0)", "pass", "a minimum that nobody promised"),
    # --- map, quota, pool together ---
    _m(
        "reservation:Reservations.reserve_pages",
        "reserve_map.abort_add(plan)",
        "pass",
        "a plan stays open after a refusal",
    ),
    _m(
        "reservation:Reservations.reserve_pages",
        "added < plan.pages",
        "False",
        "charged twice where a fault was quicker",
    ),
    _m(
        "reservation:Reservations._promise_charged",
        "promised=pages - from_pool",
        "promised=pages",
        "a refusal invents promises",
    ),
    _m(
        "reservation:Reservations._promise_charged",
        "promised=pages - from_pool",
        "promised=0",
        "a refusal loses the minimum",
    ),
    _m(
        "reservation:Reservations._promise_charged",
        "self._uncharge(subpool, pages, promised=pages - from_pool)",
        "pass",
        "a refusal keeps the charge",
    ),
    _m("reservation:Reservations.unreserve_pages", " - freed", "", "pages in use are refunded at once"),
    _m("reservation:Reservations._uncharge", "self.pool.unreserve(unneeded)", "pass", "the pool keeps dead promises"),
    _m(
        "reservation:Reservations._allocate_run",
        "reserve_map.abort_add(plan)",
        "pass",
        "a plan stays open after a fault",
    ),
    _m(
        "reservation:Reservations._allocate_run",
        "added < plan.pages",
        "False",
        "charged twice where an mmap was quicker",
    ),
    _m(
        "reservation:Reservations._take_unpromised",
        "self._uncharge(subpool, pages, promised=pages - from_pool)",
        "pass",
        "a failing touch costs quota, as in Linux 6.18",
    ),
    _m(
        "reservation:Reservations._take_charged",
        "self.pool.take_promised(pages - from_pool)",
        "pass",
        "the minimum free",
    ),
    _m(
        "reservation:Reservations._free_run",
        "self.unpromise(page.subpool, pages)",
        "pass",
        "a freed page keeps its quota",
    ),
    _m("reservation:Reservations._free_run", "and not page.restore_reserve", "", "a restored promise is refunded, too"),
    _m(
        "reservation:Reservations._free_run",
        "or page.restore_reserve else 0",
        "else 0",
        "no promise restored without quota",
    ),
    _m(
        "reservation:Reservations.put_pages",
        "self._free_run(run.pages, page)",
        "pass",
        "freed pages do not reach the pool",
    ),
    _m("reservation:Reservations.pages_obtainable", "subpool.pages_reserved + ", "", "the minimum cannot be obtained"),
    _m(
        "reservation:Reservations._obtainable_part",
        "min(run.pages, self.pages_obtainable(subpool))",
        "run.pages",
        "all or none",
    ),
    _m("reserve_map:ReserveMap.commit_add", "self.entries.pages - before", "plan.pages", "commit does not look again"),
    _m("reserve_map:ReserveMap.first_run", "_is_promise(True)", "_is_promise(False)", "promises are misread"),
    # --- pages ---
    _m("page:Memmap.put", "uncached or (unmapped", "(unmapped", "a page taken out of its file is still cached"),
    _m("page:Memmap.put", "mapped=page.mapped - unmapped", "mapped=page.mapped", "a mapping is forgotten"),
    _m("page:Memmap.put", "page.references == 1", "page.references <= 2", "a page is freed under its holder"),
    _m("page:Memmap.move", ", restore_reserve=False", "", "a visible page still has a promise to restore"),
    _m(
        "page:Memmap._known",
        "sum(run.pages for run, _ in runs) != frames.pages",
        "False",
        "use after free goes unnoticed",
    ),
    # --- files ---
    _m(
        "file_pages:FilePages.punch", "self.effects.append(Drop(inode.number, indexes))", "pass", "punched memory stays"
    ),
    _m("file_pages:FilePages.punch", "indexes, indexes.pages)", "indexes, 0)", "a punched page is refunded twice"),
    _m(
        "file_pages:FilePages.cut",
        "PageRange(first, INDEX_MAX)",
        "PageRange(first + 1, INDEX_MAX)",
        "truncate is off by one",
    ),
    _m(
        "file_pages:FilePages.cut",
        "self.effects.extend(Drop(inode.number, run) for run in backed)",
        "pass",
        "memory stays",
    ),
    _m("file_pages:FilePages.fill", "self.effects.append(Back(inode.number, indexes))", "pass", "pages without memory"),
    _m("file_pages:FilePages.fill", "inode.cache.holes(where)", "[where]", "pages are taken where pages are"),
    _m("file_pages:FilePages.reserve", "for gap in missing", "for gap in missing[1:]", "promises without memory"),
    _m("file_pages:FilePages.evict", "self.effects.append(Forget(inode.number))", "pass", "memory of gone files stays"),
    _m("file_pages:FilePages.evict", "self.cut(inode, 0)", "pass", "eviction keeps the pages"),
    _m(
        "file_pages:FilePages._uncache",
        "self.reservations.put_pages(frames, uncached=True)",
        "pass",
        "the cache's reference",
    ),
    # --- mappings ---
    _m(
        "filesystem:Filesystem._promises_come_back",
        "pages_surplus == 0",
        "pages_surplus >= 0",
        "restored over surplus pages",
    ),
    _m("mapping:PrivatePages.zap", "self.reservations.put_pages(frames, unmapped=True)", "pass", "a zapped page leaks"),
    _m(
        "mapping:PrivatePages._restore",
        "mapping.reserve_map.remove(run_indexes)",
        "pass",
        "a restored promise is not opened",
    ),
    _m(
        "mapping:PrivatePages._restore",
        "page.references == 1",
        "True",
        "promised before the page is free, as in Linux 6.18",
    ),
    _m(
        "mapping:PrivatePages.settle", "mapping.reserve_map.remove(", "str(", "an awaited promise is lost when it comes"
    ),
    _m(
        "mapping:PrivatePages._stop_awaiting",
        "set_restore_reserve(run, False)",
        "runs(run)",
        "a promise for one who left",
    ),
    _m(
        "mapping:PrivatePages.close",
        " + self._stop_awaiting(mapping, part)",
        "",
        "awaited promises survive their mapping",
    ),
    _m(
        "mapping:PrivatePages.close",
        "part.pages - mapping.reserve_map.count(part)",
        "part.pages",
        "used promises refunded",
    ),
    _m("mapping:PrivatePages.share", "self.memmap.get(frames, mapped=1)", "pass", "a fork does not count"),
    _m("mapping:PrivatePages.share", "child.seen.put(run, True)", "pass", "a fork forgets which file pages it has"),
    # --- faults ---
    _m("fault:Faults._fault_write", "page.mapped > 1", "False", "no copy on write"),
    _m("fault:Faults._fault_write", "page.mapped > 1", "page.references > 1", "an I/O breaks copy-on-write"),
    _m("fault:Faults._copy", "not mapping.owns_reserve", "False", "a child steals from its parent"),
    _m("fault:Faults._copy", "not mapping.owns_reserve", "True", "the owner is refused"),
    _m("fault:Faults._steal_from_children", "other.reserve_lost = True", "pass", "the robbed child gets a fresh page"),
    _m("fault:Faults._touch_private", "self.private.settle(mapping)", "pass", "promises that came back are not seen"),
    _m("fault:Faults._touch_private", '("hole", "unseen")', '("hole",)', "the robbed child reads the file instead"),
    _m("fault:Faults._fault_cached", "mapping.reserve_map", "None", "the owner's copy does not use his promise"),
    _m("fault:Faults._must_be_inside", "inside.pages < hole.pages", "False", "no bus error beyond the end"),
    _m("fault:Faults._before_end", "PageRange(0, mapping", "PageRange(0, 1 + mapping", "one page beyond the end"),
    # --- calls ---
    _m("filesystem:Filesystem.mount", "options.inodes_max == 0", "False", "nr_inodes=0 mounts"),
    _m("filesystem:Filesystem.umount", "superblock.users and not lazy", "False", "no mount is busy"),
    _m(
        "filesystem:Filesystem._end_superblock_if_unused", "superblock.attached or ", "", "a mount ends when it is idle"
    ),
    _m(
        "filesystem:Filesystem._end_superblock_if_unused",
        "self.files.evict(inode)",
        "pass",
        "an unmount keeps the files",
    ),
    _m(
        "filesystem:Filesystem._end_superblock_if_unused",
        "superblock.subpool.unmount()",
        "0",
        "an unmount keeps the quota",
    ),
    _m("filesystem:Filesystem._settle", "self.files.evict(inode)", "pass", "files without a name stay"),
    _m("filesystem:Filesystem._settle", "not inode.in_use and", "", "an open file is evicted"),
    _m("filesystem:Filesystem._settle", "inode.links == 0 and", "", "a named file is evicted"),
    _m(
        "filesystem:Filesystem._settle",
        "self._end_superblock_if_unused(inode.superblock)",
        "pass",
        "lazy unmounts never end",
    ),
    _m("filesystem:Filesystem.close", "self._settle(file.inode)", "pass", "the last close does not evict"),
    _m("filesystem:Filesystem.close", "file.inode.superblock.users -= 1", "pass", "a closed file keeps the mount busy"),
    _m(
        "filesystem:Filesystem.unlink",
        "self._settle(namespace.unlink(superblock, path))",
        "namespace.unlink(superblock, path)",
        "the last name does not evict",
    ),
    _m("filesystem:Filesystem.rename", "self._settle(victim)", "pass", "what a rename replaced stays"),
    _m("filesystem:Filesystem.unmap_all", "self._settle(mapping.inode)", "pass", "the last unmap does not evict"),
    _m("filesystem:Filesystem.unpin", "self._forget_ended_subpools()", "pass", "an ended quota is kept"),
    _m("filesystem:Filesystem.unpin", "self.reservations.put_pages(frames)", "pass", "a pin never lets go"),
    _m("filesystem:Filesystem.pin", "self.memmap.get(frames)", "pass", "a pin holds nothing"),
    _m(
        "filesystem:Filesystem._set_size",
        "self._zap_private(inode, PageRange(first, INDEX_MAX))",
        "pass",
        "copies survive",
    ),
    _m("filesystem:Filesystem.punch_hole", "self._zap_private(file.inode, whole)", "pass", "copies survive a punch"),
    _m(
        "filesystem:Filesystem.punch_hole", "-(-offset // page)", "offset // page", "a hole takes the page at its start"
    ),
    _m("filesystem:Filesystem.fallocate", "if not keep_size", "if True", "KEEP_SIZE does not"),
    _m("filesystem:Filesystem.map", "if writable:", "if True:", "a read-only mapping makes the file longer"),
    _m("filesystem:Filesystem.map", "if writable:", "if False:", "no mapping makes the file longer"),
    _m("filesystem:Filesystem.fork", "self.private.share(mapping, child)", "pass", "a fork has no pages"),
    _m("superblock:Superblock.new_inode", "self.inodes_free == 0", "False", "inodes without a limit"),
    _m("namespace:rename", "remove_name(new_directory, new_name)", "pass", "a replaced file keeps its link"),
]


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The core with this mutant in it, for a while."""
    module = importlib.import_module(f"hugefs.core.{mutant.module}")
    *owners, name = mutant.function.split(".")
    owner: Any = getattr(module, owners[0]) if owners else module
    original = inspect.getattr_static(owner, name)
    setattr(owner, name, _mutated(mutant, module, original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def _mutated(mutant: Mutant, module: Any, original: Any) -> Callable[..., Any]:
    """The function compiled anew from its changed source. The text must be there exactly once, and the code change."""
    source = textwrap.dedent(inspect.getsource(original))
    if source.count(mutant.before) != 1:
        raise LookupError(
            f"{mutant.function}: {mutant.before!r} is there {source.count(mutant.before)} times, not once"
        )
    changed = source.replace(mutant.before, mutant.after)
    if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source)):
        raise LookupError(f"{mutant.function}: {mutant.after!r} instead of {mutant.before!r} changes nothing")
    names: dict[str, Any] = {}
    annotations_as_text = sys.modules["__future__"].annotations.compiler_flag
    exec(compile(changed, f"<mutant: {mutant.what}>", "exec", annotations_as_text, True), module.__dict__, names)
    made: Callable[..., Any] = names[original.__name__]
    return made
