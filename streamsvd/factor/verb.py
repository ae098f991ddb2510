"""The public verbs `plan_svd`, `svd` and `pca`: check, plan, run, keep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from streamsvd.checks.paths import local_path
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.columns import View, is_kept, kept_source, mask_of, select_columns
from streamsvd.engine.device import thread_backend
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.saves import (
    SAVE_SECONDS,
    Saves,
    check_saves,
    check_seconds,
    open_saves,
    try_saves,
)
from streamsvd.engine.schedule import Schedule
from streamsvd.errors import NotConverged, ShapeError, SpecError
from streamsvd.factor.candidates import Speeds
from streamsvd.factor.factors import Factors, compute_factors
from streamsvd.factor.iteration import Iteration
from streamsvd.factor.options import DELTA, MAX_PASSES, SVDOptions
from streamsvd.factor.plan import Plan, make_plan
from streamsvd.factor.plan_options import runs_plan
from streamsvd.factor.problem import matrix_options
from streamsvd.factor.result import PCA, SVD
from streamsvd.factor.session import SAVED_KINDS, Session
from streamsvd.factor.shortfall import shortfall
from streamsvd.info import Status
from streamsvd.numerics.blocks import Axis
from streamsvd.numerics.columns import Columns
from streamsvd.options import EXCESS_TOL
from streamsvd.protocols import Source
from streamsvd.store.writing.shield import defer_interrupts
from streamsvd.typing import Real

if TYPE_CHECKING:
    from streamsvd.store.results.writer import ResultWriter


Weights = Sequence[float] | Real | None
F = TypeVar("F", bound=SVD)


def plan_svd(
    A: Any,
    rank: int | None = None,
    *,
    energy: float | None = None,
    tol: float | None = None,
    memory: int | str | None = None,
    center: bool = False,
    scale: bool = False,
    row_weights: Weights = None,
    column_weights: Weights = None,
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
    options = SVDOptions.of(
        rank=rank, energy=energy, tol=tol, memory=memory, center=center, scale=scale, row_weights=row_weights,
        column_weights=column_weights, nonfinite=nonfinite, mask=mask, u=u, out=out, max_passes=max_passes, certify=certify,
        target=target, excess_tol=excess_tol, device=device, precision=precision, route=route, checkpoint=checkpoint,
    )  # fmt: skip
    whole = as_source(A)
    if checkpoint is not None:
        from streamsvd.store.writing.separation import mask_places  # imports zarr

        check_saves(checkpoint, whole, row_weights, column_weights, mask_places(whole, mask))
    view = planned_view(whole, mask)
    if view.columns is not None:  # weights are of all columns
        matrix_options(view.whole, options, options.column_weights)
    if axis not in (None, "rows", "columns"):
        raise SpecError(f'axis={axis!r} is unknown. Pass "rows", "columns" or nothing.')
    return _plan_view(view, options, axis=axis, rates=rates)  # type: ignore[arg-type]  # checked above


def plan_pca(
    A: Any,
    rank: int | None = None,
    *,
    energy: float | None = None,
    tol: float | None = None,
    memory: int | str | None = None,
    center: bool = True,
    scale: bool = False,
    row_weights: Weights = None,
    column_weights: Weights = None,
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


def _plan_view(
    view: View, options: SVDOptions, *, axis: Axis | None = None, rates: Speeds | None = None
) -> Plan:
    """The plan for the columns that are kept."""
    source = view.source
    matrix = matrix_options(source, options, view.take(options.column_weights))
    options.check_shape(source.shape)
    if options.device != "cpu":
        thread_backend(options.device)  # says at once whether it answers
    return make_plan(source, options, matrix, axis=axis, rates=rates)


def planned_view(source: Source, mask: Any) -> View:
    """The matrix as far as it is known without reading it."""
    if mask is None or is_kept(source) or (kept := mask_of(source, mask)) is None or kept.all():
        return View(source, source, None, 0, False)
    columns = Columns.of(kept)
    return View(kept_source(source, columns), source, columns, 0, False)


@runs_plan()
def svd(
    A: Any,
    rank: int | None = None,
    *,
    energy: float | None = None,
    tol: float | None = None,
    memory: int | str | None = None,
    center: bool = False,
    scale: bool = False,
    row_weights: Weights = None,
    column_weights: Weights = None,
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
        Subtract the mean of each column; divide by its standard deviation. The data are not changed.
    row_weights, column_weights
        Not negative, ``(m,)`` and ``(n,)``: rows times the root of the first, columns times the second. What has weight
        0 is not there: never looked at, whatever stands in it, and zero in the factors.
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
    """
    whole = as_source(A)
    options = SVDOptions.of(
        rank=rank, energy=energy, tol=tol, memory=memory, center=center, scale=scale, row_weights=row_weights,
        column_weights=column_weights, nonfinite=nonfinite, mask=mask, u=u, out=out, max_passes=max_passes, certify=certify,
        target=target, excess_tol=excess_tol, device=device, precision=precision, route=route, checkpoint=checkpoint,
        seed=seed, delta=delta,
    )  # fmt: skip
    return _factorise(
        SVD, whole, options, read=(row_weights, column_weights), overwrite=overwrite, plan=plan, save_seconds=save_seconds,
        callback=callback,
    )  # fmt: skip


