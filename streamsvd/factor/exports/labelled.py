"""A result with its labels: which dimensions its rows and columns have, and its factors in their shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.labels import ROW, Dimension, Labels
from streamsvd.typing import Matrix, Real

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD

Array = npt.NDArray[Any]


def result_labels(result: SVD) -> Labels:
    """Labels that fit a result: its own; plain ones for an extent of which it says nothing, as of results of earlier releases."""
    return fitting_labels(result.labels, (row_count(result), int(result.Vh.shape[1])))


def fitting_labels(found: Labels, shape: tuple[int, int]) -> Labels:
    """Labels of a matrix of this shape: these, or plain ones for an extent that they have not."""
    if not found.columns or found.shape[1] != shape[1]:
        return Labels.plain(shape, found.name)
    if not found.rows or found.shape[0] != shape[0]:
        return found.with_rows((Dimension(ROW, shape[0]),))
    return found


def row_count(result: SVD) -> int:
    """Rows of the matrix: those of ``U``, where it is kept."""
    return int(result.info.n_rows if result.U is None else result.U.shape[0])


def free_name(name: str, *others: Any) -> str:
    """A name that none of the others has: with an underscore behind it for as long as one does."""
    while any(name in names for names in others):
        name += "_"
    return name


def without_dropped(result: SVD, values: Matrix) -> Array:
    """What belongs to columns, ``(..., n)``: NaN at those that were left out."""
    found = np.array(values, values.dtype if values.dtype.kind in "fc" else np.float64)
    found[..., list(result.info.dropped_columns)] = np.nan
    return found


def component_names(result: SVD) -> list[str]:
    """``PC1`` to the last."""
    return [f"PC{j}" for j in range(1, result.rank + 1)]


@dataclass(frozen=True, slots=True, eq=False)
class RowScores:
    """Scores of the rows of a result, ``W^(-1/2) U s``, read where they are used.

    Attributes
    ----------
    U
        Left vectors, ``(m, k)``: in memory or read lazily.
    s
        Singular values, ``(k,)``.
    row_weights
        ``(m,)``; None for 1. Scores of rows of weight 0 are not known: NaN.
    """

    U: Any
    s: Real
    row_weights: Real | None

    @classmethod
    def of(cls, result: SVD) -> RowScores:
        """Of a result that has its left factor.

        Raises
        ------
        SpecError
            If it was not kept.
        """
        if result.U is None:
            raise SpecError(
                "the result has no U, so that scores of its rows are not known. Make it with u=True, or pass the scores that "
                "transform gives of the rows."
            )
        return cls(result.U, result.s, result.preparation.get("row_weights"))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and components."""
        return int(self.U.shape[0]), int(self.s.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Double precision, complex where the factors are."""
        return np.result_type(np.dtype(self.U.dtype), np.float64)

    @property
    def is_lazy(self) -> bool:
        """Whether ``U`` is read where it is used."""
        return not isinstance(self.U, np.ndarray)

    def read(self, rows: Any = slice(None), components: Any = slice(None)) -> Matrix:
        """Scores of some rows, by a slice or their numbers, on some components."""
        found = np.asarray(getattr(self.U, "oindex", self.U)[rows])  # of zarr, the way by numbers
        found = found[:, : self.s.size] * self.s
        if self.row_weights is not None:
            weights = np.asarray(self.row_weights, np.float64)[rows, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                found = np.where(weights > 0, found / np.sqrt(weights), np.nan)
        return np.asarray(found[:, components])
