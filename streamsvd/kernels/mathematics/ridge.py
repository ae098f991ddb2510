r"""Ridge regression on features, from sums alone: held-out risk of every ridge without another pass.

With ``H = sum z z*``, ``r = sum z y*`` over the rows that train and the same sums, and ``sum |y|^2``, over rows held out,
``beta = (H + mu I)^{-1} r`` has the held-out error ``sum |y|^2 - 2 tr(beta* r_out) + tr(beta* H_out beta)`` exactly. Features are
whitened (`streamsvd.kernels.mathematics.centres`): raw normal equations of kernel columns lose half the digits and do not factor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from scipy import linalg

from streamsvd.kernels.mathematics.kernel import Kernel, in_range
from streamsvd.typing import Matrix, Real

Array = Any
GRID = 25
"""Ridges tried where none is given, from the largest eigenvalue down by factors of ten in pairs of steps."""
JUDGES = 8
"""Rows held out that are enough to judge by."""
LENGTHS = (1.0, 0.5, 2.0, 0.25, 4.0)
"""Multiples of the median distance tried as a length scale where none is given, in the order of preference."""


@dataclass(frozen=True, slots=True, eq=False)
class RidgeSums:
    """Sums over rows of features and targets.

    Attributes
    ----------
    H, r
        ``sum z z*`` ``(r, r)`` and ``sum z y*`` ``(r, q)``.
    squares
        ``sum y^2`` of each target, ``(q,)``.
    n_rows
        Rows summed.
    """

    H: Matrix
    r: Matrix
    squares: Real
    n_rows: int

    @classmethod
    def zero(cls, features: int, targets: int) -> RidgeSums:
        """Of no row."""
        return cls(
            np.zeros((features, features)), np.zeros((features, targets)), np.zeros(targets), 0
        )

    def update(self, Z: Array, y: Array, *, products: bool = True) -> RidgeSums:
        """With further rows: features ``(p, r)`` and targets ``(p, q)``, where the sums lie; ``H`` only if wanted."""
        return RidgeSums(
            self.H + Z.T @ Z if products else self.H,
            self.r + Z.T @ y,
            self.squares + array_namespace(y).sum(y * y, axis=0),
            self.n_rows + Z.shape[0],
        )

    def move_to(self, to: Callable[[Array], Array]) -> RidgeSums:
        """The same sums at another place."""
        return replace(self, H=to(self.H), r=to(self.r), squares=to(self.squares))

    def merge(self, other: RidgeSums) -> RidgeSums:
        """Of the rows of both."""
        return RidgeSums(
            self.H + other.H,
            self.r + other.r,
            self.squares + other.squares,
            self.n_rows + other.n_rows,
        )

    def error(self, beta: Matrix) -> Real:
        """Sum of squared errors of each target under coefficients ``(r, q)``; at least 0."""
        cross = np.einsum("ij,ij->j", beta, self.r)
        return np.asarray(
            np.maximum(self.squares - 2 * cross + np.einsum("ij,ij->j", beta, self.H @ beta), 0.0)
        )


def coefficients(sums: RidgeSums, ridge: float) -> Matrix:
    """``(H + ridge I)^{-1} r``, ``(r, q)``."""
    if sums.H.shape[0] == 0:
        return np.zeros_like(sums.r)
    A = sums.H + ridge * np.eye(sums.H.shape[0])
    return np.asarray(linalg.solve(A, sums.r, assume_a="pos", check_finite=False))


def best_ridge(train: RidgeSums, held_out: RidgeSums, least: float = 0.0) -> tuple[float, Real]:
    """The ridge of a grid, none below ``least``, that the rows held out say, and the error of each; one eigenproblem for all.

    It is the largest whose error is within one standard error of the least (Breiman et al. 1984): what is smaller is no better
    as far as can be told, and far from the data it is wilder. Fewer than `JUDGES` rows held out judge nothing: then generalised cross-validation does (Golub, Heath, Wahba 1979), from the
    same sums.
    """
    values, U = linalg.eigh(train.H, driver="evd", check_finite=False)
    values = np.maximum(values, 0.0)
    top = float(values[-1]) if values.size and values[-1] > 0 else 1.0
    ridges = np.unique(np.maximum(top * 10.0 ** (-np.arange(GRID) / 2), least))[::-1]
    turned = U.T @ train.r
    errors = []
    for ridge in ridges:
        beta = U @ (turned / (values + ridge)[:, None])
        if held_out.n_rows >= JUDGES:
            errors.append(float(held_out.error(beta).sum()))
        else:
            free = train.n_rows - float(np.sum(values / (values + ridge)))
            errors.append(float(train.error(beta).sum()) / max(free, 1e-3) ** 2)
    return float(ridges[largest_within(errors, held_out.n_rows)]), np.array(errors)


def largest_within(errors: Sequence[float], judges: int) -> int:
    """Place of the first squared error, of several in the order of preference, that is within one standard error of the least.

    The relative standard error of a sum of squares of n Gaussian numbers is ``sqrt(2 / n)``; of fewer than `JUDGES` none is taken.
    """
    allowed = 1 + np.sqrt(2 / judges) if judges >= JUDGES else 1.0
    return int(np.argmax(np.asarray(errors) <= allowed * min(errors)))


def best_length(kernel: Kernel, X: Matrix, y: Matrix) -> float:
    """The length scale that a quarter of the rows says, which do not train: of `LENGTHS` times that of the kernel.

    It is the first of them whose exact regression, with its best ridge, is within one standard error of the least.

    Notes
    -----
    Cost: an eigenproblem of three quarters of the rows for each.
    """
    held = max(1, X.shape[0] // 4)
    if X.shape[0] - held < 2:
        return kernel.length
    errors = []
    lengths = [x for x in (kernel.length * factor for factor in LENGTHS) if in_range(x)]
    for length in lengths:
        one = replace(kernel, length=length)
        values, U = linalg.eigh(one.gram(X[held:]), driver="evd", check_finite=False)
        values = np.maximum(values, 0.0)
        across, turned = one(X[:held], X[held:]) @ U, U.T @ y[held:]
        ridges = float(values[-1]) * 10.0 ** (-np.arange(GRID) / 2)
        found = [
            float(np.sum((across @ (turned / (values + mu)[:, None]) - y[:held]) ** 2))
            for mu in ridges
        ]
        errors.append(min(found))
    return lengths[largest_within(errors, held)]