def _factorise(
    form: type[F],
    whole: Source,
    options: SVDOptions,
    *,
    read: tuple[Any, ...],
    overwrite: bool,
    plan: Plan | None,
    save_seconds: float,
    callback: Callback,
) -> F:
    """A factorisation in this form: what `svd` and `pca` share; ``read`` is what was read beside the matrix."""
    mask, nonfinite, checkpoint = options.mask, options.nonfinite, options.checkpoint
    # what cannot be is refused before the look
    counted = matrix_options(whole, options, options.column_weights).support
    check_seconds(save_seconds)
    if plan is None:
        options.check_shape(whole.shape)
    place = None if options.out is None else local_path(options.out, "out")
    if place is not None or checkpoint is not None:
        # these two import zarr, which a matrix in a file of numpy never needs
        from streamsvd.store.results.writer import ResultWriter
        from streamsvd.store.writing.separation import check_apart, mask_places

        read = (whole, *read, mask_places(whole, mask))
        if place is not None:
            check_apart(place, *read)
            if nonfinite != "raise" or mask is not None:  # there is a look
                ResultWriter(place, overwrite=overwrite).discard()
        try_saves(checkpoint, *read, place)
    view = select_columns(
        whole, mask, tolerant=nonfinite != "raise", notify=callback, counted=counted
    )
    source = view.source
    if plan is None:
        plan = _plan_view(view, options)
    elif plan.dtype != str(source.dtype) or plan.shape not in {source.shape, *view.shapes_before}:
        raise SpecError(
            f"the plan is for {plan.shape} {plan.dtype}, the matrix is {source.shape} {source.dtype}. "
            "Make a plan for this matrix."
        )
    elif plan.shape != source.shape:  # it was made before the look
        plan = _plan_remaining_columns(plan, view)
    matrix = matrix_options(source, options, view.take(options.column_weights))
    writer = None if place is None else ResultWriter(place, overwrite=overwrite)
    session = Session(source, plan, matrix, options, callback, view=view, form=form)
    session.sampled_bytes += view.look_bytes
    session.run.saves = _saves_of(session, save_seconds)
    with dense_threads(plan.layout.width), view.naming():
        found = _run(session, writer, u=options.u)
    assert isinstance(found, form)
    return found


def _saves_of(session: Session, seconds: float) -> Saves | None:
    """Saves of a run: of its options, and of all in its plan that decides what is multiplied."""
    plan, other, options = session.plan, session.plan.fallback, session.options
    cut = Schedule(
        session.source, plan.layout, plan.workers, plan.prefetch, plan.projected_bytes, plan.task_bytes
    )  # fmt: skip
    way = f"{plan.route} along {plan.layout.axis}"
    if other is not None:
        way += (
            f", or {other.route} along {other.layout.axis} in spans of {other.layout.spans[0][1]}"
        )
    return open_saves(
        options.checkpoint, "svd", cut, options, seconds=seconds, kinds=SAVED_KINDS, device=options.device,
        way=way, block=plan.block, probes=plan.probes, basis=plan.basis, pins=plan.pins, sample=plan.sample_rows,
        tile=plan.layout.tile,
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
    scale: bool = False,
    row_weights: Weights = None,
    column_weights: Weights = None,
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
        Standardise: divide each column by its standard deviation.
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
        rank=rank, energy=energy, tol=tol, memory=memory, center=True, scale=scale, row_weights=row_weights,
        column_weights=column_weights, nonfinite=nonfinite, mask=mask, u=u, out=out, max_passes=max_passes, certify=certify,
        target=target, excess_tol=excess_tol, device=device, precision=precision, route=route, checkpoint=checkpoint,
        seed=seed, delta=delta,
    )  # fmt: skip
    return _factorise(
        PCA, whole, options, read=(row_weights, column_weights), overwrite=overwrite, plan=plan, save_seconds=save_seconds,
        callback=callback,
    )  # fmt: skip


