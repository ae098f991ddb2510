"""Every statement of a certificate, held against the truth of a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from benchmarks.ordinary_data import Array, Held, Truth
from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.intervals import ZERO_LEVEL


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a factorisation is, measured: errors in two norms (the second from below), energies held."""

    frobenius: float
    spectral: float
    held: Array
    """``(X V)* (X V)``."""


def measure(held: Held, V: Array, steps: int = 4) -> Measured:
    """Errors of ``X V V*`` as an approximation of ``X``; the spectral one by subspace iteration."""
    missed, inside = 0.0, np.zeros((V.shape[1], V.shape[1]))
    for panel in held.panels():
        coordinates = panel @ V
        left = panel - coordinates @ V.T
        missed += float(np.vdot(left, left))
        inside += coordinates.T @ coordinates
    start = np.random.default_rng(0).standard_normal((V.shape[0], 4))
    Y = np.concatenate([start, held.truth.V[:, -4:]], axis=1)
    largest = 0.0
    for _ in range(steps):
        Y = Y - V @ (V.T @ Y)
        Y = np.linalg.qr(Y)[0]
        Y = np.linalg.qr(Y - V @ (V.T @ Y))[0]
        BY = held.product(Y)
        largest = max(largest, float(linalg.eigvalsh(Y.T @ BY)[-1]))
        Y = BY
    return Measured(float(np.sqrt(missed)), float(np.sqrt(max(largest, 0.0))), inside)


def violated(held: Held, result: Any, tol: float) -> list[str]:
    """Every statement of a certificate that the truth contradicts, with both numbers."""
    c: Certificate = result.certificate
    V, k = result.Vh.T, result.rank
    return [
        *_wrong_values(held.truth, c, result.s, tol),
        *_wrong_errors(held.truth, c, measure(held, V), k),
        *_wrong_angles(held.truth, c, V, k),
    ]


def _wrong_values(truth: Truth, c: Certificate, found: Array, tol: float) -> list[str]:
    k, wrong = found.size, []
    s, slack = truth.s[:k], truth.slack[:k]
    below, above = c.sigma_lower - s - slack, s - slack - c.sigma_upper
    for what, by in (("sigma_lower", below), ("sigma_upper", above)):
        if by.max() > 0:
            i = int(by.argmax())
            wrong.append(
                f"{what}[{i}]: {s[i]:.12g} lies {by[i]:.2g} outside "
                f"{c.sigma_lower[i]:.12g}..{c.sigma_upper[i]:.12g}"
            )
    alive = c.sigma_upper > ZERO_LEVEL * c.sigma_upper[0]
    off = np.where(c.resolved & alive, np.abs(found - s) - tol * np.maximum(s, found) - slack, 0.0)
    if off.max() > 0:
        i = int(off.argmax())
        wrong.append(
            f"resolved[{i}]: {found[i]:.12g} is not {s[i]:.12g} to {tol:g}, width {c.widths[i]:.2g}"
        )
    if c.tol != tol:
        wrong.append(f"tol: {c.tol:g} is not {tol:g}")
    following = 0
    for group in c.groups:
        part = slice(group.first, group.last + 1)
        if group.first != following or group.size < 1:
            wrong.append(f"groups: {group.first}..{group.last} follows {following - 1}")
        if (s[part] + slack[part] < group.lower).any() or (
            s[part] - slack[part] > group.upper
        ).any():
            wrong.append(
                f"groups: {s[part]} outside {group.lower:.12g}..{group.upper:.12g} of "
                f"{group.first}..{group.last}"
            )
        following = group.last + 1
    if following != k:
        wrong.append(f"groups: end at {following} of {k}")
    if truth.s.size > k and c.next_lower > truth.s[k] + truth.slack[k]:
        wrong.append(f"next_lower: {c.next_lower:.12g} exceeds {truth.s[k]:.12g}")
    return wrong


def _wrong_errors(truth: Truth, c: Certificate, seen: Measured, k: int) -> list[str]:
    wrong = []
    unit = np.sqrt(truth.energy)
    if abs(c.energy - truth.energy) > 1e-11 * truth.energy:
        wrong.append(f"energy: {c.energy:.15g} is not {truth.energy:.15g}")
    if seen.frobenius > c.frobenius_error + 1e-14 * unit:
        wrong.append(f"frobenius_error: {seen.frobenius:.12g} exceeds {c.frobenius_error:.12g}")
    if seen.spectral > c.spectral_error * (1 + 1e-12) + 1e-14 * truth.s[0]:
        wrong.append(f"spectral_error: {seen.spectral:.12g} exceeds {c.spectral_error:.12g}")
    held_best = float(np.sum(truth.s[:k] ** 2))
    best = max(truth.energy - held_best, 0.0)
    slack = 1e-13 * truth.energy + float(2 * truth.s[:k] @ truth.slack[:k])
    if seen.frobenius**2 > (1 + c.excess) ** 2 * (best + slack) + slack:
        wrong.append(
            f"excess: {seen.frobenius:.12g} is not within {c.excess:.3g} of {np.sqrt(best):.12g}"
        )
    if c.captured_of_best * held_best > float(np.trace(seen.held)) + slack:
        wrong.append(
            f"captured_of_best: {c.captured_of_best:.12g} exceeds {np.trace(seen.held) / held_best:.12g}"
        )
    summand = np.diag(c.sigma_lower**2) - seen.held  # on the span of V, where it is largest
    if float(linalg.eigvalsh(summand)[-1]) > c.deficit + 1e-13 * truth.energy:
        wrong.append(
            f"deficit: {linalg.eigvalsh(summand)[-1]:.6g} exceeds {c.deficit:.6g} within the span"
        )
    return wrong


def _wrong_angles(truth: Truth, c: Certificate, V: Array, k: int) -> list[str]:
    wrong = []
    loss = float(np.linalg.norm(V.T @ V - np.eye(k), 2))
    if loss > c.orthogonality + 1e-14 * k:
        wrong.append(f"orthogonality: {loss:.3g} exceeds {c.orthogonality:.3g}")
    for what, bound, r in (
        ("subspace_angle_bound", c.subspace_angle_bound, k),
        ("resolved_angle_bound", c.resolved_angle_bound, c.resolved_count),
    ):
        if not np.isfinite(bound):
            continue
        gap = truth.s[r - 1] ** 2 - truth.s[r] ** 2 if r < truth.s.size else np.inf
        if gap <= 0:
            wrong.append(f"{what}: {bound:.3g} where values {r - 1} and {r} are equal")
            continue
        W, T = V[:, :r], truth.V[:, :r]
        sine = float(np.linalg.norm(W - T @ (T.T @ W), 2))
        blur = 8 * truth.s[0] * float(truth.slack[0]) / gap + 1e-13  # of the reference
        if sine > bound + blur:
            wrong.append(f"{what}: {sine:.6g} exceeds {bound:.6g} for the first {r}")
    return wrong
