"""What a factorisation by blocks keeps: its factors, what it has lost, and how its left vectors turn.

The identity that the ledger states, and why every step keeps it, stand in `streamsvd.models.mathematics.incremental`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix, Real


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
    deficit
        How far below zero D may reach: 0 but for states that began from a batch result.
    """

    energy: float = 0.0
    discarded: float = 0.0
    discarded_norm: float = 0.0
    truncations: int = 0
    height: int = 0
    failure: float = 0.0
    proved: bool = True
    deficit: float = 0.0

    @property
    def above(self) -> float:
        """Upper bound of the largest eigenvalue of D; its trace is one only where nothing is negative."""
        if self.deficit > 0:
            return self.discarded_norm
        return min(self.discarded, self.discarded_norm)

    def fade_by(self, fade: float) -> Ledger:
        """The ledger of ``fade * A``."""
        square = fade * fade
        return replace(
            self,
            energy=self.energy * square,
            discarded=self.discarded * square,
            discarded_norm=self.discarded_norm * square,
            deficit=self.deficit * square,
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
            self.deficit + other.deficit,
        )

    def after_truncation(self, tail: Real, *, rounding: bool) -> Ledger:
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
class StackPart:
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

    def fade_by(self, fade: float) -> Factor:
        """The factor of all rows times ``fade``."""
        return Factor(
            fade * self.s,
            self.Vh,
            self.mean,
            self.weight * fade * fade,
            self.n_rows,
            self.ledger.fade_by(fade),
        )

    def as_part(self, fade: float = 1.0) -> StackPart:
        """The factor as rows to be stacked, all of them faded."""
        f = self if fade == 1 else self.fade_by(fade)
        return StackPart(f.s[:, None] * f.Vh, None, f.mean, f.weight, f.n_rows, f.ledger)


@dataclass(frozen=True, slots=True, eq=False)
class LeftRotation:
    """How left vectors of a part become those of the whole: ``left @ rotation + constant``.

    The constant of a row is ``offset`` times the weight of that row over the root of the part's weight; the
    second is in `offset` already.
    """

    rotation: Matrix
    offset: Matrix | None


def energy_of(X: Matrix) -> float:
    """``||X||_F**2`` with the sum in float64, without a large copy."""
    total = 0.0
    for at in range(0, X.shape[0], 64):
        rows = X[at : at + 64]
        for part in (rows.real, rows.imag) if np.iscomplexobj(X) else (rows,):
            flat = part.astype(np.float64, copy=False).ravel()
            total += float(np.dot(flat, flat))
    return total
