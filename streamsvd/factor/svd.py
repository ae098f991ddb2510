"""The verb `svd`, and what it would cost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.saves import SAVE_SECONDS, check_saves
from streamsvd.engine.weights import column_weight_array, row_weight_array
from streamsvd.errors import SpecError
from streamsvd.factor.candidates import Speeds
from streamsvd.factor.options import DELTA, MAX_PASSES, SVDOptions
from streamsvd.factor.plan import Plan
from streamsvd.factor.plan_options import runs_plan
from streamsvd.factor.planning import plan_view, planned_view
from streamsvd.factor.problem import matrix_options
from streamsvd.factor.result import SVD
from streamsvd.factor.run import factorise
from streamsvd.numerics.scalings import Scale
from streamsvd.options import EXCESS_TOL
from streamsvd.typing import Real

Weights = Sequence[float] | Real | None
ColumnWeights = Sequence[float] | Real | str | Mapping[str, Any] | None


def plan_svd(
    A: Any,
    rank: int | None = None,
    *,
    energy: float | None = None,
    tol: float | None = None,
    memory: int | str | None = None,
    center: bool = False,
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
    """What `svd` would do with these arguments, and what it would cost; reads no data.

    Parameters
    ----------
    A
        The matrix, or anything `streamsvd.open` takes.
    axis
        Restrict the choice to ``"rows"`` or ``"columns"``, whichever is to be streamed.
    rates
        Speeds of this machine for the times; typical ones if left out.
    mask
        As in `svd`; columns that have no value are not looked for, which would be to read.
    rank, energy, tol, memory, center, scale, row_weights, column_weights, nonfinite, u, out, max_passes, \
