"""Whether rows come in random order: rarely doubted where they do, never missed where they are sorted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from streamsvd.streams.mathematics.order import LEVEL_AT_5_PERCENT, SURPRISE
from tests.streams.streams import clusters, fed, found, in_chunks, spiked


def verdict(A, *, known=True, seed=0):
    stream = fed(A, n_rows=len(A) if known else None, seed=seed)
    return stream.order.finding()


def independent(seed, n=1600, d=24):
    rng = np.random.default_rng([seed, 21])
    A = spiked(rng, [1, 4, 16][seed % 3], n, d)
    if seed % 4 == 1:
        A /= np.sqrt(rng.chisquare(3, (n, 1)) / 3)
    if seed % 4 == 2:
        A *= rng.exponential(size=(n, 1))
    return A


def most(streams, level):
    """So many of independent events of this probability, or more, come once in a million."""
    return binom.ppf(1 - 1e-6, streams, level)


def assert_size(streams, known):
    findings = [verdict(independent(s), known=known, seed=s) for s in range(streams)]
    assert sum(f.random is False for f in findings) <= most(streams, SURPRISE)
    assert sum(f.p_value < 0.05 for f in findings) <= most(streams, LEVEL_AT_5_PERCENT)
    assert all(f.random is not None for f in findings)
    if known:  # over the 7 windows of an unknown length it is 2.3: the largest of 24 F
        assert np.median([f.design_effect for f in findings]) < 2


@pytest.mark.parametrize("known", [True, False])
def test_independent_rows_are_rarely_doubted(known):
    assert_size(60, known)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("known", [True, False])
def test_independent_rows_are_rarely_doubted_in_300_streams(known):
    assert_size(300, known)


SORTED = {
    "by signal, up": lambda A: np.argsort(np.abs(A[:, 0])),
    "by signal, down": lambda A: np.argsort(-np.abs(A[:, 0])),
    "by sign": lambda A: np.argsort(A[:, 0]),
    "by norm": lambda A: np.argsort(np.linalg.norm(A, axis=1)),
}


@pytest.mark.parametrize("ratio", [4, 16])
@pytest.mark.parametrize("kind", SORTED)
def test_sorted_rows_are_noticed(kind, ratio):
    """p < 1e-30 at the size of the reference (d = 500, n = 20000)."""
    A = spiked(np.random.default_rng(0), ratio, 20000, 500)
    finding = verdict(A[SORTED[kind](A)])
    assert finding.p_value <= 1e-30
    assert finding.random is False
    assert finding.design_effect > 2
    assert finding.statistic


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("order", ["sorted", "in chunks"])
def test_clusters_are_noticed_and_nothing_statistical_is_claimed(order, known):
    rng = np.random.default_rng(1)
    A = clusters(rng)
    f = found(A if order == "sorted" else in_chunks(rng, A), k=3, known=known)
    assert f.order.p_value <= (1e-30 if order == "sorted" else 1e-19)
    assert f.order.random is False
    assert "statistical" not in (f.certificate.evidence, f.certificate.captured_evidence)


def test_signal_that_comes_last_is_seen_through_the_norm():
    rng = np.random.default_rng(2)
    A = rng.standard_normal((6000, 100))
    A[3000:, 0] *= 6
    assert verdict(A).random is False


def test_too_few_rows_to_say():
    finding = verdict(np.random.default_rng(3).standard_normal((300, 10)))
    assert finding.random is None
    assert finding.p_value == 1


def test_equal_rows_are_exchangeable():
    finding = verdict(np.ones((2000, 10)))
    assert finding.random is True
    assert finding.p_value == 1


def test_windows_double_when_a_stream_goes_on():
    stream = fed(np.random.default_rng(4).standard_normal((64 * 256 * 3, 8)))
    assert stream.order.span >= 2 * 256
    assert stream.order.counts.sum() == 64 * 256 * 3
    assert stream.order.finding().random is True
