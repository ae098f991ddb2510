"""Ridge regression in the manner of scikit-learn's ``KernelRidge``: a face of `streamsvd.kernel_ridge`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from streamsvd.checks.masks import masked_to_nan, require_unmasked
from streamsvd.checks.numbers import check_seed
from streamsvd.checks.real import check_real
from streamsvd.engine.opening import as_source
from streamsvd.estimators.inputs import (
    all_or_nothing,
    check_count,
    is_stored,
    without_missing,
)
from streamsvd.estimators.kernels import length_of
from streamsvd.estimators.nystroem import KERNEL_COPIES
from streamsvd.estimators.rows import FLOATS, RowChecks
from streamsvd.estimators.streaming import apply_to_rows
from streamsvd.kernels.ridge import kernel_ridge
from streamsvd.typing import Matrix


class KernelRidge(RowChecks, MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Kernel ridge regression on centres chosen by ridge leverage scores: two passes, never n x n.

    The mean of the targets is taken out and put back, which scikit-learn's does not.

    Parameters
    ----------
    alpha
        Ridge, not divided by the number of rows; left out, the one with the least error on a tenth of the rows.
    kernel, gamma, coef0, degree
        As of `Nystroem`; a gamma left out is the one that predicts best on a sample of the rows.
    n_components
        Centres.
    solver
        ``"auto"``, ``"direct"``, ``"onepass"`` or ``"pcg"``, as of `streamsvd.kernel_ridge`.
    budget, memory, random_state
        As of `Nystroem`.

    Attributes
    ----------
    fit_
        The `streamsvd.KernelRidgeResult`.
    alpha_
        The ridge, given or chosen.
    dual_coef_, X_fit_
        Coefficients of kernel columns, ``(M,)`` or ``(M, targets)``, and the centres ``(M, n)``.
    n_features_in_, feature_names_in_
        Columns, and their names where the data had some.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> X = np.random.default_rng(0).uniform(-2, 2, (1000, 2)); y = np.sin(X[:, 0]) * X[:, 1]
    >>> bool(streamsvd.KernelRidge(n_components=80).fit(X, y).score(X, y) > 0.99)
    True
    """

    _verb = "kernel_ridge"

    def __init__(
        self,
        alpha: float | None = None,
        *,
        kernel: str | Callable[[Matrix, Matrix], Matrix] = "rbf",
        gamma: float | None = None,
        coef0: float = 1.0,
        degree: int = 3,
        n_components: int = 256,
        solver: str = "auto",
        budget: int | None = None,
        memory: int | str | None = None,
        random_state: int = 0,
    ) -> None:
        self.alpha = alpha
        self.kernel = kernel
        self.gamma = gamma
        self.coef0 = coef0
        self.degree = degree
        self.n_components = n_components
        self.solver = solver
        self.budget = budget
        self.memory = memory
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit targets ``(m,)`` or ``(m, targets)`` on rows ``(m, n)``, in memory, sparse too, or stored.

        Raises
        ------
        StreamSVDError
            Whatever `streamsvd.kernel_ridge` raises; after any error the estimator is as it was.
        """
        with all_or_nothing(self), without_missing(self._verb):
            if is_stored(X):
                source = as_source(X)
                self._begin_stored(source)
                y = check_array(masked_to_nan(y), ensure_2d=False, dtype=FLOATS)
            else:
                X, y = self._check_rows_and_targets(X, y)
                source = as_source(X)
            self.fit_ = found = kernel_ridge(
                source,
                y,
                self.kernel,  # type: ignore[arg-type]
                ridge=self.alpha,
                n_centres=check_count("n_components", self.n_components) or 0,
                length=length_of(self.kernel, self.gamma, source.shape[1]),
                degree=self.degree,
                offset=self.coef0,
                budget=self.budget,
                solver=self.solver,  # type: ignore[arg-type]
                memory=self.memory,
                seed=check_seed(self.random_state, name="random_state"),
            )
            self.alpha_ = found.ridge
            dual = found.feature_map.whitening @ found.coefficients
            self.dual_coef_ = dual[:, 0] if found.flat else dual
            self.X_fit_ = found.feature_map.centres
        return self

    def predict(self, X: Any) -> Matrix:
        """Predictions for rows, ``(p,)`` or ``(p, targets)`` in memory. A stored matrix is read once for them.

        `streamsvd.KernelRidgeResult.predict_to` of `fit_` writes them to a store.
        """
        check_is_fitted(self)
        if not is_stored(X):
            return self.fit_.predict(self._check_rows(X, reset=False))
        source = as_source(X)
        check_real(source)
        self._check_stored(source)
        with without_missing(self._verb):
            return apply_to_rows(
                self.fit_.predict,
                source,
                width=self.fit_.coefficients.shape[1],
                dtype=np.dtype(np.float64),
                memory=self.memory,
                what="predictions",
                work=KERNEL_COPIES * self.X_fit_.shape[0],
                is_wide=True,
            )

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination of the predictions for rows in memory; targets that are missing are refused."""
        weights = (
            None if sample_weight is None else require_unmasked(sample_weight, "sample_weight")
        )
        return float(super().score(X, masked_to_nan(y), weights))
