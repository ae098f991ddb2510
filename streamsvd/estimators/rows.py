"""What every estimator asks of the rows it is given, in memory or stored, in one wording."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils.validation import validate_data

from streamsvd.checks.masks import masked_to_nan
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.estimators.frames import check_columns
from streamsvd.estimators.inputs import missing_remedy
from streamsvd.labels import Coordinate, Labels, TextValues
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.typing import Matrix

FLOATS = [np.float64, np.float32]


class RowChecks:
    """Checks of rows, for classes that scikit-learn knows.

    Attributes
    ----------
    _verb
        The verb that has policies for what is missing.
    """

    _verb = "svd"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = (
            getattr(self, "kernel", "") != "laplacian"
        )  # which needs all columns
        return tags

    def _check_rows(self, X: Any, *, reset: bool) -> Matrix:
        """Rows in memory as an array of float64 or float32, a ``csr_array`` of sparse ones, every entry finite.

        Raises
        ------
        SpecError
            If columns of a frame hold no numbers.
        NonFiniteError
            If an entry is missing or infinite; it names row and column, and who has a policy for it.
        """
        check_columns(X)
        if sparse.issparse(X):
            found: Matrix = self._check_sparse_rows(X, reset)
            return found
        rows: Matrix = validate_data(
            self, masked_to_nan(X), dtype=FLOATS, reset=reset, ensure_all_finite=False
        )
        self._check_finite(rows, X)
        return rows

    def _check_sparse_rows(self, X: Any, reset: bool) -> Any:
        """Sparse rows as a ``csr_array`` in canonical form; nothing is written into what was given."""
        stored = validate_data(
            self,
            masked_to_nan(X),
            accept_sparse="csr",
            dtype=FLOATS,
            reset=reset,
            ensure_all_finite=False,
        )
        rows = sparse.csr_array(stored)
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        bad = ~np.isfinite(rows.data)
        if bad.any():
            at = int(np.argmax(bad))
            i = int(np.searchsorted(rows.indptr, at, side="right")) - 1
            value = "NaN" if np.isnan(rows.data[at]) else "Inf"
            remedy = missing_remedy(self._verb, value)
            raise NonFiniteError(value, i, int(rows.indices[at]), "X", remedy)
        return rows

    def _check_rows_and_targets(self, X: Any, y: Any) -> tuple[Matrix, Matrix]:
        """The same with targets, numbers as many as there are rows."""
        check_columns(X)
        rows, targets = validate_data(
            self,
            masked_to_nan(X),
            masked_to_nan(y),
            dtype=FLOATS,
            multi_output=True,
            y_numeric=True,
            ensure_all_finite=False,
        )
        self._check_finite(rows, X)
        return rows, targets

    def _check_finite(self, rows: Matrix, X: Any) -> None:
        with np.errstate(all="ignore"):
            if np.isfinite(np.sum(rows, dtype=np.float64)):  # no entry is NaN, and none is infinite
                return
        bad = ~np.isfinite(rows)
        if not bad.any():  # the sum overflows
            return
        i, j = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
        names = getattr(X, "columns", None)
        where = "X" if names is None else f"{list(names)[j]!r} of X"
        value = "NaN" if np.isnan(rows[i, j]) else "Inf"
        raise NonFiniteError(value, i, j, where, missing_remedy(self._verb, value))

    def _begin_stored(self, source: Source) -> None:
        """Know a stored matrix by its columns, and their names where they have some."""
        self.__dict__.pop("feature_names_in_", None)
        self.n_features_in_ = source.shape[1]
        names = text_names(source)
        if names is not None:
            self.feature_names_in_ = names

    def _check_stored(self, source: Source) -> None:
        """Refuse a stored matrix with other columns than those of `fit`.

        Raises
        ------
        ShapeError
            If there are more or fewer: both numbers.
        SpecError
            If they have names, and others: the first that differ.
        """
        if source.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"{source.name} has {source.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        known, names = getattr(self, "feature_names_in_", None), text_names(source)
        if known is None or names is None or np.array_equal(known, names):
            return
        bad = int(np.argmax(known != names))
        raise SpecError(
            f"column {bad} of {source.name} is {names[bad]!r}, and was {known[bad]!r} in fit: the feature names should match, in "
            "the same order."
        )

    def _name_columns(self, labels: Labels) -> Labels:
        """Labels of a result with the names of the features, where the data had some and no label says so."""
        names = getattr(self, "feature_names_in_", None)
        if names is None or len(labels.columns) != 1 or labels.column_names is not None:
            return labels
        along = labels.columns[0].name
        coordinate = Coordinate.of(along, (along,), names)
        return replace(labels, coordinates=(*labels.coordinates, coordinate))


def text_names(source: Source) -> npt.NDArray[np.object_] | None:
    """Names of the columns of a stored matrix, where they are texts along one dimension; None otherwise."""
    labels = source_labels(source)
    along = labels.columns[0].name if len(labels.columns) == 1 else ""
    found = labels.coordinate(along)
    return labels.column_names if found and isinstance(found.values, TextValues) else None
