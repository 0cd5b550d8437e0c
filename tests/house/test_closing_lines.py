"""The closing lines of a test run, held by running small test files under this project's own conftest.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import cannot_run_line, pages_available

CONFTEST = Path(__file__).parents[1] / "conftest.py"


def test_what_could_not_run_is_counted_by_reason(pytester):
    """A green run on a machine where half of it was skipped must not look like a green run of everything."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_fuse(n):
            pytest.skip("no /dev/fuse")

        @pytest.mark.hugepages(pages=10**12)
        def test_pages():
            raise AssertionError("no machine has that many")

        def test_fine():
            pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(["cannot run here: 3 (no /dev/fuse: 2, not *: 1)"])


def test_a_failure_prints_the_command_that_replays_it(pytester):
    """A failure under a random order that cannot be seen again is worth little."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(test_it="def test_wrong():\n    assert 1 == 2\n")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "randomly", "--randomly-seed=7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["replay: * --randomly-seed=7 'test_it.py::test_wrong'"])


def test_nothing_missing_is_said_as_well():
    """The line is there also when it is zero; its absence would mean nothing."""
    assert cannot_run_line([]) == "cannot run here: 0"


@pytest.mark.hugepages
def test_the_marker_keeps_its_word():
    """Where a test marked `hugepages` runs, there are pages to be had."""
    assert pages_available() >= 1
