"""Further passes: exact products, and claims that are deterministic."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.errors import ShapeError, SpecError
from streamsvd.streams.mathematics import Refinement
from tests.streams.streams import exact, found, leading, lost_correlation, scaled, sine, spiked

J = np.arange(1, 401.0)
VARIANCES = {
    "1/j": (1 / J, 1e-6),
    "1/sqrt(j)": (J**-0.5, 1.2e-4),
    "1/j^2": (J**-2, 1e-9),
    "spikes": (np.where(J <= 10, np.interp(J, [1, 10], [6, 2]), 1.0), 2e-4),
}


def refined(A, f, block=1000):
    further = Refinement(f)
    for at in range(0, len(A), block):
        further.update(A[at : at + block])
    return further.finalize()


@pytest.mark.parametrize(
    "seeds", [range(1), pytest.param(range(10), marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
@pytest.mark.parametrize("name", VARIANCES)
def test_three_passes_reach_the_accuracy_of_the_specification(name, seeds):
    variance, most = VARIANCES[name]
    lost = []
    for seed in seeds:
        A = scaled(np.random.default_rng(seed), np.sqrt(variance), 12800)
        f = refined(A, refined(A, found(A, k=10, seed=seed)))
        lost.append(lost_correlation(f.components, leading(A, 10)[1]))
        c = f.certificate
        assert c.evidence in {"deterministic", "none"}
        assert c.captured_evidence == "deterministic"
    assert np.median(lost) <= most


@pytest.mark.parametrize("kind", ["random", "sorted"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("order", ["auto", "arbitrary"])
def test_claims_hold_after_every_pass_in_every_order(k, kind, order):
    for seed in range(3):
        A = spiked(np.random.default_rng(seed), [3, 20, 200][seed], 2000, 150, k)
        A = A[np.argsort(A[:, 0])] if kind == "sorted" else A
        s, V = exact(A)
        f = found(A, k=k, seed=seed, order=order)
        for _ in range(3):
            f = refined(A[::-1], f)
            c = f.certificate
            assert f.method == "refined"
            assert sine(f.components, V[:, :k]) <= c.sine + 1e-9
            assert (c.values_lower <= s[:k] * (1 + 1e-12)).all()
            assert (s[:k] <= c.values_upper * (1 + 1e-12)).all()
            held = np.linalg.norm(A @ f.components.T) ** 2 / np.linalg.norm(A) ** 2
            assert c.captured_lower <= held + 1e-12
            assert c.failure_probability == 0
            assert np.abs(f.components @ f.components.T - np.eye(k)).max() <= 1e-12
        assert c.sine < 0.3 or seed == 0


def test_other_rows_are_refused():
    A = spiked(np.random.default_rng(0), 9, 500, 20)
    f = found(A)
    with pytest.raises(SpecError, match="499 rows"):
        refined(A[:-1], f)
    with pytest.raises(SpecError, match="same rows"):
        refined(1.01 * A, f)
    with pytest.raises(ShapeError, match="20"):
        refined(A[:, :-1], f)


@pytest.mark.parametrize(
    "A",
    [np.zeros((300, 8)), np.ones((300, 8)), np.eye(8)[:1]],
    ids=["zeros", "rank one", "one row"],
)
def test_what_has_no_further_vectors_is_refined_to_itself(A):
    f = refined(A, found(A, k=2))
    assert np.isfinite(f.components).all()
    assert np.abs(f.components @ f.components.T - np.eye(2)).max() <= 1e-12
    assert f.certificate.sine == 1
