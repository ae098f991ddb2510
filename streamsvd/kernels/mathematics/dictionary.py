r"""A dictionary of rows chosen by ridge leverage scores: one pass, any tree of merges, valid at every moment.

``tau_i(gamma) = [K (K + gamma I)^{-1}]_ii`` says how much row i adds to what the others span at the resolution
``gamma``; their sum is the effective dimension. Row i is kept while a uniform number ``u_i``, which depends on the seed
and the row's number alone, is at most ``pi_i``, its inclusion probability, which only ever falls; its weight is
``1 / pi_i``. From the dictionary itself, with ``B = W^{1/2} K_DD W^{1/2}``,

.. math::  \tilde\tau_i = \frac{1}{w_i} \left( 1 - \gamma \left[(B + \gamma I)^{-1}\right]_{ii} \right) ,

which is at most the exact score if the dictionary is accurate, whatever the order and tree of merges. A budget is kept
by a common threshold on ``u_i / tau_i`` (bottom-k); where it is too small for ``gamma``, ``gamma`` rises and is reported.

References: Calandriello, Lazaric, Valko (2016 INK-ESTIMATE; 2017 SQUEAK and DISQUEAK; KORS); Alaoui, Mahoney (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from scipy import linalg

from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics.kernel import Kernel
from streamsvd.kernels.mathematics.resolution import Dense, WeightedGram, raise_ridge
from streamsvd.kernels.options import Mode
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.uniforms import uniforms
from streamsvd.typing import Matrix, Real

Integers = npt.NDArray[np.int64]
FAN_IN = 4
LEAST, MOST = 2.0, 4.0
"""Oversampling kept whatever the budget, and without one."""
CHECK_ROWS = 64
"""Rows of a block on which a function is looked at."""
ARRIVING = 32
"""Rows that are decided on together where decisions are for ever."""


def _host_gram(kernel: Kernel, rows: Matrix, root: Real) -> WeightedGram:
    return Dense.of(kernel, rows, root)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DictionaryOptions:
    """What dictionaries must agree in to be merged, and how they shrink.

    Parameters
    ----------
    kernel
        Of the rows.
    gamma
        Ridge: the resolution asked for.
    budget
        Most rows kept; None for as many as ``oversampling`` times the effective dimension.
    mode
        ``"poisson"`` (default): one uniform number a row. ``"squeak"``: as many copies as the oversampling, as published.
        ``"ink"``: probabilities normalised to the budget. ``"kors"``: decided once, when a row comes, from those before it;
        never dropped, so that a budget can only be exceeded. ``"uniform"``: the baseline, a reservoir.
    oversampling, least
        Rows kept for each unit of effective dimension; the least before ``gamma`` rises.
    seed
        Of the uniform numbers.
    make_gram
        Makes ``B`` of a kernel, rows and roots of weights, and so decides where the cubic work is done; it is no part of what
        dictionaries must agree in.

    Raises
    ------
    SpecError
        If an option is out of range.
    """

    kernel: Kernel
    gamma: float
    budget: int | None = None
    mode: Mode = "poisson"
    oversampling: float = MOST
    least: float = LEAST
    seed: int = 0
    make_gram: Callable[[Kernel, Matrix, Real], WeightedGram] = field(
        default=_host_gram, repr=False
    )

    def __post_init__(self) -> None:
        if not 0 < self.gamma < float("inf"):
            raise SpecError(f"gamma={self.gamma} is no ridge. Pass a positive number.")
        if self.budget is not None and self.budget < 1:
            raise SpecError(
                f"budget={self.budget} keeps nothing. Pass 1 or more, 16 at least to be of use."
            )
        if self.mode not in get_args(Mode):
            raise SpecError(
                f"mode={self.mode!r} is unknown. Pass one of {', '.join(get_args(Mode))}."
            )
        if not 1 <= self.least <= self.oversampling:
            raise SpecError(
                f"oversampling={self.oversampling}, least={self.least}: pass 1 <= least <= oversampling."
            )
        if self.mode in ("ink", "uniform") and self.budget is None:
            raise SpecError(f"mode={self.mode!r} needs a budget. Pass budget=.")

    @property
    def copies(self) -> int:
        """Uniform numbers of a row."""
        return round(self.oversampling) if self.mode == "squeak" else 1


@dataclass(frozen=True, slots=True, eq=False)
class Dictionary:
    """Rows kept, and what is known of all rows seen.

    Attributes
    ----------
    rows, ids
        ``(m, d)`` and their numbers in the stream, ascending.
    chance
        Inclusion probability of each, ``(m,)``.
    scores
        Ridge leverage scores as last estimated, ``(m,)``.
    gamma
        Ridge at which the dictionary is accurate: that asked for, or larger where the budget was too small.
    multiplier
        Oversampling that the budget left.
    n_rows, trace
        Rows seen, and the sum of their ``k(x, x)``.
    dimension
        Effective dimension at ``gamma``, as estimated.
    """

    rows: Matrix
    ids: Integers
    chance: Real
    scores: Real
    gamma: float
    multiplier: float
    n_rows: int
    trace: float
    dimension: float

    @property
    def size(self) -> int:
        """Rows kept."""
        return int(self.ids.size)

    def weights(self, spec: DictionaryOptions) -> Real:
        """Weight of each row: how many it stands for, ``(m,)``; unbiased."""
        u = uniforms(spec.seed, self.ids, spec.copies)
        kept = np.count_nonzero(u <= self.chance[:, None], axis=1)
        return np.asarray(kept / (spec.copies * self.chance))


def leaf(spec: DictionaryOptions, rows: Matrix, first: int) -> Dictionary:
    """A block of rows as it is: all of them, nothing sampled.

    Raises
    ------
    SpecError
        If a row is not finite, or ``k(x, x)`` of it is negative or not finite: the kernel is not positive definite there.
    """
    if not np.isfinite(rows).all():
        i = int(np.argmax(~np.isfinite(rows).all(axis=1)))
        raise SpecError(f"row {first + i} holds NaN or Inf. Mend or leave out the row.")
    with np.errstate(over="ignore"):
        diagonal = spec.kernel.diagonal(rows)
    bad = ~(np.isfinite(diagonal) & (diagonal >= 0))
    if bad.any():
        i = int(np.argmax(bad))
        raise SpecError(
            f"k(x, x) of row {first + i} is {diagonal[i]:g}: not a positive definite kernel there, or beyond float64. "
            "Scale the rows, or choose another kernel."
        )
    if callable(spec.kernel.name):
        _check_function(spec.kernel, rows[:CHECK_ROWS], diagonal[:CHECK_ROWS], first)
    n = rows.shape[0]
    ids = np.arange(first, first + n, dtype=np.int64)
    ones = np.ones(n)
    top = spec.oversampling
    return Dictionary(rows, ids, ones, ones, spec.gamma, top, n, float(diagonal.sum()), 0.0)


def _check_function(kernel: Kernel, rows: Matrix, diagonal: Real, first: int) -> None:
    """Refuse a function that is not symmetric, or beyond ``k(x, y)^2 <= k(x, x) k(y, y)``, on some rows."""
    K = kernel(rows, rows)
    bound = np.sqrt(np.outer(diagonal, diagonal))
    bad = (np.abs(K) > bound * (1 + 1e-6)) | (np.abs(K - K.T) > 1e-6 * bound)
    if bad.any():
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise SpecError(
            f"the kernel is not positive definite: of rows {first + i} and {first + j} it says {K[i, j]:g} and {K[j, i]:g}, "
            f"k(x, x) of them is {diagonal[i]:g} and {diagonal[j]:g}. Choose another kernel."
        )


def merge_dictionaries(spec: DictionaryOptions, parts: Sequence[Dictionary]) -> Dictionary:
    """One dictionary of the rows of all parts, in any order of parts to the bit, shrunk.

    Raises
    ------
    SpecError
        If a row is in two parts, or rows have different lengths.
    """
    widths = sorted({p.rows.shape[1] for p in parts})
    if len(widths) > 1:
        raise SpecError(
            f"dictionaries of rows of {widths[0]} and of {widths[-1]} numbers were to be merged. Merge those of one matrix."
        )
    while len(parts) > FAN_IN:
        parts = [
            merge_dictionaries(spec, parts[a : a + FAN_IN]) for a in range(0, len(parts), FAN_IN)
        ]
    ids = np.concatenate([p.ids for p in parts])
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    if (np.diff(ids) == 0).any():
        twice = int(ids[:-1][np.diff(ids) == 0][0])
        raise SpecError(
            f"row {twice} is in two dictionaries: it would count twice. Merge those of different rows."
        )
    joined = Dictionary(
        np.concatenate([p.rows for p in parts])[order],
        ids,
        np.concatenate([p.chance for p in parts])[order],
        np.concatenate([p.scores for p in parts])[order],
        max(p.gamma for p in parts),
        min(p.multiplier for p in parts),
        sum(p.n_rows for p in parts),
        float(np.sum(np.sort([p.trace for p in parts]))),
        0.0,
    )
    full = [p for p in parts if p.size]
    if len(full) == 1 < len(parts) and full[0].dimension > 0:  # nothing was left of the others
        return replace(full[0], n_rows=joined.n_rows, trace=joined.trace, gamma=joined.gamma)
    return shrunk(spec, joined)


def push_rows(
    spec: DictionaryOptions, state: Dictionary | None, rows: Matrix, first: int
) -> Dictionary:
    """The dictionary after a block of rows that follow one another from number ``first``, piece by piece."""
    if spec.mode == "kors":
        return push_rows_online(spec, state, rows, first)
    step = spec.budget or max(256, 0 if state is None else state.size)
    for a in range(0, rows.shape[0], step):
        block = leaf(spec, rows[a : a + step], first + a)
        state = merge_dictionaries(spec, [block] if state is None else [state, block])
    return leaf(spec, rows, first) if state is None else state


def push_rows_online(
    spec: DictionaryOptions, state: Dictionary | None, rows: Matrix, first: int
) -> Dictionary:
    """The dictionary of KORS after a block: each row kept with ``min(1, c s / (s + gamma))``, for ever.

    ``s = k(x, x) - k_D(x)* (K_DD + gamma W^{-1})^{-1} k_D(x)`` of the rows kept so far; the Cholesky factor of the matrix grows
    with them.
    """
    kernel, gamma = spec.kernel, spec.gamma
    whole = leaf(spec, rows, first)
    known = state.rows if state is not None else rows[:0]
    weights = state.weights(spec) if state is not None else np.zeros(0)
    L = linalg.cholesky(
        kernel.gram(known) + np.diag(gamma / weights), lower=True, check_finite=False
    )
    keep, chance = np.zeros(rows.shape[0], dtype=bool), np.ones(rows.shape[0])
    u = uniforms(spec.seed, whole.ids, 1)[:, 0]
    for a in range(0, rows.shape[0], ARRIVING):
        part = slice(a, min(a + ARRIVING, rows.shape[0]))
        across = linalg.solve_triangular(L, kernel(known, rows[part]), lower=True)
        s = np.maximum(kernel.diagonal(rows[part]) - np.einsum("ij,ij->j", across, across), 0.0)
        p = np.maximum(np.minimum(1.0, spec.oversampling * s / (s + gamma)), np.finfo(float).tiny)
        chance[part], keep[part] = p, u[part] <= p
        new = keep[part]
        if new.any():
            block = kernel.gram(rows[part][new]) + np.diag(gamma / p[new])
            below = across[:, new].T
            corner = linalg.cholesky(block - below @ below.T, lower=True, check_finite=False)
            L = np.block([[L, np.zeros((L.shape[0], corner.shape[0]))], [below, corner]])
            known = np.concatenate([known, rows[part][new]])
    kept = _select_rows(replace(whole, chance=chance), keep)
    return merge_dictionaries(spec, [kept] if state is None else [state, kept])


def shrunk(spec: DictionaryOptions, state: Dictionary) -> Dictionary:
    """The dictionary less the rows whose chance has fallen below their uniform number."""
    diagonal = spec.kernel.diagonal(state.rows)
    alive = diagonal > UNIT_ROUNDOFF * diagonal.max(initial=0.0)
    if not alive.all():  # rows that the kernel maps to nothing count, and are not kept
        state, diagonal = _select_rows(state, alive), diagonal[alive]
    if state.size == 0:
        return replace(state, dimension=0.0)
    u = uniforms(spec.seed, state.ids, spec.copies)
    if spec.mode == "uniform":
        assert spec.budget is not None
        return _reservoir(spec, state, u)
    if spec.mode == "kors" and spec.budget is not None and state.size > spec.budget:
        raise SpecError(
            f"mode='kors' kept more rows than budget={spec.budget}: what it keeps is never dropped. Pass a larger gamma or "
            "budget, or mode='poisson'."
        )
    w = np.count_nonzero(u <= state.chance[:, None], axis=1) / (spec.copies * state.chance)
    top = float(np.max(w * diagonal))
    gamma = max(state.gamma, 10 * state.size * UNIT_ROUNDOFF * top)
    # in units of a power of four, which changes no digit: squares of kernels of large rows are no numbers
    half = int(np.frexp(max(top, np.finfo(float).tiny))[1]) // 2
    B = spec.make_gram(spec.kernel, state.rows, np.ldexp(np.sqrt(w), -half))
    at = B.resolve(w, float(np.ldexp(gamma, -2 * half)))
    budget = spec.budget
    if (
        budget is not None
        and spec.mode not in ("ink", "kors")
        and state.size > budget
        and spec.least * at.dimension > budget
    ):
        at = raise_ridge(B, w, at, budget / spec.least)
    gamma, tau, dimension = float(np.ldexp(at.gamma, 2 * half)), at.tau, at.dimension
    multiplier = spec.oversampling if budget is None or spec.mode == "squeak" else np.inf
    if spec.mode == "ink":
        assert budget is not None
        multiplier = budget / dimension
    if spec.mode == "kors" or (
        budget is not None and state.size <= budget and spec.mode == "poisson"
    ):
        # Everything seen fits, or everything kept does: nothing has to go.
        return replace(state, scores=tau, gamma=gamma, dimension=dimension)
    return _thin_rows(spec, replace(state, gamma=gamma, dimension=dimension), tau, u, multiplier)


def _thin_rows(
    spec: DictionaryOptions, state: Dictionary, tau: Real, u: Matrix, multiplier: float
) -> Dictionary:
    copies, budget = spec.copies, spec.budget
    smallest = u.min(axis=1)
    p = np.minimum(np.minimum(state.chance, 1.0), multiplier / copies * tau)
    keep = smallest <= p
    if budget is not None and int(np.count_nonzero(keep)) > budget:
        ratio = np.where(keep, smallest / tau, np.inf)
        order = np.argsort(ratio, kind="stable")
        threshold = float(ratio[order[budget]])
        keep = np.zeros_like(keep)
        keep[order[:budget]] = (
            True  # by rank: a comparison of rounded products would let one more through
        )
        p = np.minimum(p, threshold * tau)
        p[keep] = np.maximum(p[keep], smallest[keep])
        multiplier = threshold * copies
    if not keep.any():  # never empty
        best = int(np.argmin(smallest / tau))
        keep[best], p[best] = True, smallest[best]
    found = replace(
        state, chance=p, scores=tau, multiplier=min(state.multiplier, float(multiplier))
    )
    return _select_rows(found, keep)


def _reservoir(spec: DictionaryOptions, state: Dictionary, u: Matrix) -> Dictionary:
    """The rows of the smallest uniform numbers: each set of that size is as likely."""
    assert spec.budget is not None
    keep = np.zeros(state.size, dtype=bool)
    keep[np.argsort(u[:, 0], kind="stable")[: spec.budget]] = True
    chance = np.full(state.size, min(1.0, spec.budget / max(state.n_rows, 1)))
    chance = np.maximum(chance, np.where(keep, u[:, 0], 0.0))
    return _select_rows(replace(state, chance=np.minimum(state.chance, chance)), keep)


def _select_rows(state: Dictionary, keep: npt.NDArray[np.bool_]) -> Dictionary:
    return replace(
        state,
        rows=state.rows[keep],
        ids=state.ids[keep],
        chance=state.chance[keep],
        scores=state.scores[keep],
    )


def exact_scores(kernel: Kernel, X: Matrix, gamma: float) -> Real:
    """The exact ridge leverage scores of all rows: ``n^2`` memory, for small n."""
    values, Q = linalg.eigh(kernel.gram(X), driver="evd", check_finite=False)
    values = np.maximum(values, 0.0)
    return np.asarray(Q**2 @ (values / (values + gamma)))


def record_of(state: Dictionary) -> dict[str, Any]:
    """What of a dictionary is not an array."""
    return {
        "gamma": state.gamma, "multiplier": state.multiplier, "n_rows": state.n_rows, "trace": state.trace,
        "dimension": state.dimension,
    }  # fmt: skip
