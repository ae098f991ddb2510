"""Features of a kernel in the manner of scikit-learn's ``Nystroem``: a face of `streamsvd.nystrom`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from streamsvd.checks.masks import masked_to_nan
from streamsvd.checks.numbers import check_seed
from streamsvd.engine.opening import as_source
from streamsvd.estimators.inputs import (
    all_or_nothing,
    as_narrow_as,
    check_count,
    check_in_memory,
    is_stored,
    without_missing,
)
from streamsvd.estimators.kernels import length_of
from streamsvd.kernels.nystrom import nystrom
from streamsvd.typing import Matrix

FLOATS = [np.float64, np.float32]


class Nystroem(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
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
        """Choose rows of ``X`` ``(m, n)``, in memory or stored; ``y`` is ignored.

        Raises
        ------
        StreamSVDError
            Whatever `streamsvd.nystrom` raises; after any error the estimator is as it was.
        """
        del y
        with all_or_nothing(self), without_missing("nystrom"):
            if is_stored(X):
                self.__dict__.pop("feature_names_in_", None)
                source = as_source(X)
                self.n_features_in_ = source.shape[1]
            else:
                source = as_source(validate_data(self, masked_to_nan(X), dtype=FLOATS))
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
        """Features of rows in memory, ``(p, features)``; float32 stays so."""
        check_is_fitted(self)
        check_in_memory(X, remedy="Slice it: transform(X[:1000]).")
        X = validate_data(self, masked_to_nan(X), dtype=FLOATS, reset=False)
        found = self.nystrom_.feature_map(X.astype(np.float64, copy=False))
        return as_narrow_as(found, X.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.normalization_.shape[1])
