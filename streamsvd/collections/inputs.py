"""Inputs on which matrices act, as a factor of their second moment: one pass over samples, of any number."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsvd.checks.numbers import check_numbers
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.runs import Passes, allowed_bytes, plan_row_schedule
from streamsvd.engine.runs.checks import check_real
from streamsvd.engine.runs.triangles import TrianglePass
from streamsvd.errors import SpecError
from streamsvd.numerics.triangle import block_height, tower_bytes
from streamsvd.protocols import Source
from streamsvd.typing import Matrix

MOST_DAMPING = 1e6
"""Of more nothing is left of the inputs."""


def second_moment_factor(
    X: Any,
    *,
    damping: float = 0.0,
    memory: int | float | str | None = None,
    callback: Callback = ignore_event,
) -> Matrix:
    """Few rows with the second moment of many: what `cluster` and `compress` need to know of inputs.

    Parameters
    ----------
    X
        Samples of inputs, ``(N, n)``, a matrix as `svd` takes it.
    damping
        Of the mean second moment of an entry, this part is added to every direction, so that none is free where samples
        are few; 0.01 is usual.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    callback
        Receives events.

    Returns
    -------
    F
        ``(q, n)`` with ``F* F / q = X* X / N``, damping added; q is n, or N where that is less and nothing is damped. May be passed
        wherever X may.

    Raises
    ------
    SpecError
        If the damping is out of range, or X is not of real numbers that float64 holds.
    NonFiniteError
        If an entry of X is NaN or Inf; it names row and column.
    BudgetError
        If it does not fit in the memory; it names the smallest that works.

    Notes
    -----
    Cost: one pass, ``4 N n^2`` flops; memory ``8 n^2 log2(N / 2n)`` bytes. No ``X* X`` is formed: small directions keep their
    digits.

    References
    ----------
    Demmel, Grigori, Hoemmen, Langou (2012), TSQR.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> X = np.random.default_rng(0).standard_normal((1000, 3))
    >>> F = streamsvd.input_factor(X)
    >>> F.shape, bool(np.allclose(F.T @ F / 3, X.T @ X / 1000))
    ((3, 3), True)
    """
    source = as_source(X)
    check_real(source)
    check_damping(damping)
    return factor_of(source, damping, allowed_bytes(memory), callback)


def check_damping(damping: Any) -> None:
    """Refuse what is no damping.

    Raises
    ------
    SpecError
        If it is negative, too large or no number.
    """
    check_numbers(damping=damping)
    if damping is None or not 0 <= damping <= MOST_DAMPING:
        raise SpecError(
            f"damping={damping} is out of range. Pass 0 to {MOST_DAMPING:g}, such as 0.01."
        )


def factor_of(source: Source, damping: float, allowed: int, notify: Callback) -> Matrix:
    """The factor of an opened matrix of samples."""
    m, n = source.shape
    height = block_height(n)
    arrangement = plan_row_schedule(
        source, height, allowed,
        work=lambda piece: 8 * n * 4 * min(height, m) + tower_bytes(n, height, m),
        found=8 * n * n, held=24 * n * n, what=f"the second moment of {n:,} columns", remedy="",
    )  # fmt: skip
    passes = Passes(arrangement, notify)
    with held_memory(), dense_threads(1), np.errstate(under="ignore"):
        found = passes("inputs", TrianglePass(arrangement.rows, height))
        R = found.R / np.sqrt(m)
        if damping:
            extra = np.sqrt(damping * float(np.sum(R * R)) / n) * np.eye(n)
            R = np.linalg.qr(np.concatenate([R, extra]), mode="r")
    return np.asarray(R * np.sqrt(R.shape[0]))
