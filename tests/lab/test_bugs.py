"""Each mistake of a kernel: found with its file, not without it; and it stays where it is put."""

from __future__ import annotations

import pytest

from hugefs.core.pool import HugePool
from hugefs.lab.bug import Bug, classes_with
from hugefs.lab.differences import differences_page
from hugefs.lab.profile import PROFILES, classes_of
from hugefs.scenario.parser import parse_file
from hugefs.scenario.targets.sim import SimTarget
from hugefs.tasks.machine import Machine
from tests.house.tree import DOCUMENTS, SOURCE
from tests.tasks.helpers import RECORDINGS, differing_lines, holds

LINUX = PROFILES["linux-6.18"]


def target_with(bugs):
    """The simulation with these mistakes."""
    target = SimTarget("ideal")
    target.classes = classes_with(bugs)
    return target


@pytest.mark.parametrize("bug", LINUX, ids=lambda bug: bug.name)
def test_its_scenario_shows_it(bug):
    """With all of the kernel's mistakes its recording holds; without this one it does not."""
    scenario = parse_file(RECORDINGS[bug.shows])
    assert differing_lines(scenario, target_with(LINUX)) == []
    assert differing_lines(scenario, target_with([other for other in LINUX if other is not bug])) != []


@pytest.mark.parametrize("bug", LINUX, ids=lambda bug: bug.name)
def test_it_says_what_who_and_since_when(bug):
    """A difference that nobody can judge is of no use."""
    assert all((bug.what, bug.linux, bug.since, bug.fixed, bug.harm))
    assert (SOURCE / "lab" / "bugs" / f"{bug.name}.py").exists()


def test_every_file_is_in_a_profile():
    """A forgotten file would be a mistake that nothing makes."""
    files = {path.stem for path in (SOURCE / "lab" / "bugs").glob("[!_]*.py")}
    assert files == {bug.name for bugs in PROFILES.values() for bug in bugs}


def test_the_page_says_what_the_files_say():
    """docs/differences.md is written from the files: python -c 'from hugefs.lab.differences import …'."""
    assert (DOCUMENTS / "differences.md").read_text(encoding="utf-8") == differences_page()


def test_the_right_classes_stay_right():
    """Two machines side by side: a mistake is the one's alone."""
    wrong, right = Machine(classes_of("linux-6.18")), Machine(classes_of("ideal"))
    assert type(wrong.fs.pool) is not HugePool
    assert type(right.fs.pool) is HugePool
    assert isinstance(wrong.fs.pool, HugePool)


def test_two_mistakes_in_one_function_are_refused():
    """Whichever came last would win, and the other would silently not be there."""
    twice = Bug("a", "w", "l", "s", "f", "h", "x", {(HugePool, "reserve"): lambda self, pages: None})
    with pytest.raises(ValueError, match="replaced twice"):
        classes_with([twice, twice])


def test_a_function_that_is_not_there_is_refused():
    """A renamed function of the core must not leave a mistake without effect."""
    lost = Bug("a", "w", "l", "s", "f", "h", "x", {(HugePool, "reserve_all"): lambda self, pages: None})
    with pytest.raises(ValueError, match="reserve_all"):
        classes_with([lost])


def test_an_unknown_profile_is_named():
    """A typing error must not run as the right kernel."""
    with pytest.raises(ValueError, match=r"linux-6\.18"):
        classes_of("linux-6.19")


def test_a_refusal_leaves_a_minimum_whole():
    """What came out of the minimum is put back by Linux, too; and without size= no quota is counted that could leak."""
    holds(
        """
        pool 1                          -> ok     | 1/1/0/0
        mount m min_size=1p             -> ok     | 1/1/1/0 m=-1/-1/-1
        cgroup g max=0                  -> ok     | 1/1/1/0 m=-1/-1/-1 g=0/0
        P open f m/f unlinked           -> ok
        P fork C                        -> ok
        C enter g                       -> ok
        C mmap a f 0 1 shared noreserve -> ok     | 1/1/1/0 m=-1/-1/-1 g=0/0
        C write a                       -> SIGBUS | 1/1/1/0 m=-1/-1/-1 g=0/0 g.events=1
        P mmap b f 0 2 shared noreserve -> ok
        P write b                       -> SIGBUS | 1/0/0/0 m=-1/-1/-1 g=0/0 g.events=1
        P close f                       -> ok
        P exit                          -> ok
        C exit                          -> ok     | 1/1/1/0 m=-1/-1/-1 g=0/0 g.events=1
        umount m                        -> ok     | 1/1/0/0 g=0/0 g.events=1
        """,
        profile="linux-6.18",
    )
