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
- ``||sin angle(V_r, true)|| <= d / (s_r^2 - s_{r+1}^2 - d)`` where that is positive (Davis, Kahan 1970).

*Centring.* Rows less the mean of their part, and beside them ``sqrt(weight) (mean of the part - mean of
all)``: the Gram matrix of this stack is the scatter about the common mean, and its left factor has
orthonormal columns because each part is orthogonal to its own constant vector.

References: Levy, Lindenbaum (2000) for the update; Iwen, Ong (2016) and Himpe, Leibner, Rave (2018) for trees;
Ghashami, Liberty, Phillips, Woodruff (2016) for the robust variant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg

from streamsvd.certificate import UNIT_ROUNDOFF, Certificate, Kind
from streamsvd.errors import ShapeError, SpecError
from streamsvd.kernels import sketch
from streamsvd.kernels.signs import phases
from streamsvd.probes import chi_lower
from streamsvd.ritz import spectral_norm
from streamsvd.typing import Matrix, Real

BUDGET_SHARE = 0.3
"""Share of the tolerance that truncations along the way may spend; the final cut takes the rest."""
PROBES = 16
OVERSAMPLES = 10
"""Columns of a sketch beyond the directions kept."""
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
TALL, SMALL = 3, 256
"""Blocks whose shorter side exceeds this many widths, and this number, are sketched before they are stacked."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What has entered a state and what has left it; all sums in float64.

    Attributes
    ----------
    energy
        ``E = ||A||_F**2`` of the matrix as weighted and centred.
    discarded
        ``t``, the trace of what was dropped: ``||A - U s Vh||_F**2`` exactly.
    discarded_norm
        ``w``, an upper bound of its spectral norm: the sum over truncations of the largest square dropped.
    truncations
        How many steps may have rounded.
    height
        Most rows that were ever stacked.
    failure
        Probability that `discarded_norm` is wrong, over the probes of sketched blocks; 0 without any.
    proved
        False if the state began from an estimate.
    """

    energy: float = 0.0
    discarded: float = 0.0
    discarded_norm: float = 0.0
    truncations: int = 0
    height: int = 0
    failure: float = 0.0
    proved: bool = True

    def faded(self, fade: float) -> Ledger:
        """The ledger of ``fade * A``."""
        square = fade * fade
        return replace(
            self,
            energy=self.energy * square,
            discarded=self.discarded * square,
            discarded_norm=self.discarded_norm * square,
        )

    def __add__(self, other: Ledger) -> Ledger:
        """The ledger of both matrices stacked."""
        return Ledger(
            self.energy + other.energy,
            self.discarded + other.discarded,
            self.discarded_norm + other.discarded_norm,
            self.truncations + other.truncations,
            max(self.height, other.height),
            self.failure + other.failure,
            self.proved and other.proved,
        )

    def truncated(self, tail: Real, *, rounding: bool) -> Ledger:
        """The ledger after the squares ``tail`` were dropped."""
        return replace(
            self,
            discarded=self.discarded + float(np.sum(tail[::-1])),
            discarded_norm=self.discarded_norm + (float(tail[0]) if tail.size else 0.0),
            truncations=self.truncations + rounding,
        )

    @property
    def slack(self) -> float:
        """Rounding of every value and of the error, in the norm of A (eight times what was observed at most)."""
        terms = 8 * UNIT_ROUNDOFF * (self.truncations + 1) * np.sqrt(max(self.height, 1))
        return float(terms * np.sqrt(max(self.energy, 0.0)))


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows to be stacked: ``left @ rows`` are those of a block less their mean.

    Attributes
    ----------
    rows
        ``(r, n)`` in double precision.
    left
        Orthonormal ``(b, r)``; None for the identity, or where nobody asked for it.
    mean
        Mean of the block's rows, ``(n,)``; None without centring.
    weight
        Sum of the squared weights of the rows; their number where nothing is forgotten.
    n_rows
        How many rows it stands for.
    ledger
        Of this part alone.
    """

    rows: Matrix
    left: Matrix | None
    mean: Matrix | None
    weight: float
    n_rows: int
    ledger: Ledger


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The state: factors of all rows seen, and the ledger.

    Attributes
    ----------
    s, Vh
        ``(l,)`` descending and ``(l, n)``; l is the rank and the buffer, or fewer.
    mean
        Mean of the rows seen, ``(n,)``; None without centring.
    weight, n_rows
        Sum of squared weights, and number, of the rows seen.
    ledger
        What has been lost.
    """

    s: Real
    Vh: Matrix
    mean: Matrix | None
    weight: float
    n_rows: int
    ledger: Ledger

    def as_part(self, fade: float = 1.0) -> Part:
        """The factor as rows to be stacked, all of them faded."""
        return Part(
            (fade * self.s)[:, None] * self.Vh,
            None,
            self.mean,
            self.weight * fade * fade,
            self.n_rows,
            self.ledger.faded(fade),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """How left vectors of a part become those of the whole: ``left @ rotation + constant``.

    The constant of a row is ``offset`` times the weight of that row over the root of the part's weight; the
    second is in `offset` already.
    """

    rotation: Matrix
    offset: Matrix | None
    fade: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Truncated:
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
        Directions kept beyond the rank; ``max(10, rank)`` if left out.
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
        """Directions kept where the rank is fixed; where to begin where the tolerance decides."""
        if self.rank is None:
            return min(64, self.max_rank)
        return self.rank + (max(10, self.rank) if self.buffer is None else self.buffer)

    def init(self, n_cols: int, *, like: Matrix) -> Factor:
        """The state that has seen nothing; ``like`` says whether numbers are complex."""
        wide = np.result_type(like.dtype, np.float64)
        mean = np.zeros(n_cols, dtype=wide) if self.center else None
        return Factor(np.zeros(0), np.zeros((0, n_cols), dtype=wide), mean, 0.0, 0, Ledger())

    def update(self, state: Factor, block: Matrix) -> Factor:
        """The state after one more block of rows ``(b, n)``, finite."""
        if block.shape[0] == 0:
            return state
        index = state.ledger.truncations
        return self.absorbed(state, self.part(block, index=index, guess=state, left=False))[0]

    def merge(self, a: Factor, b: Factor) -> Factor:
        """The state of the rows of both, as if stacked."""
        return self.joined([a.as_part(), b.as_part()])[0]

    def absorbed(self, state: Factor, part: Part) -> tuple[Factor, Turn, Turn]:
        """The state with a part stacked below it, and the turns of both."""
        factor, (old, new) = self.joined([state.as_part(self.forget), part])
        return factor, replace(old, fade=self.forget), new

    def joined(
        self, parts: Sequence[Part], *, share: float = 1.0
    ) -> tuple[Factor, tuple[Turn, ...]]:
        """One factor of stacked parts, and how the left vectors of each turn into its own.

        Parameters
        ----------
        parts
            At least one, all of n columns.
        share
            Share of the budget of truncation that this node may have spent, where a tolerance decides.

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
        u, s, Vh, ledger = self._truncated(stacked, ledger, share)
        turns, at = [], 0
        for index, part in enumerate(parts):
            rotation = u[at : at + part.rows.shape[0]]
            at += part.rows.shape[0]
            offset = None
            if extra:
                offset = (
                    u[-len(parts) + index] / np.sqrt(part.weight) if part.weight > 0 else 0 * u[-1]
                )
            turns.append(Turn(rotation, offset))
        return Factor(s, Vh, mean, weight, n_rows, ledger), tuple(turns)

    def _stack(
        self, parts: Sequence[Part], weight: float
    ) -> tuple[Matrix, bool, Matrix | None, float]:
        """The rows of all parts; where centred, one more for each, the common mean and their energy."""
        rows = [part.rows for part in parts]
        if not self.center:
            return np.concatenate(rows, axis=0), False, None, 0.0
        means = [part.mean for part in parts]
        first = means[0]
        assert first is not None
        mean = first.copy()
        if weight > 0:  # about the first mean, so that data far from zero keep their digits
            for part in parts[1:]:
                assert part.mean is not None
                mean += (part.weight / weight) * (part.mean - first)
        shifts = np.stack(
            [np.sqrt(p.weight) * (m - mean) for p, m in zip(parts, means, strict=True)]
        )
        energy = float(np.sum(np.abs(shifts) ** 2))
        return np.concatenate([*rows, shifts], axis=0), True, mean, energy

    def _truncated(
        self, stacked: Matrix, ledger: Ledger, share: float
    ) -> tuple[Matrix, Real, Matrix, Ledger]:
        u, s, Vh = economic(stacked)
        squares = s * s
        # Numerically zero directions must go: their vectors are arbitrary, and not orthogonal to constants.
        floor = 8 * UNIT_ROUNDOFF * np.sqrt(max(stacked.shape)) * (s[0] if s.size else 0.0)
        alive = int(np.count_nonzero(s > floor))
        keep = min(alive, self._kept(squares, ledger, share))
        tail, squares = squares[keep:], squares[:keep]
        rounding = bool(s.size)
        if self.robust and tail.size and tail[0] > 0:
            # Every square loses the first dropped one; what all lose together has norm tail[0].
            lost = np.concatenate([np.full(keep, tail[0]), tail])
            ledger = ledger.truncated(lost, rounding=rounding)
            squares = np.maximum(squares - tail[0], 0.0)
            keep = int(np.count_nonzero(squares > 0))
            squares = squares[:keep]
        else:
            ledger = ledger.truncated(tail, rounding=rounding)
        Vh = Vh[:keep]
        turn = phases(Vh.conj().T)
        return u[:, :keep] * turn, np.sqrt(squares), turn.conj()[:, None] * Vh, ledger

    def _kept(self, squares: Real, ledger: Ledger, share: float) -> int:
        """How many of the stacked values to keep."""
        if self.rank is not None:
            return self.width
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
        each: Each = map,
    ) -> Part:
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
        mean = _mean(block) if self.center else None
        width = self.width
        while True:
            if min(block.shape) <= max(TALL * width, SMALL):
                return self._exact(block, mean, left)
            found = _Sketch(block, mean, each).part(
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
    def _exact(block: Matrix, mean: Matrix | None, left: bool) -> Part:
        wide = block.astype(np.result_type(block.dtype, np.float64))
        if mean is not None:
            wide -= mean
        ledger = Ledger(energy=_energy(wide), height=max(wide.shape))
        b, n = wide.shape
        if b <= n:
            return Part(wide, None, mean, float(b), b, ledger)
        if left:
            u, rows = linalg.qr(wide, mode="economic", overwrite_a=True, check_finite=False)
        else:
            u, rows = None, linalg.qr(wide, mode="r", overwrite_a=True, check_finite=False)[0][:n]
        return Part(rows, u, mean, float(b), b, replace(ledger, truncations=1))

    # What a state proves ----------------------------------------------------------------------------

    def finalize(self, state: Factor) -> Truncated:
        """The leading triplets of the rank asked for, with what is proved of them."""
        rank = self._final_rank(state)
        ledger, slack = state.ledger, state.ledger.slack
        squares = state.s**2
        lost = ledger.discarded + float(np.sum(squares[rank:][::-1]))
        d = min(ledger.discarded, ledger.discarded_norm)
        optimum = max(lost - min(ledger.discarded, rank * ledger.discarded_norm), 0.0)
        s, Vh = state.s[:rank], state.Vh[:rank]
        top = float(s[0]) if s.size else 0.0
        gap = 0.0
        if rank:
            following = float(squares[rank]) if rank < squares.size else 0.0
            gap = float(squares[rank - 1]) - following - d - 2 * top * slack
        angle = (d + 2 * top * slack) / gap if gap > 0 else np.inf
        error = float(np.sqrt(lost)) + slack
        certificate = Certificate(
            sigma_lower=np.maximum(s - slack, 0.0),
            sigma_upper=np.sqrt(s**2 + d) + slack,
            frobenius_error=error,
            energy=ledger.energy,
            failure_probability=ledger.failure,
            subspace_angle_bound=float(angle) if angle <= 1 else float("inf"),
            orthogonality=spectral_norm(Vh.conj() @ Vh.T - np.eye(rank)),
            rounding=slack / top if top else 0.0,
            tail=float(np.sqrt(d)) / top if top else 0.0,
            numerical_rank=int(np.count_nonzero(s > slack)),
            kind=Kind.BOUNDS if ledger.proved else Kind.ESTIMATE,
        )
        met = self.tol is None or error <= self.tol * np.sqrt(ledger.energy) + slack
        return Truncated(
            s, Vh, state.mean, certificate, max(float(np.sqrt(optimum)) - slack, 0.0), met
        )

    def _final_rank(self, state: Factor) -> int:
        if self.rank is not None:
            return min(self.rank, state.s.size)
        assert self.tol is not None
        squares = state.s**2
        tails = np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]]) + state.ledger.discarded
        enough = np.flatnonzero(tails <= self.tol**2 * state.ledger.energy)
        return int(enough[0]) if enough.size else squares.size


PANEL = 512
"""Rows of a tall block that are converted and multiplied at a time; they stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sketch:
    """A tall block as ``U U* A + X`` with ``U* X = 0``, panel by panel.

    U comes from one step and a half of subspace iteration, in single precision where the data are: whatever its
    span, ``||A||^2 = ||U* A||^2 + ||X||^2`` is exact. ``||X||^2`` in the spectral norm is bounded by
    ``(||X X* X Omega|| / chi)^(2/3)``, Omega Gaussian (the lemma of `streamsvd.certificate`, for singular values
    of X instead of eigenvalues).
    """

    block: Matrix
    mean: Matrix | None
    each: Each

    def part(
        self,
        width: int,
        guess: Factor | None,
        seed: int,
        index: int,
        delta: float,
        *,
        left: bool,
    ) -> Part:
        """The rows ``U* A``, and the ledger of what they leave out."""
        b, n = self.block.shape
        complex_ = self.block.dtype.kind == "c"
        start = sketch.gaussian(
            n, width, seed=seed, purpose="block", complex_=complex_, index=index
        )
        if guess is not None and guess.s.size:
            known = guess.Vh[: width - OVERSAMPLES].conj().T
            start = np.concatenate([known, start[:, : width - known.shape[1]]], axis=1)
        U = self._basis(start)
        omega = sketch.gaussian(
            n, PROBES, seed=seed, purpose="residual", complex_=complex_, index=index
        )
        energy, rows, first = self._projected(U, omega)
        first -= U @ (rows @ omega)  # X Omega
        second = self._adjoint(first) - rows.conj().T @ (U.conj().T @ first)  # X* X Omega
        third = self._times(second) - U @ (rows @ second)
        left_over = energy - _energy(rows)
        if left_over <= 1e-6 * energy:  # the difference has few digits left
            left_over = self._residual(U, rows)
        share = delta / ((index + 1) * (index + 2))
        chi = chi_lower(PROBES * (2 if complex_ else 1), share)
        floor = 8 * UNIT_ROUNDOFF * np.sqrt(max(b, n)) * np.sqrt(energy)
        bound = (spectral_norm(third) / chi) ** (1 / 3) + floor
        norm = float(min(bound * bound, left_over))
        ledger = Ledger(
            energy=energy,
            discarded=left_over,
            discarded_norm=norm,
            truncations=1,
            height=max(b, n),
            failure=share if norm < left_over else 0.0,
        )
        return Part(rows, U if left else None, self.mean, float(b), b, ledger)

    def _panels(self) -> list[slice]:
        return [slice(a, a + PANEL) for a in range(0, self.block.shape[0], PANEL)]

    def _wide(self, rows: slice) -> Matrix:
        wide = self.block[rows].astype(np.result_type(self.block.dtype, np.float64))
        return wide if self.mean is None else wide - self.mean

    def _basis(self, start: Matrix) -> Matrix:
        """Orthonormal basis of ``A orth(A* (A start))``."""
        kind = self.block.dtype
        wide = np.result_type(kind, np.float64)
        single = kind.itemsize <= (8 if kind.kind == "c" else 4) and kind.kind in "fc"
        narrow = (np.complex64 if kind.kind == "c" else np.float32) if single else wide
        mean = None if self.mean is None else self.mean.astype(narrow)

        def panel(rows: slice) -> Matrix:
            P = self.block[rows].astype(narrow, copy=False)
            return P if mean is None else P - mean

        X = start.astype(narrow)
        Z = np.zeros(start.shape, dtype=wide)
        for product in self.each(
            lambda rows: (P := panel(rows)).conj().T @ (P @ X), self._panels()
        ):
            Z += product
        Q = linalg.qr(Z, mode="economic", overwrite_a=True, check_finite=False)[0].astype(narrow)
        Y = np.concatenate(list(self.each(lambda rows: panel(rows) @ Q, self._panels())))
        return np.asarray(linalg.qr(Y.astype(wide), mode="economic", check_finite=False)[0])

    def _projected(self, U: Matrix, omega: Matrix) -> tuple[float, Matrix, Matrix]:
        """``||A||_F^2``, ``U* A`` and ``A Omega``."""

        def one(rows: slice) -> tuple[float, Matrix, Matrix]:
            P = self._wide(rows)
            return _energy(P), U[rows].conj().T @ P, P @ omega

        energy, total, products = 0.0, np.zeros((U.shape[1], self.block.shape[1]), U.dtype), []
        for size, rows, product in self.each(one, self._panels()):
            energy += size
            total += rows
            products.append(product)
        return energy, total, np.concatenate(products)

    def _adjoint(self, Y: Matrix) -> Matrix:
        """``A* Y``."""
        total = np.zeros((self.block.shape[1], Y.shape[1]), Y.dtype)
        for product in self.each(lambda rows: self._wide(rows).conj().T @ Y[rows], self._panels()):
            total += product
        return total

    def _times(self, X: Matrix) -> Matrix:
        """``A X``."""
        return np.concatenate(list(self.each(lambda rows: self._wide(rows) @ X, self._panels())))

    def _residual(self, U: Matrix, rows: Matrix) -> float:
        """``||A - U U* A||_F^2``, term by term."""
        parts = self.each(lambda r: _energy(self._wide(r) - U[r] @ rows), self._panels())
        return float(sum(parts))


def _mean(block: Matrix) -> Matrix:
    """Mean of the rows, about their first guess of it, so that data far from zero keep their digits."""
    wide = np.result_type(block.dtype, np.float64)
    first = block.mean(axis=0, dtype=wide)
    rest = np.zeros_like(first)
    for at in range(0, block.shape[0], PANEL):
        rest += (block[at : at + PANEL] - first).sum(axis=0)
    return np.asarray(first + rest / block.shape[0])


def economic(W: Matrix) -> tuple[Matrix, Real, Matrix]:
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


def captured(state: Factor, block: Matrix, rank: int) -> float:
    """Share of a block's energy, about the state's mean, that the leading ``rank`` directions hold."""
    narrow = np.result_type(block.dtype, np.complex64 if state.Vh.dtype.kind == "c" else np.float32)
    V = state.Vh[:rank].conj().T.astype(narrow)  # a share needs no more digits than the data have
    kept = total = 0.0
    for at in range(0, block.shape[0], 1024):
        rows = block[at : at + 1024]
        if state.mean is not None:
            rows = rows - state.mean
        rows = rows.astype(narrow, copy=False)
        total += _energy(rows)
        kept += _energy(rows @ V)
    return min(kept / total, 1.0) if total > 0 else 1.0


def _energy(X: Matrix) -> float:
    """``||X||_F**2`` with the sum in float64, without a large copy."""
    total = 0.0
    for at in range(0, X.shape[0], 64):
        rows = X[at : at + 64]
        for part in (rows.real, rows.imag) if np.iscomplexobj(X) else (rows,):
            flat = part.astype(np.float64, copy=False).ravel()
            total += float(np.dot(flat, flat))
    return total


def principal_angles(a: Matrix, b: Matrix) -> Real:
    """Angles in radians, ascending, between the row spaces of two orthonormal ``(k, n)`` factors."""
    if min(a.shape[0], b.shape[0]) == 0:
        return np.zeros(0)
    if a.shape[0] < b.shape[0]:
        a, b = b, a
    product = a.conj() @ b.T
    cosine = linalg.svd(product, compute_uv=False, check_finite=False)
    residual = b.T - a.T @ product  # small angles from their sines (Björck, Golub 1973)
    sine = linalg.svd(residual, compute_uv=False, check_finite=False)[::-1][: cosine.size]
    return np.where(cosine > 0.7, np.arcsin(np.minimum(sine, 1)), np.arccos(np.minimum(cosine, 1)))
