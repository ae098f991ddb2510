"""Inputs on which matrices act, as a factor of their second moment: one pass over samples, of any number."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from streamsvd.checks.real import check_real
from streamsvd.collections.options import SecondMomentOptions
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import running
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.saves import SAVE_SECONDS, check_saves, open_saves, try_saves
from streamsvd.engine.schedule import Schedule, allowed_bytes, schedule_rows
from streamsvd.engine.triangle_pass import TrianglePass
from streamsvd.numerics.triangle import Triangle, block_height, tower_bytes
from streamsvd.protocols import Source
from streamsvd.typing import Matrix


def second_moment_factor(
    X: Any,
    *,
    damping: float = 0.0,
    memory: int | float | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
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
    checkpoint, save_seconds
        Folder, or URL of an object store, where finished parts are saved now and then, at least so many seconds apart, so that a
        run that was killed goes on from there, to the same bits. It is removed at the end.
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
    >>> F = streamsvd.second_moment_factor(X)
    >>> F.shape, bool(np.allclose(F.T @ F / 3, X.T @ X / 1000))
    ((3, 3), True)
    """
    source, options = as_source(X), SecondMomentOptions(damping=damping)
    check_real(source)
    try_saves(checkpoint, source)
    schedule = schedule_samples(source, allowed_bytes(memory), saves=checkpoint is not None)
    saves = open_saves(
        checkpoint, "second_moment_factor", schedule, options, seconds=save_seconds, kinds=(Triangle,)
    )  # fmt: skip
    with running(schedule, notify=callback, saves=saves) as run:
        return _factor(run.once("inputs", TrianglePass()), source.shape[0], options.damping)


def plan_second_moment_factor(
    X: Any,
    *,
    damping: float = 0.0,
    memory: int | float | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> RunPlan:
    """What `second_moment_factor` will read and need, from shapes alone.

    Parameters
    ----------
    X, damping, memory, checkpoint
        As of `second_moment_factor`; nothing is written.

    Raises
    ------
    SpecError, BudgetError
        As `second_moment_factor`, before anything is read.
    """
    source, budget = as_source(X), allowed_bytes(memory)
    options = SecondMomentOptions(damping=damping)
    check_real(source)
    check_saves(checkpoint, source)
    schedule = schedule_samples(source, budget, saves=checkpoint is not None)
    return RunPlan.of("second_moment_factor", schedule, options, budget, passes=1)


def schedule_samples(source: Source, allowed: int, *, saves: bool = False) -> Schedule:
    """How samples are read within the memory."""
    m, n = source.shape
    height = block_height(n)
    return schedule_rows(
        source, height, allowed,
        work=lambda rows: 8 * n * 4 * min(rows, m) + tower_bytes(n, height, m),
        partial=8 * n * n, saved=8 * n * n if saves else 0, shared=24 * n * n, what=f"the second moment of {n:,} columns", remedy="",
    )  # fmt: skip


def read_factor(source: Source, damping: float, allowed: int, notify: Callback) -> Matrix:
    """The factor of an opened matrix of samples."""
    with running(schedule_samples(source, allowed), notify=notify) as run:
        return _factor(run(TrianglePass(), "inputs"), source.shape[0], damping)


def _factor(triangle: Triangle, samples: int, damping: float) -> Matrix:
    with np.errstate(under="ignore"):
        R = triangle.R / np.sqrt(samples)
        if damping:
            n = R.shape[1]
            extra = np.sqrt(damping * float(np.sum(R * R)) / n) * np.eye(n)
            R = np.linalg.qr(np.concatenate([R, extra]), mode="r")
        return np.asarray(R * np.sqrt(R.shape[0]))
