"""What a stream has found, and what is proved of it: the candidates, who wins, and the claims that hold for the winner.

Candidates are the iterated vectors, those of the sketch, and the vector that grew. Where rows judged, they choose;
elsewhere the probes, which have seen every row, and no candidate has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import linalg

from streamsvd.numerics.signs import phases
from streamsvd.streams.mathematics import claims
from streamsvd.streams.mathematics.claims import Minorant, StreamCertificate
from streamsvd.streams.mathematics.directions import FrequentDirections
from streamsvd.streams.mathematics.growth import Growth, sine_bound
from streamsvd.streams.mathematics.heavy import HeavyRows
from streamsvd.streams.mathematics.order import OrderFinding, OrderTest
from streamsvd.streams.mathematics.power import History, Window, extend_basis
from streamsvd.streams.options import StreamOptions
from streamsvd.typing import Matrix, Real

SURE_SINE = 0.5
"""Where the sketch proves a sine below this, its vectors are taken: rows that judge are too few to tell better ones."""


class Evidence(Protocol):
    """What a stream has kept of its rows, as its verdict needs it; `streamsvd.streams.mathematics.top.StreamState` has it."""

    options: StreamOptions
    d: int
    seen: int
    energy: float
    products: Matrix
    heavy: HeavyRows
    directions: FrequentDirections
    order: OrderTest | None
    history: History | None
    window: Window | None
    judged: Window | None
    growth: Growth | None

    def heavy_from(self) -> float:
        """Squared norm from which a row is heavy."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class StreamAnswer:
    """The answer of a stream.

    Attributes
    ----------
    components
        Orthonormal, ``(k, d)``.
    values
        Eigenvalues of ``A* A`` that go with them, ``(k,)``, descending: estimates inside the certified intervals.
    method
        ``"power"`` (iterated), ``"directions"`` (Frequent Directions) or ``"growth"`` (Oja's rule).
    order
        What the test of the order found.
    certificate
        What is proved.
    n_rows, energy
        Rows seen and the sum of their squared norms.
    heavy_rows, overflow, wanted_heavy
        Heavy rows kept, whether more were heavy than there was room for, and how many were, about.
    basis
        Orthonormal columns that a further pass may refine, ``(d, c)``.
    """

    components: Matrix
    values: Real
    method: str
    order: OrderFinding
    certificate: StreamCertificate
    n_rows: int
    energy: float
    heavy_rows: int
    overflow: bool
    wanted_heavy: int
    basis: Matrix
    minorant: Minorant


def verdict(state: Evidence) -> StreamAnswer:
    """The answer of a stream that is over, with at least one row."""
    minorant = _minorant(state, state.options.k + 1)
    order = OrderFinding(1.0, 1.0, "", None) if state.order is None else state.order.finding()
    directions = complete_with_axes(minorant.vectors[:, : state.options.k], state.options.k)
    if state.window is None:
        return _answer_any_order(state, minorant, directions, order)
    return _answer_some_order(state, minorant, directions, order)


def _answer_any_order(
    state: Evidence, minorant: Minorant, directions: Matrix, order: OrderFinding
) -> StreamAnswer:
    """Frequent Directions, or the vector that grew, whichever the independent probes prefer."""
    k = state.options.k
    sine = claims.sketch_sine(_pad_values(minorant.values, k + 1), k, minorant.above)
    grown = state.growth.answer() if state.growth is not None else None
    if grown is not None:
        rate, log_growth, vector = grown
        v = vector[:, None]
        bound = sine_bound(rate, log_growth, minorant.outside(v))
        better = np.linalg.norm(v.T @ state.products) > np.linalg.norm(
            directions.T @ state.products
        )
        if bound < sine or (better and sine >= 1):
            bound = min(bound, claims.transfer_sine(sine, directions, v))
            return _make_answer(state, v, "growth", minorant, order, bound, v)
    basis = complete_with_axes(minorant.vectors, min(k + 1, state.d))
    return _make_answer(state, directions, "directions", minorant, order, sine, basis)


