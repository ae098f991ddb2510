"""Weighted errors: the best basis is that of ``D A S``, S is never inverted, and what is said of the error is true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.collections.mathematics import (
    ClusterCriteria,
    Metric,
    cluster_sketches,
    projection,
    sketch,
    sketch_projection,
)
from streamsvd.errors import SpecError
from tests.collections.blocks import orthonormal


def decaying(rng, m, n, base=0.8):
    k = min(m, n)
    return (orthonormal(rng, m, k) * base ** np.arange(k)) @ orthonormal(rng, n, k).T


def weighted(metric, A):
    A = A if metric.rows is None else metric.rows[:, None] * A
    if metric.columns is not None:
        return A * metric.columns
    return A if metric.inputs is None else A @ metric.inputs.T


def metrics(rng, m, n):
    d = np.exp(rng.standard_normal(m))
    d /= d.max()
    return [
        Metric(rows=d),
        Metric(columns=np.exp(2 * rng.standard_normal(n))),
        Metric(inputs=rng.standard_normal((n, n)) * 0.5 ** np.arange(n)),
        Metric(rows=d, inputs=rng.standard_normal((n // 2 + 1, n))),
    ]


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
def test_no_factors_of_the_rank_have_a_smaller_weighted_error(shape, kind):
    """Eckart and Young for ``D A S``; S may be singular."""
    rng = np.random.default_rng(kind)
    A = 40 * decaying(rng, *shape)
    metric = metrics(rng, *shape)[kind]
    (found,) = cluster_sketches(
        [sketch("a", A, error=0.0, metric=metric)],
        ClusterCriteria(error=0.999, rank=3),
    )
    D = 1.0 if metric.rows is None else metric.rows[:, None]
    B = np.ldexp(found.basis @ found.coefficients[0], found.exponent) / D
    s = np.linalg.svd(weighted(metric, A), compute_uv=False)
    best = np.linalg.norm(s[3:])
    assert np.linalg.norm(weighted(metric, A - B)) == pytest.approx(best, rel=1e-10)
    assert found.block_errors[0] == pytest.approx(best / np.linalg.norm(s), rel=1e-10)
    assert found.error_lower <= best / np.linalg.norm(s) <= found.error_upper


@given(seed=st.integers(0, 2**32 - 1), kind=st.integers(0, 3), error=st.sampled_from([0.02, 0.3]))
def test_errors_of_clusters_are_those_that_are_measured(seed, kind, error):
    rng = np.random.default_rng(seed)
    m, n, count = int(rng.integers(5, 25)), int(rng.integers(2, 12)), int(rng.integers(1, 6))
    shared = decaying(rng, m, m)
    blocks = {f"b{i}": shared @ rng.standard_normal((m, n)) for i in range(count)}
    rows = metrics(rng, m, n)[kind].rows
    each = {}
    for key in blocks:
        one = metrics(rng, m, n)[kind]
        each[key] = Metric(rows, one.columns, one.inputs)
    found = cluster_sketches(
        [sketch(k, A, error=error, metric=each[k]) for k, A in blocks.items()],
        ClusterCriteria(error=error),
    )
    D = 1.0 if rows is None else rows[:, None]
    for c in found:
        lost = total = 0.0
        for key, C, claimed in zip(c.keys, c.coefficients, c.block_errors, strict=True):
            X = weighted(each[key], blocks[key] - np.ldexp(c.basis @ C, c.exponent) / D)
            E = np.linalg.norm(weighted(each[key], blocks[key]))
            assert np.linalg.norm(X) / E == pytest.approx(claimed, abs=1e-9)
            lost, total = lost + np.linalg.norm(X) ** 2, total + E**2
        measured = np.sqrt(lost / total)
        assert c.error_lower - 1e-12 <= measured <= c.error_upper + 1e-12
        assert c.raw or measured <= error


def test_weights_of_one_change_no_clusters():
    rng = np.random.default_rng(5)
    A = decaying(rng, 20, 8)
    plain = sketch("a", A, error=0.05)
    ones = sketch("a", A, error=0.05, metric=Metric(rows=np.ones(20), columns=np.ones(8)))
    np.testing.assert_array_equal(ones.L, plain.L)
    np.testing.assert_allclose(ones.Vh, plain.Vh, atol=1e-12)
    assert ones.ledger == plain.ledger


def test_rounding_of_inputs_far_from_orthogonal_is_counted():
    """``A x`` that is nearly nothing of A and x: what is lost in the product is in the strain."""
    rng = np.random.default_rng(6)
    U = orthonormal(rng, 10, 10)
    A = rng.standard_normal((30, 9)) @ U[:9]
    inputs = rng.standard_normal((20, 1)) @ U[9:] + 1e-9 * rng.standard_normal((20, 10))
    metric = Metric(inputs=inputs)
    s = sketch("a", A, error=0.0, metric=metric)
    high = A.astype(np.longdouble) @ inputs.astype(np.longdouble).T
    off = np.linalg.norm((high - A @ inputs.T).astype(np.float64)) / np.linalg.norm(A @ inputs.T)
    assert off > 1e-10
    assert 128 * 2.0**-53 * s.strain > off


def test_weights_that_leave_nothing_are_refused():
    A = np.ones((4, 3))
    with pytest.raises(SpecError, match="weights leave nothing of block 'a'"):
        sketch("a", A, error=0.1, metric=Metric(columns=np.zeros(3)))
    with pytest.raises(SpecError, match="weights leave nothing of block 'a'"):
        sketch_projection("a", A, projection(4), error=0.1, metric=Metric(inputs=np.zeros((2, 3))))
    zero = sketch("a", np.zeros((4, 3)), error=0.1, metric=Metric(columns=np.zeros(3)))
    assert zero.energy == 0


def test_projections_of_weighted_blocks_are_of_the_weighted():
    rng = np.random.default_rng(7)
    A, omega = decaying(rng, 60, 8), projection(60, columns=40)
    metric = metrics(rng, 60, 8)[3]
    s = sketch_projection("a", A, omega, error=0.0, metric=metric)
    G = omega @ weighted(metric, A)
    scaled = np.ldexp(s.L, s.exponent)
    np.testing.assert_allclose(scaled @ scaled.T, G @ G.T, atol=1e-11 * np.linalg.norm(G) ** 2)
    assert s.width == 8
