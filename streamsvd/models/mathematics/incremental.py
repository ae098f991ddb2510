r"""A truncated SVD that absorbs blocks of rows, and the ledger that says what it has lost.

Let ``B = A* A`` for all rows seen (weighted by forgetting, less their mean where centred). A state keeps
``s`` and ``Vh`` with

.. math::  B = V \operatorname{diag}(s^2) V^* + D, \qquad D \succeq 0, \quad \operatorname{tr} D = t,
           \quad \|D\|_2 \le w, \qquad E = \|A\|_F^2 = \sum_i s_i^2 + t .

*Why it stays true.* Stacking adds: ``B = B_1 + B_2``, so D, t, w and E add. The factor of the stack is its
SVD; dropping its trailing values adds ``V_tail diag(s_tail^2) V_tail*`` to D, whose trace and norm are known.
Projecting a tall block on ``range(U)``, ``A = U U* A + X`` with ``U* X = 0``, adds ``X* X``. Every chain and
every tree of such steps keeps it, so from Ky Fan and Weyl, with ``d = min(t, w)``,

- ``s_i^2 <= sigma_i(A)^2 <= s_i^2 + d`` for all i;
- ``||A - A V_r V_r*||_F^2 <= t + sum_{i>r} s_i^2 = up``, an equality for the factorisation ``U_r s_r Vh_r``;
- the best rank-r error has ``up - min(t, r w) <= err_r^2 <= up``;
- so the error of ``V_r`` is at most ``1 + excess = sqrt(up / (up - min(t, r w)))`` times the best of its rank: no gap is
  needed, and no single value;
- ``||A - A V_r V_r*||_2^2 <= s_{r+1}^2 + d``, and no factors of rank r have a smaller one than ``s_{r+1}``;
- ``||sin angle(V_r, true)|| <= d / (s_r^2 - s_{r+1}^2 - d)`` where that is positive (Davis, Kahan 1970), for the rank
  and for every r below it.

*Proof of the second and the third.* ``||A - A V_r V_r*||_F^2 = E - tr V_r* B V_r``, and ``V_r* B V_r = diag(s_r^2) + V_r* D V_r``
with ``V_r* D V_r >= 0``. The best is ``E - KF_r``, ``KF_r`` the sum of the r largest eigenvalues of B, the largest
``tr Z B`` over projectors Z of rank r (Ky Fan): ``tr Z B <= sum_{i<=r} s_i^2 + tr Z D``, and ``tr Z D`` is below ``tr D = t`` and
below ``r ||D|| <= r w``. For the norm, with ``Q = I - V_r V_r*``: ``Q B Q = sum_{i>r} s_i^2 v_i v_i* + Q D Q``, two
semidefinite matrices of norms ``s_{r+1}^2`` and at most d. ``sigma_{r+1} >= s_{r+1}`` is the first statement. []

A state that begins from a batch result knows only ``D >= -deficit I``: squares below lose the deficit, errors gain
one for each vector (``tr V_r* D V_r >= -r deficit``), and d is w: neither t nor what rests on it bounds a trace of D over
a subspace. The norm gains nothing, for ``Q D Q <= w Q``.

Rounding is one ``slack`` in the norm of A, which is added to what is an upper end and taken from what is a lower one. An
error that is all slack has excess 0: the factors hold whatever float64 can tell from zero.

*How many directions are kept.* The l-th value of a stack of an old factor and a new block is what a step adds to w, so intervals
narrow as l grows: by ``(l / l')^(2 p)`` where values fall like ``i^-p``, by far more where they fall faster, and by little in a
bulk. `default_buffer` has the numbers.

*Centring.* Rows less the mean of their part, and beside them ``sqrt(weight) (mean of the part - mean of
all)``: the Gram matrix of this stack is the scatter about the common mean, and its left factor has
orthonormal columns because each part is orthogonal to its own constant vector.

References: Levy, Lindenbaum (2000) for the update; Iwen, Ong (2016) and Himpe, Leibner, Rave (2018) for trees;
Ghashami, Liberty, Phillips, Woodruff (2016) for the robust variant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg, sparse

from streamsvd.checks.masks import masked_to_nan
from streamsvd.errors import ShapeError, SpecError
from streamsvd.models.mathematics.sparse_stack import RowsBelow, project_stack, stack_basis
from streamsvd.numerics.certificate import Certificate, Kind
from streamsvd.numerics.intervals import leading_run, relative_widths
from streamsvd.numerics.ledger import Factor, Ledger, LeftRotation, StackPart, energy_of
from streamsvd.numerics.range_sketch import OVERSAMPLES, ParallelMap, RangeSketch, column_mean
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.signs import phases, phases_after
from streamsvd.options import TOL
from streamsvd.typing import Matrix, Real

BUDGET_SHARE = 0.3
"""Share of the tolerance that truncations along the way may spend; the final cut takes the rest."""
TALL, SMALL = 3, 256
"""Blocks whose shorter side exceeds this many widths, and this number, are sketched before they are stacked."""
SPARSE_SHARE = 0.05
"""Of the entries, those that are stored in a block that stays sparse; of more, dense products are as fast."""
WIDE = 2
"""Times the rows that are stacked at once, that a block is wide which stays sparse."""
MOST_CONSTANT = 1e4
"""Times the energy about the mean of rows, that of the mean itself, beyond which rows do not stay sparse."""
DENSE_ENTRIES = 1 << 23
"""Entries of sparse rows that are absorbed with their zeros at once, 64 MiB in double precision."""
LEAST, ENOUGH = 64, 100
"""Directions kept beyond the rank by default: at least the first; twice the rank up to the second."""
BUFFER_ENTRIES = 1 << 21
"""Entries of the directions beyond the rank that are kept by default, 16 MiB in double precision."""


def default_buffer(rank: int, n_cols: int) -> int:
    """Directions kept beyond the rank where nobody says how many: ``rank``, or more where that costs little.

    Of shapes alone, so that equal data give equal bits.

    Notes
    -----
    At rank 5 to 20, 64 cost a block of 100 rows 1.4 to 2 times the seconds of 10 to 20, and intervals are 4 to 10 times narrower
    where values fall like ``1 / i``, hundreds of times where they fall geometrically or end. Ranks up to 100 keep no more than
    rank 100 does, whose cost is measured: 4 000 rows of 2 000 columns beside a refit. Where columns are so many that 64 rows of
    them exceed 16 MiB, fewer: every version of a model stores them.
    """
    wanted = max(LEAST, min(2 * rank, ENOUGH))
    return max(10, rank, min(wanted, BUFFER_ENTRIES // max(n_cols, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class IncrementalResult:
    """What a state proves of the rank asked for.

    Attributes
    ----------
    s, Vh, mean
        Leading triplets and the mean.
    certificate
        Intervals, error, energy, angle.
    optimal_error_lower
        No factorisation of this rank has a Frobenius error below this.
    tolerance_met
        Whether the error is within the tolerance asked; True if none was.
    """

    s: Real
    Vh: Matrix
    mean: Matrix | None
    certificate: Certificate
    optimal_error_lower: float
    tolerance_met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalSVD:
    """Block-incremental truncated SVD; a pure fold over blocks of rows that also merges.

    Parameters
    ----------
    rank
        Triplets wanted; None where ``tol`` decides.
    tol
        Relative Frobenius error asked for. Alone, the rank follows from it; beside ``rank``, it is what the
        result is held against.
    buffer
        Directions kept beyond the rank; `default_buffer` if left out, 64 or more of up to 32 768 columns.
    max_rank
        Most directions kept where ``tol`` decides.
    center
        Factorise the rows less their mean, which may move.
    forget
        Factor in (0, 1] by which every row fades with each block that follows.
    robust
        Shrink squares by the first dropped one (Frequent Directions): no order of rows can then hide a
        direction, at the price of values biased low within their intervals.
    seed, delta
        Of the probes that bound what is left of a tall block, and their probability of failure in all.

    Raises
    ------
    SpecError
        If an option is out of range.

    Notes
    -----
    Cost of absorbing b rows of n with l directions kept: ``O(n (l + b)^2)`` flops for short blocks, about
    ``10 b n l`` for tall ones; memory ``O(n (l + b))``.
    """

    rank: int | None = None
    tol: float | None = None
    buffer: int | None = None
    max_rank: int = 1000
    center: bool = False
    forget: float = 1.0
    robust: bool = False
    seed: int = 0
    delta: float = 1e-6

    def __post_init__(self) -> None:
        if self.rank is None and self.tol is None:
            raise SpecError("neither rank nor tol was given. Pass rank=50, or tol=0.01, or both.")
        if self.rank is not None and self.rank < 1:
            raise SpecError(f"rank={self.rank} is no number of triplets. Pass rank >= 1.")
        if self.tol is not None and not 0 < self.tol < 1:
            raise SpecError(
                f"tol={self.tol} is no relative error. Pass one in (0, 1), such as 0.01."
            )
        if self.buffer is not None and self.buffer < 0:
            raise SpecError(f"buffer={self.buffer} is no number of directions. Pass buffer >= 0.")
        if self.max_rank < 1:
            raise SpecError(f"max_rank={self.max_rank} keeps nothing. Pass max_rank >= 1.")
        if not 0 < self.forget <= 1:
            raise SpecError(
                f"forget={self.forget} is outside (0, 1]. Pass 1 to forget nothing, 0.99 to fade slowly."
            )
        if not 0 < self.delta < 1:
            raise SpecError(f"delta={self.delta} is no probability. Pass one in (0, 1).")
        if self.robust and self.rank is None:
            raise SpecError("robust=True shrinks by a fixed rank. Pass rank= with it.")

    @property
    def width(self) -> int:
        """Most directions kept where the rank is fixed, whatever the columns; where to begin where the tolerance decides."""
        return self.width_for(1)

    def width_for(self, n_cols: int) -> int:
        """The same for ``n_cols`` columns: of very many, fewer are kept by default."""
        if self.rank is None:
            return min(64, self.max_rank)
        buffer = default_buffer(self.rank, n_cols) if self.buffer is None else self.buffer
        return self.rank + buffer

    def init(self, n_cols: int, *, like: Matrix) -> Factor:
        """The state that has seen nothing; ``like`` says whether numbers are complex."""
        wide = np.result_type(like.dtype, np.float64)
        mean = np.zeros(n_cols, dtype=wide) if self.center else None
        return Factor(np.zeros(0), np.zeros((0, n_cols), dtype=wide), mean, 0.0, 0, Ledger())

    def update(self, state: Factor, block: Matrix) -> Factor:
        """The state after one more block of rows ``(b, n)``, finite; a sparse one is never made dense but for some rows of it."""
        if block.shape[0] == 0:
            return state
        if sparse.issparse(block):
            return self._update_sparse(state.fade_by(self.forget), sparse.csr_array(block))
        part = self.part(block, index=state.ledger.truncations, guess=state, left=False)
        return self.absorb_part(state.fade_by(self.forget), part)[0]

    def merge(self, a: Factor, b: Factor) -> Factor:
        """The state of the rows of both, as if stacked."""
        return self.join_parts([a.as_part(), b.as_part()])[0]

    def absorb_part(
        self, state: Factor, part: StackPart, *, signs_of: Factor | None = None
    ) -> tuple[Factor, LeftRotation, LeftRotation]:
        """The state with a part stacked below it, and the turns of both; nothing fades."""
        if sparse.issparse(part.rows):
            return self._absorb_sparse(state, part, signs_of)
        factor, (old, new) = self.join_parts([state.as_part(), part], signs_of=signs_of)
        return factor, old, new

    def join_parts(
        self, parts: Sequence[StackPart], *, share: float = 1.0, signs_of: Factor | None = None
    ) -> tuple[Factor, tuple[LeftRotation, ...]]:
        """One factor of stacked parts, and how the left vectors of each turn into its own.

        Parameters
        ----------
        parts
            At least one, all of n columns.
        share
            Share of the budget of truncation that this node may have spent, where a tolerance decides.
        signs_of
            An earlier factor whose signs are kept; without one, the largest entry of each right vector is positive.

        Raises
        ------
        ShapeError
            If the parts have different numbers of columns.
        """
        widths = {part.rows.shape[1] for part in parts}
        if len(widths) != 1:
            raise ShapeError(
                f"parts of {sorted(widths)} columns cannot be stacked; they must be equal."
            )
        weight, n_rows = sum(p.weight for p in parts), sum(p.n_rows for p in parts)
        stacked, extra, mean, energy = self._stack(parts, weight)
        ledger = sum((p.ledger for p in parts), Ledger())
        ledger = replace(
            ledger,
            energy=ledger.energy + energy,
            height=max(ledger.height, stacked.shape[0] + stacked.shape[1]),
        )
        u, s, Vh, ledger = self._truncate(stacked, ledger, share)
        turn = self._turn(Vh, signs_of)
        u, Vh = u * turn, turn.conj()[:, None] * Vh
        turns, at = [], 0
        for index, part in enumerate(parts):
            rotation = u[at : at + part.rows.shape[0]]
            at += part.rows.shape[0]
            offset = None
            if extra:
                offset = (
                    u[-len(parts) + index] / np.sqrt(part.weight) if part.weight > 0 else 0 * u[-1]
                )
            turns.append(LeftRotation(rotation, offset))
        return Factor(s, Vh, mean, weight, n_rows, ledger), tuple(turns)

    def keep_signs(self, state: Factor, earlier: Factor) -> Factor:
        """The state with the signs of an earlier one; for states without left vectors."""
        return replace(state, Vh=self._turn(state.Vh, earlier).conj()[:, None] * state.Vh)

    def _turn(self, Vh: Matrix, earlier: Factor | None) -> Matrix:
        """Factors of modulus one of right vectors: what users saw of the earlier state is followed, the buffer is not."""
        V = Vh.conj().T
        if earlier is None:
            return np.asarray(phases(V))
        return np.asarray(phases_after(V, earlier.Vh[: self.rank].conj().T))

    def _stack(
        self, parts: Sequence[StackPart], weight: float
    ) -> tuple[Matrix, bool, Matrix | None, float]:
        """The rows of all parts; where centred, one more for each, the common mean and their energy."""
        rows = [part.rows for part in parts]
        if not self.center:
            return np.concatenate(rows, axis=0), False, None, 0.0
        means = [part.mean for part in parts]
        # About the mean that weighs most, so that data far from zero keep their digits, and what has faded harms none.
        first = max(parts, key=lambda part: part.weight).mean
        assert first is not None
        mean = first.copy()
        if weight > 0:
            for part in parts:
                assert part.mean is not None
                mean += (part.weight / weight) * (part.mean - first)
        shifts = np.stack(
            [np.sqrt(p.weight) * (m - mean) for p, m in zip(parts, means, strict=True)]
        )
        energy = float(np.sum(np.abs(shifts) ** 2))
        return np.concatenate([*rows, shifts], axis=0), True, mean, energy

    def _truncate(
        self, stacked: Matrix, ledger: Ledger, share: float
    ) -> tuple[Matrix, Real, Matrix, Ledger]:
        u, s, Vh = economic_svd(stacked)
        squares = s * s
        # Numerically zero directions must go: their vectors are arbitrary, and not orthogonal to constants.
        floor = 8 * UNIT_ROUNDOFF * np.sqrt(max(stacked.shape)) * (s[0] if s.size else 0.0)
        alive = int(np.count_nonzero(s > floor))
        keep = min(alive, self._keep_count(squares, ledger, share, stacked.shape[1]))
        tail, squares = squares[keep:], squares[:keep]
        rounding = bool(s.size)
        if self.robust and tail.size and tail[0] > 0:
            # Every square loses the first dropped one; what all lose together has norm tail[0].
            lost = np.concatenate([np.full(keep, tail[0]), tail])
            ledger = ledger.after_truncation(lost, rounding=rounding)
            squares = np.maximum(squares - tail[0], 0.0)
            keep = int(np.count_nonzero(squares > 0))
            squares = squares[:keep]
        else:
            ledger = ledger.after_truncation(tail, rounding=rounding)
        return u[:, :keep], np.sqrt(squares), Vh[:keep], ledger

    def _keep_count(self, squares: Real, ledger: Ledger, share: float, n_cols: int) -> int:
        """How many of the stacked values to keep."""
        if self.rank is not None:
            return self.width_for(n_cols)
        assert self.tol is not None
        allowed = share * (BUDGET_SHARE * self.tol) ** 2 * ledger.energy - ledger.discarded
        tails = np.cumsum(squares[::-1])[::-1]  # tails[i] is dropped if i values are kept
        enough = np.flatnonzero(tails <= allowed)
        return min(int(enough[0]) if enough.size else squares.size, self.max_rank)

    # A block as a part -----------------------------------------------------------------------------

    def part(
        self,
        block: Matrix,
        *,
        index: int = 0,
        guess: Factor | None = None,
        left: bool = True,
        each: ParallelMap = map,
    ) -> StackPart:
        """A block of rows as a part: exact if it is short or narrow, sketched with its ledger if not.

        Parameters
        ----------
        block
            ``(b, n)``, finite; not changed.
        index
            Number of the block; its random numbers depend on the seed and this alone.
        guess
            A state whose right vectors may span most of the block, where the result may depend on it.
        left
            Whether the left vectors are wanted.
        each
            Maps a function over panels of a tall block, as `map` does; a pool's map does some at once. Sums are
            in the order of the panels, so that bits do not depend on it.
        """
        block = masked_to_nan(block)
        mean = column_mean(block) if self.center else None
        width = self.width_for(block.shape[1])
        while True:
            if min(block.shape) <= max(TALL * width, SMALL):
                return self._exact(block, mean, left)
            found = RangeSketch(block, mean, each).part(
                width + OVERSAMPLES, guess, self.seed, index, self.delta, left=left
            )
            if self.rank is not None or width >= self.max_rank:
                return found
            assert self.tol is not None
            allowed = (BUDGET_SHARE * self.tol) ** 2 * found.ledger.energy / 2
            if found.ledger.discarded <= allowed:
                return found
            width = min(2 * width, self.max_rank)

    @staticmethod
    def _exact(block: Matrix, mean: Matrix | None, left: bool) -> StackPart:
        b, n = block.shape
        # A tall block is factorised where it lies: LAPACK's order of entries, and no copy but this one.
        wide = block.astype(np.result_type(block.dtype, np.float64), order="C" if b <= n else "F")
        if mean is not None:
            wide -= mean
        ledger = Ledger(energy=energy_of(wide), height=max(wide.shape))
        if b <= n:
            return StackPart(wide, None, mean, float(b), b, ledger)
        if left:
            u, rows = linalg.qr(wide, mode="economic", overwrite_a=True, check_finite=False)
        else:
            u, rows = None, linalg.qr(wide, mode="raw", overwrite_a=True, check_finite=False)[1]
        return StackPart(rows, u, mean, float(b), b, replace(ledger, truncations=1))

    # Sparse rows -----------------------------------------------------------------------------------

    def sparse_part(self, block: Any) -> StackPart | None:
        """Rows in a ``csr_array`` as a part that stays sparse; None where rows with their zeros are absorbed as fast, or must be.

        Parameters
        ----------
        block
            ``(b, n)``, finite, in canonical form; not changed.
        """
        b, n = block.shape
        width = self.width_for(n)
        if self.robust or block.nnz > SPARSE_SHARE * b * n:
            return None
        if n < WIDE * (width + min(b, self._sparse_height(n))):
            return None
        kind = np.result_type(block.dtype, np.float64)
        wide = type(block)((block.data.astype(kind), block.indices, block.indptr), shape=(b, n))
        gross = float(np.sum(np.abs(wide.data) ** 2))
        if not self.center:
            return StackPart(wide, None, None, float(b), b, Ledger(energy=gross, height=max(b, n)))
        mean = np.asarray(wide.T @ np.ones(b)) / b
        constant = b * float(np.vdot(mean, mean).real)
        if constant > MOST_CONSTANT * (gross - constant):
            return None  # squares about zero have lost the digits of those about the mean
        ledger = Ledger(energy=gross - constant, height=max(b, n))
        return StackPart(wide, None, mean, float(b), b, ledger)

    def _sparse_height(self, n_cols: int) -> int:
        """Rows of a sparse block that are stacked at once."""
        return max(SMALL, TALL * self.width_for(n_cols))

    def _update_sparse(self, state: Factor, block: Any) -> Factor:
        """The state, faded already, after a block of sparse rows."""
        block.sum_duplicates()
        part = self.sparse_part(block)
        if part is not None:
            return self.absorb_part(state, part)[0]
        n = block.shape[1]
        height = max(1, min(self._sparse_height(n), DENSE_ENTRIES // n))
        for at in range(0, block.shape[0], height):
            rows = block[at : at + height].toarray()
            made = self.part(rows, index=state.ledger.truncations, guess=state, left=False)
            state = self.absorb_part(state, made)[0]
        return state

    def _absorb_sparse(
        self, state: Factor, part: StackPart, signs_of: Factor | None
    ) -> tuple[Factor, LeftRotation, LeftRotation]:
        """As `absorb_part`, by pieces of sparse rows, each by the Gram matrix of what is new in it."""
        b, n = part.rows.shape
        height = self._sparse_height(n)
        known = state.s.size
        turn = np.eye(known, dtype=state.Vh.dtype)
        offset = np.zeros(known, dtype=state.Vh.dtype) if self.center else None
        left: list[Matrix] = []
        for at in range(0, b, height):
            state, old, new = self._absorb_sparse_piece(state, part.rows[at : at + height])
            turn = turn @ old.rotation
            left = [rows @ old.rotation for rows in left]
            if offset is not None:
                assert old.offset is not None
                offset = offset @ old.rotation + old.offset
                left = [rows + old.offset for rows in left]
            left.append(new)
        signs = self._turn(state.Vh, signs_of)
        state = replace(state, Vh=signs.conj()[:, None] * state.Vh)
        constant = None if offset is None else offset * signs
        rows = np.concatenate(left) * signs
        return state, LeftRotation(turn * signs, constant), LeftRotation(rows, None)

    def _absorb_sparse_piece(
        self, state: Factor, block: Any
    ) -> tuple[Factor, LeftRotation, Matrix]:
        """One piece: the state, the turn of what was before, and left vectors of the rows."""
        b, weight = block.shape[0], state.weight + block.shape[0]
        mean = centre = below = None
        if self.center:
            assert state.mean is not None
            centre = np.asarray(block.T @ np.ones(b)) / b
            apart = centre - state.mean
            mean = state.mean + (b / weight) * apart if state.weight > 0 else centre
            if state.weight > 0:
                below = np.sqrt(state.weight * b / weight) * apart
        rows = RowsBelow(block, centre, below)
        found, known = stack_basis(state.s, state.Vh, rows), state.s.size
        ledger = state.ledger + Ledger(energy=found.energy, height=known + b + block.shape[1])
        values = np.sqrt(found.squares)
        floor = 8 * UNIT_ROUNDOFF * np.sqrt(max(known + b, block.shape[1])) * values[0]
        alive = int(np.count_nonzero(values > floor))
        keep = min(alive, self._keep_count(found.squares, ledger, 1.0, block.shape[1]))
        U, tail = found.U[:, :keep], found.squares[keep:]
        u, s, Vh = project_stack(U, state.s, state.Vh, rows)
        lost, largest = found.left_out
        ledger = ledger.after_truncation(tail, rounding=True)
        ledger = replace(
            ledger,
            discarded=ledger.discarded + lost + found.rounding,
            discarded_norm=ledger.discarded_norm + largest + found.rounding,
        )
        turned = U @ u
        old, new = turned[:known], turned[known : known + b]
        offset = None
        if self.center:
            offset = np.zeros(keep, dtype=turned.dtype)
            if below is not None:  # of what was before, and of the rows: shares of the row below
                offset = -np.sqrt(b / weight) / np.sqrt(state.weight) * turned[known + b]
                new = new + np.sqrt(state.weight / weight) / np.sqrt(b) * turned[known + b]
        factor = Factor(s, Vh, mean, weight, state.n_rows + b, ledger)
        return factor, LeftRotation(old, offset), new

    # What a state proves ----------------------------------------------------------------------------

    def finalize(self, state: Factor) -> IncrementalResult:
        """The leading triplets of the rank asked for, with what is proved of them."""
        rank = self._final_rank(state)
        ledger, slack = state.ledger, _slack(state)
        squares, deficit = state.s**2, ledger.deficit
        lost = ledger.discarded + float(np.sum(squares[rank:][::-1]))
        d = ledger.above
        least = rank * d if deficit else min(ledger.discarded, rank * d)
        optimum = max(float(np.sqrt(max(lost - least, 0.0))) - slack, 0.0)
        s, Vh = state.s[:rank], state.Vh[:rank]
        top = float(s[0]) if s.size else 0.0
        following = float(squares[rank]) if rank < squares.size else 0.0
        error = float(np.sqrt(lost + rank * deficit)) + slack
        lower = np.maximum(np.sqrt(np.maximum(s**2 - deficit, 0.0)) - slack, 0.0)
        upper = np.sqrt(s**2 + d) + slack
        off = max(d, deficit) + 2 * top * slack
        zero = float(2 * slack)  # what a value within the rounding of zero reaches
        if np.sqrt(ledger.energy) <= zero:
            lower = np.zeros_like(lower)
        certificate = Certificate(
            sigma_lower=lower,
            sigma_upper=upper,
            frobenius_error=error,
            energy=ledger.energy,
            failure_probability=ledger.failure,
            subspace_angle_bound=_angle(squares, rank, off),
            orthogonality=spectral_norm(Vh.conj() @ Vh.T - np.eye(rank)),
            rounding=slack / top if top else 0.0,
            tail=float(np.sqrt(d)) / top if top else 0.0,
            numerical_rank=int(np.count_nonzero(lower > 0)),
            deficit=deficit + 2 * top * slack,
            kind=Kind.BOUNDS if ledger.proved else Kind.ESTIMATE,
            excess=_excess(error, optimum, slack),
            spectral_error=min(float(np.sqrt(following + d)) + slack, error),
            next_lower=max(float(np.sqrt(max(following - deficit, 0.0))) - slack, 0.0),
            resolved_angle_bound=_angle(
                squares, leading_run(relative_widths(lower, upper, zero) <= TOL), off
            ),
            tol=TOL,
            zero=zero,
        )
        met = self.tol is None or error <= self.tol * np.sqrt(ledger.energy) + slack
        return IncrementalResult(s, Vh, state.mean, certificate, optimum, met)

    def _final_rank(self, state: Factor) -> int:
        if self.rank is not None:
            return min(self.rank, state.s.size)
        assert self.tol is not None
        squares = state.s**2
        tails = np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]]) + state.ledger.discarded
        enough = np.flatnonzero(tails <= self.tol**2 * state.ledger.energy)
        return int(enough[0]) if enough.size else squares.size


def _slack(state: Factor) -> float:
    """Rounding in the norm of A."""
    ledger = state.ledger
    slack = ledger.slack
    if state.mean is not None:  # every merge rounds the mean, which rows far from zero feel
        size = float(np.linalg.norm(state.mean)) * np.sqrt(max(state.weight, 0.0))
        slack += 8 * UNIT_ROUNDOFF * float(np.sqrt(ledger.truncations + 1)) * size
    return slack


def _angle(squares: Real, count: int, off: float) -> float:
    """Bound of the sine of the angle of the first ``count`` vectors, where B differs by at most ``off`` from what is kept."""
    if count == 0:
        return float("inf")
    following = float(squares[count]) if count < squares.size else 0.0
    gap = float(squares[count - 1]) - following - off
    angle = off / gap if gap > 0 else float("inf")
    return angle if angle <= 1 else float("inf")


def _excess(error: float, optimum: float, slack: float) -> float:
    """How far an error may be above the best, whose lower bound is ``optimum``, as a share of it."""
    if optimum > 0:
        return max(error / optimum - 1, 0.0)
    return 0.0 if error <= 2 * slack else float("inf")


def economic_svd(W: Matrix) -> tuple[Matrix, Real, Matrix]:
    """``u, s, vh`` with ``min(W.shape)`` triplets, through the QR of the longer side."""
    r, n = W.shape
    if min(r, n) == 0:
        return np.zeros((r, 0), W.dtype), np.zeros(0), np.zeros((0, n), W.dtype)
    if r <= n:
        Q, R = linalg.qr(W.conj().T, mode="economic", check_finite=False)
        u, s, vh = linalg.svd(R.conj().T, check_finite=False)
        return u, s, vh @ Q.conj().T
    Q, R = linalg.qr(W, mode="economic", check_finite=False)
    u, s, vh = linalg.svd(R, check_finite=False)
    return Q @ u, s, vh
