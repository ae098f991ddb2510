"""How much is wanted: a rank, a share of the energy, an error; how it ends, and what it says on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.events import (
    CertificateUpdated,
    PassDone,
    PassStarted,
    ResultWritten,
    SpanDone,
)
from streamsvd.errors import NotConverged
from streamsvd.numerics.certificate import Kind
from streamsvd.testing.spectra import KnownMatrix
from tests.matrices import Rows, assert_right, prepared, run

ROUTES = pytest.mark.parametrize("route", ["krylov", "gram"])
AXES = pytest.mark.parametrize("axis", ["rows", "columns"])


def made(s, m=80, n=40, seed=0):
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((m, n)))[0]
    return (U * s) @ np.linalg.qr(rng.standard_normal((n, n)))[0]


GEOMETRIC = 0.5 ** np.arange(40)
POWER = 1 / np.arange(1, 41.0)
DEFICIENT = np.where(np.arange(40) < 5, 1.0, 0)


def smallest(s, share):
    held = np.cumsum(s**2) / np.sum(s**2)
    return int(np.argmax(held >= share * (1 - 1e-13))) + 1


@ROUTES
@AXES
@pytest.mark.parametrize(
    "s", [GEOMETRIC, POWER, DEFICIENT], ids=["geometric", "power", "rank five"]
)
@pytest.mark.parametrize("energy", [0.5, 0.9, 0.999, 1 - 1e-9])
def test_an_energy_finds_the_smallest_rank_that_holds_it(s, energy, axis, route):
    A = made(s)
    result = run(A, energy=energy, axis=axis, route=route)
    assert result.info.status is streamsvd.Status.CONVERGED
    assert result.rank == smallest(s, energy)
    assert result.certificate.captured >= energy * (1 - 1e-12)
    assert_right(result, A)


@ROUTES
@AXES
@pytest.mark.parametrize(
    "s", [GEOMETRIC, POWER, DEFICIENT], ids=["geometric", "power", "rank five"]
)
@pytest.mark.parametrize("tol", [0.3, 1e-2, 1e-4, 1e-6, 1e-8, 1e-11])
def test_a_tolerance_alone_finds_the_smallest_rank_of_that_error_or_says_it_cannot(
    s, tol, axis, route
):
    A = made(s)
    result = run(A, tol=tol, axis=axis, route=route)
    error = np.linalg.norm(A - A @ result.Vh.T @ result.Vh) / np.linalg.norm(s)
    if result.info.status is streamsvd.Status.CONVERGED:
        assert error <= tol * (1 + 1e-9)
        assert result.certificate.frobenius_error <= 1.01 * tol * np.linalg.norm(s) + 3e-6
        tails = np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0)) / np.linalg.norm(s)
        assert result.rank == int(np.argmax(tails <= tol))
    else:
        assert tol <= 1e-5  # beyond what squares in float64 resolve


def test_a_tail_below_what_squares_resolve_is_not_taken_for_nothing():
    """Ten values of 3e-7: their squares are 1e-12 of the energy, and tol=1e-11 is not met without them."""
    A = made(np.concatenate([np.ones(5), np.full(10, 3e-7), np.zeros(25)]))
    for route in ("krylov", "gram"):
        result = run(A, tol=1e-11, route=route)
        error = np.linalg.norm(A - A @ result.Vh.T @ result.Vh) / np.linalg.norm(A)
        assert error <= 1e-11 or result.info.status is streamsvd.Status.NOT_CONVERGED


def test_an_energy_is_that_of_the_matrix_factorised():
    A = made(POWER) + 5
    result = run(A, energy=0.9, center=True)
    s = np.linalg.svd(prepared(A, center=True), compute_uv=False)
    assert result.rank == smallest(s, 0.9)
    assert result.certificate.energy == pytest.approx(np.sum(s**2))


@ROUTES
def test_all_of_the_energy_of_a_zero_matrix_is_held_by_one_triplet(route):
    result = run(np.zeros((20, 10)), energy=0.9, route=route)
    assert result.rank == 1
    assert result.info.status is streamsvd.Status.CONVERGED


def test_a_rank_searched_for_beyond_the_basis_of_a_small_budget_is_right_or_honest():
    known = KnownMatrix("slow", 3000, 400, "float32")
    A = known.rows(0, 3000)
    with pytest.raises(streamsvd.BudgetError) as refused:
        streamsvd.plan_svd(A, energy=0.95, memory=1, route="krylov")
    result = run(A, energy=0.95, memory=refused.value.needs, route="krylov", max_passes=8)
    assert_right(result, A.astype(np.float64), tol=1e-3)
    if result.info.status is streamsvd.Status.CONVERGED:
        assert result.rank == smallest(known.s, 0.95)


# How it ends --------------------------------------------------------------------------------------


def hard():
    known = KnownMatrix("slow", 500, 250, "float64")
    return known, known.rows(0, 500)


def test_not_converged_carries_the_result_and_says_how_far_it_is(tmp_path):
    known, A = hard()  # two passes to learn, one for U
    source = Rows(A, 25)
    plan = streamsvd.plan_svd(source, 20, tol=1e-8, max_passes=2, route="krylov", out="x", u=True)
    with pytest.raises(
        NotConverged, match=r"every interval within 1e-08 or .* was asked; after 3\.\d+ passes"
    ) as error:
        streamsvd.svd(source, 20, plan=plan, max_passes=2, out=tmp_path / "M.zarr", u=True)
    result = error.value.result
    width = result.certificate.relative_width
    assert "0 of 20 values resolved to 1e-08; value 1 lies between" in str(error.value)
    assert ".result" in str(error.value)
    assert result.info.status is streamsvd.Status.NOT_CONVERGED
    assert result.info.widths[-1] == pytest.approx(width)
    assert_right(result, A, rank=20)
    kept = streamsvd.load(tmp_path / "M.zarr")
    np.testing.assert_array_equal(kept.s, result.s)
    assert kept.info.status is streamsvd.Status.NOT_CONVERGED
    np.testing.assert_allclose(A @ kept.Vh.T, kept.U[...] * kept.s, atol=0.1 * known.s[0])


def test_passes_end_at_the_limit():
    _, A = hard()
    A = Rows(A, 25)
    for limit in (1, 2, 3):
        plan = streamsvd.plan_svd(
            A, 20, tol=1e-12, max_passes=limit, route="krylov", target="values"
        )
        with pytest.raises(NotConverged) as error:
            streamsvd.svd(A, 20, plan=plan, max_passes=limit)
        result = error.value.result
        assert limit <= result.info.passes < limit + 0.3
        assert len(result.info.widths) == limit


def test_more_passes_never_widen_the_certificate_much():
    _, A = hard()
    plan = streamsvd.plan_svd(A, 20, tol=1e-12, target="values", max_passes=6, route="krylov")
    with pytest.raises(NotConverged) as error:
        streamsvd.svd(A, 20, plan=plan, max_passes=6)
    widths = error.value.result.info.widths
    assert widths[-1] < 1e-6
    assert all(b <= 2 * a + 1e-10 for a, b in zip(widths, widths[1:], strict=False))


def test_an_estimate_is_cheaper_and_says_that_nothing_is_proved():
    known, A = hard()
    proved = run(A, 10, route="krylov", tol=1e-5)
    guessed = run(A, 10, route="krylov", tol=1e-5, certify="estimate")
    assert proved.certificate.kind is Kind.BOUNDS
    assert proved.certificate.failure_probability == 1e-6
    assert guessed.certificate.kind is Kind.ESTIMATE
    assert guessed.certificate.failure_probability == 1.0
    assert guessed.info.passes <= proved.info.passes
    np.testing.assert_allclose(guessed.s, known.s[:10], rtol=1e-4)


def test_the_gram_route_is_proved_without_chance():
    _, A = hard()
    assert run(A, 10, route="gram").certificate.failure_probability == 0


def test_delta_is_reported():
    _, A = hard()
    assert run(A, 5, route="krylov", delta=1e-3).certificate.failure_probability == 1e-3


def test_the_record_of_a_run_adds_up():
    _, A = hard()
    plan = streamsvd.plan_svd(A, 10, route="krylov", u=True)
    result = streamsvd.svd(A, 10, plan=plan, u=True)
    info = result.info
    assert info.bytes_read == round(info.passes * A.nbytes)
    assert info.projected_bytes == plan.projected_bytes
    assert (info.route, info.axis, info.n_rows, info.seed) == ("krylov", plan.layout.axis, 500, 0)
    assert 0 < info.elapsed_s < 60
    assert info.peak_bytes >= 0
    assert info.missing == 0
    assert "SVD rank 10 of 500 x 250" in repr(result)


def test_events_tell_each_pass_each_span_and_the_commit(tmp_path):
    _, A = hard()
    seen = []
    result = run(
        Rows(A, 25), 5, route="krylov", u=True, out=tmp_path / "M.zarr", callback=seen.append
    )
    starts = [e for e in seen if isinstance(e, PassStarted)]
    ends = [e for e in seen if isinstance(e, PassDone)]
    assert [e.number for e in starts] == [e.number for e in ends] == list(range(1, len(starts) + 1))
    assert all(e.elapsed_s > 0 for e in ends)
    for start in starts:
        spans = [e for e in seen if isinstance(e, SpanDone) and e.number == start.number]
        assert [e.n_finished for e in spans] == list(range(1, spans[0].spans + 1))
    looks = [e for e in seen if isinstance(e, CertificateUpdated)]
    assert tuple(look.width for look in looks) == result.info.widths
    for end in ends:
        known = [look.width for look in looks if look.number < end.number]
        assert end.width_before == (known[-1] if known else None)
        if end.number <= len(looks):  # what a pass taught is told after its end, before the next
            assert seen.index(looks[end.number - 1]) > seen.index(end)
    assert seen[-1] == ResultWritten(str(tmp_path / "M.zarr"))
    sampled = result.info.bytes_read - sum(e.bytes_read for e in starts)
    assert 0 <= sampled < 0.3 * A.nbytes


def test_an_error_in_a_callback_is_the_callers_own():
    def broken(event):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        streamsvd.svd(np.ones((20, 5)), 1, callback=broken)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(streamsvd.SpecError, match=r"seed=-?\d+ is out of range"):
        streamsvd.svd(np.eye(4), 1, seed=seed)


@pytest.mark.parametrize("delta", [0, 1, -1e-6, float("nan")])
def test_a_failure_probability_is_one(delta):
    with pytest.raises(streamsvd.SpecError, match=r"delta=.* is no probability"):
        streamsvd.svd(np.eye(4), 1, delta=delta)


def test_a_plan_for_another_matrix_is_refused():
    plan = streamsvd.plan_svd(np.ones((20, 5)), 2)
    with pytest.raises(
        streamsvd.SpecError, match=r"plan is for \(20, 5\) float64, the matrix is \(20, 6\)"
    ):
        streamsvd.svd(np.ones((20, 6)), 2, plan=plan)
    with pytest.raises(streamsvd.SpecError, match="float32"):
        streamsvd.svd(np.ones((20, 5), dtype="float32"), 2, plan=plan)


def test_the_largest_seed_runs():
    _, A = hard()
    a, b = (run(A, 3, route="krylov", seed=seed) for seed in (2**64 - 1, 2**64 - 2))
    assert not np.array_equal(a.Vh, b.Vh)


def test_panels_and_workers_of_a_plan_do_not_change_a_bit():
    """The order of sums is fixed by spans and blocks; how much is read at once is not in it."""
    known = KnownMatrix("pow1", 3000, 100, "float64")
    A = known.rows(0, 3000)
    plan = streamsvd.plan_svd(A, 8, route="krylov", u=True, tol=1e-6)
    reference = streamsvd.svd(A, 8, plan=plan, u=True)
    for changed in (
        replace(plan, layout=replace(plan.layout, panel=plan.layout.grain)),
        replace(plan, layout=replace(plan.layout, panel=3 * plan.layout.grain)),
        replace(plan, prefetch=not plan.prefetch),
        replace(plan, workers=1, at_once=1),
        replace(plan, workers=5, at_once=5),
    ):
        again = streamsvd.svd(A, 8, plan=changed, u=True)
        np.testing.assert_array_equal(again.s, reference.s)
        np.testing.assert_array_equal(again.Vh, reference.Vh)
        np.testing.assert_array_equal(again.U, reference.U)
