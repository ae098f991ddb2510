"""What is asked of a result is held against what it proves; a quantity that is not known does not pass."""

from __future__ import annotations

import math
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

import streamsvd
from streamsvd.pipelines.checks import Finding, check
from streamsvd.pipelines.description import CheckDescription
from tests.pipelines.kit import CHAIN, COLUMNS, ROWS, SVD, matrix, run_text, write_zarr

LINKED = SVD + '[[publish]]\nstep = "eof"\nto = "latest"\n'


def checked(quantity: str, result: object, previous: object = None, **bounds: float):
    """A check of a result that took two seconds."""
    asked = CheckDescription("x", quantity, **bounds)  # type: ignore[arg-type]
    return check(asked, Finding(result, previous, 2.0, None))


def bases(angle: float) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Two planes of four directions that have one direction in common, and this angle in degrees."""
    a = math.radians(angle)
    Vh = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    other = np.array([[1.0, 0, 0, 0], [0, math.cos(a), math.sin(a), 0]])
    return SimpleNamespace(Vh=Vh), SimpleNamespace(Vh=other)


@pytest.mark.parametrize("angle", [0.0, 0.5, 30.0, 90.0])
def test_drift_is_the_largest_angle_in_degrees(angle):
    one, other = bases(angle)
    for found in (checked("drift", one, other, at_most=1), checked("drift", other, one, at_most=1)):
        assert found.value == pytest.approx(angle, abs=1e-6)
        assert found.passed == (angle <= 1)


def test_drift_does_not_depend_on_signs_or_order():
    one, other = bases(20.0)
    turned = SimpleNamespace(Vh=-other.Vh[::-1])
    assert checked("drift", one, turned, at_most=1).value == pytest.approx(20.0)


def test_drift_is_nothing_where_nothing_was_published():
    assert checked("drift", bases(0)[0], None, at_most=0).value == 0
    assert checked("drift", bases(0)[0], None, at_most=0).passed


def test_drift_of_other_columns_is_not_known():
    one = SimpleNamespace(Vh=np.eye(2, 3))
    found = checked("drift", one, bases(0)[0], at_most=90)
    assert found.value is None
    assert not found.passed


def test_a_quantity_that_a_result_has_not_does_not_pass():
    for quantity in ("width", "error", "captured", "missing", "rows", "passes", "bytes", "age"):
        found = checked(quantity, object(), at_most=1e9, at_least=-1e9)
        assert (found.value, found.passed) == (None, False)


def test_both_bounds_are_held():
    for value, passed in ((0.5, False), (1.0, True), (2.0, True), (2.1, False), (math.nan, False)):
        info = SimpleNamespace(n_rows=value)
        found = checked("rows", SimpleNamespace(info=info), at_least=1, at_most=2)
        assert found.passed is passed
        assert found.asked == "at least 1 and at most 2"


@pytest.mark.parametrize(
    ("quantity", "low", "high"),
    [
        ("width", 0, 1e-3),
        ("error", 1e-6, 0.9),
        ("captured", 0.1, 1),
        ("drift", 0, 0),
        ("rows", ROWS, ROWS),
        ("missing", 0, 0),
        ("passes", 1, 4),
        ("bytes", ROWS * COLUMNS * 4, ROWS * COLUMNS * 40),
        ("seconds", 0, 600),
        ("age", 0, 1),
    ],
)
def test_every_quantity_of_a_factorisation_is_known(folder, quantity, low, high):
    text = (
        LINKED
        + f'[[checks]]\nstep = "eof"\nquantity = "{quantity}"\nat_least = {low}\nat_most = {high}\n'
    )
    record = run_text(folder, text)
    (found,) = record.checks
    assert record.status == "done", found
    assert found.passed


def test_what_a_result_holds_is_as_numpy_has_it(folder):
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "error"\nat_most = 1\n'
    A = matrix().astype(float)
    s = np.linalg.svd(A, compute_uv=False)
    wanted = np.sqrt((s[3:] ** 2).sum() / (s**2).sum())
    assert run_text(folder, text).checks[0].value == pytest.approx(wanted, rel=1e-4)


def test_old_data_are_found_by_their_age(folder):
    hours_ago = time.time() - 5 * 3600
    os.utime(folder / "A.npy", (hours_ago, hours_ago))
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "age"\nat_most = 4\n'
    record = run_text(folder, text)
    assert record.status == "refused"
    assert record.checks[0].value == pytest.approx(5, abs=0.1)


def test_a_result_that_turned_away_is_refused_and_the_record_says_why(folder):
    text = CHAIN + '[[checks]]\nstep = "eof"\nquantity = "drift"\nat_most = 10\n'
    text = text.replace(
        'update = {source = "a", model = "a.model", rank = 3}', 'svd = {source = "a", rank = 2}'
    )
    assert run_text(folder, text).status == "done"
    kept = streamsvd.load(folder / "latest" / "eof").Vh
    write_zarr(folder / "a.zarr", matrix(seed=4))
    record = run_text(folder, text)
    assert record.status == "refused"
    value = record.checks[1].value
    assert value is not None
    assert value > 10
    assert (
        record.error
        == f"drift of eof is {value:.6g}, at most 10 was asked. What was published before stays."
    )
    np.testing.assert_array_equal(streamsvd.load(folder / "latest" / "eof").Vh, kept)
    again = run_text(folder, text)
    assert (again.status, again.checks[1].value) == ("refused", value)
    assert {s.status for s in again.steps} == {"unchanged"}
    assert run_text(folder, text.replace("at_most = 10", "at_most = 90")).status == "done"


def test_the_same_result_has_not_drifted(folder):
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "drift"\nat_most = 1e-3\n'
    for _ in range(2):
        assert run_text(folder, text).checks[0].passed


def test_damage_of_what_is_published_matters_only_where_drift_is_asked(folder):
    first = run_text(folder, LINKED)
    for path in (folder / "latest").resolve().rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert run_text(folder, LINKED, "steps.eof.svd.rank=2").status == "done"
    assert first.status == "done"
