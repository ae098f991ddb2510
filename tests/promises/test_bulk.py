"""Ranks that reach into a bulk: resolved values proved, the rest told as a group, the error near the best; nothing is forgotten."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.events import CertificateUpdated, RouteChanged
from streamsvd.errors import BudgetError, NotConverged, SpecError


def of_values(s: Any, m: int, n: int, seed: int = 0, dtype: str = "float64") -> Any:
    """A matrix of given singular values and random vectors."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((m, len(s))))[0]
    V = np.linalg.qr(rng.standard_normal((n, len(s))))[0]
    return ((U * s) @ V.T).astype(dtype)


def spiked(m: int = 3000, n: int = 700, dtype: str = "float64") -> Any:
    """Three components above noise."""
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((m, n)) / np.sqrt(m)
    return (noise + of_values([6.0, 5.0, 4.0], m, n)).astype(dtype)


def small_basis(A: Any, k: int, blocks: int, **options: Any) -> Any:
    """The plan of a Krylov run with a basis of so many blocks."""
    plan = streamsvd.plan_svd(A, k, route="krylov", **options)
    return replace(plan, basis=blocks * plan.block)


def held(A: Any, result: Any) -> None:
    """Whatever is told is so."""
    s = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    c, k = result.certificate, result.rank
    eps = 1e-12 * s[0]
    assert (c.sigma_lower <= s[:k] + eps).all()
    assert (c.sigma_upper >= s[:k] - eps).all()
    left = np.linalg.norm(A - A @ result.Vh.T @ result.Vh)
    assert left <= (1 + c.excess) * np.linalg.norm(s[k:]) * (1 + 1e-9) + eps
    assert (np.abs(result.s / s[:k] - 1)[c.resolved] <= c.tol).all()
    for group in c.groups:
        inside = s[group.first : group.last + 1]
        assert group.lower - eps <= inside.min()
        assert inside.max() <= group.upper + eps


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_spikes_above_noise_are_resolved_and_the_rest_is_one_group(dtype):
    A = spiked(dtype=dtype)
    result = streamsvd.svd(A, 10, route="krylov")
    c = result.certificate
    held(A, result)
    assert result.info.criterion == "error"
    assert result.info.passes <= 4.2
    assert c.resolved_count == 3
    assert [group.size for group in c.groups] == [1, 1, 1, 7]
    assert c.excess <= 1e-2
    assert c.resolved_angle_bound < 0.05
    assert c.subspace_angle_bound == np.inf
    assert "3 of 10 values resolved" in repr(result)


@pytest.mark.parametrize("k", [3, 10])
def test_a_tolerance_that_float32_products_leave_is_met_in_float64(k):
    A = spiked(1500, 1500, "float32")
    result = streamsvd.svd(A, k, tol=1e-6, route="krylov")
    assert result.info.precision == "double"
    assert result.certificate.resolved_count >= 3
    held(A, result)
    assert streamsvd.svd(A, 3, tol=1e-3, route="krylov").info.precision == "single"


def test_values_are_what_target_values_asks_for():
    A = spiked()
    with pytest.raises(
        NotConverged, match="3 of 10 values resolved to 0.001; values 4..10 lie between"
    ) as caught:
        streamsvd.svd(A, 10, route="krylov", target="values")
    assert not caught.value.result.certificate.resolved.all()
    result = streamsvd.svd(A, 10, target="values")  # the Gram matrix has them all
    assert result.info.criterion == "values"
    assert result.certificate.resolved.all()
    assert "gram" in result.info.route
    held(A, result)


def test_an_error_can_be_asked_for_alone():
    A = of_values(1 / np.arange(1.0, 401), 2000, 400)
    loose = streamsvd.svd(A, 10, route="krylov", target="error", excess_tol=0.05)
    assert loose.info.criterion == "error"
    assert loose.certificate.excess <= 0.05
    held(A, loose)
    fine = streamsvd.svd(A, 10, route="krylov", target="error", excess_tol=1e-5)
    assert fine.certificate.excess <= 1e-5
    assert fine.info.passes >= loose.info.passes


def test_a_matrix_of_low_rank_meets_its_target_though_no_excess_can_be_proved():
    A = of_values([3.0, 2.0, 1.0], 900, 300)
    result = streamsvd.svd(A, 5, route="krylov", target="error")
    assert result.info.criterion == "error"
    assert result.certificate.error_vanishes


@pytest.mark.parametrize("advice", ["target", "rank", "route"])
def test_the_advice_converges_when_it_is_followed(advice):
    A = spiked()
    with pytest.raises(NotConverged) as caught:
        streamsvd.svd(A, 10, route="krylov", target="values", max_passes=5)
    text = caught.value.message
    if advice == "target":
        excess = float(re.search(r'target="error" with excess_tol=([\d.e-]+)', text)[1])
        result = streamsvd.svd(
            A, 10, route="krylov", target="error", excess_tol=excess, max_passes=5
        )
    elif advice == "rank":
        rank = int(re.search(r"rank=(\d+), as that many", text)[1])
        assert rank == 3
        result = streamsvd.svd(A, rank, route="krylov", target="values", max_passes=5)
    else:
        assert "Leave route= out" in text
        result = streamsvd.svd(A, 10, target="values", max_passes=5)
    assert result.info.status is streamsvd.Status.CONVERGED
    held(A, result)


