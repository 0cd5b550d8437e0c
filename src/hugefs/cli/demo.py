"""``hugefs demo``: the main job, and what usually goes wrong with it, on real processes and real memory.

Each step is a function that does something, says what it saw, and returns how many pages must be taken afterwards.
After each one all four counters are compared with what they must be, and where the pages are the kernel's own huge
pages, with the kernel's count.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import hugefs
from hugefs.cli.demo_report import Counters, Report, Row
from hugefs.errors import InvalidRequest, NoHugePages, NotFound
from hugefs.linux import counters as kernel
from hugefs.memory import _libc
from hugefs.units import format_size, pages_covering, parse_size

__all__ = ["run_demo"]

_PAGE = 2 << 20
_SAMPLES = 256  # of each signal, averaged into one number of the result
_PATIENCE_SECONDS = 20.0
_SEED = 20110811  # the day of the patch


def run_demo(*, as_json: bool, size: str | None, workers: int) -> int:
    """Run it; returns the exit status: 0 only if every counter was exact and everything came back."""
    began = time.monotonic()
    report = Report(as_json=as_json)
    demo = Demo(report, _array_pages(size), workers)
    try:
        demo.run()
    finally:
        demo.close()
    return 0 if report.finish(seconds=time.monotonic() - began, problems=demo.problems) else 1


def _array_pages(size: str | None) -> int:
    """A few hundred MiB, or what the machine can spare."""
    if size is not None:
        wanted = pages_covering(parse_size(size), _PAGE)
        if wanted < 1:
            raise InvalidRequest(f"--size {size}: at least one page of {format_size(_PAGE)} was expected")
        return wanted
    spare = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8
    try:
        free = kernel.meminfo()
        huge = (free.pages_free - free.pages_reserved) * free.page_bytes
    except NotFound:
        huge = 0
    if huge >= 64 << 20:  # the mount is half as large again as the array
        spare = huge // 2
    return max(8, min(256 << 20, spare) // _PAGE)


class Demo:
    """The mount, the arrays, and the processes of a run."""

    def __init__(self, report: Report, array_pages: int, workers: int) -> None:
        self.report = report
        self.problems: list[str] = []
        self._workers = workers
        self._array_pages = array_pages
        self._processes: list[Any] = []
        self._forking = multiprocessing.get_context("fork")
        self._kernel_free_before = self._kernel_free()
        self._mount = hugefs.mount((array_pages + array_pages // 2 + 8) * _PAGE)
        self._total = self._mount.meminfo().pages_total
        self._result_pages = 0
        report.facts |= {"backing": self._mount.backing, "page_bytes": _PAGE, "pages_total": self._total}

    def run(self) -> None:
        """All steps, the counters after each."""
        steps: list[tuple[str, Callable[[], int]]] = [
            ("a mount of exactly so many pages", self._the_mount),
            ("an array, taken whole", self._an_array),
            (f"{self._workers} processes work on it", self._eight_workers),
            ("more than the quota: refused", self._over_the_quota),
            ("unlinked while in use", self._unlink_in_use),
            ("its last user ends", self._last_user_ends),
            ("SIGKILL while holding pages", self._sigkill),
            ("unmounted with an I/O in flight", self._unmount_under_io),
            ("the I/O completes", self._io_completes),
        ]
        self.report.say(
            """hugefs is hugetlbfs in user space: files on huge pages, with exact quotas, that many processes map at
            once. A page lives exactly as long as something uses it: its file, a mapping, an I/O in flight. Watch the
            four counters that Linux shows in /proc/meminfo; hugefs keeps the same ones for its mount, and they must be
            exact after every step."""
        )
        for number, (title, step) in enumerate(steps, 1):
            self.report.heading(number, title[0].upper() + title[1:])
            began = time.monotonic()
            taken = step()
            self._count(number, title, taken, {"seconds": round(time.monotonic() - began, 3)})

    def close(self) -> None:
        """Leave nothing, whatever happened."""
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()
        self._mount.close()

    # --- the steps: each returns how many pages must be taken after it -----------------------------------------------

    def _the_mount(self) -> int:
        size = format_size(self._total * _PAGE)
        self.report.say(
            f"""hugefs.mount() started a private server with a mount of {size}. It is a quota, not memory: no page is
            taken yet. The server ends with its last user and leaves nothing behind."""
        )
        kinds = {
            "hugetlb": "the kernel's own huge pages (hugetlb)",
            "thp": "transparent huge pages",
            "base": "4 KiB pages: this machine has no huge pages to give",
        }
        self.report.fact(f"memory of this mount: {kinds[self._mount.backing]}")
        return 0

    def _an_array(self) -> int:
        columns = 64 * _SAMPLES
        rows = self._array_pages * _PAGE // (columns * 4)
        self.report.say(
            """m.zeros() takes all pages of an array when it makes it: what was granted can be touched, now and later;
            no process dies of SIGBUS in the middle of its work. We fill it with measurements of many sensors."""
        )
        began = time.monotonic()
        self._signals = self._mount.zeros((rows, columns), "f4", name="signals")
        made = time.monotonic() - began
        block = np.random.default_rng(_SEED).standard_normal(columns, dtype="f4")
        for row in range(rows):
            np.multiply(block, np.float32(1 + row % 17), out=self._signals[row])
        self.report.fact(f"{format_size(self._signals.nbytes)} made in {made * 1e3:.0f} ms; filled, seed {_SEED}")
        self._show_huge_pages()
        return self._array_pages

    def _eight_workers(self) -> int:
        rows, columns = self._signals.shape
        self._energy = self._mount.zeros((rows, columns // _SAMPLES), "f4", name="energy")
        self._result_pages = pages_covering(self._energy.nbytes, _PAGE)
        self.report.say(
            f"""The arrays pickle as handles of a few bytes; every worker maps the same pages. {self._workers} processes
            square and average their share of the signals and write it into one shared result. Nothing is copied."""
        )
        bounds = np.linspace(0, rows, self._workers + 1, dtype=int)
        shares = [(self._signals[a:b], self._energy[a:b]) for a, b in pairwise(bounds) if a < b]
        began = time.monotonic()
        with ProcessPoolExecutor(self._workers, mp_context=self._forking) as pool:
            pids = set(pool.map(_average_energy, *zip(*shares, strict=True)))
        elapsed = time.monotonic() - began
        expected = np.concatenate([_energy_of(np.asarray(self._signals[row : row + 64])) for row in range(0, rows, 64)])
        self._expect(bool(np.allclose(self._energy, expected)), "the workers' result differs from NumPy's")
        self.report.fact(f"{len(pids)} processes, {elapsed * 1e3:.0f} ms with their start; equal to NumPy's own result")
        return self._array_pages + self._result_pages

    def _over_the_quota(self) -> int:
        free = self._mount.meminfo().pages_available
        self.report.say(
            f"""{free} pages are left. A request for one more is refused at once, before anything is taken: an OSError
            with the kernel's errno (ENOMEM), and it says who holds the rest."""
        )
        try:
            self._mount.empty(((free + 1) * _PAGE,), "u1")
        except NoHugePages as error:
            self.report.quote("\n".join([str(error), *map(str, error.holders)]))
            told = (error.wanted, error.available, bool(error.holders))
            self._expect(told == (free + 1, free, True), f"the refusal told {told}")
        else:
            self.problems.append("a request over the quota was granted")
        return self._array_pages + self._result_pages

    def _unlink_in_use(self) -> int:
        self.report.say(
            """A worker computes on the signals. We remove their name and forget our own array: the worker is the last
            user. In 2011 a kernel patch leaked exactly such pages for ever; the bug it cured freed them too early."""
        )
        self._worker, connection = self._start(_compute_until_told, self._signals)
        self._sum = connection.recv()
        self._mount.unlink("signals")
        del self._signals
        self._connection = connection
        self.report.quote("\n".join(map(str, self._mount.holders())))
        return self._array_pages + self._result_pages

    def _last_user_ends(self) -> int:
        self.report.say("The worker finishes on the same bytes, and ends. Its pages are free the moment it is gone.")
        self._connection.send("finish")
        again = self._connection.recv()
        self._expect(again == self._sum, f"the worker summed {self._sum} before, and {again} after the unlink")
        self._worker.join()
        self._until_free(self._total - self._result_pages)
        self.report.fact(f"sum before and after the unlink: {again:.6g}")
        return self._result_pages

    def _sigkill(self) -> int:
        pages = self._array_pages // 2
        self.report.say(
            f"""A process takes {pages} pages for itself and is killed with SIGKILL: it cannot clean up. The server sees
            its socket close. No file stays in /dev/shm, no tracker is needed."""
        )
        worker, connection = self._start(_hold_pages, self._mount, pages)
        self._expect(connection.recv() == "holding", "the worker did not get its pages")
        held = self._mount.meminfo().pages_free
        os.kill(worker.pid, signal.SIGKILL)
        began = time.monotonic()
        self._until_free(self._total - self._result_pages)
        milliseconds = (time.monotonic() - began) * 1e3
        self.report.fact(f"free before {held}, after {self._mount.meminfo().pages_free}; back in {milliseconds:.1f} ms")
        worker.join()
        return self._result_pages

    def _unmount_under_io(self) -> int:
        self.report.say(
            """The case of the 2011 thread. A file's pages are handed to an I/O: vmsplice puts references to them into a
            pipe, as a network card or a disk would hold them. Then the file is unlinked, unmapped and closed, and the
            mount unmounted. A page finds its quota without its file and without its mount, so nothing is in the way."""
        )
        del self._energy
        self._mount.unlink("energy")
        file = self._mount.open("log", "w+b", size=4 * _PAGE)
        mapping = file.mmap()
        for page in range(4):
            mapping[page * _PAGE : page * _PAGE + 16] = f"record {page:9d}".encode()
        self._pin = mapping.pin()
        self._pin.__enter__()
        self._pipe = os.pipe()
        for page in range(4):
            _libc.vmsplice(self._pipe[1], mapping.address + page * _PAGE, 16)
        self._mount.unlink("log")
        mapping.close()
        file.close()
        self._mount.umount()
        self._expect(self._cannot_open(), "a file could be opened on an unmounted mount")
        self.report.fact("unmounted: no file, no mapping, no mount; four pages are with the I/O, and stay counted")
        return 4

    def _io_completes(self) -> int:
        self.report.say(
            "The reader empties the pipe: the bytes are all there. The I/O ends, and the last pages are free."
        )
        got = os.read(self._pipe[0], 64)
        self._expect(got == b"".join(b"record %9d" % page for page in range(4)), f"the I/O delivered {got!r}")
        for descriptor in self._pipe:
            os.close(descriptor)
        self._pin.__exit__(None, None, None)
        self._until_free(self._total)
        self.report.fact(f"delivered: {got.decode()}")
        return 0

    # --- looking ------------------------------------------------------------------------------------------------------

    def _count(self, number: int, title: str, taken: int, facts: dict[str, object]) -> None:
        info = self._mount.meminfo()
        counted = Counters(info.pages_total, info.pages_free, info.pages_reserved, info.pages_surplus)
        expected = Counters(self._total, self._total - taken, 0, 0)
        self.report.row(Row(number, title, expected, counted, self._kernel_taken(taken), facts))

    def _kernel_free(self) -> int | None:
        try:
            return kernel.pool(_PAGE).pages_free
        except NotFound:
            return None

    def _kernel_taken(self, expected: int) -> int | None:
        """How many pages the kernel's pool has less than at the start; it frees a moment after the books do."""
        if self._mount.backing != "hugetlb" or self._kernel_free_before is None:
            return None
        deadline = time.monotonic() + 2.0
        while True:
            free = self._kernel_free()
            taken = None if free is None else self._kernel_free_before - free
            if taken in (None, expected) or time.monotonic() > deadline:
                return taken
            time.sleep(0.005)

    def _show_huge_pages(self) -> None:
        """What smaps says of the array's own mapping."""
        address = self._signals.__array_interface__["data"][0]
        try:
            seen = kernel.smaps(start=address, end=address + self._signals.nbytes)
        except NotFound:
            return
        huge = seen.shared_hugetlb_bytes + seen.private_hugetlb_bytes + seen.shmem_pmd_mapped_bytes
        self.report.fact(f"/proc/self/smaps: {format_size(huge)} of {format_size(self._signals.nbytes)} on huge pages")
        if self._mount.backing != "base":
            self._expect(huge >= self._signals.nbytes, f"smaps shows only {huge} bytes on huge pages")

    def _until_free(self, pages: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._mount.meminfo().pages_free != pages and time.monotonic() < deadline:
            time.sleep(0.0005)

    def _cannot_open(self) -> bool:
        try:
            self._mount.open("log", "rb").close()
        except OSError:
            return True
        return False

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def _start(self, function: Callable[..., None], *arguments: object) -> tuple[Any, Connection]:
        ours, theirs = self._forking.Pipe()
        process = self._forking.Process(target=function, args=(theirs, *arguments))
        process.start()
        theirs.close()
        self._processes.append(process)
        return process, ours


# --- what the other processes do --------------------------------------------------------------------------------------


def _energy_of(signals: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    blocks = signals.reshape(len(signals), -1, _SAMPLES)
    return np.asarray(np.einsum("rbs,rbs->rb", blocks, blocks) / _SAMPLES)


def _average_energy(signals: np.ndarray[Any, Any], energy: np.ndarray[Any, Any]) -> int:
    for row in range(len(signals)):
        energy[row] = _energy_of(np.asarray(signals[row : row + 1]))[0]
    time.sleep(0.05)  # so that every worker gets a share, also where one is done before the next has started
    return os.getpid()


def _compute_until_told(connection: Connection, signals: np.ndarray[Any, Any]) -> None:
    connection.send(float(np.sum(signals, dtype="f8")))
    connection.recv()
    connection.send(float(np.sum(signals, dtype="f8")))


def _hold_pages(connection: Connection, mount: Any, pages: int) -> None:
    array = mount.zeros((pages * _PAGE,), "u1")
    array[:] = 1
    connection.send("holding")
    time.sleep(3600)
