"""Rotation of components: varimax and promax of what was found, in memory; no matrix is read.

`streamsvd.numerics.rotation` has the mathematics. Conventions are those of climate science (Richman 1986; the EOFRotator of xeofs): loadings
are components times the root of their variance, and these are what is rotated.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from streamsvd.errors import NotConverged, SpecError
from streamsvd.factor.result import SVD
from streamsvd.factor.rotation_options import RotationMethod, RotationOptions
from streamsvd.factor.rotation_result import RotatedScores, Rotation
from streamsvd.info import Info, Status
from streamsvd.numerics.intervals import ZERO_LEVEL
from streamsvd.numerics.rotation import (
    PlaneRotations,
    factor_correlation,
    normalise_rows,
    promax_transformation,
    varimax,
)
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.signs import phases
from streamsvd.typing import Matrix

IN_MEMORY_BYTES = 64 << 20
"""Scores up to this are computed at once; larger ones when they are read."""


def rotate(
    result: Any,
    n_components: int | None = None,
    method: RotationMethod = "varimax",
    *,
    power: float = 4,
    normalize: bool = True,
    tol: float = 1e-10,
    max_iterations: int = 100,
) -> Rotation:
    """Rotate the leading components of a result to simple structure; in memory, no matrix is read.

    Loadings, components times the root of their variance, are rotated, as climate science does; the EOFRotator of xeofs is the peer.

    Parameters
    ----------
    result
        What `svd` or `pca` found, or a `Model`.
    n_components
        How many of the leading components are rotated together; all whose value is positive if left out. It matters: rotated components of 5
        are not the first 5 of 10.
    method
        ``"varimax"``: orthogonal, so that scores stay uncorrelated. ``"promax"``: oblique from there, simpler, with correlated factors.
    power
        Of promax, 1 or more: 4 is usual; 1 is varimax.
    normalize
        Divide the loadings of each column by their norm while the rotation is sought (Kaiser), so that all columns count alike.
    tol
        The rotation is found when no plane of two components gains more than this share.
    max_iterations
        Most sweeps over all planes; five to ten do, as a rule.

    Returns
    -------
    rotation
        Components ``(r, n)``, variances, the rotation, correlations, and scores ``(m, r)`` where the result has ``U``.

    Raises
    ------
    SpecError
        If an option cannot be meant; if a component that is to be rotated has the value zero, and so no direction; if a promax fit
        has no inverse.
    NotConverged
        If ``max_iterations`` sweeps did not do; its ``result`` is the rotation as far as it came.

    Notes
    -----
    Cost: no pass; about ``7 n r^2`` flops a sweep, memory ``4 n r`` numbers. Columns that were left out, where components are NaN, take no part;
    where columns have weights, what is rotated is weighted.

    References
    ----------
    .. [1] H. F. Kaiser, Psychometrika 23 (1958), equations 5 and 6 (criterion), section on normal varimax (rows of norm one).
    .. [2] A. E. Hendrickson, P. O. White, British Journal of Statistical Psychology 17 (1964).
    .. [3] M. B. Richman, Journal of Climatology 6 (1986).

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((500, 2)) @ np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0.9]])
    >>> np.round(np.abs(streamsvd.rotate(streamsvd.pca(A, 2)).components), 1)
    array([[0.6, 0.6, 0.6, 0. , 0. , 0. ],
           [0. , 0. , 0. , 0.6, 0.6, 0.5]])
    """
    options = RotationOptions(
        n_components=n_components, method=method, power=power, normalize=normalize, tol=tol, max_iterations=max_iterations
    )  # fmt: skip
    began, base = time.perf_counter(), _factorisation(result)
    r = _count(base, options)
    root = base.s[:r] / base.s[0]  # relative: squares of the values may be no numbers
    L = _rows_that_count(base.Vh[:r].conj().T * root)
    found = varimax(
        normalise_rows(L) if options.normalize else L,
        tol=options.tol,
        max_sweeps=options.max_iterations,
    )
    R = _order_columns(L, _whole_rotation(L, found, options))
    is_oblique = options.method == "promax" and options.power > 1
    answer = _rotation_of(base, options, found, R, is_oblique=is_oblique)
    answer = replace(answer, info=replace(answer.info, elapsed_s=time.perf_counter() - began))
    if answer.info.status is Status.NOT_CONVERGED:
        raise NotConverged(
            f"the rotation of {r} components is not finished after max_iterations={options.max_iterations}: a plane still gains "
            f"{found.gain:.2g}, tol={options.tol:g}. Pass more, or a larger tol; what there is so far is the result of this error.",
            answer,
        )
    return answer


def _factorisation(result: Any) -> SVD:
    """What has components: a result of `svd` or `pca`, or a model as one."""
    found = result.as_svd() if hasattr(result, "as_svd") else result
    if not isinstance(found, SVD):
        raise SpecError(
            f"{type(result).__name__} has no components to rotate. Pass what svd or pca found, or a Model; streamsvd.load opens a stored one."
        )
    return found


def _count(base: SVD, options: RotationOptions) -> int:
    """How many components to rotate."""
    rounding = ZERO_LEVEL * float(base.s[0] if base.rank else 0.0)
    floor = max(rounding, float(base.certificate.zero), np.finfo(np.float64).tiny)
    positive = int(np.count_nonzero(base.s > floor))
    asked = positive if options.n_components is None else options.n_components
    if asked > base.rank:
        raise SpecError(
            f"n_components={asked}, but the result has {base.rank} components. Pass at most {base.rank}, or factorise with a larger rank."
        )
    if asked > positive or asked == 0:
        raise SpecError(
            f"{positive} of the {base.rank} values are positive; components of the value zero have no direction that data give them. "
            f"Pass n_components of at most {positive}."
            if positive
            else "all values are zero: there is nothing to rotate."
        )
    return asked


def _rows_that_count(L: Matrix) -> Matrix:
    """The loadings of columns that count: not of those that were left out, nor of those that have nothing but rounding.

    Rows of zeros would change the criterion, whose means are over all rows; rows of rounding would be as large as others once normalised.
    """
    size = np.linalg.norm(L, axis=1)
    return np.asarray(L[size > np.sqrt(UNIT_ROUNDOFF) * np.nanmax(size)])  # NaN is not larger


def _whole_rotation(L: Matrix, found: PlaneRotations, options: RotationOptions) -> Matrix:
    """``R``, columns in no order yet."""
    R = found.matrix
    if options.method == "varimax" or options.power == 1:
        return R
    X = L @ R
    try:
        U = promax_transformation(normalise_rows(X) if options.normalize else X, options.power)
    except ArithmeticError as error:
        raise SpecError(
            f"promax with power={options.power:g} makes factors that depend on one another: {error}. Pass a smaller power, fewer "
            'n_components, or method="varimax".'
        ) from error
    return np.asarray(R @ U)


def _order_columns(L: Matrix, R: Matrix) -> Matrix:
    """``R`` with columns by descending variance, and the largest entry of each rotated component positive."""
    X = L @ R
    size = np.sum(np.abs(X) ** 2, axis=0)
    order = np.argsort(-size, kind="stable")
    return np.asarray(R[:, order] * phases(X[:, order]))


def _rotation_of(
    base: SVD, options: RotationOptions, found: PlaneRotations, R: Matrix, *, is_oblique: bool
) -> Rotation:
    """All that follows from the rotation of ``V s / s_1``."""
    r = R.shape[0]
    root = base.s[:r] / base.s[0]
    X = (base.Vh[:r].conj().T * root) @ R
    X[~np.isfinite(base.Vh[:r]).all(axis=0)] = np.nan
    size = np.sqrt(np.nansum(np.abs(X) ** 2, axis=0))
    correlation = factor_correlation(R) if is_oblique else np.eye(r, dtype=R.dtype)
    with np.errstate(over="ignore"):
        largest = base.s[0] ** 2 / base.info.freedom
        total = float(np.square(base.certificate.frobenius_norm) / base.info.freedom)
    return Rotation(
        components=(X / size).conj().T,
        variance=size**2 * largest,
        rotation=R,
        correlation=correlation,
        scores=_scores(base.U, base.s[0] * (R @ correlation) * size),  # U s root^-1 R^-* size
        variance_before=root**2 * largest,
        total_variance=total,
        criterion=float(found.criteria[-1]),
        iterations=found.sweeps,
        info=_info(base, is_found=found.gain <= options.tol),
        options=options,
        labels=base.labels,
    )


def _info(base: SVD, *, is_found: bool) -> Info:
    """How a rotation came about: nothing is read."""
    i = base.info
    return Info(
        status=Status.CONVERGED if is_found else Status.NOT_CONVERGED, passes=0.0, bytes_read=0, peak_bytes=0, projected_bytes=0,
        elapsed_s=0.0, n_rows=i.n_rows, seed=i.seed, nonfinite=i.nonfinite, missing=i.missing, dropped_columns=i.dropped_columns,
        freedom=i.freedom,
    )  # fmt: skip


def _scores(U: Any, matrix: Matrix) -> Any:
    """Rotated scores of the rows that were factorised; None without ``U``."""
    if U is None:
        return None
    lazy = RotatedScores(U, matrix)
    small = lazy.shape[0] * int(U.shape[1]) * lazy.dtype.itemsize <= IN_MEMORY_BYTES
    return np.asarray(lazy) if small or isinstance(U, np.ndarray) else lazy
