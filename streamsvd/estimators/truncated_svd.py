"""Leading singular triplets in the manner of scikit-learn: a face of `svd`, and of `IncrementalSVD` block by block.

The variance of a column of ``A V`` is ``s_i^2 / m - |mean v_i|^2``, that of all columns of A together
``||A||_F^2 / m - ||mean||^2``: beside the factors it takes the means, which are not subtracted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from streamsvd.checks.masks import masked_to_nan
from streamsvd.checks.numbers import check_seed
from streamsvd.checks.sizes import check_size
from streamsvd.engine.opening import as_source
from streamsvd.errors import SpecError
from streamsvd.estimators.column_sums import stored_entries, sum_about
from streamsvd.estimators.completion import complete_triplets
from streamsvd.estimators.inputs import (
    all_or_nothing,
    as_narrow_as,
    check_components,
    check_count,
    check_in_memory,
    column_means,
    is_stored,
    narrow_dtype,
    without_missing,
)
from streamsvd.estimators.row_functions import Projection, check_scores
from streamsvd.estimators.rows import FLOATS, RowChecks
from streamsvd.estimators.streaming import apply_to_rows
from streamsvd.factor.svd import svd
from streamsvd.models.mathematics.incremental import IncrementalSVD
from streamsvd.models.state import check_result, state_of_result
from streamsvd.numerics.certificate import Certificate
from streamsvd.options import EXCESS_TOL
from streamsvd.typing import Matrix, Real


class TruncatedSVD(RowChecks, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Projection on the leading right singular vectors, uncentred, with the proof of how good they are.

    `fit` has the matrix and reads it as often as the certificate needs; `partial_fit` sees each block once
    and adds what it lost to the certificate.

    Parameters
    ----------
    n_components
        Triplets wanted, at most the columns.
    tol
        Relative width asked of the interval of every singular value, in `fit`; 1e-3 if left out.
    target, excess_tol, route
        What `fit` is to prove, and by which way, as in `streamsvd.svd`.
    memory
        Budget of `fit` in bytes, or a text such as ``"256MiB"``; half of what is free if left out.
    buffer
        Directions that `partial_fit` keeps beyond the components; `streamsvd.models.mathematics.incremental.default_buffer` if left
        out, 64 or more of up to 32 768 columns.
    random_state
        Integer: the seed of the random blocks. Equal seeds give equal bits.

    Attributes
    ----------
    components_
        Orthonormal rows, ``(k, n)`` with ``k = min(n_components, rows, columns)``; the entry of largest
        modulus of each is positive, as `svd_flip` of scikit-learn has it.
    singular_values_
        Descending, ``(k,)``.
    explained_variance_, explained_variance_ratio_
        Variance of each column of the projected data, and its share of the variance of all columns.
    mean_
        Mean of each column, ``(n,)``; it is not subtracted.
    certificate_
        Interval of every singular value, error of the factorisation, angle of the subspace.
    info_, result_
        Record of the run, with passes, bytes and measured memory; and what `streamsvd.svd` gave. Of `fit` only.
    n_samples_seen_, n_features_in_, feature_names_in_
        Rows; columns, and their names where the data had some.
    state_
        The `streamsvd.models.mathematics.incremental.Factor` that the next block is absorbed into.

    Notes
    -----
    Cost of `fit`: that of `streamsvd.svd`, for a decaying spectrum a sample of at most a fifth of a pass and two
    passes to 1e-3, three to 1e-6, one on the Gram path. One more pass for the means where the matrix is stored;
    `transform` of a stored matrix takes yet another, for its rows. Cost of `partial_fit`: that of
    `IncrementalSVD`.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> X = np.random.default_rng(0).standard_normal((60, 5)) * [9, 4, 1, 1, 1]
    >>> lsa = streamsvd.TruncatedSVD(n_components=2, tol=1e-6).fit(X)
    >>> bool(np.allclose(lsa.singular_values_, np.linalg.svd(X)[1][:2]))
    True
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        tol: float | None = None,
        target: str = "auto",
        excess_tol: float = EXCESS_TOL,
        route: str | None = None,
        memory: int | str | None = None,
        buffer: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_components = n_components
        self.tol = tol
        self.target = target
        self.excess_tol = excess_tol
        self.route = route
        self.memory = memory
        self.buffer = buffer
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Factorise the whole matrix, as accurately as asked.

        Parameters
        ----------
        X
            ``(m, n)``, also a sparse matrix of scipy; or a path, zarr or dask array, or what `streamsvd.open` returned, which is never
            loaded whole: it is read as `streamsvd.svd` plans it, and once more for the means.
        y
            Ignored.

        Raises
        ------
        NotConverged
            If what was asked is not proved; it carries the partial result.
        StreamSVDError
            Whatever else `streamsvd.svd` raises; more components than columns; entries whose squares, which are
            the variances, float64 does not hold. After any error the estimator is as it was.
        """
        del y
        with all_or_nothing(self):
            self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Matrix:
        """`fit`, then `transform` of the same rows, ``(m, k)`` in memory: the same numbers, bit for bit; ``y`` is ignored."""
        del y
        with all_or_nothing(self):
            projected: Matrix = self.fit(X).transform(X)
        return projected

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Absorb a block of one or more rows, ``(b, n)``, after `fit` or other blocks; ``y`` is ignored. Sparse rows stay sparse.

        After `fit` the state is what its certificate proves: the components alone, without a buffer, at the lower
        ends of their intervals. What they leave out widens the intervals that follow.

        Raises
        ------
        SpecError, ShapeError
            If an option cannot be meant; more components than columns.
        """
        del y
        check_in_memory(
            X,
            remedy="Pass it to fit, or rows of it as arrays: partial_fit(numpy.asarray(X[:1000])).",
        )
        first = not hasattr(self, "state_")
        with all_or_nothing(self):
            X = self._check_rows(X, reset=first)
            n = X.shape[1]
            buffer = check_count("buffer", self.buffer, least=0)
            method = IncrementalSVD(
                rank=self._rank(n),
                buffer=buffer,
                seed=check_seed(self.random_state, name="random_state"),
            )
            check_size(stored_entries(X), "the block")
            if first:
                self.state_ = method.init(n, like=X)
                self.mean_ = np.zeros(n)
            self.state_ = state = method.update(self.state_, X)
            self.mean_ = self.mean_ + sum_about(X, self.mean_) / state.n_rows
            count = min(self._rank(n), state.n_rows)
            found = complete_triplets(replace(method, rank=count).finalize(state), state, count)
            self._set_attributes(found.s, found.Vh, found.certificate, state.n_rows)
            for name in ("info_", "result_"):
                self.__dict__.pop(name, None)
        return self

    def transform(self, X: Any) -> Matrix:
        """Coordinates of rows along the components, ``(m, k)`` in memory; float32 stays so. A stored matrix is read once for them."""
        check_is_fitted(self)
        projection = Projection(None, self.components_)
        if not is_stored(X):
            X = self._check_rows(X, reset=False)
            return as_narrow_as(projection(X), X.dtype)
        source = as_source(X)
        self._check_stored(source)
        with without_missing(self._verb):
            if hasattr(self, "result_"):
                return as_narrow_as(
                    self.result_.transform(source, memory=self.memory), source.dtype
                )
            dtype = narrow_dtype(source.dtype)
            if np.iscomplexobj(self.components_):
                dtype = np.result_type(dtype, np.complex64)
            return apply_to_rows(
                projection, source, width=self.components_.shape[0], dtype=dtype, memory=self.memory, what="scores"
            )  # fmt: skip

    def inverse_transform(self, X: Any) -> Matrix:
        """Rows ``(m, n)`` whose coordinates these are, within the span of the components."""
        check_is_fitted(self)
        X = check_array(masked_to_nan(X), dtype=FLOATS)
        check_scores(X, self.components_)
        return as_narrow_as(X @ self.components_, X.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def _fit(self, X: Any) -> None:
        stored = is_stored(X)
        if not stored:
            X = self._check_rows(X, reset=True)
            check_size(X, "the matrix")
        source = as_source(X)
        m, n = source.shape
        rank = min(self._rank(n), m)
        with without_missing(self._verb):
            result = svd(
                source,
                rank,
                tol=self.tol,
                target=self.target,
                excess_tol=self.excess_tol,
                route=self.route,
                memory=self.memory,
                seed=check_seed(self.random_state, name="random_state"),
            )
        check_result(result, source.name)
        if stored:
            self._begin_stored(source)
            self.mean_ = column_means(source, energy=result.certificate.energy, memory=self.memory)
        else:
            self.mean_ = np.asarray(X.mean(axis=0, dtype=np.float64))
        self.state_ = state_of_result(result).factor
        self.info_ = result.info
        self.result_ = replace(result, labels=self._name_columns(result.labels))
        self._set_attributes(result.s, result.Vh, result.certificate, m)

    def _rank(self, n_features: int) -> int:
        rank = check_count("n_components", self.n_components)
        if rank is None:
            raise SpecError("n_components=None does not say how much is wanted. Pass an integer.")
        check_components(rank, n_features)
        return rank

    def _set_attributes(self, s: Real, Vh: Matrix, certificate: Certificate, m: int) -> None:
        """The attributes that users know."""
        self.components_ = Vh
        self.singular_values_ = s
        self.certificate_ = certificate
        self.n_samples_seen_ = m
        centre = np.square(np.abs(Vh.conj() @ self.mean_))
        variance = np.maximum(np.square(s) / m - centre, 0.0)
        total = certificate.energy / m - float(np.sum(np.square(np.abs(self.mean_))))
        self.explained_variance_ = variance
        self.explained_variance_ratio_ = variance / total if total > 0 else np.zeros_like(variance)
