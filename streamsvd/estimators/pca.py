"""Principal components of arrays, frames and stored matrices, as accurate as asked: a face of `streamsvd.pca`.

With ``s`` and ``Vh`` of the centred rows, their energy ``E``, ``m`` rows, ``n`` columns and ``k`` components: ``explained_variance_ = s^2 / (m - 1)``,
``explained_variance_ratio_ = s^2 / E``, and the mean of the variances left out is ``(E - sum s^2) / ((m - 1) (min(m, n) - k))``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from streamsvd.checks.numbers import check_seed, is_integer
from streamsvd.checks.real import check_real
from streamsvd.checks.sizes import check_size
from streamsvd.engine.opening import as_source
from streamsvd.errors import ShapeError, SpecError
from streamsvd.estimators.gaussian import GaussianModel
from streamsvd.estimators.inputs import (
    all_or_nothing,
    as_narrow_as,
    check_count,
    is_stored,
    without_missing,
)
from streamsvd.estimators.row_functions import Projection
from streamsvd.factor import result as factorisations
from streamsvd.factor.pca import pca
from streamsvd.models.state import check_result
from streamsvd.protocols import Source
from streamsvd.typing import Matrix

ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Share of the energy below which what is left of it is rounding."""


class PCA(GaussianModel, BaseEstimator):  # type: ignore[misc]
    """Principal component analysis of what fits in memory and of what does not, with the proof of how good it is.

    Parameters
    ----------
    n_components
        Components wanted, at most ``min(rows, columns)``; a number in (0, 1) for as many as hold that share of the variance, of
        at most 1000; None for as many as ``tol`` needs, or for all, as far as ``memory`` allows.
    copy
        Of no effect, for callers who pass it: what is given is never written into.
    whiten
        Whether `transform` divides each component by its standard deviation.
    tol
        Relative width asked of the interval of every singular value; 1e-3 if left out, and what comes back is mostly much
        closer. Without ``n_components``: relative Frobenius error of the centred data, in (0, 1), which decides how many.
    memory
        Budget in bytes, or a text such as ``"256MiB"``; half of what is free if left out.
    random_state
        Integer: the seed of the random blocks. Equal seeds give equal bits.

    Attributes
    ----------
    components_
        Orthonormal rows, ``(n_components_, n)``, of descending variance; the entry of largest modulus of each is positive,
        as `svd_flip` of scikit-learn has it.
    explained_variance_, explained_variance_ratio_, singular_values_
        ``(n_components_,)``; the singular values are those of the centred rows.
    mean_
        Of each column, ``(n,)``.
    noise_variance_
        Mean of the variances of the directions left out; 0 if there are none, or nothing but rounding.
    n_components_, n_samples_
        Components, and rows of `fit`.
    n_features_in_, feature_names_in_
        Columns, and their names where the data had some.
    certificate_
        Interval of every singular value, error of the factorisation, angle of the subspace.
    result_
        What `streamsvd.pca` gave: a record that can be saved, and that a model can begin from.

    Notes
    -----
    Cost of `fit`: that of `streamsvd.pca`, for a decaying spectrum a sample of at most a fifth of a pass and two passes to
    1e-3, three to 1e-6, one on the Gram path. `transform` and `score_samples` of a stored matrix are one pass each, and
    `fit_transform` is `fit` and `transform`. All computes in double precision, but for products of float32 data where their
    rounding, which is measured, leaves the tolerance.

    References
    ----------
    .. [1] Tipping, Bishop, J. Royal Statistical Society B 61 (1999), the model of `score_samples`, `get_covariance` and `get_precision`.

    Examples
    --------
    >>> import numpy as np
    >>> from streamsvd.estimators import PCA
    >>> X = np.random.default_rng(0).standard_normal((60, 5)) * [9, 4, 1, 1, 1]
    >>> pca = PCA(n_components=0.9).fit(X)
    >>> pca.n_components_, pca.transform(X).shape
    (2, (60, 2))
    >>> s = np.linalg.svd(X - X.mean(0))[1][:2]
    >>> bool(np.all(pca.certificate_.sigma_lower <= s) and np.all(s <= pca.certificate_.sigma_upper))
    True
    """

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        copy: bool = True,
        whiten: bool = False,
        tol: float | None = None,
        memory: int | str | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_components = n_components
        self.copy = copy
        self.whiten = whiten
        self.tol = tol
        self.memory = memory
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the components of all rows, as accurately as asked.

        Parameters
        ----------
        X
            ``(m, n)``: an array, a masked array without masked cells, a frame of pandas or polars, a sparse matrix of scipy; or a path, zarr or dask
            array, or what `streamsvd.open` returned, which is never loaded whole: it is read as `streamsvd.pca` plans it.
        y
            Ignored.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        NotConverged
            If what was asked is not proved; it carries the partial result.
        NonFiniteError
            If an entry is missing or infinite; it names row and column.
        SpecError, ShapeError, BudgetError, StoreError
            If an option cannot be meant, columns hold no numbers, there are more components than rows or columns, or memory
            does not suffice: before any long work. After any error the estimator is as it was.
        """
        del y
        with all_or_nothing(self):
            stored = is_stored(X)
            if stored:
                source = as_source(X)
                check_real(source)
                self._begin_stored(source)
            else:
                rows = self._check_rows(X, reset=True)
                check_size(rows, "the matrix")
                source = as_source(rows)
            rank, energy = self._amount(source.shape)
            with without_missing(self._verb):
                found = pca(
                    source,
                    rank,
                    energy=energy,
                    tol=self.tol,
                    memory=self.memory,
                    seed=check_seed(self.random_state, name="random_state"),
                )
            check_result(found, source.name)
            self._set_attributes(found)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Matrix:
        """`fit`, then `transform` of the same rows, ``(m, n_components_)``: the same numbers, bit for bit; ``y`` is ignored."""
        del y
        with all_or_nothing(self):
            scores: Matrix = self.fit(X).transform(X)
        return scores

    def _stored_scores(self, source: Source, projection: Projection) -> Matrix:
        """Coordinates of stored rows, as the result projects them: in tiles of columns where rows are long."""
        scores: Matrix = self.result_.transform(source, memory=self.memory)
        if projection.factors is not None:
            scores *= projection.factors
        return as_narrow_as(scores, source.dtype)

    def _amount(self, shape: tuple[int, int]) -> tuple[int | None, float | None]:
        """Rank and share of the variance that are wanted; neither where ``tol`` decides.

        Raises
        ------
        SpecError, ShapeError
            If the number of components is none that can be.
        """
        most = min(shape)
        wanted: Any = self.n_components
        if wanted is None:
            return (most if self.tol is None else None), None
        if str(wanted) == "mle":
            raise SpecError(
                'n_components="mle" guesses the number from all singular values, which are not computed here. Pass tol=0.05 '
                "without n_components, for as many as a relative error of 5% needs, or n_components=0.95 for a share of the variance."
            )
        if isinstance(wanted, float | np.floating) and not is_integer(wanted):
            if not 0 < wanted < 1:
                raise SpecError(
                    f"n_components={wanted!r} is no count and no share. Pass an integer of at least 1, a share of the variance "
                    "in (0, 1), or None for all."
                )
            return None, float(wanted)
        rank = check_count("n_components", wanted)
        assert rank is not None
        if rank > most:
            raise ShapeError(
                f"n_components={rank} exceeds min(n_samples, n_features)={most} of X, which is {shape[0]:,} x {shape[1]:,}. "
                f"Pass n_components <= {most}."
            )
        return rank, None

    def _set_attributes(self, found: factorisations.PCA) -> None:
        """The attributes that users know, of a result."""
        m, n = found.info.n_rows, found.Vh.shape[1]
        certificate, squares = found.certificate, np.square(found.s)
        energy, freedom = certificate.energy, max(m - 1, 1)
        assert found.mean is not None
        others, left = min(m, n) - found.rank, energy - float(np.sum(squares))
        self.n_components_ = found.rank
        self.n_samples_ = m
        self.mean_ = found.mean
        self.components_ = found.Vh
        self.singular_values_ = found.s
        self.explained_variance_ = squares / freedom
        self.explained_variance_ratio_ = found.explained_variance_ratio
        is_rounding = others == 0 or left <= ROUNDING * energy
        self.noise_variance_ = 0.0 if is_rounding else left / (freedom * others)
        self.certificate_ = certificate
        self.result_ = replace(found, U=None, labels=self._name_columns(found.labels))
