"""Results of every kind to make pages of, small, and large ones that no matrix was read for."""

from __future__ import annotations

import numpy as np

from streamsvd.factor.options import SVDOptions
from streamsvd.factor.result import PCA, SVD
from streamsvd.info import Info, Status
from streamsvd.numerics.certificate import Certificate, Kind

EVIL = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>{{7*7}}"
"""A name that is markup, an end of a script and a template."""


def certificate(s: np.ndarray, width: float = 1e-4, **other: object) -> Certificate:
    """Intervals of one relative width around values, and an error that goes with a little more energy than theirs."""
    energy = float(np.sum(s**2)) * 1.01
    fields = {
        "sigma_lower": s * (1 - width), "sigma_upper": s * (1 + width), "frobenius_error": float(np.sqrt(energy - np.sum(s**2))),
        "energy": energy, "failure_probability": 1e-6, "subspace_angle_bound": 0.01, "orthogonality": 1e-15, "rounding": 1e-14,
        "tail": 0.1, "numerical_rank": s.size, "deficit": 0.0, "kind": Kind.BOUNDS, "excess": 0.001,
    }  # fmt: skip
    return Certificate(**(fields | other))


def info(n_rows: int = 1000, **other: object) -> Info:
    """How a result came about."""
    fields = {
        "status": Status.CONVERGED, "passes": 2.5, "bytes_read": 80_000_000, "peak_bytes": 50_000_000, "projected_bytes": 90_000_000,
        "elapsed_s": 1.5, "n_rows": n_rows, "seed": 7, "route": "krylov", "widths": (0.5, 0.01, 1e-4), "freedom": n_rows - 1.0,
    }  # fmt: skip
    return Info(**(fields | other))


def factors(columns: int, rank: int, kind: type[SVD] = SVD, **of_info: object) -> SVD:
    """A factorisation of no matrix, with as many columns and as large a rank as one likes."""
    s = 0.9 ** np.arange(rank) + 1e-3
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((rank, columns)) / np.sqrt(columns)
    options = SVDOptions(rank=rank, tol=1e-3, seed=7, memory=100_000_000, center=kind is PCA)
    return kind(
        s, rows, None, None, None, certificate(s), info(**of_info), options, {"center": kind is PCA}
    )