def test_the_memory_that_is_advised_makes_room_for_the_gram_matrix():
    A = spiked(6000, 900, "float32")
    with pytest.raises(BudgetError) as refused:
        streamsvd.plan_svd(A, 10, memory=1)
    with pytest.raises(NotConverged) as caught:
        streamsvd.svd(A, 10, target="values", max_passes=4, memory=refused.value.needs)
    memory = int(re.search(r"memory=(\d+) \(.*room for the Gram matrix", caught.value.message)[1])
    result = streamsvd.svd(A, 10, target="values", max_passes=4, memory=memory)
    assert result.info.criterion == "values"


@pytest.mark.parametrize(
    ("s", "k"),
    [
        (1 / np.log(np.arange(2.0, 802)), 10),
        (np.arange(1.0, 801) ** -0.5, 25),
        (np.concatenate([[6.0, 5.0, 4.0], np.linspace(1.3, 0.7, 797)]), 10),
    ],
    ids=["one over log", "slow", "spikes"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_interval_grows_through_restarts(s, k, dtype):
    A = of_values(s, 1500, 800, dtype=dtype)
    plan = small_basis(A, k, 2, target="values", tol=1e-9, max_passes=9)
    seen: list[CertificateUpdated] = []

    def watch(event: Any) -> None:
        if isinstance(event, CertificateUpdated):
            seen.append(event)

    with pytest.raises(NotConverged) as caught:
        streamsvd.svd(A, k, plan=plan, max_passes=9, callback=watch)
    widths = [look.width for look in seen]
    assert len(widths) == 9
    assert all(b <= a * (1 + 1e-9) for a, b in zip(widths, widths[1:], strict=False))
    held(A, caught.value.result)


def test_a_basis_of_two_blocks_resolves_a_slow_spectrum_in_five_looks():
    A = of_values(1 / np.log(np.arange(2.0, 1202)), 1400, 1200)
    result = streamsvd.svd(A, 10, plan=small_basis(A, 10, 2))
    assert result.info.criterion == "values"
    assert len(result.info.widths) <= 5
    held(A, result)


@pytest.mark.parametrize("blocks", [2, 4])
def test_values_that_repeat_more_often_than_a_block_has_columns_are_all_found(blocks):
    """Residuals vanish while ten of thirty equal values are unseen: random columns take their places."""
    A = of_values(np.concatenate([np.ones(30), np.full(570, 1e-3)]), 900, 600)
    plan = small_basis(A, 10, blocks, target="values")
    assert plan.block == 20
    result = streamsvd.svd(A, 10, plan=plan)
    assert result.certificate.resolved.all()
    assert len(result.info.widths) <= 6
    held(A, result)


@pytest.mark.parametrize("matrix", ["identity", "one-hot", "wide"])
def test_flat_matrices_converge_by_the_way_that_costs_least(matrix):
    rng = np.random.default_rng(0)
    A = {
        "identity": np.eye(900),
        "one-hot": np.eye(500)[rng.integers(0, 500, 2000)],
        "wide": np.eye(500)[:, rng.integers(0, 500, 2000)],
    }[matrix]
    result = streamsvd.svd(A, 8)
    assert result.info.status is streamsvd.Status.CONVERGED
    assert result.info.passes <= 5.2
    held(A, result)
    exact = streamsvd.svd(A, 8, target="values")
    assert exact.info.criterion == "values"
    held(A, exact)


def test_going_over_is_an_event_with_its_reason():
    A, seen = spiked(), []
    result = streamsvd.svd(A, 10, target="values", callback=seen.append)
    (event,) = [e for e in seen if isinstance(e, RouteChanged)] or [None]
    if event is None:  # the plan took the Gram matrix at once
        assert result.info.route == "gram"
    else:
        assert (event.before, event.after) == ("krylov", "gram")
        assert event.reason


@pytest.mark.parametrize("options", [{"center": True}, {"scale": True}, {"nonfinite": "mean"}, {}])
@pytest.mark.parametrize("shape", [(2000, 400), (400, 2000)])
def test_the_gram_matrix_gives_what_the_krylov_space_would_whatever_the_options(options, shape):
    rng = np.random.default_rng(3)
    A = rng.standard_normal(shape) + 3 + np.linspace(0, 4, shape[1])
    if "nonfinite" in options:
        A[rng.random(shape) < 1e-3] = np.nan
    over = streamsvd.plan_svd(A, 5, target="values", **options)
    forced = replace(over, gram_passes=1.5) if over.fallback is not None else over
    result = streamsvd.svd(A, 5, plan=forced, **options, target="values")
    direct = streamsvd.svd(A, 5, route="gram", **options)
    assert "gram" in result.info.route
    np.testing.assert_allclose(result.s, direct.s, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "best"}, r"target='best' is unknown. Pass \"auto\", \"values\" or \"error\""),
        ({"excess_tol": -1}, r"excess_tol=-1 is no excess"),
        ({"excess_tol": "1%"}, r"excess_tol='1%' is not a number"),
        ({"target": "error", "excess_tol": 0}, r"can never be proved"),
        ({"route": "magic"}, r"route='magic' is unknown"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(options, words):
    for verb in (streamsvd.svd, streamsvd.pca, streamsvd.plan_svd):
        with pytest.raises(SpecError, match=words):
            verb(np.eye(4), 2, **options)


def test_a_plan_for_another_target_or_route_is_refused():
    A = np.eye(30)
    plan = streamsvd.plan_svd(A, 3, target="values", route="gram")
    with pytest.raises(
        SpecError, match=r"target='error' was asked, the plan was made for target='values'"
    ):
        streamsvd.svd(A, 3, plan=plan, target="error")
    with pytest.raises(SpecError, match=r"route='krylov' was asked"):
        streamsvd.svd(A, 3, plan=plan, route="krylov")
    assert streamsvd.svd(A, 3, plan=plan).info.criterion == "values"
