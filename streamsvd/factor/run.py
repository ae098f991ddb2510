"""A factorisation from options to result, which `svd` and `pca` share: check, look, plan, run, keep."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from streamsvd.checks.paths import place_of
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.columns import mask_of, select_columns
from streamsvd.engine.dask_source import DaskSource, uniform_rows
from streamsvd.engine.events import Callback, ResultWritten
from streamsvd.engine.saves import Saves, check_seconds, open_saves, try_saves
from streamsvd.engine.schedule import Schedule
from streamsvd.engine.steps import step_records
from streamsvd.engine.transforms import climatology_of
from streamsvd.errors import NotConverged, SpecError
from streamsvd.factor.factors import Factors, compute_factors
from streamsvd.factor.iteration import Iteration
from streamsvd.factor.options import SVDOptions
from streamsvd.factor.plan import Plan
from streamsvd.factor.planning import plan_remaining_columns, plan_view
from streamsvd.factor.problem import matrix_options
from streamsvd.factor.result import PCA, SVD, range_warnings
from streamsvd.factor.session import SAVED_KINDS, Session
from streamsvd.factor.shortfall import shortfall
from streamsvd.factor.terms import Terms
from streamsvd.info import Status
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.writing.shield import defer_interrupts

if TYPE_CHECKING:
    from streamsvd.store.results.writer import ResultWriter


F = TypeVar("F", bound=SVD)


def factorise(
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
    place = None if options.out is None else place_of(options.out, "out")
    if place is not None or checkpoint is not None:
        # these two import zarr, which a matrix in a file of numpy never needs
        from streamsvd.store.results.writer import ResultWriter
        from streamsvd.store.writing.separation import check_apart, mask_places

        read = (whole, *(mask_places(whole, each) for each in (*read, mask)))
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
        plan = plan_view(view, options)
    elif plan.dtype != str(source.dtype) or plan.shape not in {source.shape, *view.shapes_before}:
        raise SpecError(
            f"the plan is for {plan.shape} {plan.dtype}, the matrix is {source.shape} {source.dtype}. "
            "Make a plan for this matrix."
        )
    elif plan.shape != source.shape:  # it was made before the look
        plan = plan_remaining_columns(plan, view)
    if place is not None and options.u and isinstance(source, DaskSource):
        source = uniform_rows(source)  # what a task writes of U is whole chunks
    matrix = matrix_options(source, options, view.take(options.column_weights))
    writer = None if place is None else ResultWriter(place, overwrite=overwrite)
    session = Session(source, plan, matrix, options, callback, view=view, form=form)
    session.sampled_bytes += view.look_bytes
    session.run.saves = _saves_of(session, save_seconds)
    try:
        with dense_threads(plan.layout.width), view.naming():
            found = _run(session, writer)
    finally:
        session.release_cache()
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


def _run(session: Session, writer: ResultWriter | None) -> SVD:
    """The loop, then the factors, kept where asked; an interrupt keeps the last whole look."""
    loop, u = Iteration(session), session.options.u
    try:
        look = loop.run()
        sink = None
        if u and writer is not None:
            sink = writer.sink(
                session.source.shape[0], look.rank, session.reader, loop.known_terms.prep
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
    scale = terms.known_stats.divisor if session.matrix.scale else None
    criterion = "" if loop.criterion is None else loop.criterion.value
    info = session.info(status, terms, criterion)
    said = range_warnings(made.certificate, info.freedom, principal=session.form is PCA)
    info = replace(info, warnings=(*info.warnings, *said))
    view = session.view
    whole = session.source if view is None else view.whole
    spread = view.spread if view is not None else _as_it_is
    return session.form(
        s=made.s,
        Vh=spread(made.Vh),
        U=made.U,
        mean=spread(mean),
        scale=spread(scale),
        certificate=made.certificate,
        info=info,
        options=_asked_of(session),
        preparation=_preparation_of(session, terms),
        labels=source_labels(whole),
        climatology=climatology_of(whole),
        row_steps=step_records(whole),
    )


def _asked_of(session: Session) -> SVDOptions:
    """The record of what was asked, its mask as booleans over all columns."""
    options, view = session.options, session.view
    if view is None or options.mask is None or isinstance(options.mask, str):
        return options
    return replace(options, mask=mask_of(view.whole, options.mask))


def _preparation_of(session: Session, terms: Terms) -> dict[str, Any]:
    """What was done to the matrix, in terms of all its columns; with the means that filled it, where they are no field."""
    view = session.view
    options = {f.name: getattr(session.matrix, f.name) for f in fields(session.matrix)}
    if session.matrix.nonfinite == "mean" and not session.matrix.center:
        mean = terms.known_stats.mean
        options["means"] = mean if view is None else view.spread(mean)
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
