"""Where scores of rows come from when rows are given back: left vectors that a result holds, or rows that are read and projected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsvd.engine.columns import View
from streamsvd.factor.projection import RowProjection, part_view
from streamsvd.factor.row_output import OUT_REMEDY, RowOutput, make_rows
from streamsvd.factor.row_pass import RowPass
from streamsvd.factor.row_schedule import RowWork
from streamsvd.numerics.blocks import Preparation
from streamsvd.protocols import Source
from streamsvd.store.sources.views.row_choice import ChosenRows, Numbers
from streamsvd.typing import Matrix, Real

if TYPE_CHECKING:
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
            "giving back the rows", "" if written else OUT_REMEDY, gives_back=True,
        )  # fmt: skip


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