def _check_centred(center: bool) -> None:
    if center is not True:
        raise SpecError("pca always centres; center=False is not possible. Use svd.")


def _plan_remaining_columns(plan: Plan, view: View) -> Plan:
    """A plan that was made for all columns, for those that are left."""
    options, source = plan.options, view.source
    most = min(source.shape)
    if options.rank is not None and options.rank > most:
        raise ShapeError(
            f"rank={options.rank} exceeds the {source.shape[1]:,} columns of {source.name} that have values, or its "
            f"{source.shape[0]:,} rows. Make a plan for a rank of at most {most}."
        )
    matrix = matrix_options(source, options, view.take(options.column_weights))
    return make_plan(source, options, matrix, axis=plan.layout.axis)


def _run(session: Session, writer: ResultWriter | None, *, u: bool) -> SVD:
    """The loop, then the factors, kept where asked; an interrupt keeps the last whole look."""
    loop = Iteration(session)
    try:
        look = loop.run()
        sink = None
        if u and writer is not None:
            sink = writer.sink(
                session.source.shape[0], look.rank, session.plan.layout, loop.known_terms.prep
            )
        made = compute_factors(session, loop.known_terms, look, sink=sink, want_u=u)
        status = Status.NOT_CONVERGED if loop.criterion is None else Status.CONVERGED
        result = _result(session, loop, made, status)
        if writer is not None:
            result = _keep(session, writer, result)
    except KeyboardInterrupt:
        with defer_interrupts():  # a second one waits until what the first has left is in order
            session.run.halt()
            if writer is not None and not writer.committed:
                if session.run.saves is not None:  # the same call goes on, and will want the place
                    writer.discard()
                else:
                    _keep_interrupted(loop, writer)
        raise
    except BaseException:
        with defer_interrupts():
            if writer is not None:
                writer.discard()
        raise
    if session.run.saves is not None:
        session.run.saves.clear()
    if status is Status.NOT_CONVERGED:
        raise NotConverged(shortfall(loop, result), result)
    return result


def _keep_interrupted(loop: Iteration, writer: ResultWriter) -> None:
    """The last whole look at ``out``; along columns it has no right factor yet, and nothing is kept."""
    if (
        loop.last is None
        or loop.known_terms.stats is None
        or loop.session.plan.layout.axis == "columns"
    ):
        writer.discard()
        return
    try:
        writer.drop_u()
        made = compute_factors(loop.session, loop.known_terms, loop.last, sink=None, want_u=False)
        _keep(loop.session, writer, _result(loop.session, loop, made, Status.INTERRUPTED))
    except BaseException:
        writer.discard()
        raise


def _result(session: Session, loop: Iteration, made: Factors, status: Status) -> SVD:
    terms = loop.known_terms
    mean = terms.known_stats.mean if session.matrix.center else None
    scale = terms.known_stats.deviation if session.matrix.scale else None
    criterion = "" if loop.criterion is None else loop.criterion.value
    info = session.info(status, terms, criterion)
    spread = session.view.spread if session.view is not None else _as_it_is
    return session.form(
        s=made.s,
        Vh=spread(made.Vh),
        U=made.U,
        mean=spread(mean),
        scale=spread(scale),
        certificate=made.certificate,
        info=info,
        options=_asked_of(session),
        preparation=_preparation_of(session),
    )


def _asked_of(session: Session) -> SVDOptions:
    """The record of what was asked, its mask as booleans over all columns."""
    options, view = session.options, session.view
    if view is None or options.mask is None or isinstance(options.mask, str):
        return options
    return replace(options, mask=mask_of(view.whole, options.mask))


def _preparation_of(session: Session) -> dict[str, Any]:
    """What was done to the matrix, in terms of all its columns."""
    view = session.view
    options = {f.name: getattr(session.matrix, f.name) for f in fields(session.matrix)}
    if view is not None and view.columns is not None:
        options["column_weights"] = view.spread(options["column_weights"], 0.0)
        options["columns"] = view.columns.marks
    return {name: value for name, value in options.items() if value is not None}


def _as_it_is(values: Any) -> Any:
    return values


def _keep(session: Session, writer: ResultWriter, result: SVD) -> SVD:
    with (
        defer_interrupts()
    ):  # whoever is told of an interrupt is told first that the result is there
        path = writer.commit(result, source=session.source.name)
        session.notify(ResultWritten(str(path)))
    from streamsvd.store.results.lazy import lazy_array

    return replace(result, U=lazy_array(path, "U")) if writer.has_u else result
