"""The verb `pca`, and what it would cost: `svd` of the columns less their means, in the words of statistics."""

from __future__ import annotations

import os
from typing import Any

from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.saves import SAVE_SECONDS
from streamsvd.engine.weights import column_weight_array, row_weight_array
from streamsvd.errors import SpecError
from streamsvd.factor.candidates import Speeds
from streamsvd.factor.options import DELTA, MAX_PASSES, SVDOptions
from streamsvd.factor.plan import Plan
from streamsvd.factor.plan_options import runs_plan
from streamsvd.factor.result import PCA
from streamsvd.factor.run import factorise
from streamsvd.factor.svd import ColumnWeights, Weights, plan_svd
from streamsvd.numerics.scalings import Scale
from streamsvd.options import EXCESS_TOL


def plan_pca(
    A: Any,
    rank: int | None = None,
    *,
    energy: float | None = None,
    tol: float | None = None,
    memory: int | str | None = None,
    center: bool = True,
    scale: Scale = False,
    row_weights: Weights = None,
    column_weights: ColumnWeights = None,
    nonfinite: str = "raise",
    mask: Any = None,
    u: bool = False,
    out: str | os.PathLike[str] | None = None,
    max_passes: int = MAX_PASSES,
    certify: str = "bounds",
    target: str = "auto",
    excess_tol: float = EXCESS_TOL,
    device: str = "cpu",
    precision: str = "auto",
    route: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    axis: str | None = None,
    rates: Speeds | None = None,
) -> Plan:
    """What `pca` would do with these arguments, and what it would cost; reads no data.

    Parameters
    ----------
    A, axis, rates, mask, rank, energy, tol, memory, scale, row_weights, column_weights, nonfinite, u, out, max_passes, \
certify, target, excess_tol, device, precision, route, checkpoint
        As in `plan_svd`.
    center
        True: principal components are of columns less their means.

    Returns
    -------
    plan
        For `pca`, or for `svd` with ``center=True``.

    Raises
    ------
    BudgetError, SpecError, ShapeError
        As `plan_svd`.
    """
    _check_centred(center)
    return plan_svd(
        A, rank, energy=energy, tol=tol, memory=memory, center=True, scale=scale, row_weights=row_weights,
        column_weights=column_weights, nonfinite=nonfinite, mask=mask, u=u, out=out, max_passes=max_passes, certify=certify,
        target=target, excess_tol=excess_tol, device=device, precision=precision, route=route, checkpoint=checkpoint,
        axis=axis, rates=rates,
    )  # fmt: skip


@runs_plan(center=True)
def pca(
    A: Any,
    rank: int | None = None,
    *,
    energy: float | None = None,
    tol: float | None = None,
    memory: int | str | None = None,
    center: bool = True,
    scale: Scale = False,
    row_weights: Weights = None,
    column_weights: ColumnWeights = None,
    nonfinite: str = "raise",
    mask: Any = None,
    u: bool = False,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    max_passes: int = MAX_PASSES,
    certify: str = "bounds",
    target: str = "auto",
    excess_tol: float = EXCESS_TOL,
    delta: float = DELTA,
    device: str = "cpu",
    precision: str = "auto",
    route: str | None = None,
    plan: Plan | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> PCA:
    """Principal components of a stored matrix: `svd` of its columns less their means.

    Parameters
    ----------
    A
        Observations in rows, ``(m, n)``, or anything `streamsvd.open` takes.
    rank
        Components wanted; or ``energy=0.99`` for that share of the variance.
    center
        True: principal components are of columns less their means.
    scale
        Standardise: divide each column by its standard deviation; or ``"hwe"``, as in `svd`.
    row_weights
        As in `svd`. Under them a variance is ``s**2 / info.freedom``, where ``info.freedom`` is one less than the rows of positive
        weight, times their mean weight: a weight of 0 is the row left out, and a factor common to all weights changes no variance.
    plan
        Of `plan_pca`, or of `plan_svd` with ``center=True``, to be run as it is; see `svd`.
    energy, tol, memory, column_weights, nonfinite, mask, u, out, overwrite, seed, max_passes, certify, target, excess_tol, \
delta, device, precision, route, checkpoint, save_seconds, callback
        As in `svd`.

    Returns
    -------
    result
        Components, explained variance and its share, and the factorisation.

    Raises
    ------
    NotConverged
        With a `PCA` as its partial result; all other errors are those of `svd`.

    Notes
    -----
    Cost: as `svd`; centring costs no pass.
    """
    _check_centred(center)
    whole = as_source(A)
    options = SVDOptions.of(
        rank=rank, energy=energy, tol=tol, memory=memory, center=True, scale=scale,
        row_weights=row_weight_array(whole, row_weights), column_weights=column_weight_array(whole, column_weights),
        nonfinite=nonfinite, mask=mask, u=u, out=out,
        max_passes=max_passes, certify=certify, target=target, excess_tol=excess_tol, device=device, precision=precision,
        route=route, checkpoint=checkpoint, seed=seed, delta=delta,
    )  # fmt: skip
    return factorise(
        PCA, whole, options, read=(row_weights, column_weights), overwrite=overwrite, plan=plan, save_seconds=save_seconds,
        callback=callback,
    )  # fmt: skip


def _check_centred(center: bool) -> None:
    if center is not True:
        raise SpecError("pca always centres; center=False is not possible. Use svd.")
