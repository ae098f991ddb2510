"""Rotation of components: varimax and promax of what was found, in memory; no matrix is read.

`streamsvd.numerics.rotation` has the mathematics. Conventions are those of climate science (Richman 1986; the EOFRotator of xeofs): loadings
are components times the root of their variance, and these are what is rotated.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from streamsvd.checks.numbers import check_integer, is_number
from streamsvd.errors import NotConverged, ShapeError, SpecError
from streamsvd.factor.result import SVD
from streamsvd.info import Info, Status
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.numerics.rotation import (
    PlaneRotations,
    factor_correlation,
    normalise_rows,
    promax_transformation,
    varimax,
)
from streamsvd.numerics.signs import phases
from streamsvd.options import make_plain, option
from streamsvd.store.results.saving import Result
from streamsvd.store.results.values import IN_CHUNKS
from streamsvd.typing import Matrix, Real

RotationMethod = Literal["varimax", "promax"]
IN_MEMORY_BYTES = 64 << 20
"""Scores up to this are computed at once; larger ones when they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOptions:
    """What a rotation may be asked.

    Raises
    ------
    SpecError
        If an option cannot be meant.
    """

    n_components: int | None = option(None, "Leading components to rotate [all that are positive].")
    method: RotationMethod = option("varimax", "Orthogonal, or oblique from there.")
    power: float = option(4.0, "Of promax: the power that makes small loadings smaller.")
    normalize: bool = option(True, "Let all columns count alike (Kaiser).")
    tol: float = option(1e-10, "Relative gain of a plane at which the criterion is a maximum.")
    max_iterations: int = option(100, "Most sweeps over all planes.")

    def __post_init__(self) -> None:
        make_plain(self)
        if self.n_components is not None:
            check_integer("n_components", self.n_components, least=1)
        if self.method not in get_args(RotationMethod):
            raise SpecError(f'method={self.method!r} is unknown. Pass "varimax" or "promax".')
        if not is_number(self.power) or not 1 <= self.power < 100:
            raise SpecError(
                f"power={self.power!r} is no power of promax. Pass a number from 1, which is varimax, to 100; 4 is usual."
            )
        object.__setattr__(self, "power", float(self.power))
        if not isinstance(self.normalize, bool):
            raise SpecError(f"normalize={self.normalize!r} is neither True nor False.")
        if not is_number(self.tol) or not 0 < self.tol < 1:
            raise SpecError(
                f"tol={self.tol!r} is no relative gain. Pass one in (0, 1), such as 1e-10."
            )
        check_integer("max_iterations", self.max_iterations, least=1)


