"""The whole product attacked: any matrix, any option, any cut; what it says is so, or it says it does not know."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.certificate import ZERO_LEVEL
from streamsvd.errors import SpecError
from tests.drivers.conftest import Rows, prepared, run
from tests.test_certificate import case


def problem(seed: int) -> tuple[Any, int, dict[str, Any], float]:
    """A matrix as stored, a rank, options, and the power of two it was scaled by."""
    rng = np.random.default_rng(seed)
    single = bool(seed % 2)
    A = case(seed, single=single, largest=60).A
    exponent = rng.integers(-30, 31) if single else rng.integers(-150, 151)
    unit = float(2.0 ** np.round(float(exponent) * np.log2(10)))
    A = A * unit
    if single:
        A = A.astype(np.complex64 if np.iscomplexobj(A) else np.float32)
    m, n = A.shape
    options: dict[str, Any] = {
        "axis": str(rng.choice(["rows", "columns"])),
        "route": str(rng.choice(["krylov", "krylov", "gram"])),
        "center": bool(rng.random() < 0.4),
        "scale": bool(rng.random() < 0.15),
        "tol": 10.0 ** -int(rng.integers(1, 9)),
    }
    if rng.random() < 0.2:
        options["row_weights"] = rng.random(m)
    if rng.random() < 0.2:
        options["column_weights"] = rng.random(n)
    options["height"] = int(rng.integers(1, m + 1))
    return A, int(rng.integers(1, min(m, n) + 1)), options, unit


def faults(seed: int, delta: float) -> tuple[str, list[str]]:
    """How the run ended, and every claim that is not so."""
    A, rank, options, unit = problem(seed)
    tol, source = options["tol"], Rows(A, options.pop("height"))
    try:
        result = run(source, rank, seed=seed, delta=delta, **options)
    except SpecError as error:
        assert "nothing is left to factorise" in str(error)
        return "empty", []
    plain = {k: options.get(k) for k in ("row_weights", "column_weights")}
    wide = A.astype(np.result_type(A.dtype, np.float64)) / unit
    X = prepared(wide, center=options["center"], scale=options["scale"], **plain)
    if options[
        "scale"
    ]:  # of the deviations that it reports: theirs is the rounding of the reference
        own = result.scale / unit
        X = prepared(wide, center=options["center"], **plain)
        X = X * np.divide(1, own, out=np.zeros_like(own), where=own > 0)
        unit = 1.0
    s, Vh = np.linalg.svd(X)[1:]
    # What the reference itself loses by centring.
    gross = np.linalg.norm(prepared(wide, **plain), 2) if not options["scale"] else s[0]
    eps = 3e-15 * max(gross, s[0]) + (1e-12 * s[0] if options["scale"] else 0)
    c, k = result.certificate, result.rank
    lower, upper, found = c.sigma_lower / unit, c.sigma_upper / unit, result.s / unit
    told = []
    if k != rank:
        told.append(f"rank {k}")
    if (lower > s[:k] * (1 + 1e-13) + eps).any():
        told.append(f"lower end too high by {(lower - s[:k]).max() / s[0]:.1e}")
    if (upper < s[:k] * (1 - 1e-13) - eps).any():
        told.append(f"upper end too low by {(s[:k] - upper).max() / s[0]:.1e}")
    alive = upper > ZERO_LEVEL * upper[0]
    converged = result.info.status is streamsvd.Status.CONVERGED
    if converged and not np.allclose(
        found[alive], s[:k][alive], rtol=tol * 1.001, atol=1e-12 * s[0]
    ):
        told.append("converged to the wrong values")
    V = result.Vh.conj().T
    if np.linalg.norm(result.Vh @ V - np.eye(k), 2) > 1e-9:
        told.append("vectors not orthonormal")
    left = np.linalg.norm(X - X @ V @ result.Vh)
    if left > c.frobenius_error / unit * (1 + 1e-9) + 5e-15 * gross + 1e-14 * s[0]:
        told.append(f"error {left} above its bound {c.frobenius_error / unit}")
    if np.isfinite(c.subspace_angle_bound) and k < s.size:
        sine = np.linalg.norm(V - Vh[:k].conj().T @ (Vh[:k] @ V), 2)
        if sine > c.subspace_angle_bound * (1 + 1e-6) + 1e-7:
            told.append(f"sine {sine} above its bound {c.subspace_angle_bound}")
    return result.info.status.value, told


def attack(seeds: range, delta: float) -> tuple[Counter[str], list[str]]:
    ends: Counter[str] = Counter()
    lies = []
    for seed in seeds:
        end, told = faults(seed, delta)
        ends[end] += 1
        lies += [f"seed {seed}: {', '.join(told)}"] if told else []
    print(
        f"\n{len(lies)} of {ends.total()} runs told something false at delta = {delta:g}; {dict(ends)}"
    )
    return ends, lies


def test_no_claim_of_any_run_is_false():
    ends, lies = attack(range(300), 1e-6)
    assert not lies
    assert ends["converged"] > 200


def test_at_delta_one_percent_fewer_than_one_percent_of_runs_lie():
    _, lies = attack(range(300, 500), 1e-2)
    assert len(lies) <= 2


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_claim_of_ten_thousand_runs_is_false():
    _, lies = attack(range(1000, 11_000), 1e-6)
    assert not lies


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_at_delta_one_percent_over_ten_thousand_runs():
    _, lies = attack(range(11_000, 21_000), 1e-2)
    assert len(lies) <= 100
