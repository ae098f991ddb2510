"""What is printed of a bound still holds: ends of intervals are rounded outward."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamsvd
from streamsvd.cli.present import at_least, at_most, interval_cells, round_digits, variance_rows

positive = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


@given(positive, st.integers(2, 12))
def test_a_bound_is_rounded_to_its_own_side_and_by_less_than_a_digit(x, digits):
    low, high = Fraction(at_least(x, digits)), Fraction(at_most(x, digits))
    assert low <= Fraction(x) <= high
    assert high - low <= Fraction(x) / 10 ** (digits - 1)
    assert low <= Fraction(round_digits(x, digits)) <= high


@given(st.lists(positive, min_size=3, max_size=3), st.floats(0, 1e-3))
def test_a_printed_interval_holds_the_stored_one_and_the_printed_value(three, width):
    for low, value, high in (sorted(three), (three[0] * (1 - width), three[0], three[0])):
        shown, down, up = (Fraction(text) for text in interval_cells(value, low, high))
        assert down <= Fraction(low) <= Fraction(high) <= up
        assert down <= shown <= up


def test_numbers_look_as_they_always_did():
    assert round_digits(1234.56789, 7) == "1234.568"
    assert round_digits(1.5e-5, 5) == "1.5000e-5"
    assert round_digits(12345678.0, 5) == "1.2346e+7"
    assert round_digits(0.0, 5) == "0.0000"
    assert at_most(float("inf"), 5) == "inf"


def test_every_table_of_a_command_is_rounded_outward(run, data, tmp_path):
    out = tmp_path / "M.zarr"
    shown = run("svd", data / "A.zarr", "--rank", 12, "--tol", "1e-2", "--out", out).out
    c = streamsvd.load(out).certificate
    rows = re.findall(r"^ +(\d+) +(\S+) +(\S+) +(\S+) +\S+$", shown, flags=re.MULTILINE)
    assert len(rows) == 12
    for number, *texts in rows:
        value, low, high = (Fraction(text) for text in texts)
        i = int(number) - 1
        assert low <= Fraction(c.sigma_lower[i]) < Fraction(c.sigma_upper[i]) <= high
        assert low <= value <= high
    bound = re.search(r"<= (\S+), (\S+)% of the energy is held", shown)
    assert Fraction(bound[1]) >= Fraction(c.frobenius_error)
    assert float(bound[2]) / 100 <= c.captured
    told = run("verify", out, data / "A.zarr").out
    low, high = re.search(r"first +.* in this pass, \[(\S+), (\S+)\] stored", told).groups()
    assert (
        Fraction(low) <= Fraction(c.sigma_lower[0]) < Fraction(c.sigma_upper[0]) <= Fraction(high)
    )


def test_intervals_of_variances_hold_the_squares_of_the_stored_ends():
    A = np.random.default_rng(0).standard_normal((500, 12))
    result = streamsvd.pca(A, 12)
    for i, row in enumerate(variance_rows(result)[1]):
        low, high = (
            Fraction(float(end[i])) ** 2 / 499
            for end in (result.certificate.sigma_lower, result.certificate.sigma_upper)
        )
        value, down, up = (Fraction(text) for text in row[1:4])
        assert down <= low < high <= up
        assert down <= value <= up


@pytest.mark.parametrize("captured", [0.99999999, 0.5])
def test_a_share_that_is_held_is_rounded_down(captured):
    from streamsvd.cli.present import _share

    assert float(_share(captured).rstrip("%")) <= 100 * captured
