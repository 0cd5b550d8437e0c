"""Outcomes: one text, one value, and back."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugefs.scenario.outcome import KILLED, OK, SIGBUS, Outcome, facts, failed, number, parse_outcome

numbers = st.integers(min_value=0, max_value=2**63 - 1)
outcomes = st.one_of(
    st.sampled_from([OK, SIGBUS, KILLED]),
    st.sampled_from(sorted(errno.errorcode)).map(failed),
    numbers.map(number),
    st.builds(
        facts,
        size_bytes=numbers,
        pages=numbers,
        links=numbers,
        mode=st.integers(0, 0o7777),
        uid=numbers,
        gid=numbers,
    ),
)


@given(outcomes)
def test_an_outcome_written_is_the_outcome_read(outcome):
    """Recorded files must read back as what they were."""
    assert parse_outcome(str(outcome)) == outcome


@pytest.mark.parametrize(
    "text", ["", "OK", "EWHAT", "sigbus", "-1", "3p", "size=x", "mode=9", "colour=1", "size=1,size=1"]
)
def test_what_is_no_outcome_is_refused(text):
    """An expectation that can never hold would make every run fail for the wrong reason."""
    with pytest.raises(ValueError, match=r"."):
        parse_outcome(text)


def test_one_errno_has_two_names_and_one_outcome():
    """fallocate's manual says EOPNOTSUPP, errno.errorcode says ENOTSUP; both are 95."""
    assert parse_outcome("EOPNOTSUPP") == parse_outcome("ENOTSUP") == failed(errno.EOPNOTSUPP)
    assert str(failed(errno.EOPNOTSUPP)) == "EOPNOTSUPP"
    assert parse_outcome("EWOULDBLOCK") == failed(errno.EAGAIN)


def test_of_facts_only_those_expected_count():
    """A line that is about pages must not depend on who runs it."""
    got = facts(size_bytes=0, pages=3, links=0, mode=0o100600, uid=0, gid=5)
    assert got.satisfies(parse_outcome("size=0,pages=3"))
    assert got.satisfies(parse_outcome("mode=600"))
    assert not got.satisfies(parse_outcome("pages=2"))
    assert not OK.satisfies(parse_outcome("pages=2"))
    assert str(got.only(["links", "size"])) == "size=0,links=0"
    assert OK.only(["size"]) is OK


def test_what_succeeded():
    """A number and facts are successes; names tell the rest."""
    assert all(
        outcome.succeeded for outcome in (OK, number(0), facts(size_bytes=0, pages=0, links=0, mode=0, uid=0, gid=0))
    )
    assert not any(outcome.succeeded for outcome in (SIGBUS, KILLED, failed(errno.ENOMEM), Outcome("EPERM")))
