"""Principal components as a model of the data: Gaussian, of a few directions with variances of their own and noise in all others.

With orthonormal rows ``V`` ``(k, n)``, variances ``l_i`` along them and the mean variance ``s2`` of the directions left out, the covariance is

    ``C = sum_i max(l_i, s2) v_i v_i^T + s2 (I - V^T V)``

(Tipping, Bishop 1999, with the maximum-likelihood ``s2`` of their equation 8). Every function of ``C`` is that of its eigenvalues: nothing is inverted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from streamsvd.checks.masks import masked_to_nan
from streamsvd.checks.real import check_real
from streamsvd.engine.opening import as_source
from streamsvd.errors import SpecError
from streamsvd.estimators.inputs import as_narrow_as, is_stored, narrow_dtype, without_missing
from streamsvd.estimators.row_functions import LogDensity, Projection, check_scores
from streamsvd.estimators.rows import FLOATS, RowChecks
from streamsvd.estimators.streaming import apply_to_rows
from streamsvd.numerics.certificate import Certificate
from streamsvd.protocols import Source
from streamsvd.typing import Matrix, Real


class GaussianModel(RowChecks, ClassNamePrefixFeaturesOutMixin, TransformerMixin):  # type: ignore[misc]
    """What estimators of principal components have in common, once they are fitted.

    Attributes
    ----------
    components_, explained_variance_, noise_variance_, mean_, certificate_, whiten
        As of the estimators.
    """

    components_: Matrix
    explained_variance_: Real
    noise_variance_: float
    mean_: Real
    certificate_: Certificate
    whiten: bool
    memory: int | str | None
    _verb = "pca"

    def transform(self, X: Any) -> Matrix:
        """Coordinates of rows along the components, whitened where asked.

        Parameters
        ----------
        X
            Rows ``(p, n)`` in memory; or a path, zarr or dask array, or what `streamsvd.open` returned, which is read once,
            in blocks.

        Returns
        -------
        scores
            ``(p, n_components_)`` in memory; float32 stays so.

        Raises
        ------
        NonFiniteError, SpecError, ShapeError
            If an entry is no number, or the columns are others than those of `fit`.
        BudgetError
            If the memory does not hold what comes back.
        """
        check_is_fitted(self)
        projection = Projection(self.mean_, self.components_, self._factors())
        if not is_stored(X):
            rows = self._check_rows(X, reset=False)
            return as_narrow_as(projection(rows), rows.dtype)
        source = self._open(X)
        with without_missing(self._verb):
            return self._stored_scores(source, projection)

    def inverse_transform(self, X: Any) -> Matrix:
        """Rows whose coordinates these are, within the span of the components.

        Parameters
        ----------
        X
            Coordinates ``(p, n_components_)`` in memory, as `transform` gives them.

        Returns
        -------
        rows
            ``(p, n)``; float32 stays so.

        Raises
        ------
        ShapeError
            If there are not as many coordinates as components.
        """
        check_is_fitted(self)
        X = check_array(masked_to_nan(X), dtype=FLOATS)
        check_scores(X, self.components_)
        scores = X * self._deviations() if self.whiten else X
        return as_narrow_as(scores @ self.components_ + self.mean_, X.dtype)

    def get_covariance(self) -> Matrix:
        """Covariance of the data ``(n, n)`` as the model has it, whitened or not.

        Returns
        -------
        covariance
            The components with their variances, noise in all other directions.
        """
        check_is_fitted(self)
        above = np.maximum(self.explained_variance_ - self.noise_variance_, 0.0)
        covariance = (self.components_.T * above) @ self.components_
        covariance[np.diag_indices_from(covariance)] += self.noise_variance_
        return np.asarray(covariance)

    def get_precision(self) -> Matrix:
        """Inverse ``(n, n)`` of `get_covariance`.

        Returns
        -------
        precision
            Each direction inverted on its own.

        Raises
        ------
        SpecError
            If there is none: the components leave nothing out, and do not fill the space.
        """
        check_is_fitted(self)
        variances, noise = self._spectrum()
        if noise == 0:
            return np.asarray((self.components_.T / variances) @ self.components_)
        precision = (self.components_.T * (1 / variances - 1 / noise)) @ self.components_
        precision[np.diag_indices_from(precision)] += 1 / noise
        return np.asarray(precision)

    def score_samples(self, X: Any) -> Real:
        """Logarithm of the density of each row under the model.

        Parameters
        ----------
        X
            As in `transform`.

        Returns
        -------
        log_densities
            ``(p,)``, in float64.

        Raises
        ------
        SpecError
            If the model has no density: see `get_precision`.
        StreamSVDError
            As `transform`.

        References
        ----------
        .. [1] Tipping, Bishop, J. Royal Statistical Society B 61 (1999), equations 3 to 8.
        """
        check_is_fitted(self)
        density = LogDensity(self.mean_, self.components_, *self._spectrum())
        if not is_stored(X):
            return density(self._check_rows(X, reset=False))
        source = self._open(X)
        with without_missing(self._verb):
            return self._in_a_pass(density, source, "log-densities", width=1, dtype=np.dtype(float))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`, which `GridSearchCV` maximises; ``y`` is ignored."""
        del y
        return float(np.mean(self.score_samples(X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def _stored_scores(self, source: Source, projection: Projection) -> Matrix:
        """Coordinates of stored rows, in memory."""
        dtype = narrow_dtype(source.dtype)
        return self._in_a_pass(
            projection, source, "scores", width=self.components_.shape[0], dtype=dtype
        )

    def _in_a_pass(
        self,
        function: Projection | LogDensity,
        source: Source,
        what: str,
        *,
        width: int,
        dtype: np.dtype[Any],
    ) -> Matrix:
        """What a function makes of stored rows."""
        return apply_to_rows(
            function,
            source,
            width=width,
            dtype=dtype,
            memory=self.memory,
            what=what,
            work=self.components_.shape[0],
        )

    def _open(self, X: Any) -> Source:
        """A stored matrix of real numbers, with the columns of `fit`."""
        source = as_source(X)
        check_real(source)
        self._check_stored(source)
        return source

    def _factors(self) -> Real | None:
        """One over the deviation of each component, 0 where it has none; None without whitening."""
        if not self.whiten:
            return None
        deviations = self._deviations()
        return np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > 0)

    def _deviations(self) -> Real:
        """Standard deviations along the components; 0 where nothing proves that it is positive."""
        alive = self.certificate_.sigma_lower > 0
        return np.where(alive, np.sqrt(self.explained_variance_), 0.0)

    def _spectrum(self) -> tuple[Real, float]:
        """Variances along the components and in all other directions, positive.

        Raises
        ------
        SpecError
            If one is zero.
        """
        k, n = self.components_.shape
        noise = float(self.noise_variance_)
        variances = np.maximum(self.explained_variance_, noise)
        if noise == 0 and (k < n or not self._deviations().all()):
            kept = int(np.count_nonzero(self._deviations()))
            raise SpecError(
                f"the covariance has rank {kept} in {n} columns, and no inverse: n_components_={k} leave no variance out. Pass "
                f"n_components below {max(min(kept, k), 2)}, so that the mean of what is left is the noise."
            )
        return variances, noise if k < n else 0.0