def _answer_some_order(
    state: Evidence, minorant: Minorant, directions: Matrix, order: OrderFinding
) -> StreamAnswer:
    assert state.window is not None
    assert state.history is not None
    o, k = state.options, state.options.k
    judged = state.judged
    last = state.window
    basis = last.basis
    if last.rows:
        basis = state.history.advance(last, state.heavy.used_rows)
    power = complete_with_axes(basis[:, :k], k)
    trusted = o.order == "random" or order.random is True
    if o.order == "random" and order.random is False:
        trusted = False  # the data say otherwise
    enough = judged is not None and judged.rows >= 2
    sine = claims.sketch_sine(_pad_values(minorant.values, k + 1), k, minorant.above)
    if (
        state.history.weight == 0 or sine <= SURE_SINE
    ):  # every row is held, or the sketch lost next to nothing
        wins = "directions"
    elif trusted and enough:
        assert judged is not None
        wins = (
            "power"
            if _energy_held(state, judged, 0) >= _energy_held(state, judged, 2)
            else "directions"
        )
    else:
        by_probes = [float(np.linalg.norm(V.T @ state.products)) for V in (power, directions)]
        wins = "power" if by_probes[0] > by_probes[1] else "directions"
    answer = power if wins == "power" else directions
    best = claims.transfer_sine(sine, directions, answer) if wins == "power" else sine
    values = state.history.values if wins == "power" else None
    if wins == "directions":  # a further pass begins from what was found
        basis = extend_basis(directions, basis)
    found = _make_answer(state, answer, wins, minorant, order, best, basis, values)
    if not enough:
        return found
    assert judged is not None
    return _add_statistical_claims(state, found, judged, trusted)


def _energy_held(state: Evidence, judged: Window, which: int) -> float:
    """Energy that a candidate would hold of all rows: heavy ones exactly, light ones by the rows that judge."""
    V = judged.basis[:, : state.options.k] if which == 0 else judged.rival
    assert state.history is not None
    scale = state.history.n_light / judged.rows
    return float(np.sum((state.heavy.used_rows @ V) ** 2)) + scale * float(judged.energies[which])


def _add_statistical_claims(
    state: Evidence, found: StreamAnswer, judged: Window, trusted: bool
) -> StreamAnswer:
    """The claims that rest on rows which only judged."""
    assert state.history is not None
    o, k, m = state.options, state.options.k, judged.rows
    scale = state.history.n_light / m
    V = judged.basis[:, :k]
    H = state.heavy.used_rows
    GV = scale * judged.products[:, :k] + H.T @ (H @ V)
    R = V.T @ GV
    w, turn = linalg.eigh((R + R.T) / 2, driver="evd", check_finite=False)
    w, turn = np.maximum(w[::-1], 0.0), turn[:, ::-1]
    V, GV = V @ turn, GV @ turn
    residuals = np.linalg.norm(GV - V @ (V.T @ GV), axis=0)
    effect = max(1.0, found.order.design_effect)
    share = o.delta / 3
    # Fourth moments along turned vectors, by Minkowski from those along the vectors that were judged.
    fourth = (np.abs(turn).T @ np.maximum(judged.fourths[:k] / m, 0.0) ** 0.25) ** 4
    second = np.einsum("ij,ij->j", V, judged.products[:, :k] @ turn) / m
    error = np.sqrt(effect * np.maximum(fourth - second**2, 0.0) / m)
    lower = w - claims.normal_quantile(share / k) * state.history.n_light * error
    beta = min(found.minorant.outside(V), claims.probed_tail(V, state.products, share))
    sine = claims.residual_sine(lower, residuals, beta)
    sine = claims.transfer_sine(sine, V, found.components.T)
    estimate = _estimate_sine(state, found, V, w, residuals)
    mean = float(judged.energies[0]) / m
    deviation = np.sqrt(max(float(judged.energies[1]) / m - mean * mean, 0.0) * effect / m)
    z = claims.normal_quantile(share)
    held = float(np.sum((H @ V) ** 2)) + state.history.n_light * (mean - z * deviation)
    c = found.certificate
    captured = held / state.energy if state.energy else 1.0
    new = replace(c, sine_estimate=min(estimate, c.sine))
    if found.method == "power":
        about = float(np.sum(w))
        new = replace(
            new, captured_estimate=min(1.0, about / state.energy) if state.energy else 1.0
        )
    values = found.values
    if trusted:
        if sine < new.sine:
            new = replace(new, sine=sine, evidence="statistical", failure_probability=o.delta)
            new = replace(new, sine_estimate=min(new.sine_estimate, sine))
        if found.method == "power" and captured > new.captured_lower:
            # Of the vectors judged; the answer has learnt from the judging rows too.
            moved = claims.transfer_sine(0.0, V, found.components.T)
            less = moved * np.sqrt(k * found.minorant.outside(found.components.T) / state.energy)
            kept = max(np.sqrt(max(captured, 0.0)) - less, 0.0) ** 2
            if kept > new.captured_lower:
                new = replace(
                    new,
                    captured_lower=min(float(kept), 1.0),
                    captured_evidence="statistical",
                    failure_probability=o.delta,
                )
        if found.method == "power":
            values = np.clip(w, c.values_lower, c.values_upper)
    return replace(found, certificate=new, values=np.sort(values)[::-1])


