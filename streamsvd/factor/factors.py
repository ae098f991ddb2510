"""The factors of a look: signs, the other factor in one more pass where it is wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg

from streamsvd.engine.passes import Sink
from streamsvd.factor.assessment import Assessment
from streamsvd.factor.passes import ProjectPass, ThinBlock
from streamsvd.factor.session import Session
from streamsvd.factor.terms import Terms
from streamsvd.numerics import krylov
from streamsvd.numerics import sketches as sketch
from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.eigen import smallest_eigenvalue
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.signs import phases
from streamsvd.typing import Matrix, Real

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """``s``, ``Vh``, ``U`` (None where a sink took it or nobody asked), in the units of the data."""

    s: Real
    Vh: Matrix
    U: Matrix | None
    certificate: Certificate


def product_scale(session: Session, terms: Terms) -> float:
    """Factor between the matrix multiplied and the matrix asked for; standardised data have none."""
    return 1.0 if session.matrix.scale else terms.prep.alpha


def compute_factors(
    session: Session, terms: Terms, look: Assessment, *, sink: Sink | None, want_u: bool
) -> Factors:
    """Factors of the rank of a look.

    Notes
    -----
    Cost: one pass along rows if ``U`` is wanted, one pass along columns always.
    """
    scale = product_scale(session, terms)
    seed = session.options.seed
    s = np.sqrt(look.bracket.values[: look.rank]) / scale
    certificate = look.certificate.scale_by(1 / scale)
    found = look.bracket.vectors[:, : look.rank]
    found = restrict_vectors(found, terms.known_stats.frame.d > 0, look.certificate.sigma_lower > 0)
    found = complete_with_random(found, look.rank, seed, terms.known_stats.frame.d > 0)
    found = found * phases(found)
    if terms.prep.axis == "rows":
        U = _project(session, terms, found, s, sink) if want_u else None
        return Factors(s, found.conj().T, U, certificate)
    V, R = _scaled_qr(_project(session, terms, found, s, None), s)
    V = complete_with_random(V, look.rank, seed, session.matrix.support.columns)
    turn = phases(V)
    V, U = V * turn, found * turn
    if want_u and sink is not None:
        sink.write(0, U)
    error = spectral_norm(V.conj().T @ V - np.eye(look.rank))
    # A* A >= (U* A)* (U* A) = V R R* V*, which is less than the lower ends by at most:
    top = float(certificate.sigma_upper[0]) or 1.0  # squares of the data may not be numbers
    R, lower = R / top, certificate.sigma_lower / top
    below = max(-smallest_eigenvalue(R @ R.conj().T - np.diag(lower**2)), 0.0) + 16 * UNIT_ROUNDOFF
    certificate = replace(certificate, orthogonality=error, deficit=below * top * top)
    return Factors(s, V.conj().T, U if want_u and sink is None else None, certificate)


def _project(session: Session, terms: Terms, Z: Matrix, s: Real, sink: Sink | None) -> Matrix:
    """``A Z / s`` row by row, in one pass; empty where the sink takes the rows."""
    frame = terms.known_stats.frame
    pushed = Z * frame.d[:, None]
    shift = frame.shift(pushed)
    inside = s > np.sqrt(UNIT_ROUNDOFF) * max(float(s[0]), np.finfo(float).tiny)
    divide = np.divide(1 / product_scale(session, terms), s, out=np.zeros_like(s), where=inside)
    dtype = terms.prep.narrow if sink is not None else terms.prep.wide
    fold = ProjectPass(terms.prep, ThinBlock(pushed, terms.prep.single), shift, divide, dtype)
    sums = session.read_rows(fold, "the other factor", sink)
    if not sums.pieces:
        return np.zeros((0, Z.shape[1]), dtype=dtype)
    return np.concatenate([rows for _, rows in sums.pieces], axis=0)


def _scaled_qr(Y: Matrix, s: Real) -> tuple[Matrix, Matrix]:
    """Columns of ``Y`` that belong to positive values, made orthonormal to the last digit, and R of ``Y s = V R``."""
    alive = int(np.count_nonzero(np.any(Y != 0, axis=0) & (s > 0)))
    Q, R = linalg.qr(Y[:, :alive], mode="economic", check_finite=False)
    turn = np.diagonal(R)
    size = np.abs(turn)
    turn = np.divide(turn, size, out=np.ones_like(turn), where=size > 0)
    whole = np.zeros((s.size, s.size), dtype=R.dtype)
    whole[:alive, :alive] = turn.conj()[:, None] * R * s[:alive]
    return np.asarray(Q * turn), whole


def restrict_vectors(V: Matrix, kept: Mask, positive: Mask) -> Matrix:
    """``V`` with zeros where a coordinate is left out, without the columns that have no direction among the others.

    What belongs to a value that is positive is there nothing but rounding; to one that is zero, anything may belong.
    """
    if kept.all():
        return V
    outside = np.linalg.norm(V[~kept], axis=0)
    V = V[:, positive[: V.shape[1]] | (outside < 1e-8)]
    return np.where(kept[:, None], V, 0)


def complete_with_random(V: Matrix, rank: int, seed: int, kept: Mask | None = None) -> Matrix:
    """``V`` with further orthonormal columns, for values that are zero and have no direction of their own.

    They are zero where a coordinate is left out, as long as there are enough others.
    """
    lacking = rank - V.shape[1]
    if lacking <= 0:
        return V
    complex_ = np.iscomplexobj(V)
    extra = sketch.gaussian(V.shape[0], lacking, seed=seed, purpose="start", complex_=complex_)
    if kept is not None and np.count_nonzero(kept) >= rank:
        extra = np.where(kept[:, None], extra, 0)
    for _ in range(2):
        extra = krylov.orthonormal_basis(extra - V @ (V.conj().T @ extra))
    return np.concatenate([V, extra], axis=1)
