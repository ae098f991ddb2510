"""A plan is arithmetic on shapes: it reads nothing, keeps its budget, and names the smallest that works."""

from __future__ import annotations

import pickle
import re
import sys
import tracemalloc
from dataclasses import dataclass, replace
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd.engine.layout import span_count
from streamsvd.errors import BudgetError, ShapeError, SpecError
from streamsvd.factor import candidates as arrangements
from streamsvd.protocols import Source


@dataclass(frozen=True)
class Paper:
    """A matrix that exists on paper only: reading any of it is a failure."""

    shape: tuple[int, int]
    chunks: tuple[int, int]
    dtype: Any = np.dtype("float32")
    name: str = "paper"

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        return 2 * self.chunks[0] * self.chunks[1] * self.dtype.itemsize

    def read(self, rows: slice, columns: slice, out: Any, /) -> None:
        raise AssertionError(f"a plan read {rows} x {columns}")

    def locate(self, row: int, column: int, /) -> str:
        raise AssertionError("a plan looked for a chunk")


def test_paper_is_a_source():
    assert isinstance(Paper((2, 2), (1, 1)), Source)


@st.composite
def problems(draw: Any) -> tuple[Paper, dict[str, Any]]:
    m = draw(st.one_of(st.integers(1, 300), st.integers(1, 10**7)))
    n = draw(st.one_of(st.integers(1, 300), st.integers(1, 10**6 if m < 10**5 else 5000)))
    chunk = (draw(st.integers(1, min(m, 5000))), draw(st.integers(1, min(n, 5000))))
    dtype = np.dtype(
        draw(st.sampled_from(["float32", "float64", "complex64", "complex128", "int16"]))
    )
    options: dict[str, Any] = {"tol": draw(st.sampled_from([1e-2, 1e-3, 1e-6]))}
    if draw(st.booleans()):
        options["rank"] = draw(st.integers(1, min(m, n, 100)))
    else:
        options["energy"] = 0.9
    options |= {
        "center": draw(st.booleans()),
        "scale": draw(st.booleans()),
        "u": draw(st.booleans()),
        "nonfinite": draw(st.sampled_from(["raise", "mean"])),
        "certify": draw(st.sampled_from(["bounds", "estimate"])),
        "axis": draw(st.sampled_from([None, "rows", "columns"])),
        "route": draw(st.sampled_from([None, "krylov", "gram"])),
    }
    return Paper((m, n), chunk, dtype), options


@given(problems(), st.sampled_from([1, 2, 4]))
@settings(max_examples=40)
def test_a_refusal_names_the_smallest_budget_that_works(problem, workers):
    source, options = problem
    with dask.config.set(num_workers=workers):
        with pytest.raises(BudgetError) as refused:
            streamsvd.plan_svd(source, memory=1000, **options)
        error = refused.value
        assert error.allowed == 1000
        assert f"memory={error.needs}" in str(error)
        assert f"needs {error.needs:,} bytes" in str(error)
        assert f"{source.shape[0]:,} x {source.shape[1]:,}" in str(error)
        plan = streamsvd.plan_svd(source, memory=error.needs, **options)
        assert plan.projected_bytes <= error.needs
        with pytest.raises(BudgetError) as again:
            streamsvd.plan_svd(source, memory=error.needs - 1, **options)
        assert again.value.needs == error.needs


@given(problems(), st.lists(st.floats(1, 50), min_size=2, max_size=4))
@settings(max_examples=40)
def test_every_plan_keeps_its_budget_whatever_it_is(problem, factors):
    source, options = problem
    with pytest.raises(BudgetError) as refused:
        streamsvd.plan_svd(source, memory=1000, **options)
    for factor in factors:
        budget = int(refused.value.needs * factor)
        plan = streamsvd.plan_svd(source, memory=budget, **options)
        assert plan.projected_bytes <= plan.budget_bytes == budget
        along = source.shape[0 if plan.layout.axis == "rows" else 1]
        assert 1 <= len(plan.layout.spans) <= span_count(along, source.nbytes)
        assert plan.tasks == 2 * len(plan.layout.spans) - 1
        passes = plan.bytes_read / source.nbytes
        assert plan.passes > passes if plan.is_cached else plan.passes == passes
        assert plan.seconds > 0
        other = plan.fallback
        if other is not None:  # what the run may go over to keeps the budget too
            assert (plan.route, other.route) == ("krylov", "gram")
            assert other.projected_bytes <= budget
            assert plan.gram_passes > 0
            assert f"{plan.gram_passes:.2g} passes" in plan.explain()
        assert plan.rank <= plan.basis or plan.route == "gram" or plan.options.searches_rank