@dataclass(frozen=True, slots=True, eq=False)
class Rotation(Result):
    """Rotated components: each with few large entries, as far as that can be had.

    With ``f = info.freedom`` of the result, ``lambda = s**2 / f`` and loadings ``L = V sqrt(lambda)``: the rotated loadings are ``L R``, and ``R`` is
    `rotation`. Rotated components are these with norm one, by descending variance; the largest entry of each is positive.

    Attributes
    ----------
    components
        Rotated components, ``(r, n)``, of norm one, and not orthogonal to one another as a rule; NaN where a column was left out.
    variance
        Squared norms of the rotated loadings, descending, ``(r,)``. Of varimax they add up to the variance of the r components before; of
        promax they do not, because factors share some of it.
    rotation
        ``R``, ``(r, r)``: of varimax unitary.
    correlation
        Correlations of the rotated scores, ``(r, r)``: of varimax the identity, of promax ``(R* R)^-1`` (often written phi).
    scores
        Rotated scores of the rows that were factorised, ``(m, r)``, where the result has ``U``: ``scores @ components`` are those rows, centred,
        scaled and weighted as they were. Variances are `variance`, correlations `correlation`.
    variance_before
        ``lambda`` of the components that were rotated, ``(r,)``.
    total_variance
        Of the whole matrix.
    criterion
        Varimax criterion of the loadings, of rows of norm one where they were normalised, after the orthogonal rotation.
    iterations
        Sweeps over all planes.
    info, options
        How it came about, and what was asked. ``info.status`` is ``NOT_CONVERGED`` where the most sweeps did not do.
    labels
        Of the result: what the matrix says of its rows and columns.
    """

    components: Matrix
    variance: Real
    rotation: Matrix
    correlation: Matrix
    scores: Any = field(metadata=IN_CHUNKS)
    variance_before: Real
    total_variance: float
    criterion: float
    iterations: int
    info: Info
    options: RotationOptions
    labels: Labels = NO_LABELS

    @property
    def rank(self) -> int:
        """Number of rotated components."""
        return int(self.variance.size)

    @property
    def loadings(self) -> Matrix:
        """Rotated loadings, ``(r, n)``: components times the root of their variance."""
        return np.asarray(np.sqrt(self.variance)[:, None] * self.components)

    @property
    def variance_ratio(self) -> Real:
        """Share of `variance` in the variance of the whole matrix, ``(r,)``."""
        total = self.total_variance
        return self.variance / total if total > 0 else np.zeros_like(self.variance)

    def rotate_scores(self, scores: Any) -> Matrix:
        """Scores of rows in the components before, as those in the rotated ones.

        Parameters
        ----------
        scores
            ``(b, k)`` with k at least r, such as ``result.transform(new)`` gives; further columns take no part.

        Returns
        -------
        rotated
            ``(b, r)``.

        Raises
        ------
        ShapeError
            If there are fewer columns than rotated components.
        """
        given = np.atleast_2d(np.asarray(scores))
        if given.ndim != 2 or given.shape[1] < self.rank:
            raise ShapeError(
                f"scores have the shape {np.shape(scores)}, the rotation is of {self.rank} components. Pass scores (b, {self.rank}) or wider."
            )
        return np.asarray(given[:, : self.rank] @ self._score_matrix())

    def _score_matrix(self) -> Matrix:
        """From scores to rotated scores: ``diag(1/sqrt(lambda)) R^-* diag(sqrt(variance))``, and ``R^-* = R (R* R)^-1``."""
        turned = self.rotation @ self.correlation
        return np.asarray(
            turned / np.sqrt(self.variance_before)[:, None] * np.sqrt(self.variance)[None, :]
        )

    def __repr__(self) -> str:
        how = "varimax" if self.options.method == "varimax" else f"promax {self.options.power:g}"
        share = float(np.sum(self.variance_before)) / (self.total_variance or 1.0)
        end = "sweep" if self.iterations == 1 else "sweeps"
        return (
            f"<Rotation ({how}) of {self.rank} components that hold {share:.4%} of the variance: "
            f"{self.info.status.value} after {self.iterations} {end}>"
        )


class RotatedScores:
    """``(U * s) @ matrix`` of a left factor on disk, computed where it is read; rows as an array has them."""

    def __init__(self, U: Any, matrix: Matrix) -> None:
        self.U, self.matrix = U, matrix
        self.shape = (int(U.shape[0]), int(matrix.shape[1]))
        self.ndim = 2
        self.dtype: np.dtype[Any] = np.result_type(U.dtype, matrix.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Matrix:
        rows, columns = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(rows, tuple):
            (rows,) = rows
        wanted = self.matrix[:, columns]
        return np.asarray(np.asarray(self.U[rows])[..., : self.matrix.shape[0]] @ wanted)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Matrix:
        del copy
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)


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
    present = np.isfinite(base.Vh[:r]).all(axis=0)
    L = base.Vh[:r, present].conj().T * root
    found = varimax(
        normalise_rows(L) if options.normalize else L,
        tol=options.tol,
        max_sweeps=options.max_iterations,
    )
    R = _ordered(L, _whole_rotation(L, found, options))
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
    floor = max(float(base.certificate.zero), np.finfo(np.float64).tiny)
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


def _ordered(L: Matrix, R: Matrix) -> Matrix:
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
        total = float(base.certificate.frobenius_norm**2 / base.info.freedom)
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