def _estimate_sine(
    state: Evidence, found: StreamAnswer, V: Matrix, w: Real, residuals: Real
) -> float:
    """The residual bound with the next Ritz value in place of a bound of the tail."""
    values = found.minorant.values
    following = float(values[len(w)]) if values.size > len(w) else 0.0
    sine = claims.residual_sine(w, residuals, following)
    return claims.transfer_sine(sine, V, found.components.T)


def _make_answer(
    state: Evidence,
    V: Matrix,
    method: str,
    minorant: Minorant,
    order: OrderFinding,
    sine: float,
    basis: Matrix,
    values: Real | None = None,
) -> StreamAnswer:
    k = state.options.k
    low = np.maximum(_pad_values(minorant.values, k)[:k] - minorant.slack, 0.0)
    top = _pad_values(minorant.values, k)[:k] + minorant.above
    high = np.minimum(top, state.energy + minorant.slack)
    held = minorant.energy(V)
    captured = min(1.0, held / state.energy) if state.energy > 0 else 1.0
    certificate = StreamCertificate(
        low,
        high,
        sine,
        "deterministic" if sine < 1 else "none",
        captured,
        "deterministic",
        0.0,
        sine,
        captured,
    )
    heavy = int(np.count_nonzero(state.heavy.energy[: state.heavy.count] >= state.heavy_from()))
    overflow = state.heavy.overflow >= state.heavy_from() > 0
    if (
        values is None
    ):  # a direction that stays in the sketch loses what every shrink takes, the others less
        values = np.where(low > minorant.above, high, (low + high) / 2)
    values = np.clip(values, low, high)
    return StreamAnswer(
        (V * phases(V)).T, values, method, order, certificate, state.seen, state.energy,
        heavy, overflow, state.heavy.room_needed(state.heavy_from()), basis, minorant,
    )  # fmt: skip


def _minorant(state: Evidence, count: int) -> Minorant:
    f = state.directions
    return Minorant.of(
        state.heavy.used_rows, f.used_rows, f.shrunk, f.slack(state.energy), min(count, state.d)
    )


def _pad_values(values: Real, count: int) -> Real:
    return np.pad(values, (0, max(0, count - values.size)))


def complete_with_axes(V: Matrix, k: int) -> Matrix:
    """Orthonormal columns, k of them; those that the data do not determine are arbitrary, and always the same."""
    V = V[:, :k]
    while V.shape[1] < k:  # the axis that the others hold least of
        extra = np.zeros((V.shape[0], 1))
        extra[int(np.argmin(np.einsum("ij,ij->i", V, V))), 0] = 1
        for _ in range(2):
            extra -= V @ (V.T @ extra)
            extra /= np.linalg.norm(extra)
        V = np.concatenate([V, extra], axis=1)
    return V
