"""Rows of a matrix as its components give them back, where they are asked for.

``A ~ T Vh d^-1 + 1 mu`` with ``T = W^(-1/2) U s`` (`streamsvd.numerics.score_map`). An entry takes a row of ``T`` and a column of ``Vh``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.columns import View
from streamsvd.errors import ShapeError, SpecError
from streamsvd.factor.indexing import Part, chosen_numbers, split_index, take_numbers
from streamsvd.factor.label_choice import both_labels, row_numbers, take_columns, take_rows
from streamsvd.factor.projection import (
    OUT_REMEDY,
    RowOutput,
    RowProjection,
    check_rank,
    make_rows,
    part_view,
    score_map,
)
from streamsvd.factor.row_pass import RowPass
from streamsvd.factor.row_schedule import RowWork
from streamsvd.labels import Labels
from streamsvd.numerics.blocks import Preparation
from streamsvd.numerics.score_map import ScoreMap
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.row_choice import ArrayRows, ChosenRows, Numbers
from streamsvd.typing import Matrix, Real

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD
    from streamsvd.store.writing.array_labels import ArrayLabels


@dataclass(frozen=True, slots=True, eq=False)
class StoredScores:
    """Scores that a result holds: rows of ``U s`` without the roots of row weights.

    Attributes
    ----------
    left
        ``U``.
    s
        Singular values of the components that are wanted.
    amplitudes
        Roots of the row weights, ``(m,)``; None for ones.
    """

    left: Source
    s: Real
    amplitudes: Real | None

    @property
    def n_rows(self) -> int:
        """Rows that there are."""
        return self.left.shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is given back."""
        return self.left.dtype

    def take(self, numbers: Numbers) -> Matrix:
        """Scores of some rows, ``(p, r)``."""
        rows = ChosenRows(self.left, numbers)
        U = np.empty(rows.shape, dtype=rows.dtype)
        if U.size:
            rows.read(slice(0, rows.shape[0]), slice(0, rows.shape[1]), U)
        T = U[:, : self.s.size].astype(np.result_type(U.dtype, np.float64)) * self.s
        if self.amplitudes is None:
            return T
        part = self.amplitudes[np.asarray(numbers)][:, None]
        return np.asarray(np.divide(T, part, out=np.full_like(T, np.nan), where=part > 0))

    def write(
        self, numbers: Numbers, back: Matrix, level: Matrix, to: RowOutput, labels: ArrayLabels
    ) -> Any:
        """Rows that are given back, written."""
        rows = ChosenRows(self.left, numbers)
        thin = np.zeros((self.left.shape[1], back.shape[1]), dtype=back.dtype)
        thin[: self.s.size] = self.s[:, None] * back
        part = None if self.amplitudes is None else self.amplitudes[np.asarray(numbers)]
        return write_back(rows, thin, level, to, self.dtype, amplitudes=part, labels=labels)


@dataclass(frozen=True, slots=True, eq=False)
class ProjectedScores:
    """Scores of rows that are read and projected where they are asked for.

    Attributes
    ----------
    source
        The rows.
    way
        How they are projected.
    to
        What that may take.
    """

    source: Source
    way: RowProjection
    to: RowOutput

    @property
    def n_rows(self) -> int:
        """Rows that there are."""
        return self.source.shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is given back."""
        return np.dtype(self.way.dtype)

    def take(self, numbers: Numbers) -> Matrix:
        """Scores of some rows, ``(p, r)``."""
        k = self.way.map_.rank
        if not len(numbers):
            return np.zeros((0, k), dtype=self.way.prep.wide)
        pass_, work = self._pass(k), self._work(k, written=False)
        view = part_view(self.way.map_, ChosenRows(self.source, numbers))
        found: Matrix = make_rows(view, pass_, work, replace(self.to, out=None), purpose="scores")
        return found

    def write(
        self, numbers: Numbers, back: Matrix, level: Matrix, to: RowOutput, labels: ArrayLabels
    ) -> Any:
        """Rows that are projected and given back, written: one pass."""
        pass_ = replace(self._pass(back.shape[1]), dtype=str(self.dtype), back=back, level=level)
        work = self._work(back.shape[1], written=to.out is not None)
        view = part_view(self.way.map_, ChosenRows(self.source, numbers))
        return make_rows(view, pass_, work, to, purpose="rows given back", labels=labels)

    def _pass(self, width: int) -> RowPass:
        way = self.way
        return RowPass(way.prep, way.map_.forward, way.shift, 1, width, way.prep.wide)

    def _work(self, width: int, *, written: bool) -> RowWork:
        wide = np.dtype(self.way.prep.wide).itemsize
        return RowWork(
            self.way.map_.rank, width, wide, wide, self.way.entry_bytes, written, True,
            "giving back the rows", "" if written else OUT_REMEDY,
        )  # fmt: skip


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


def write_back(
    scores: Source,
    thin: Matrix,
    level: Matrix,
    to: RowOutput,
    dtype: np.dtype[Any],
    *,
    amplitudes: Real | None = None,
    labels: ArrayLabels | None = None,
) -> Any:
    """``T Z / a + level`` of each row ``T`` of a source, handed back or written."""
    complex_ = scores.dtype.kind == "c" or np.iscomplexobj(thin)
    prep = Preparation("rows", complex_=complex_)
    kind = np.dtype(prep.wide)
    if dtype.itemsize <= (8 if dtype.kind == "c" else 4) and dtype.kind in "fc":
        kind = np.dtype("complex64" if complex_ else "float32")
    pass_ = RowPass(
        prep, thin, None, 1, scores.shape[0], str(kind), amplitudes=amplitudes, level=level, checks=False
    )  # fmt: skip
    wide, written = np.dtype(prep.wide).itemsize, to.out is not None
    work = RowWork(
        thin.shape[1], thin.shape[1], kind.itemsize, wide, wide, written, False, "giving back the rows",
        "" if written else OUT_REMEDY,
    )  # fmt: skip
    view = View(scores, scores, None, 0, True)
    return make_rows(view, pass_, work, to, purpose="rows given back", labels=labels)