certify, target, excess_tol, device, precision, route, checkpoint
        As in `svd`.

    Returns
    -------
    plan
        Prints as an explanation; ``passes``, ``bytes_read``, ``projected_bytes`` as numbers.

    Raises
    ------
    BudgetError
        If nothing fits the memory; it names the smallest that does.
    SpecError, ShapeError
        If an argument cannot be meant.
    """
    whole = as_source(A)
    options = SVDOptions.of(
        rank=rank, energy=energy, tol=tol, memory=memory, center=center, scale=scale,
        row_weights=row_weight_array(whole, row_weights), column_weights=column_weight_array(whole, column_weights),
        nonfinite=nonfinite, mask=mask, u=u, out=out,
        max_passes=max_passes, certify=certify, target=target, excess_tol=excess_tol, device=device, precision=precision,
        route=route, checkpoint=checkpoint,
    )  # fmt: skip
    if checkpoint is not None:
        from streamsvd.store.writing.separation import mask_places  # imports zarr

        beside = mask_places(whole, column_weights), mask_places(whole, mask)
        check_saves(checkpoint, whole, row_weights, *beside)
    view = planned_view(whole, mask)
    if view.columns is not None:  # weights are of all columns
        matrix_options(view.whole, options, options.column_weights)
    if axis not in (None, "rows", "columns"):
        raise SpecError(f'axis={axis!r} is unknown. Pass "rows", "columns" or nothing.')
    return plan_view(view, options, axis=axis, rates=rates)  # type: ignore[arg-type]  # checked above


@runs_plan()
def svd(
    A: Any,
    rank: int | None = None,
    *,
    energy: float | None = None,
    tol: float | None = None,
    memory: int | str | None = None,
    center: bool = False,
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
) -> SVD:
    """Leading singular triplets of a stored matrix, as accurate as asked, with the proof.

    Parameters
    ----------
    A
        The matrix ``(m, n)``, or anything `streamsvd.open` takes.
    rank
        Triplets wanted.
    energy
        Instead of a rank: the smallest rank that holds this share of ``||A||_F**2``, in (0, 1].
    tol
        Relative width asked of the interval of every singular value, in (0, 1); 1e-3 if left out. Alone,
        without rank and energy: the smallest rank with ``||A - U s Vh||_F <= tol ||A||_F``.
    memory
        Bytes this process may use above its imports, or a text such as ``"256MiB"``; half of what is free
        if left out. On a cluster it holds for every worker.
    center, scale
        Subtract the mean of each column; divide by its standard deviation. The data are not changed. ``scale="hwe"`` is for
        counts of an allele, 0 to 2: columns are divided by ``sqrt(2 p (1 - p))``, ``p`` half their mean ([3]_, equation 3), and
        those of one allele alone are left out, as constant ones are under ``scale=True``, which is ``"std"``.
    row_weights, column_weights
        Not negative, ``(m,)`` and ``(n,)``: rows times the root of the first, columns times the second. What has weight
        0 is not there: never looked at, whatever stands in it, and zero in the factors. Those of columns may be in the shape of the
        dimensions that make them; or weights of sums of squares, of which the root is the factor: ``"coslat"``, the cosine of the
        latitude; the name of an array beside ``A``, such as cell areas; or by dimension, ``{"lat": "cos"}``, the name of an array
        or an array. Results have the numbers.
    nonfinite
        What a NaN, or a masked cell, means: ``"raise"``; ``"zero"``; ``"mean"`` of its column; ``"drop_columns"`` that
        have one. Inf is always an error. But for ``"raise"``, columns that are NaN in every row are left out whatever the
        policy: they are listed in `Info.dropped_columns`, and NaN in ``Vh``, ``mean`` and ``scale``.
    mask
        Columns to keep, the others are left out in the same way and not looked at: booleans (a masked one is false), one for each
        column, flat or in the shape of the dimensions that make the columns; the name of such an array in the group of ``A``; or
        ``"auto"``, all columns that have a value. To find these, columns without a value are read to their end; an array
        saves that.
    u
        Whether the left factor is wanted: it costs one more pass (along columns none).
    out
        Folder of a zarr group for the result, with ``U`` in chunks; needed where ``U`` exceeds memory.
    overwrite
        Replace an existing ``out`` once the new result is whole.
    seed
        Of the random blocks; equal plan and seed give equal bits on every scheduler.
    max_passes
        Most passes of the loop.
    certify
        ``"bounds"``: proved intervals, which also decide when to stop. ``"estimate"``: up to a pass
        cheaper, and nothing is proved.
    target
        What is to be proved. ``"values"``: every interval within ``tol``. ``"error"``: an error
        ``||A - A Vh* Vh||_F`` of at most ``1 + excess_tol`` times the best of the rank. ``"auto"``: the first where it can
        be reached in a few passes, else the second; `Info.criterion` says which held, and
        `Certificate.resolved` which values are known to ``tol``.
    excess_tol
        Excess over the best error that is good enough; 0 asks for values alone.
    delta
        Probability that an upper bound may fail, over the probes.
    device
        ``"cpu"`` or ``"cuda"``.
    precision
        Of products: ``"auto"`` multiplies float32 data in float32 where its rounding, which is measured,
        leaves the tolerance; ``"single"``, ``"double"``.
    route
        ``"krylov"`` or ``"gram"`` to restrict the choice; left out, the plan chooses, and the run goes over from the first
        to the second when the passes still expected cost more.
    plan
        A plan made before for the same matrix, to be run as it is. Every option that `plan_svd` has is the plan's; one
        that is passed here too must be the same (None is left out, but for weights and mask). Only ``overwrite``, ``seed``, ``delta``, ``save_seconds``,
        ``callback``, and the places ``out`` and ``checkpoint`` belong to the run; a checkpoint takes memory, and must be planned.
    checkpoint, save_seconds
        Folder, or URL of an object store, where what passes found is saved now and then, at least so many seconds apart, so that
        a run that was killed goes on from there, to the same bits. It is removed at the end. Pass ``memory`` too: what is free may
        be another plan the next time, and that is refused. The pass that makes the other factor is not saved: it is made again.
    callback
        Receives progress events.

    Returns
    -------
    result
        Factors, certificate and record of the run.

    Raises
    ------
    NotConverged
        If what was asked is not proved after ``max_passes``; it carries the partial result, and ``out`` holds it.
    NonFiniteError
        If there is an Inf, or a NaN that the policy does not allow; it names row, column and chunk.
    BudgetError, SpecError, ShapeError, StoreError
        Before any long work.

    Notes
    -----
    Cost: for a decaying spectrum a sample of at most a fifth of a pass and two passes to 1e-3, three to
    1e-6; one pass on the Gram path. Memory as `plan_svd` says.

    References
    ----------
    .. [1] Musco, Musco, NeurIPS (2015), Algorithm 2 (block Krylov iteration).
    .. [2] Tropp, Webber, arXiv:2306.12418 (2023) (randomized block Krylov, Nyström extraction).
    .. [3] Patterson, Price, Reich, PLoS Genetics 2 (2006) (equation 3: the scale of a count of alleles).
    """
    whole = as_source(A)
    options = SVDOptions.of(
        rank=rank, energy=energy, tol=tol, memory=memory, center=center, scale=scale,
        row_weights=row_weight_array(whole, row_weights), column_weights=column_weight_array(whole, column_weights),
        nonfinite=nonfinite, mask=mask, u=u, out=out,
        max_passes=max_passes, certify=certify, target=target, excess_tol=excess_tol, device=device, precision=precision,
        route=route, checkpoint=checkpoint, seed=seed, delta=delta,
    )  # fmt: skip
    return factorise(
        SVD, whole, options, read=(row_weights, column_weights), overwrite=overwrite, plan=plan, save_seconds=save_seconds,
        callback=callback,
    )  # fmt: skip
