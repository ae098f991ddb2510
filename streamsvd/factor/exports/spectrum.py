"""Variances of components and their shares, each with the ends that the certificate proves.

With ``lower_j <= sigma_j <= upper_j``, ``F`` degrees of freedom and ``E = ||B||_F^2`` of the matrix as it was factorised,
``lower_j^2 / F <= variance_j <= upper_j^2 / F`` and ``lower_j^2 / E <= share_j <= upper_j^2 / E``, and no share exceeds 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamsvd.typing import Real

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD

ENDS = ("", "_lower", "_upper")
"""What follows the name of a quantity: nothing for the estimate itself."""


def spectrum_columns(result: SVD) -> dict[str, Real]:
    """What is known of each component, ``(k,)`` each.

    Returns
    -------
    columns
        ``singular_values``, ``explained_variance`` and ``explained_variance_ratio``, each with ``_lower`` and ``_upper``. Where
        nothing was subtracted a variance is a mean square.

    Notes
    -----
    A variance is NaN where degrees of freedom are not known, as of results of earlier releases; ``inf`` or 0 where float64 ends.
    """
    c, freedom = result.certificate, float(result.info.freedom)
    columns: dict[str, Real] = {}
    values = (result.s, c.sigma_lower, c.sigma_upper)
    for end, sigma in zip(ENDS, values, strict=True):
        columns[f"singular_values{end}"] = np.asarray(sigma, np.float64)
    for end, sigma in zip(ENDS, values, strict=True):
        with np.errstate(over="ignore"):
            square = np.asarray(sigma, np.float64) ** 2
        known = np.isfinite(freedom) and freedom > 0
        columns[f"explained_variance{end}"] = (
            square / freedom if known else np.full_like(square, np.nan)
        )
    for end, sigma in zip(ENDS, values, strict=True):
        share = np.zeros(result.rank)
        if not c.vanishes and c.frobenius_norm > 0:
            share = np.minimum((np.asarray(sigma, np.float64) / c.frobenius_norm) ** 2, 1.0)
        columns[f"explained_variance_ratio{end}"] = share
    return columns
