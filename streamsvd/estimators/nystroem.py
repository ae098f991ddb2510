"""Features of a kernel in the manner of scikit-learn's ``Nystroem``: a face of `streamsvd.nystrom`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from streamsvd.checks.numbers import check_seed
from streamsvd.checks.real import check_real
from streamsvd.engine.opening import as_source
from streamsvd.estimators.inputs import (
    all_or_nothing,
    as_narrow_as,
    check_count,
    is_stored,
    narrow_dtype,
    without_missing,
)
from streamsvd.estimators.kernels import length_of
from streamsvd.estimators.rows import RowChecks
from streamsvd.estimators.streaming import apply_to_rows
from streamsvd.kernels.nystrom import nystrom
from streamsvd.typing import Matrix

KERNEL_COPIES = 5
"""Numbers that a kernel takes for each entry, as it is found."""


class Nystroem(RowChecks, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Feature map of a kernel from rows chosen by ridge leverage scores, not uniformly, in one pass over the data.

    Parameters
    ----------
    kernel
        ``"rbf"``, ``"linear"``, ``"polynomial"``, ``"laplacian"``, ``"matern"``, ``"cosine"``, or a function of two blocks of rows.
    gamma
        As in scikit-learn: ``exp(-gamma |x - y|^2)``, ...; left out, from the median distance of random rows.
    coef0, degree
        Of ``"polynomial"``.
    n_components
        Rows that the map is made of; features are fewer where the kernel has less rank.
    ridge
        How fine the approximation is to be (`streamsvd.nystrom`'s ``gamma``); the smallest that the budget allows if left out.
    budget
        Rows kept in the dictionary; four for each component if left out.
    memory
        Bytes that `fit` may use, or a text such as ``"256MiB"``; half of what is free if left out.
    random_state
        Integer: the seed of the sampling.

    Attributes
    ----------
    components_, component_indices_
        Rows of the map, ``(M, n)``, and their numbers.
    normalization_
        ``(M, features)``: ``transform(X) = k(X, components_) @ normalization_``.
    nystrom_
        The `streamsvd.NystromResult`: dictionary, certificate, record.
    n_features_in_, feature_names_in_
        Columns, and their names where the data had some.

    Notes
    -----
    Cost of `fit`: two passes, the second for the certificate. A stored matrix is never loaded whole.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> X = np.random.default_rng(0).standard_normal((500, 3))
    >>> Z = streamsvd.Nystroem(gamma=0.1, n_components=60).fit_transform(X)
    >>> bool(np.allclose(Z @ Z.T, np.exp(-0.1 * ((X[:, None] - X) ** 2).sum(-1)), atol=0.05))
    True
    """

    _verb = "nystrom"

    def __init__(
        self,
        kernel: str | Callable[[Matrix, Matrix], Matrix] = "rbf",
        *,
        gamma: float | None = None,
        coef0: float = 1.0,
        degree: int = 3,
        n_components: int = 100,
        ridge: float | None = None,
        budget: int | None = None,
        memory: int | str | None = None,
        random_state: int = 0,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.coef0 = coef0
        self.degree = degree
        self.n_components = n_components
        self.ridge = ridge
        self.budget = budget
        self.memory = memory
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Choose rows of ``X`` ``(m, n)``, in memory, sparse too, or stored; ``y`` is ignored.

        Raises
        ------
        StreamSVDError
            Whatever `streamsvd.nystrom` raises; after any error the estimator is as it was.
        """
        del y
        with all_or_nothing(self), without_missing(self._verb):
            if is_stored(X):
                source = as_source(X)
                self._begin_stored(source)
            else:
                source = as_source(self._check_rows(X, reset=True))
            self.nystrom_ = found = nystrom(
                source,
                self.kernel,  # type: ignore[arg-type]
                n_centres=check_count("n_components", self.n_components) or 0,
                gamma=self.ridge,
                length=length_of(self.kernel, self.gamma, source.shape[1]),
                degree=self.degree,
                offset=self.coef0,
                budget=self.budget,
                memory=self.memory,
                seed=check_seed(self.random_state, name="random_state"),
            )
            self.components_ = found.feature_map.centres
            self.component_indices_ = found.centres
            self.normalization_ = found.feature_map.whitening
        return self

    def transform(self, X: Any) -> Matrix:
        """Features of rows, ``(p, features)`` in memory; float32 stays so. A stored matrix is read once for them."""
        check_is_fitted(self)
        features = self.nystrom_.feature_map
        if not is_stored(X):
            X = self._check_rows(X, reset=False)
            return as_narrow_as(features(X.astype(np.float64, copy=False)), X.dtype)
        source = as_source(X)
        check_real(source)
        self._check_stored(source)
        with without_missing(self._verb):
            return apply_to_rows(
                features,
                source,
                width=self.normalization_.shape[1],
                dtype=narrow_dtype(source.dtype),
                memory=self.memory,
                what="features",
                work=KERNEL_COPIES * self.components_.shape[0],
                is_wide=True,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.normalization_.shape[1])
