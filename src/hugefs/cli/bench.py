"""``hugefs bench``: the questions of hugefs.bench, asked here and now, as a table or as JSON."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

import hugefs
from hugefs.bench.arrays import attach, create_fill_destroy, small_arrays
from hugefs.bench.books import life_of_a_file, round_trips
from hugefs.bench.timing import Timed
from hugefs.errors import NoHugePages
from hugefs.units import format_size

__all__ = ["run_bench"]

_MIB = 1 << 20
_SIZES = (2 * _MIB, 16 * _MIB, 128 * _MIB, 512 * _MIB, 1024 * _MIB)
_QUICK_SIZES = (2 * _MIB, 8 * _MIB)


def run_bench(*, as_json: bool, rounds: int, quick: bool) -> int:
    """Ask all questions; returns the exit status."""
    console = Console(highlight=False, stderr=as_json)
    rounds = min(rounds, 3) if quick else rounds
    sizes = _QUICK_SIZES if quick else _SIZES
    small_count = 100 if quick else 2000
    results: dict[str, Any] = {"machine": _machine(), "rounds": rounds, "life": [], "attach": []}
    with hugefs.mount(max(sizes) + 64 * _MIB) as mount:
        results["backing"] = mount.backing
        with console.status("") as status:
            for size in sizes:
                status.update(f"create + fill + destroy of {format_size(size)}")
                results["life"] += _compared(size, lambda size=size: create_fill_destroy(mount, size, rounds))
            for size in sizes[-2:]:
                status.update(f"attach of {format_size(size)} from a second process")
                results["attach"] += _compared(size, lambda size=size: attach(mount, size, rounds))
            status.update("small arrays")
            results["small"] = {size: small_arrays(mount, size, small_count) for size in (4096, 2 * _MIB)}
            status.update("round trips")
            results["round_trips"] = round_trips(mount, 500 if quick else 20_000)
            results["backing_after"] = mount.backing
    results["books"] = {name: life_of_a_file(size, 51) for name, size in (("1 GiB", 1 << 30), ("1 TiB", 1 << 40))}
    if as_json:
        print(json.dumps(results))
    else:
        _show(Console(highlight=False), results)
    return 0


def _compared(size: int, run: Any) -> list[dict[str, Any]]:
    try:
        timed: list[Timed] = run()
    except NoHugePages as error:
        return [{"size_bytes": size, "cannot": error.reason}]
    return [{"size_bytes": size, "name": t.name, "median": t.median, "ratio": t.ratio} for t in timed]


def _machine() -> dict[str, Any]:
    return {"kernel": platform.release(), "python": platform.python_version(), "cpus": os.cpu_count()}


def _show(console: Console, results: dict[str, Any]) -> None:
    machine = results["machine"]
    console.print(
        f"hugefs on {results['backing']} pages, Linux {machine['kernel']}, Python {machine['python']}, "
        f"{machine['cpus']} CPUs; medians of {results['rounds']} rounds in turn.\n"
        "Only the ratios mean something: above 1 is faster than multiprocessing.shared_memory in the same run."
    )
    for key, title in (("life", "create + fill + destroy"), ("attach", "attach from a second process, read, close")):
        console.print(_ratio_table(title, results[key]))
    table = Table(box=box.SIMPLE_HEAD, title="create + write 1 byte + destroy", title_justify="left", pad_edge=False)
    for column in ("size", "shared_memory p50", "p99", "hugefs p50", "p99"):
        table.add_column(column, justify="right")
    for size, both in results["small"].items():
        cells = [_time(both[name][part]) for name in ("shared_memory", "hugefs") for part in ("p50", "p99")]
        table.add_row(format_size(size), *cells)
    console.print(table)
    trips = results["round_trips"]
    console.print(
        f"round trips: {trips['per_second']:,.0f} a second, p50 {_time(trips['p50'])}, p99 {_time(trips['p99'])}; "
        f"the floor, a byte to another process and back: {_time(trips['floor'])}"
    )
    books = ", ".join(f"{name} {_time(seconds)}" for name, seconds in results["books"].items())
    console.print(f"the books alone, a file made, filled, mapped, unlinked: {books}")


def _ratio_table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    by_hand = any(row.get("name") == "by hand" for row in rows)
    for column in ("size", "shared_memory", "hugefs", "ratio", *(("memory by hand", "ratio") if by_hand else ())):
        table.add_column(column, justify="right")
    by_size: dict[int, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_size.setdefault(row["size_bytes"], {})[row.get("name", "cannot")] = row
    for size, both in by_size.items():
        if "cannot" in both:
            table.add_row(format_size(size), "cannot run here:", both["cannot"]["cannot"], "")
        else:
            ours = both["hugefs"]
            times = (_time(both["shared_memory"]["median"]), _time(ours["median"]))
            cells = [format_size(size), *times, f"{ours['ratio']:.1f}x"]
            if "by hand" in both:
                cells += [_time(both["by hand"]["median"]), f"{both['by hand']['ratio']:.1f}x"]
            table.add_row(*cells)
    return table


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"
