"""One pass that makes a row of something of each row of a matrix: scores, a row given back, a likelihood.

Rows leave in whole bands, the chunks of what is written, so that each chunk has one writer. Nothing of the matrix is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import issparse

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.engine.reader import find_nonfinite, stored_place
from streamsvd.numerics import products
from streamsvd.numerics.blocks import Array, BadEntry, BlockPreparer, OutOfScale, Preparation
from streamsvd.numerics.row_density import RowDensity
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class RowSums:
    """What a span or the pass hands back: how many rows left for a sink, and those that did not."""

    n_written: int
    pieces: tuple[tuple[int, Matrix], ...] = ()

    def rows(self, width: int, dtype: np.dtype[np.generic]) -> Matrix:
        """The rows that did not leave, in order."""
        if not self.pieces:
            return np.zeros((0, width), dtype=dtype)
        return np.concatenate([rows for _, rows in self.pieces])


@dataclass(slots=True, eq=False)
class RowState:
    """A span's own rows; one owner, updated in place."""

    preparer: BlockPreparer
    thin: Array
    start: int | None = None
    n_waiting: int = 0
    waiting: list[Matrix] = field(default_factory=list)
    pieces: list[tuple[int, Matrix]] = field(default_factory=list)
    n_written: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class RowPass:
    """``y = (x Z - shift) a``, and of it ``y``, ``y Q + level``, or a likelihood: a row for each row ``x`` as it is prepared.

    Attributes
    ----------
    prep
        How a stored row becomes ``x``.
    thin, shift
        ``Z (p, q)``, None for rows as they are; and what is subtracted, ``(q,)``, None for nothing.
    band, m
        Rows that leave together, and rows of the matrix.
    dtype
        Of what leaves.
    amplitudes
        What each row was multiplied with, which is undone: ``a`` is one over it, ``(m,)``; NaN where it is 0.
    back, level
        ``Q (q, n)`` and ``(n,)``, where rows are given back.
    density, factors
        Where likelihoods are wanted, of which there is one for each row; what its entries are multiplied with before, ``(p,)``.
    checks
        Whether an entry that is not finite is an error.

    Notes
    -----
    Cost: ``2 p q`` flops a row, and ``2 q n`` where rows are given back; no state.
    """

    prep: Preparation
    thin: Matrix | None
    shift: Matrix | None
    band: int
    m: int
    dtype: str
    amplitudes: Real | None = None
    back: Matrix | None = None
    level: Matrix | None = None
    density: RowDensity | None = None
    factors: Real | None = None
    checks: bool = True
    two_sided: bool = False
    in_bands: bool = True

    def init(self, device: Device) -> RowState:
        """No rows; the thin block on the device."""
        kind = self.prep.narrow
        thin = None
        if self.thin is not None:
            thin = device.to_device(np.ascontiguousarray(self.thin), kind)
        return RowState(BlockPreparer(self.prep, device, False, False), thin)

    def update(self, state: RowState, block: Block) -> RowState:
        """With the rows of a block that has every column."""
        self.backward(state, block, self.forward(state, block))
        return state

    def forward(self, state: RowState, block: Block) -> list[Array]:
        """Products of a tile, and sums of squares where they are wanted."""
        X = state.preparer.prepare(block.data, block.first, block.columns).narrow
        xp, there = state.preparer.backend.xp, state.preparer.backend.to_device
        with np.errstate(over="ignore", invalid="ignore"):  # it is looked for below
            if self.factors is not None:
                X = products.scale_columns(X, there(self.factors[block.columns], "float64"))
            if state.thin is None:
                sums = [xp.asarray(X, copy=True)]  # the memory is the reader's
            else:
                sums = [products.forward(X, state.thin[block.columns, :])]
            if self.density is not None:
                sums.append(products.row_squares(X)[:, None])
        if self.checks:
            self._check(state, block, sums)
        return sums

    def backward(self, state: RowState, block: Block, products: list[Array]) -> None:
        """Hand over the rows."""
        home = state.preparer.backend.to_host
        y = home(products[0]).astype(self.prep.wide, copy=False)
        if self.shift is not None:
            y = y - self.shift
        if self.amplitudes is not None:
            part = self.amplitudes[block.first : block.first + y.shape[0], None]
            y = np.divide(y, part, out=np.full_like(y, np.nan), where=part > 0)
        if self.density is not None:
            y = self.density.log_likelihood(y, home(products[1])[:, 0])[:, None]
        elif self.back is not None:
            y = y @ self.back
        if self.level is not None:
            y += self.level
        self._hand_over(state, block.first, y.astype(self.dtype, copy=False))

    def close(self, state: RowState) -> RowSums:
        """What is left, and how many rows there were."""
        return RowSums(state.n_written, tuple(state.pieces))

    def merge(self, left: RowSums, right: RowSums) -> RowSums:
        """The rows of both."""
        return RowSums(left.n_written + right.n_written, (*left.pieces, *right.pieces))

    def _hand_over(self, state: RowState, first: int, rows: Matrix) -> None:
        """Rows that follow; whole bands leave, and the rows at the end of the matrix."""
        if state.start is None:
            state.start = first
        state.waiting.append(rows)
        state.n_waiting += rows.shape[0]
        end = first + rows.shape[0]
        whole = end if end == self.m else end - end % self.band
        count = whole - state.start
        if count <= 0:
            return
        several = np.concatenate(state.waiting) if len(state.waiting) > 1 else state.waiting[0]
        state.pieces.append((state.start, several[:count]))
        state.n_written += count
        state.start, state.n_waiting = whole, state.n_waiting - count
        state.waiting = [several[count:].copy()] if state.n_waiting else []

    def _check(self, state: RowState, block: Block, sums: list[Array]) -> None:
        """Refuse an entry that is not finite: then no product of its row is."""
        xp, home = state.preparer.backend.xp, state.preparer.backend.to_host
        with np.errstate(over="ignore", invalid="ignore"):
            if all(np.isfinite(complex(home(xp.sum(part)))) for part in sums):
                return
        nan_counts = self.prep.policy == "raise"
        stored, is_stored = block.data, issparse(block.data)
        if is_stored:
            data = stored.data
            found = stored_place(stored, find_nonfinite(data[None, :], nan_counts=nan_counts))
        else:
            data = home(block.data)
            found = find_nonfinite(data, nan_counts=nan_counts)
        if found is not None:
            value, i, j = found
            raise BadEntry(value, block.first + i, block.columns.start + j)
        if not all(np.isfinite(home(part)).all() for part in sums):
            raise OutOfScale(float(np.nanmax(np.abs(data))))
