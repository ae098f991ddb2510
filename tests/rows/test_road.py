"""What the road can do, the verbs of rows can do: missing values, saves, clusters, plans."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.events import PassDone, SpanDone
from streamsvd.errors import NonFiniteError, SpecError
from streamsvd.rows.options import LeastSquaresOptions, SampleOptions

RNG = np.random.default_rng(7)
A = RNG.standard_normal((6000, 8))
B = A @ np.arange(8.0) + 0.1 * RNG.standard_normal(6000)
VERBS = {
    "qr": lambda X, **o: streamsvd.lstsq(X, B, method="qr", **o),
    "precondition": lambda X, **o: streamsvd.lstsq(X, B, method="precondition", **o),
    "sample": lambda X, **o: streamsvd.sample_rows(X, 300, **o),
    "online": lambda X, **o: streamsvd.sample_rows(X, method="online", oversampling=3.0, **o),
}


class StopAt:
    """Interrupts a run at its n-th end of a span or pass."""

    def __init__(self, limit):
        self.left = limit

    def __call__(self, event):
        self.left -= isinstance(event, SpanDone | PassDone)
        if self.left == 0:
            raise KeyboardInterrupt


def arrays(found):
    return [v for f in fields(found) if isinstance(v := getattr(found, f.name), np.ndarray)]


def assert_same(found, other):
    for a, b in zip(arrays(found), arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def holes():
    X = A.copy()
    X[RNG.integers(0, 6000, 40), RNG.integers(0, 4, 40)] = np.nan
    return X


@pytest.mark.parametrize("verb", VERBS)
def test_missing_values_are_what_the_policy_says(verb, holes):
    run = VERBS[verb]
    with pytest.raises(NonFiniteError, match="NaN at row"):
        run(holes)
    assert_same(run(holes, nonfinite="zero"), run(np.nan_to_num(holes)))
    mean = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    for a, b in zip(arrays(run(holes, nonfinite="mean")), arrays(run(mean)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    there = ~np.isnan(holes).any(axis=0)
    dropped = run(holes, nonfinite="drop_columns")
    assert dropped.info.dropped_columns == tuple(np.flatnonzero(~there))
    assert "with missing values" in dropped.info.warnings[-1]
    with pytest.raises(SpecError, match="nonfinite='skip' is unknown"):
        run(holes, nonfinite="skip")


@pytest.mark.parametrize("verb", VERBS)
def test_an_infinite_entry_is_an_error_under_every_policy(verb):
    X = A.copy()
    X[4321, 3] = np.inf
    for policy in ("raise", "zero", "mean", "drop_columns"):
        with pytest.raises(NonFiniteError, match="Inf at row 4321, column 3"):
            VERBS[verb](X, nonfinite=policy)


@pytest.mark.parametrize("verb", ["qr", "precondition", "sample"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(verb, tmp_path):
    run, whole = VERBS[verb], VERBS[verb](A)
    place = tmp_path / "saves"
    for limit in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(A, checkpoint=place, save_seconds=0, callback=StopAt(limit))
    with pytest.raises(SpecError, match=r"seed=0, this one has 5|this one has"):
        run(A, checkpoint=place, seed=5)
    with pytest.raises(SpecError, match="is of a run with"):
        run(A + 1, checkpoint=place)
    found = run(A, checkpoint=place)
    assert_same(found, whole)
    assert found.info.passes == whole.info.passes
    assert found.info.bytes_read < whole.info.bytes_read
    assert not [p for p in place.rglob("*") if p.is_file()]


def test_a_sample_in_the_order_of_the_rows_has_no_saves(tmp_path):
    with pytest.raises(SpecError, match="checkpoint= has no meaning"):
        VERBS["online"](A, checkpoint=tmp_path / "saves")


@pytest.mark.parametrize(
    ("verb", "record"), [("lstsq", LeastSquaresOptions), ("sample_rows", SampleOptions)]
)
def test_the_record_has_the_options_of_the_verb(verb, record):
    asked = inspect.signature(getattr(streamsvd, verb)).parameters
    for f in fields(record):
        assert asked[f.name].default == f.default, f.name


class Unread:
    """A matrix that may not be read."""

    shape, dtype, chunks = (6000, 8), np.dtype("f8"), (500, 8)

    def read(self, rows):
        raise AssertionError("a plan reads nothing")


@pytest.mark.parametrize(
    ("verb", "inputs", "options"),
    [
        ("lstsq", (B,), {}),
        ("lstsq", (B,), {"method": "precondition"}),
        ("sample_rows", (300,), {}),
        ("sample_rows", (), {"method": "online", "oversampling": 3.0}),
    ],
)
def test_a_plan_reads_nothing_and_bounds_the_run(verb, inputs, options):
    plan = streamsvd.plan(verb, Unread(), *inputs, **options)
    found = getattr(streamsvd, verb)(A, *inputs, **options)
    assert found.info.passes <= plan.passes
    assert found.info.projected_bytes <= plan.projected_bytes * 1.5
    assert plan.options.method == found.options.method
    assert verb in plan.explain()
    least = streamsvd.plan(verb, Unread(), *inputs, memory="1GiB", **options).projected_bytes
    assert least <= 1 << 30
    with pytest.raises(SpecError, match="verb='nothing' is unknown"):
        streamsvd.plan("nothing", A)


@pytest.mark.parametrize("verb", ["qr", "precondition", "sample"])
def test_saves_of_another_treatment_of_the_matrix_are_refused(verb, holes, tmp_path):
    run, place = VERBS[verb], tmp_path / "saves"
    with pytest.raises(KeyboardInterrupt):
        run(holes, nonfinite="mean", checkpoint=place, save_seconds=0, callback=StopAt(4))
    with pytest.raises(SpecError, match="nonfinite= differs"):
        run(holes, nonfinite="zero", checkpoint=place)
    with pytest.raises(SpecError, match="is of a run with"):
        run(holes, nonfinite="drop_columns", checkpoint=place)
    assert_same(run(holes, nonfinite="mean", checkpoint=place), run(holes, nonfinite="mean"))
    assert not any(place.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_mean_of_a_column_is_not_rounded_to_the_type_of_the_data(dtype):
    rng = np.random.default_rng(1)
    X = (rng.standard_normal((400, 5)) + 100).astype(dtype)
    X[7, 2] = X[90, 4] = np.nan
    wide = X.astype(float)
    filled = np.where(np.isnan(wide), np.nanmean(wide, axis=0), wide)
    b = filled @ np.arange(5.0)
    found = streamsvd.lstsq(X, b, nonfinite="mean")
    assert np.linalg.norm(found.x - np.arange(5.0)) <= found.forward_error[0] < 1e-8
