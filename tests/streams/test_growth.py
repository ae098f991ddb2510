"""Oja's rule at fixed rates: growth implies correctness, in every order of rows."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.streams.mathematics.growth import Growth, sine_bound
from streamsvd.streams.mathematics.space import GRID
from tests.streams.streams import exact, found, sine, spiked


def grown(A, *, block=64, seed=0, known=True):
    d = A.shape[1]
    start = np.random.default_rng([seed, 77]).standard_normal(d)
    growth = Growth(d, start, GRID, len(A) if known else None)
    for at in range(0, len(A), block):
        x = A[at : at + block]
        growth.update(x, float(np.sum(x * x)))
    return growth


def ordered(rng, A, kind):
    return {
        "random": lambda: A[rng.permutation(len(A))],
        "by norm": lambda: A[np.argsort(np.linalg.norm(A, axis=1))],
        "by signal": lambda: A[np.argsort(A[:, 0])],
        "by size of signal": lambda: A[np.argsort(-np.abs(A[:, 0]))],
    }[kind]()


@pytest.mark.parametrize("kind", ["random", "by norm", "by signal", "by size of signal"])
def test_growth_bounds_the_angle_at_every_rate_of_the_grid(kind):
    """400 streams of all kinds together: sin <= sqrt(eta s_2 / 2) + |v_0| / |v_n| with the true s_2."""
    worst, informative = 0.0, 0
    for seed in range(100):
        rng = np.random.default_rng([seed, 3])
        d = int(rng.integers(2, 20))
        n = int(rng.integers(20, 300))
        A = spiked(rng, float(rng.choice([1.2, 4, 30, 300, 3000])), n, d) * 10.0 ** rng.integers(
            -3, 4
        )
        if seed % 3 == 0:  # heavy tails
            A /= np.sqrt(rng.chisquare(3, (n, 1)) / 3)
        A = ordered(rng, A, kind)
        s, V = exact(A)
        growth = grown(A, seed=seed, block=int(rng.choice([1, 7, 64])), known=seed % 2 == 0)
        for rate, log, v in zip(growth.rates, growth.logs, growth.vectors, strict=True):
            bound = np.sqrt(rate * s[1] / 2) + np.exp(-log)
            true = np.linalg.norm(v - V[:, 0] * (V[:, 0] @ v))
            worst = max(worst, (true - 1e-13) / bound)
            informative += bound < 0.7
    assert worst <= 1 + 1e-9
    assert informative > 100  # the lemma says something in these streams


def test_growth_never_falls_and_its_first_order_is_the_energy_met():
    """|v_n|^2 - |v_0|^2 >= 2 eta |C|^2, so that no step shortens the vector."""
    rng = np.random.default_rng(1)
    A = spiked(rng, 9, 500, 12)
    growth = Growth(12, rng.standard_normal(12), GRID, 500)
    before = growth.logs.copy()
    for at in range(0, 500, 10):
        x = A[at : at + 10]
        growth.update(x, float(np.sum(x * x)))
        assert (growth.logs >= before - 1e-15).all()
        before = growth.logs.copy()
    assert np.allclose(np.linalg.norm(growth.vectors, axis=1), 1, atol=1e-14)


def test_scaling_by_a_power_of_two_scales_the_rates_and_changes_no_bit():
    A = spiked(np.random.default_rng(2), 50, 400, 30)
    one, eight = grown(A), grown(8 * A)
    assert np.array_equal(one.vectors, eight.vectors)
    assert np.array_equal(one.logs, eight.logs)
    assert np.array_equal(one.rates, 64 * eight.rates)


def test_the_smallest_rate_that_grew_enough_is_the_answer():
    A = spiked(np.random.default_rng(3), 2000, 600, 30)
    growth = grown(A)
    rate, log, v = growth.answer()
    enough = np.flatnonzero(growth.logs > np.log(30))
    assert rate == growth.rates[enough[0]]
    assert log > np.log(30)
    s, V = exact(A)
    assert np.sqrt(1 - (v @ V[:, 0]) ** 2) <= sine_bound(rate, log, s[1]) < 1


def test_no_rows_and_zero_rows_have_no_answer():
    growth = Growth(5, np.ones(5), GRID, 10)
    assert growth.answer() is None
    growth.update(np.zeros((3, 5)), 0.0)
    assert growth.answer() is None
    assert not growth.begun


def test_hopeless_streams_declare_failure():
    """Equal eigenvalues: whatever grows proves nothing, and the bound says so."""
    A = np.random.default_rng(4).standard_normal((2000, 40))
    s, _ = exact(A)
    answer = grown(A).answer()
    assert answer is None or sine_bound(answer[0], answer[1], s[1]) == 1.0


@pytest.mark.parametrize("kind", ["random", "by norm", "by signal"])
def test_an_arbitrary_order_is_answered_and_its_certificate_holds(kind):
    for seed in range(3):
        rng = np.random.default_rng([seed, 5])
        for ratio in (4, 100, 3000):
            A = ordered(rng, spiked(rng, ratio, 1500, 60), kind)
            out = found(A, order="arbitrary", seed=seed)
            s, V = exact(A)
            c = out.certificate
            assert out.method in {"growth", "directions"}
            assert c.evidence in {"deterministic", "none"}
            assert c.captured_evidence == "deterministic"
            assert c.failure_probability == 0
            assert sine(out.components, V[:, :1]) <= c.sine + 1e-9
            assert c.values_lower[0] <= s[0] * (1 + 1e-9)
            assert s[0] <= c.values_upper[0] * (1 + 1e-9)
            held = np.linalg.norm(A @ out.components.T) ** 2 / np.linalg.norm(A) ** 2
            assert c.captured_lower <= held + 1e-12
            if ratio == 3000:
                assert c.sine < 0.2
