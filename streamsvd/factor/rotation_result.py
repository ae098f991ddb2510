"""What a rotation hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.libraries import optional_library
from streamsvd.checks.masks import as_array
from streamsvd.errors import ShapeError
from streamsvd.factor.rotation_options import RotationOptions
from streamsvd.info import Info
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.store.results.saving import Result
from streamsvd.store.results.values import IN_CHUNKS
from streamsvd.typing import Matrix, Real

if TYPE_CHECKING:
    import xarray as xr


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
        given = np.atleast_2d(as_array(scores))
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

    def to_xarray(self) -> xr.Dataset:
        """The rotation with its labels: see `streamsvd.SVD.to_xarray`.

        Returns
        -------
        dataset
            ``components (mode, *column dimensions)``, ``scores (*row dimensions, mode)`` where the result has ``U``, ``variance`` and
            ``variance_ratio (mode)``; coordinates of the data, and ``mode`` from 1.

        Raises
        ------
        StoreError
            If xarray is not installed; it gives the line that installs it.
        """
        optional_library("xarray", "xarray", "to_xarray makes a Dataset")
        from streamsvd.factor.exports.dataset import rotation_dataset

        return rotation_dataset(self)

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
