r"""What a basis leaves of a block, in whole numbers: ``A = P + steps * codes``, P the principal part.

With one step for all entries, uniform rounding and an entropy coder take ``log2(||A - P|| / lost) + 0.25`` bits an entry where
the loss is small (Gish, Pierce 1968: a quarter of a bit above any code for Gaussian entries). So what matters of P is how
little it leaves. Where errors are weighted by ``d_i`` and ``c_j`` the best steps are ``step / (d_i c_j)``: then every entry
loses the same of what counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.mathematics.weights import Metric
from streamsvd.typing import Matrix, Real

Codes = npt.NDArray[Any]
LARGEST = 2**15 - 1
NEAR = 0.98
"""The step is large enough once this part of the allowed error is used."""
TRIES = 24
FAINT = 1e-3
"""Columns that count less than this part of the largest are coded as if they counted that."""


@dataclass(frozen=True, slots=True, eq=False)
class ResidualCodes:
    """A residual in whole numbers.

    Attributes
    ----------
    codes
        ``(m, n)``, of 8 or 16 bits.
    steps
        What a code of 1 stands for in each column, ``(n,)``, or in all, ``(1,)``; times ``1 / d_i`` where rows have weights.
    error_norm
        Norm of the error that is left, as measured.
    """

    codes: Codes
    steps: Real
    error_norm: float


def values(codes: Codes, steps: Real, rows: Real | None) -> Matrix:
    """``steps * codes``, for rows of weights ``rows``."""
    X = codes * steps
    return X if rows is None else np.asarray(X / rows[:, None])


def encode_residual(
    X: Matrix, metric: Metric, allowed: float, lost: Callable[[Matrix], float]
) -> ResidualCodes | None:
    """The fewest codes for a residual that lose no more than is allowed; None if none of 16 bits do.

    Parameters
    ----------
    X
        The residual ``(m, n)``.
    metric
        How its error counts.
    allowed
        Most that may be lost, a norm.
    lost
        The norm of the error that is left when this is read in place of X.

    Notes
    -----
    Cost: about eight times that of ``lost``, and with inputs ``m n^2`` flops more each time.
    """
    feedback = None if metric.inputs is None else _triangle(metric.inputs)
    counts = metric.importance if feedback is None else np.abs(np.diagonal(feedback))
    shape = _shape(counts)
    inverse = 1.0 if metric.rows is None else metric.rows[:, None]
    even = X * inverse / shape  # in units in which entries count alike
    if feedback is not None:
        feedback = feedback * shape / (np.diagonal(feedback) * shape)[:, None]

    def tried(step: float) -> ResidualCodes | None:
        if not 0 < step < np.inf or not np.abs(even).max(initial=0.0) < (LARGEST + 0.5) * step:
            return None
        codes = np.rint(even / step) if feedback is None else _fed_back(even, step, feedback)
        if not np.abs(codes).max(initial=0.0) <= LARGEST:
            return None
        steps = step * shape
        return ResidualCodes(codes, steps, lost(values(codes, steps, metric.rows)))

    start = allowed * float(np.sqrt(12 / max(X.size, 1)))
    if counts is not None and counts.any():
        each = shape * counts
        start /= float(each.max() * np.sqrt(np.mean((each / each.max()) ** 2)))
    best = _largest(tried, start, allowed)
    if best is None:
        return None
    small = np.abs(best.codes).max(initial=0.0) <= 127
    return ResidualCodes(
        best.codes.astype(np.int8 if small else np.int16), best.steps, best.error_norm
    )


def _shape(counts: Real | None) -> Real:
    """Steps of the columns relative to one another, in numbers that a float32 holds."""
    if counts is None or not counts.any():
        return np.ones(1)
    floored = np.maximum(counts, FAINT * counts.max())
    return np.asarray((floored.max() / floored).astype(np.float32).astype(np.float64))


def _triangle(inputs: Matrix) -> Matrix:
    """R of the inputs, with a little of every direction, so that none is free of others' losses."""
    n = inputs.shape[1]
    top = float(np.abs(inputs).max(initial=0.0))
    unit = inputs / top if top else inputs
    little = FAINT * max(float(np.linalg.norm(unit)) / np.sqrt(n), FAINT)
    R = np.asarray(np.linalg.qr(np.concatenate([unit, little * np.eye(n)]), mode="r"))
    return R * (top or 1.0)


def _fed_back(even: Matrix, step: float, feedback: Matrix) -> Matrix:
    """Codes of the columns, from the last to the first."""
    codes = np.empty(even.shape, order="F")
    lost = np.zeros(even.shape, order="F")
    for j in range(even.shape[1] - 1, -1, -1):
        aim = even[:, j] + lost[:, j + 1 :] @ feedback[j, j + 1 :]
        codes[:, j] = np.rint(aim / step)
        lost[:, j] = even[:, j] - step * codes[:, j]
    return codes


def _largest(
    tried: Callable[[float], ResidualCodes | None], start: float, allowed: float
) -> ResidualCodes | None:
    """The codes of the largest step that loses no more than is allowed, nearly."""
    best: ResidualCodes | None = None
    low, high, step = 0.0, np.inf, start
    for _ in range(TRIES):
        found = tried(step)
        if found is None:  # codes of so small a step leave 16 bits
            if best is not None or step >= high:
                break
            low = step
        elif found.error_norm <= allowed:
            best, low = found, step
            if found.error_norm >= NEAR * allowed:
                break
        else:
            high = step
        if np.isinf(high):
            step *= (
                2.0
                if found is None
                else min(max(allowed / max(found.error_norm, 1e-300), 1.01), 4.0)
            )
        elif low == 0.0:
            step *= 0.5 if found is None else min(max(allowed / found.error_norm, 0.1), 0.97)
        else:
            step = float(np.sqrt(low * high))
        if high / max(low, 1e-300) < 1.01:
            break
    return best


def bits(left: Real, error: float) -> Real:
    """About how many bits an entry takes of blocks of which this relative error is left, for a smaller one asked."""
    ratio = np.asarray(left) / error
    return np.asarray(np.where(ratio <= 1, 0.0, 0.5 * np.log2(1 + np.pi * np.e / 6 * ratio**2)))