def test_a_million_chunks_are_planned_in_few_calls_and_little_memory():
    source, calls = Paper((10**9, 1000), (1000, 1000)), 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    tracemalloc.start()
    sys.setprofile(count)
    try:
        plan = streamsvd.plan_svd(source, rank=50, memory="1GiB")
        text = plan.explain()
    finally:
        sys.setprofile(None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert calls < 500_000  # about a second; one for each chunk would be more
    assert peak < 100 << 20
    assert plan.tasks == 2 * 2048 - 1
    assert len(pickle.dumps(plan)) < 100_000
    assert "1,000,000,000 x 1,000" in text


def test_a_plan_explains_itself_with_its_own_numbers():
    plan = streamsvd.plan_svd(
        Paper((100_000, 2000), (1000, 2000)), rank=50, memory="512MiB", u=True
    )
    text = str(plan)
    assert text == plan.explain()
    for piece in (
        "100,000 x 2,000 float32",
        "rank 50",
        "certified, with U",
        f"{plan.passes:.3g} expected",
        "512 MiB allowed",
        f"{len(plan.layout.spans)} spans a pass",
        "chosen",
    ):
        assert piece in text
    assert plan.alternatives[0].verdict == "chosen"
    assert plan.alternatives[0].seconds <= min(
        a.seconds for a in plan.alternatives if "fit" not in a.verdict
    )


def test_alternatives_that_do_not_fit_say_what_they_need():
    tight = streamsvd.plan_svd(Paper((10**6, 4000), (500, 4000)), rank=20, memory="330MiB")
    lost = [a for a in tight.alternatives if "does not fit" in a.verdict]
    assert lost
    assert all(a.projected_bytes > tight.budget_bytes for a in lost)
    assert all(re.search(r"needs [0-9.]+ [KMGT]iB", a.verdict) for a in lost)


def test_axis_and_route_are_as_asked():
    source = Paper((5000, 3000), (500, 3000))
    for axis in ("rows", "columns"):
        for route in ("krylov", "gram"):
            plan = streamsvd.plan_svd(source, rank=10, memory="4GiB", axis=axis, route=route)
            assert (plan.layout.axis, plan.route) == (axis, route)


def test_wide_matrices_are_streamed_along_columns_and_tall_ones_along_rows():
    tall, wide = Paper((10**6, 500), (10_000, 500)), Paper((500, 10**6), (500, 10_000))
    assert streamsvd.plan_svd(tall, rank=10, memory="2GiB").layout.axis == "rows"
    assert streamsvd.plan_svd(wide, rank=10, memory="2GiB").layout.axis == "columns"


def test_tiles_are_planned_where_a_row_of_chunks_does_not_fit():
    source = Paper((4000, 200_000), (1000, 1000))
    with pytest.raises(BudgetError) as refused:
        streamsvd.plan_svd(
            source, rank=2, memory=1, axis="rows", route="krylov", certify="estimate"
        )
    plan = streamsvd.plan_svd(
        source, rank=2, memory=refused.value.needs, axis="rows", route="krylov", certify="estimate"
    )
    assert plan.layout.tile == 1000
    assert "each read twice" in plan.explain()
    assert plan.bytes_read >= 2 * source.nbytes


def test_the_gram_path_needs_memory_of_its_square_and_no_probes():
    source = Paper((10**6, 1000), (1000, 1000))
    gram = streamsvd.plan_svd(source, rank=10, memory="2GiB", route="gram")
    assert gram.probes == 0
    assert gram.projected_bytes >= 3 * 1000 * 1000 * 8
    wider = streamsvd.plan_svd(
        replace(source, shape=(10**6, 2000)), rank=10, memory="4GiB", route="gram"
    )
    assert wider.projected_bytes > gram.projected_bytes


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rank": 0}, ShapeError, r"rank=0 is below 1.*100 x 30.*Pass 1 <= rank <= 30"),
        ({"rank": -3}, ShapeError, r"rank=-3 is below 1"),
        ({"rank": 31}, ShapeError, r"rank=31 is more than the 30 singular values of A"),
        ({"rank": 2.5}, SpecError, r"rank=2.5 is not an integer"),
        ({"rank": True}, SpecError, r"rank=True is not an integer"),
        ({}, SpecError, r"nothing says how much is wanted. Pass rank=, energy= or tol="),
        ({"rank": 3, "energy": 0.9}, SpecError, r"rank=3 and energy=0.9 exclude each other"),
        ({"energy": 0.0}, SpecError, r"energy=0.0 is no share.*\(0, 1\]"),
        ({"energy": 1.1}, SpecError, r"energy=1.1 is no share"),
        ({"energy": float("nan")}, SpecError, r"energy=nan is no share"),
        ({"rank": 3, "tol": 0}, SpecError, r"tol=0 is out of range.*\[1e-12, 1\)"),
        ({"rank": 3, "tol": 1.0}, SpecError, r"tol=1.0 is out of range"),
        ({"rank": 3, "tol": -1e-3}, SpecError, r"tol=-0.001 is out of range"),
        ({"rank": 3, "tol": float("nan")}, SpecError, r"tol=nan is out of range"),
        ({"rank": 3, "max_passes": 0}, SpecError, r"max_passes=0 leaves nothing to do"),
        (
            {"rank": 3, "certify": "maybe"},
            SpecError,
            r"certify='maybe' is unknown.*bounds.*estimate",
        ),
        ({"rank": 3, "precision": "half"}, SpecError, r"precision='half' is unknown"),
        (
            {"rank": 3, "nonfinite": "ignore"},
            SpecError,
            r"nonfinite='ignore' is unknown.*drop_columns",
        ),
        ({"rank": 3, "memory": "lots"}, SpecError, r"memory='lots' is no size"),
        ({"rank": 3, "memory": 0}, SpecError, r"memory=0 is no size"),
        (
            {"rank": 3, "row_weights": np.ones(99)},
            ShapeError,
            r"shape \(99,\), the matrix has 100 rows",
        ),
        ({"rank": 3, "column_weights": [[1.0]]}, ShapeError, r"the matrix has 30 columns"),
        (
            {"rank": 3, "row_weights": -np.ones(100)},
            SpecError,
            r"row_weights\[0\] is -1.0.*not negative",
        ),
        (
            {"rank": 3, "column_weights": np.full(30, np.inf)},
            SpecError,
            r"column_weights\[0\] is inf",
        ),
        ({"rank": 3, "column_weights": np.zeros(30)}, SpecError, r"column_weights are all zero"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(options, error, words):
    with pytest.raises(error, match=words):
        streamsvd.plan_svd(Paper((100, 30), (10, 30)), **options)
    with pytest.raises(error, match=words):
        streamsvd.svd(Paper((100, 30), (10, 30)), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"axis": "depth"}, r"axis='depth' is unknown. Pass \"rows\", \"columns\""),
        ({"route": "magic"}, r"route='magic' is unknown. Pass \"krylov\", \"gram\""),
    ],
)
def test_a_plan_has_axes_and_routes_of_known_names(options, words):
    with pytest.raises(SpecError, match=words):
        streamsvd.plan_svd(Paper((100, 30), (10, 30)), rank=3, **options)


