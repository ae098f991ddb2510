"""The whole product attacked: any matrix, any option, any cut; what it says is so, or it says it does not know."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.numerics.intervals import ZERO_LEVEL
from tests.matrices import Rows, prepared, run
from tests.numerics.test_certificate import case


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
    options["target"] = str(rng.choice(["auto", "auto", "values", "error"]))
    options["excess_tol"] = float(rng.choice([1e-2, 1e-1, 1e-3]))
    options["height"] = int(rng.integers(1, m + 1))
    return A, int(rng.integers(1, min(m, n) + 1)), options, unit


def wrong_end(result: Any, s: Any, unit: float, options: dict[str, Any]) -> list[str]:
    """What is said of how the run ended, and of single values, that is not so."""
    c, k, told = result.certificate, result.rank, []
    upper, found, tol = c.sigma_upper / unit, result.s / unit, options["tol"]
    alive = upper > ZERO_LEVEL * upper[0]
    converged = result.info.status is streamsvd.Status.CONVERGED
    known = alive & c.resolved  # told to be within the tolerance
    if not np.allclose(found[known], s[:k][known], rtol=tol * 1.001, atol=1e-12 * s[0]):
        told.append("a value that is called resolved is not")
    if converged and result.info.criterion == "values" and not c.resolved.all():
        told.append("converged by values that are not resolved")
    near = c.error_vanishes or c.excess <= options["excess_tol"]
    if converged and result.info.criterion == "error" and not near:
        told.append("converged by an error that is not proved")
    if not converged and result.info.criterion:
        told.append("not converged, by a criterion")
    return told


def vague(result: Any, s: Any, Vh: Any, unit: float, eps: float) -> list[str]:
    """Claims about groups and angles that are not so."""
    c, k, told = result.certificate, result.rank, []
    V = result.Vh.conj().T
    for group in c.groups:
        inside = s[group.first : group.last + 1]
        if (inside > group.upper / unit * (1 + 1e-13) + eps).any():
            told.append(f"values {inside} above their group {group}")
        if (inside < group.lower / unit * (1 - 1e-13) - eps).any():
            told.append(f"values {inside} below their group {group}")
    for count, bound in ((k, c.subspace_angle_bound), (c.resolved_count, c.resolved_angle_bound)):
        if np.isfinite(bound) and count < s.size:
            W = V[:, :count]
            sine = np.linalg.norm(W - Vh[:count].conj().T @ (Vh[:count] @ W), 2)
            if sine > bound * (1 + 1e-6) + 1e-7:
                told.append(f"sine {sine} of {count} above its bound {bound}")
    return told


def faults(seed: int, delta: float) -> tuple[str, list[str]]:
    """How the run ended, and every claim that is not so."""
    A, rank, options, unit = problem(seed)
    source = Rows(A, options.pop("height"))
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
    lower, upper = c.sigma_lower / unit, c.sigma_upper / unit
    told = []
    if k != rank:
        told.append(f"rank {k}")
    if (lower > s[:k] * (1 + 1e-13) + eps).any():
        told.append(f"lower end too high by {(lower - s[:k]).max() / s[0]:.1e}")
    if (upper < s[:k] * (1 - 1e-13) - eps).any():
        told.append(f"upper end too low by {(s[:k] - upper).max() / s[0]:.1e}")
    told += wrong_end(result, s, unit, options)
    V = result.Vh.conj().T
    if np.linalg.norm(result.Vh @ V - np.eye(k), 2) > 1e-9:
        told.append("vectors not orthonormal")
    left = np.linalg.norm(X - X @ V @ result.Vh)
    if left > c.frobenius_error / unit * (1 + 1e-9) + 5e-15 * gross + 1e-14 * s[0]:
        told.append(f"error {left} above its bound {c.frobenius_error / unit}")
    best = np.linalg.norm(s[k:])
    if np.isfinite(c.excess) and left > (1 + c.excess) * best * (1 + 1e-9) + 1e-7 * gross:
        told.append(f"error {left} above {1 + c.excess} times the best, {best}")
    spectral = np.linalg.norm(X - X @ V @ result.Vh, 2)
    if spectral > c.spectral_error / unit * (1 + 1e-9) + 1e-7 * gross:
        told.append(f"spectral error {spectral} above its bound {c.spectral_error / unit}")
    told += vague(result, s, Vh, unit, eps)
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


@pytest.mark.slow
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
