"""Rows of a matrix as its components give them back, where they are asked for.

``A ~ T Vh d^-1 + 1 mu`` with ``T = W^(-1/2) U s`` (`streamsvd.numerics.score_map`). An entry takes a row of ``T`` and a column of ``Vh``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, SpecError
from streamsvd.factor.indexing import Part, chosen_numbers, split_index, take_numbers
from streamsvd.factor.label_choice import both_labels, row_numbers, take_columns, take_rows
from streamsvd.factor.projection import RowProjection, check_rank, part_view, score_map
from streamsvd.factor.row_output import RowOutput
from streamsvd.factor.score_rows import ProjectedScores, StoredScores, write_back
from streamsvd.labels import Labels
from streamsvd.numerics.score_map import ScoreMap
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.views.row_choice import ArrayRows, Numbers
from streamsvd.typing import Matrix

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD


@dataclass(frozen=True, slots=True, eq=False)
class ReconstructedRows:
    """A matrix as its components give it back: it is indexed as in numpy, and computes what is asked.

    ``array[3]``, ``array[:10, ::2]``, ``array[numbers]``, ``array[mask]`` and ``numpy.asarray(array)`` are arrays of numpy.
    NaN in columns of which nothing is known, and in rows of weight 0.

    Attributes
    ----------
    scores
        Where scores come from.
    map_
        From scores to rows.
    rows, columns
        Numbers of those that there are, in the whole matrix.
    labels
        What is known of these.
    """

    scores: StoredScores | ProjectedScores = field(repr=False)
    map_: ScoreMap = field(repr=False)
    rows: Numbers
    columns: Numbers
    labels: Labels = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.columns)

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def size(self) -> int:
        """Entries."""
        return self.shape[0] * self.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its entries: that of ``U``, or of the scores."""
        return np.dtype(np.result_type(self.scores.dtype, self.map_.Vh.real.dtype.type(0)))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        m, n = self.shape
        return f"<ReconstructedRows {m:,} x {n:,} {self.dtype} of {self.map_.rank} components>"

    def __getitem__(self, key: Any) -> Any:
        rows, columns = split_index(key, self.shape)
        if isinstance(rows, np.ndarray) and isinstance(columns, np.ndarray):
            rows, columns = np.broadcast_arrays(rows, columns)
            return self._entries(rows, columns)
        return self._rectangle(rows, columns)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Matrix:
        del copy
        whole: Matrix = self[:, :]
        return whole if dtype is None else whole.astype(dtype)

    def _rectangle(self, rows: Part, columns: Part) -> Any:
        """Each of some rows in each of some columns."""
        shape = tuple(
            length for part, extent in ((rows, len(self.rows)), (columns, len(self.columns)))
            for length in _shape_of(part, extent)
        )  # fmt: skip
        T, back = self._some(rows), self._back(columns)
        found = (T @ back[0] + back[1]).astype(self.dtype, copy=False).reshape(shape)
        return found if shape else found[()]

    def _entries(self, rows: Any, columns: Any) -> Matrix:
        """Single entries: as many of each."""
        there, which = np.unique(rows, return_inverse=True)
        cols, at = np.unique(columns, return_inverse=True)
        T, (back, level) = self._some(there), self._back(cols)
        which, at = which.reshape(-1), at.reshape(-1)
        found = np.einsum("ij,ji->i", T[which], back[:, at]) + level[at]
        return np.asarray(found.astype(self.dtype, copy=False).reshape(rows.shape))

    def _some(self, rows: Part) -> Matrix:
        """Scores of some rows, flat."""
        numbers = take_numbers(self.rows, rows)
        if isinstance(numbers, int):
            return self.scores.take(range(numbers, numbers + 1))
        if isinstance(numbers, range):
            return self.scores.take(numbers)
        there, which = np.unique(numbers, return_inverse=True)
        return self.scores.take(there)[which.reshape(-1)]

    def _back(self, columns: Part) -> tuple[Matrix, Matrix]:
        numbers = take_numbers(self.columns, columns)
        chosen = np.atleast_1d(np.asarray(numbers, dtype=np.intp)).reshape(-1)
        return self.map_.backward(chosen), self.map_.level(chosen)

    def write(self, to: RowOutput) -> Any:
        """All of it as a new zarr array, whole or not there at all: one pass."""
        back, level = self._back(slice(None))
        from streamsvd.store.writing.array_labels import matrix_labels  # imports zarr

        name = self.labels.name or "reconstruction"
        labels = matrix_labels(self.labels, self.labels, name)
        return self.scores.write(self.rows, back, level, to, labels)


def _shape_of(part: Part, extent: int) -> tuple[int, ...]:
    if isinstance(part, int):
        return ()
    return (len(range(extent)[part]),) if isinstance(part, slice) else part.shape


def reconstruct(
    result: SVD,
    wanted: tuple[Any, Any],
    to: RowOutput,
    *,
    rank: int | None,
    source: Source | None,
    nonfinite: str | None,
) -> Any:
    """The matrix as the components give it back: lazily, or written where there is a place for it.

    Raises
    ------
    SpecError
        If the result has no ``U``, and no source was passed.
    """
    rank = check_rank(result, rank)
    scores: StoredScores | ProjectedScores
    its = result.labels
    if source is not None:
        its = source_labels(source)
        way = RowProjection.of(result, source, rank=rank, nonfinite=nonfinite, single=True)
        part_view(way.map_, source)
        scores = ProjectedScores(source, way, to)
    elif result.U is None:
        raise SpecError(
            "the result has no U, of which rows are given back. Make it with u=True, or pass source=, the rows themselves, to be "
            "projected."
        )
    else:
        weights = result.preparation.get("row_weights")
        amplitudes = None if weights is None else np.sqrt(weights)
        scores = StoredScores(ArrayRows(result.U, "U"), result.s[:rank], amplitudes)
    n = result.Vh.shape[1]
    labels = both_labels(its, result.labels, (scores.n_rows, n))
    rows = wanted[0]
    if isinstance(rows, str):
        rows = row_numbers(rows, labels)
    rows = chosen_numbers(rows, scores.n_rows, "rows")
    columns = chosen_numbers(wanted[1], n, "columns")
    labels = take_columns(take_rows(labels, rows), columns)
    lazy = ReconstructedRows(scores, score_map(result).leading(rank), rows, columns, labels)
    return lazy if to.out is None else lazy.write(to)


def inverse_transform(result: SVD, scores: Source, to: RowOutput) -> Any:
    """Rows of given scores, ``(m, n)``.

    Raises
    ------
    ShapeError
        If there are more scores in a row than components.
    """
    map_, r = score_map(result), scores.shape[1]
    if r > map_.rank:
        raise ShapeError(
            f"{scores.name} has {r:,} scores in a row, the result has {map_.rank} components. Pass at most {map_.rank}."
        )
    map_, labels = map_.leading(r), None
    if to.out is not None:
        from streamsvd.store.writing.array_labels import matrix_labels  # imports zarr

        both = both_labels(
            source_labels(scores), result.labels, (scores.shape[0], result.Vh.shape[1])
        )
        labels = matrix_labels(both, both, both.name or "reconstruction")
    return write_back(scores, map_.backward(), map_.level(), to, scores.dtype, labels=labels)