def test_refusals_are_also_the_builtin_a_stranger_would_catch():
    with pytest.raises(MemoryError):
        streamsvd.plan_svd(Paper((100, 30), (10, 30)), rank=3, memory=1)
    with pytest.raises(ValueError, match="rank=0"):
        streamsvd.plan_svd(Paper((100, 30), (10, 30)), rank=0)


def test_errors_keep_their_numbers_through_pickling():
    with pytest.raises(BudgetError) as refused:
        streamsvd.plan_svd(Paper((100, 30), (10, 30)), rank=3, memory=1)
    error = pickle.loads(pickle.dumps(refused.value))
    assert str(error) == str(refused.value)
    assert (error.needs, error.allowed) == (refused.value.needs, 1)


def test_memory_that_is_left_goes_to_the_basis_but_for_a_fourth_of_the_projection():
    source = Paper((100_000, 2_000), (1_000, 2_000))
    plans = [streamsvd.plan_svd(source, 20, memory=m, route="krylov") for m in ("120MiB", "4GiB")]
    assert plans[0].basis < plans[1].basis <= 10 * plans[1].block
    usual = arrangements.USUAL_BLOCKS * plans[1].block
    assert plans[1].basis > usual
    wide = streamsvd.plan_svd(
        Paper((3_000, 200_000), (500, 2_000)), 20, memory="8GiB", axis="rows", route="krylov"
    )
    assert wide.basis < 10 * wide.block


def test_along_columns_no_more_than_a_fifth_is_sampled_however_it_is_stored():
    for chunks in ((1_500, 20_000), (52, 1_250)):
        plan = streamsvd.plan_svd(Paper((1_500, 20_000), chunks), 10, memory="1GiB", axis="columns")
        sampled = plan.passes - 3
        assert sampled == pytest.approx(1 if chunks[1] == 20_000 else 0.1875)


@given(problems(), st.floats(1, 30))
@settings(max_examples=12)
def test_what_decides_bits_does_not_ask_how_many_threads_there_are(problem, factor):
    source, options = problem
    with pytest.raises(BudgetError) as refused:
        streamsvd.plan_svd(source, memory=1000, **options)
    budget = int(refused.value.needs * factor)
    decided = set()
    for workers in (1, 2, 5, 16, 64):
        with dask.config.set(num_workers=workers):
            plan = streamsvd.plan_svd(source, memory=budget, **options)
        assert plan.projected_bytes <= budget
        assert 1 <= plan.at_once <= workers
        plans = [p for p in (plan, plan.fallback) if p is not None]
        shapes = [(p.route, p.layout.axis, p.layout.unit, p.layout.spans) for p in plans]
        columns = [(p.block, p.probes, p.basis, p.pins, p.layout.tile) for p in plans]
        sampled = [p.sample_rows for p in plans]
        decided.add(repr((shapes, columns, sampled, plan.gram_passes)))
    assert len(decided) == 1


def test_more_threads_are_used_where_the_memory_is_there():
    source = Paper((10**6, 1000), (1000, 1000))
    for workers in (1, 3, 16):
        with dask.config.set(num_workers=workers):
            assert streamsvd.plan_svd(source, rank=10, memory="8GiB").at_once == workers
            tight = streamsvd.plan_svd(source, rank=10, memory="330MiB")
            assert tight.at_once <= workers
