"""Residuals in whole numbers: the error allowed is met and used, steps follow what counts, and no rate beats theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.collections.mathematics import Metric
from streamsvd.collections.mathematics.residuals import LARGEST, bits, encode_residual, values


def lost_of(X, metric):
    return lambda Y: float(np.linalg.norm(metric.of(X - Y)))


def metrics(rng, m, n):
    d = np.exp(rng.standard_normal(m))
    return [
        Metric(),
        Metric(rows=d / d.max()),
        Metric(columns=np.exp(2 * rng.standard_normal(n))),
        Metric(rows=d / d.max(), inputs=rng.standard_normal((n, n)) * 0.7 ** np.arange(n)),
    ]


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.integers(0, 3),
    error=st.floats(0.001, 0.9),
    scale=st.sampled_from([1e-8, 1.0, 1e8]),
)
def test_what_is_lost_is_within_what_is_allowed_and_near_it(seed, kind, error, scale):
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(20, 60)), int(rng.integers(20, 60))
    X, metric = scale * rng.standard_normal((m, n)), metrics(rng, m, n)[kind]
    lost = lost_of(X, metric)
    allowed = error * lost(np.zeros_like(X))
    found = encode_residual(X, metric, allowed, lost)
    assert found is not None
    measured = lost(values(found.codes, found.steps, metric.rows))
    assert measured == found.error_norm <= allowed
    assert found.error_norm >= 0.8 * allowed
    assert found.codes.dtype == (np.int8 if np.abs(found.codes).max() <= 127 else np.int16)


@pytest.mark.parametrize("error", [0.3, 0.1, 0.03, 0.01])
def test_bits_of_gaussian_entries_are_a_quarter_above_the_least(error):
    """Rate and distortion: ``log2(1 / error)`` bits is the least of any code, and a quarter more what one step takes."""
    X = np.random.default_rng(0).standard_normal((600, 400))
    allowed = error * float(np.linalg.norm(X))
    found = encode_residual(X, Metric(), allowed, lost_of(X, Metric()))
    counts = np.unique(found.codes, return_counts=True)[1] / X.size
    entropy = -float(np.sum(counts * np.log2(counts)))
    least = np.log2(1 / error)
    assert least < entropy < least + (0.36 if error > 0.2 else 0.28)
    assert float(bits(1.0, error)) == pytest.approx(entropy, abs=0.12)


def test_steps_are_small_where_errors_count():
    """Weights of columns over two decades: as many bits larger as theory says than one step for all."""
    rng = np.random.default_rng(1)
    X, c = rng.standard_normal((200, 100)), 10.0 ** rng.uniform(-1, 1, 100)
    metric = Metric(columns=c)
    allowed = 0.05 * float(np.linalg.norm(metric.of(X)))
    found = encode_residual(X, metric, allowed, lost_of(X, metric))
    alike = encode_residual(X, Metric(), allowed, lost_of(X, metric))
    saved = np.mean(np.log2(found.steps)) - np.log2(alike.steps[0])
    gain = 0.5 * np.log2(np.mean(c**2)) - np.mean(np.log2(c))
    assert saved == pytest.approx(gain, rel=0.1)
    np.testing.assert_allclose(found.steps * c, found.steps[0] * c[0], rtol=1e-6)


def test_inputs_that_are_correlated_take_fewer_bits_by_the_triangle_of_them():
    """Steps are larger by the geometric mean of the diagonal of R against the root mean square of the inputs."""
    rng = np.random.default_rng(9)
    X = rng.standard_normal((300, 60))
    inputs = (
        rng.standard_normal((200, 60))
        @ np.linalg.cholesky(0.95 ** np.abs(np.subtract.outer(range(60), range(60)))).T
    )
    metric, plain = Metric(inputs=inputs), Metric()
    allowed = 0.02 * float(np.linalg.norm(metric.of(X)))
    found, alike = (encode_residual(X, m, allowed, lost_of(X, metric)) for m in (metric, plain))
    R = np.abs(np.diagonal(np.linalg.qr(inputs, mode="r")))
    gain = 0.5 * np.log2(np.mean(np.sum(inputs**2, axis=0))) - np.mean(np.log2(R))
    assert gain > 1.0
    saved = np.mean(np.log2(found.steps)) - np.log2(alike.steps[0])
    assert saved == pytest.approx(gain, rel=0.1)


def test_columns_that_do_not_count_have_codes_still():
    rng = np.random.default_rng(2)
    X, c = rng.standard_normal((50, 10)), np.ones(10)
    c[3] = 0.0
    metric = Metric(columns=c)
    found = encode_residual(
        X, metric, 0.1 * float(np.linalg.norm(metric.of(X))), lost_of(X, metric)
    )
    assert np.isfinite(found.steps).all()


def test_no_codes_where_16_bits_are_too_few():
    X = np.random.default_rng(3).standard_normal((20, 20))
    assert encode_residual(X, Metric(), 1e-9, lost_of(X, Metric())) is None
    just = encode_residual(X, Metric(), 1e-3 * float(np.linalg.norm(X)), lost_of(X, Metric()))
    assert 127 < np.abs(just.codes).max() <= LARGEST
    assert just.codes.dtype == np.int16


def test_bits_are_none_once_the_error_is_met():
    np.testing.assert_array_equal(bits(np.array([0.01, 0.05]), 0.05), [0.0, 0.0])
    assert (np.diff(bits(np.array([0.06, 0.1, 0.5, 1.0]), 0.05)) > 0).all()
