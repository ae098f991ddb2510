r"""How much each row matters to the norms ``||A x||_p``, from the coordinates in which A has orthonormal columns.

The leverage score ``tau_i = max_x |a_i x|^2 / ||A x||_2^2 = ||a_i W||^2`` is the sensitivity of row i for p = 2. For other p,
``s_i = max_x |a_i x|^p / ||A x||_p^p`` is bounded by it. *Proof.* ``|a_i x|^p <= tau_i^{p/2} ||A x||_2^p`` by the definition of
``tau_i``. For ``1 <= p <= 2``, ``||A x||_2 <= ||A x||_p``, so ``s_i <= tau_i^{p/2}``: the root-leverage score. For ``p > 2``,
``||A x||_2 <= m^{1/2 - 1/p} ||A x||_p`` (Hölder), so ``s_i <= m^{p/2 - 1} tau_i^{p/2}``; and ``s_i <= 1`` always. []

Rows of tiny leverage would have hardly any chance by the second bound; mixing it with leverage, by the larger of both
(Woodruff, Yasuda 2023), keeps it a bound. Ridge scores are those of the rows in ``[A; sqrt(gamma) I]``. Their sums are known
before reading: at most n, ``m^{1 - p/2} n^{p/2}`` (concavity), ``n m^{1 - 2/p}`` (the largest ratio of bound and leverage).
"""

from __future__ import annotations

import numpy as np

from streamsvd.rows.mathematics.space import RowSpace
from streamsvd.typing import Matrix, Real


def leverage(space: RowSpace, rows: Matrix) -> Real:
    """``tau`` of rows ``(p, n)``, in [0, 1]; 0 for rows of zeros alone."""
    Z = space(rows)
    return np.asarray(np.minimum(np.einsum("ij,ij->i", Z, Z), 1.0))


def sensitivity(tau: Real, p: float, n_rows: int) -> Real:
    """Upper bound of the sensitivities for ``p >= 1``, from the leverage scores of a matrix of so many rows."""
    if p == 2:
        return tau
    if p < 2:
        return np.asarray(tau ** (p / 2))
    with np.errstate(divide="ignore", over="ignore"):
        bound = np.exp((p / 2 - 1) * np.log(n_rows) + p / 2 * np.log(tau))
    return np.asarray(np.minimum(np.maximum(bound, tau), 1.0))


def total(p: float, n_rows: int, n_columns: int) -> float:
    """Upper bound of the sum of all scores; nothing needs to be read for it."""
    m, n = float(n_rows), float(min(n_rows, n_columns))
    if p <= 2:
        return float(min(m, m ** (1 - p / 2) * n ** (p / 2)))
    return float(min(m, n + n * m ** (1 - 2 / p)))
