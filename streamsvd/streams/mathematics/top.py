"""One pass over rows: iterated vectors, heavy rows, a sketch that no order fools, and a test of the order.

All four see the same micro-batches of 64 rows, counted from the first, so that bits do not depend on the blocks in
which rows arrive. In random order the iterated vectors win wherever the spectrum is flat, the sketch where it decays;
in sorted order the sketch, or nothing, is right. Which it was is measured, and rows that only judge decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import numpy as np
from scipy import linalg

from streamsvd.checks.masks import as_array
from streamsvd.errors import NonFiniteError, ShapeError, SpecError, remedy_of
from streamsvd.numerics import sketches as sketch
from streamsvd.streams.mathematics.directions import FrequentDirections
from streamsvd.streams.mathematics.growth import Growth
from streamsvd.streams.mathematics.heavy import HeavyRows
from streamsvd.streams.mathematics.order import FIRST_SPAN, N_FIXED, WINDOWS, OrderTest
from streamsvd.streams.mathematics.power import History, Window, orthonormal
from streamsvd.streams.mathematics.space import GRID, MICROBATCH, state_bytes
from streamsvd.streams.mathematics.verdict import StreamAnswer, verdict
from streamsvd.streams.options import StreamOptions
from streamsvd.typing import Matrix

REMEDY = 'Mend or leave out the row, or pass nonfinite="zero"; the rows before it are in.'
COLUMN_REMEDY = 'The column has no value in this block: leave it out of every block (mask=), or pass nonfinite="zero".'
SMALLEST, LARGEST = 1e-65, 1e65
"""Entries whose fourth powers, and their sums, float64 holds with all digits."""


@dataclass(slots=True, eq=False)
class StreamState:
    """The state of a stream of rows of ``d`` numbers.

    Parameters
    ----------
    options
        What is asked.
    d
        Numbers in a row.
    n_rows
        Length of the stream, if it is known: the last tenth then judges the answer; otherwise the last window does.
    """

    options: StreamOptions
    d: int
    n_rows: int | None = None
    seen: int = 0
    energy: float = 0.0
    largest: float = 0.0
    threshold: float = 0.0
    valued_at: int = 1
    closed: bool = False
    pending: Matrix = field(init=False)
    heavy: HeavyRows = field(init=False)
    directions: FrequentDirections = field(init=False)
    omega: Matrix = field(init=False)
    products: Matrix = field(init=False)
    order: OrderTest | None = None
    history: History | None = None
    window: Window | None = None
    judged: Window | None = None
    growth: Growth | None = None

    def __post_init__(self) -> None:
        o, d = self.options, self.d
        if d < 1:
            raise ShapeError("rows of no numbers have no eigenvectors.")
        if o.k > d:
            raise SpecError(f"k={o.k} exceeds the {d} numbers of a row. Pass k <= {d}.")
        if self.n_rows is not None and self.n_rows < 1:
            raise SpecError(
                f"n_rows={self.n_rows} is no length of a stream. Leave it out if unknown."
            )
        self.pending = np.zeros((0, d))
        self.heavy = HeavyRows(o.heavy_rows, d)
        self.directions = FrequentDirections(min(o.rows, d), d)
        self.omega = self._gaussian(o.probes, 1, "probes")
        self.products = np.zeros((d, o.probes))
        if o.order == "arbitrary":
            if o.k == 1:
                start = self._gaussian(1, 2, "start")[:, 0]
                self.growth = Growth(d, start, GRID, self.n_rows)
            return
        b = min(o.columns, d)
        basis = orthonormal(self._gaussian(b, 1, "start"))
        self.window = Window(basis, np.zeros((d, o.k)))
        self.history = History(o.k, b, o.forgetting, np.zeros((d, b)), np.zeros(o.k))
        n = self.n_rows
        span = FIRST_SPAN if n is None else max(1, ceil(n / WINDOWS / MICROBATCH)) * MICROBATCH
        self.order = OrderTest(
            d,
            self._gaussian(N_FIXED, 1, "sample"),
            span,
            None if n is None else n // 8,
        )

    def _gaussian(self, columns: int, index: int, purpose: str) -> Matrix:
        return sketch.gaussian(
            self.d, columns, seed=self.options.seed, purpose=purpose, complex_=False, index=index
        )

    # Rows in -----------------------------------------------------------------------------------------

    def partial_fit(self, rows: Matrix) -> StreamState:
        """Absorb a block of rows ``(r, d)``, any r; it is not changed, and no reference to it is kept.

        Raises
        ------
        ShapeError, SpecError, NonFiniteError
            If the block is not real and of d columns, holds NaN or Inf, or entries beyond 1e65; the state is then
            what it was.
        """
        rows = self._check_rows(rows)
        at = 0
        if self.pending.shape[0]:
            take = min(MICROBATCH - self.pending.shape[0], rows.shape[0])
            self.pending = np.concatenate([self.pending, rows[:take].astype(np.float64, order="C")])
            at = take
            if self.pending.shape[0] == MICROBATCH:
                batch, self.pending = self.pending, np.zeros((0, self.d))
                self._step(batch)
        while rows.shape[0] - at >= MICROBATCH:
            self._step(rows[at : at + MICROBATCH].astype(np.float64, order="C"))
            at += MICROBATCH
        if at < rows.shape[0]:
            self.pending = rows[at:].astype(np.float64, order="C")  # a copy
        return self

    @property
    def n_absorbed(self) -> int:
        """Rows absorbed, those that wait for a full micro-batch included."""
        return self.seen + int(self.pending.shape[0])

    def _check_rows(self, rows: Matrix) -> Matrix:
        if self.closed:
            raise SpecError("the stream was finalized; begin another one for further rows.")
        rows = as_array(rows)
        if rows.ndim != 2 or rows.shape[1] != self.d:
            raise ShapeError(
                f"a block of shape {rows.shape} came after rows of {self.d} numbers. Every block must be "
                f"(rows, {self.d})."
            )
        if rows.dtype.kind not in "fiub":
            raise SpecError(
                f"blocks of {rows.dtype} cannot be absorbed: rows of a stream are real numbers."
            )
        if self.n_rows is not None and self.n_absorbed + rows.shape[0] > self.n_rows:
            raise SpecError(
                f"{self.n_absorbed + rows.shape[0]:,} rows have come, {self.n_rows:,} were announced. Leave n_rows out "
                "where the length is not known."
            )
        largest = max(float(np.max(rows)), -float(np.min(rows))) if rows.size else 0.0
        if not largest <= LARGEST:  # NaN goes here too
            self._raise_bad_entry(rows)
        self.largest = max(self.largest, largest)
        return rows

    def _raise_bad_entry(self, rows: Matrix) -> None:
        bad = ~np.isfinite(rows)
        if bad.any():
            i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
            value = "NaN" if np.isnan(rows[i, j]) else "Inf"
            is_empty = rows.shape[0] > 1 and np.isnan(rows[:, j]).all()
            raise NonFiniteError(
                value,
                self.n_absorbed + int(i),
                int(j),
                f"row {self.n_absorbed + int(i)} of the stream",
                remedy_of(value, COLUMN_REMEDY if is_empty else REMEDY),
            )
        raise SpecError(
            f"a row has entries of size {float(np.max(np.abs(rows))):.2g}, whose powers float64 does not hold. Divide "
            "the rows by a power of two."
        )

    def _step(self, x: Matrix) -> None:
        energy = np.einsum("ij,ij->i", x, x)
        total = float(energy.sum())
        self.energy += total
        self.seen += x.shape[0]
        self.products += x.T @ (x @ self.omega)
        if self.growth is not None:
            self.growth.update(x, total)
        if self.window is None:
            self.directions.update(self.heavy.offer(x, energy, self.heavy_from()))
            return
        assert self.order is not None
        assert self.history is not None
        self.order.update(x, energy, self.window.basis)
        light = self.heavy.offer(x, energy, self.heavy_from())
        self.directions.update(light)
        self.window.update(light)
        self.history.n_light += light.shape[0]
        if self.window.rows >= self._window_rows() and not self._judging:
            self._advance()
        if self._judging and self.judged is None and self.n_rows is not None:
            if self.window.rows:
                self._advance()
            self.judged = self.window

    def heavy_from(self) -> float:
        """Squared norm from which a row is heavy; what it was when the rows that only judge began."""
        if self.judged is None or self.n_rows is None:
            top = 0.0
            if self.history is not None:
                top = float(self.history.values[-1]) * self.seen / self.valued_at
            self.threshold = max(self.energy / self.d, top) / self.options.heavy_share
        return self.threshold

    @property
    def _judging(self) -> bool:
        """Whether the rows that only judge have begun."""
        if self.n_rows is None:
            return False
        begin = int((1 - self.options.holdout) * self.n_rows) // MICROBATCH * MICROBATCH
        return self.seen >= begin

    def _window_rows(self) -> int:
        least = 4 * min(self.options.columns, self.d)
        if self.n_rows is None:
            return max(least, ceil(0.05 * self.seen))
        return max(least, ceil(self.n_rows / self.options.windows))

    def _advance(self) -> None:
        """The next window, with a basis that has learnt from the last."""
        assert self.history is not None
        assert self.window is not None
        if self.n_rows is None:
            self.judged = self.window
        basis = self.history.advance(self.window, self.heavy.used_rows)
        self.valued_at = self.seen
        self.window = Window(basis, self._rival())
        assert self.state_bytes <= state_bytes(self.options, self.d), "the space bound is broken"

    def _rival(self) -> Matrix:
        """Leading vectors of the sketch for the next window to judge; zeros where it will not."""
        if self.n_rows is not None and not self._judging:
            return np.zeros((self.d, self.options.k))
        rows = np.concatenate([self.heavy.used_rows, self.directions.used_rows])
        square, U = linalg.eigh(rows @ rows.T, driver="evd", check_finite=False)
        alive = square[::-1][: self.options.k] > 1e-14 * max(float(square[-1]), 0.0)
        V = orthonormal(rows.T @ U[:, ::-1][:, : self.options.k][:, alive])
        return np.pad(V, ((0, 0), (0, self.options.k - V.shape[1])))

    @property
    def state_bytes(self) -> int:
        """Bytes of all arrays that the stream remembers."""
        return sum(a.nbytes for a in _arrays(self))

    # The answer --------------------------------------------------------------------------------------

    def finalize(self) -> StreamAnswer:
        """The answer for the rows so far; the stream is closed.

        Raises
        ------
        SpecError
            If no row has come.
        """
        if self.n_absorbed == 0:
            raise SpecError(
                "no row has come: there is nothing to find. Pass at least one block of rows."
            )
        if not self.closed and self.pending.shape[0]:
            batch, self.pending = self.pending, np.zeros((0, self.d))
            self._step(batch)
        self.closed = True
        if 0 < self.largest < SMALLEST:
            raise SpecError(
                f"no entry is larger than {self.largest:.2g}: powers of it vanish in float64. Multiply the rows by a power of two."
            )
        return verdict(self)


def _arrays(state: object) -> list[Matrix]:
    """Every array below a state."""
    found: list[Matrix] = []
    for name in getattr(state, "__slots__", ()):
        value = getattr(state, name, None)
        if isinstance(value, np.ndarray):
            found.append(value)
        elif value is not None and hasattr(value, "__dataclass_fields__"):
            found += _arrays(value)
    return found
