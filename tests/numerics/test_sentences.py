"""What is said of a certificate holds, and is said in words that can be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.numerics.certificate import Certificate, Kind
from streamsvd.numerics.intervals import touching_groups
from streamsvd.numerics.sentences import (
    describe_briefly,
    describe_error,
    describe_values,
    describe_vectors,
    percent,
    round_down,
    round_up,
)


def certificate(lower, upper, **fields) -> Certificate:
    """Intervals, and whatever else matters."""
    known = {"excess": 0.006, "frobenius_error": 3.0, "energy": 100.0} | fields
    c = Certificate(
        np.array(lower, dtype=float), np.array(upper, dtype=float),
        3.0, 100.0, 1e-6, np.inf, 0.0, 0.0, 0.1, len(lower), 0.0, Kind.BOUNDS,
    )  # fmt: skip
    return replace(c, **known)


BULK = certificate(
    [5.0, 4.0, 3.0, 1.02, 1.02, 1.02], [5.0, 4.0, 3.0, 1.31, 1.3, 1.29], resolved_angle_bound=2e-3
)


def test_a_bulk_is_told_as_a_group():
    assert describe_values(BULK) == (
        "3 of 6 values resolved to 0.001; values 4..6 lie between 1.02 and 1.31 and are not told apart"
    )
    assert describe_error(BULK) == (
        "the error is at most 0.6 % above the best of rank 6 (proved, failure probability 1e-06)"
    )
    assert describe_vectors(BULK) == (
        "vectors 4..6 span one subspace; single ones there mean nothing; "
        "the first 3 are within an angle of sine 0.002"
    )
    assert (
        describe_briefly(BULK) == "3 of 6 values resolved to 0.001, error within 0.6 % of the best"
    )


def test_one_value_that_is_open_lies_between_its_ends():
    c = certificate([5.0, 1.0], [5.0, 2.0])
    assert describe_values(c) == "1 of 2 values resolved to 0.001; value 2 lies between 1 and 2"
    assert describe_vectors(c) == ""


def test_many_groups_are_counted():
    upper = np.array([9.0, 8.0, 6.0, 5.0, 3.0, 2.0])
    c = certificate(upper * 0.85, upper)
    text = describe_values(c)
    assert text.startswith("0 of 6 values resolved to 0.001; values 1..2 lie between")
    assert text.endswith("; 3 more are not resolved")


def test_all_resolved_is_said_in_one_clause():
    c = certificate([2.0, 1.0], [2.0, 1.0])
    assert describe_values(c) == "all 2 values resolved to 0.001"
    assert describe_vectors(c) == ""
    assert "with" not in describe_briefly(c)


def test_what_is_not_proved_is_not_said():
    assert describe_error(replace(BULK, excess=np.inf)) == ""
    assert "nothing is proved" in describe_error(replace(BULK, kind=Kind.ESTIMATE))
    assert "all that float64 can tell" in describe_error(replace(BULK, frobenius_error=1e-9))


@given(st.floats(1e-300, 1e300), st.integers(1, 9))
def test_ends_are_rounded_outward(x, digits):
    assert float(round_up(x, digits)) >= x
    assert float(round_down(x, digits)) <= x
    assert float(round_up(x, digits)) == pytest.approx(x, rel=10.0 ** (1 - digits))
    assert float(percent(x).removesuffix(" %")) >= 100 * x * (1 - 1e-15)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.floats(0, 0.3))
def test_groups_are_runs_that_touch_and_nothing_is_left_out(values, width):
    upper = np.sort(np.array(values))[::-1]
    lower = upper * (1 - width)
    groups = touching_groups(lower, upper)
    assert [g.first for g in groups] == [0, *(g.last + 1 for g in groups[:-1])]
    assert groups[-1].last == upper.size - 1
    for group in groups:
        inside = slice(group.first, group.last + 1)
        assert group.upper == upper[inside].max()
        assert group.lower == lower[inside].min()
        for i in range(group.first, group.last):
            assert lower[i] <= upper[i + 1]
    for one, after in zip(groups[:-1], groups[1:], strict=True):
        assert one.lower > after.upper
