"""The public verbs `plan_svd`, `svd` and `pca`: check, plan, run, keep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.certificate import Kind
from streamsvd.drivers.opening import open as open_matrix
from streamsvd.drivers.problem import Options, check_options
from streamsvd.drivers.svd import Factorisation, Look, Settings
from streamsvd.engine.events import Callback, Committed, ignore
from streamsvd.engine.execute import dense_threads
from streamsvd.engine.memory import parse_bytes
from streamsvd.engine.plan import Plan, Rates, Request, default_budget, make_plan
from streamsvd.errors import NotConverged, ShapeError, SpecError
from streamsvd.protocols import Source
from streamsvd.result import PCA, SVD, Status
from streamsvd.store.result import ResultWriter, load_u
from streamsvd.typing import Real

SEARCH_RANK = 1000
"""Most triplets where the rank is to be found from an energy."""

Weights = Sequence[float] | Real | None


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
    u: bool = False,
    out: str | os.PathLike[str] | None = None,
    max_passes: int = 12,
    certify: str = "bounds",
    device: str = "cpu",
    precision: str = "auto",
    axis: str | None = None,
    route: str | None = None,
    rates: Rates | None = None,
) -> Plan:
    """What `svd` would do with these arguments, and what it would cost; reads no data.

    Parameters
    ----------
    A
        The matrix, or anything `streamsvd.open` takes.
    axis, route
        Restrict the choice to ``"rows"`` or ``"columns"``, to ``"krylov"`` or ``"gram"``.
    rates
        Speeds of this machine for the times; typical ones if left out.
    rank, energy, tol, memory, center, scale, row_weights, column_weights, nonfinite, u, out, max_passes, \
certify, device, precision
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
    source = as_source(A)
    check_options(
        source,
        center=center,
        scale=scale,
        row_weights=row_weights,
        column_weights=column_weights,
        nonfinite=nonfinite,
    )
    request = _request(
        source,
        rank=rank,
        energy=energy,
        tol=tol,
        transform=center,
        masked=nonfinite != "raise" or row_weights is not None,
        u=u,
        out=out,
        max_passes=max_passes,
        certify=certify,
        precision=precision,
    )
    if axis not in (None, "rows", "columns"):
        raise SpecError(f'axis={axis!r} is unknown. Pass "rows", "columns" or nothing.')
    if route not in (None, "krylov", "gram"):
        raise SpecError(f'route={route!r} is unknown. Pass "krylov", "gram" or nothing.')
    budget = default_budget() if memory is None else parse_bytes(memory)
    return make_plan(
        source,
        request,
        budget=budget,
        device=device,
        rates=rates,
        axis=axis,  # type: ignore[arg-type]  # checked above
        route=route,  # type: ignore[arg-type]
    )


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
    u: bool = False,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    max_passes: int = 12,
    certify: str = "bounds",
    delta: float = 1e-6,
    device: str = "cpu",
    precision: str = "auto",
    plan: Plan | None = None,
    callback: Callback = ignore,
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
        Not negative, ``(m,)`` and ``(n,)``: rows times the root of the first, columns times the second.
    nonfinite
        What a NaN means: ``"raise"``; ``"zero"``; ``"mean"`` of its column; ``"drop_columns"`` that have
        one. Inf is always an error.
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
    delta
        Probability that an upper bound may fail, over the probes.
    device
        ``"cpu"`` or ``"cuda"``.
    precision
        Of products: ``"auto"`` multiplies float32 data in float32 where its rounding, which is measured,
        leaves the tolerance; ``"single"``, ``"double"``.
    plan
        A plan made before for the same matrix and request, to be run as it is.
    callback
        Receives progress events.

    Returns
    -------
    result
        Factors, certificate and record of the run.

    Raises
    ------
    NotConverged
        If the certificate misses the tolerance after ``max_passes``; it carries the partial result, and
        ``out`` holds it.
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
    source = as_source(A)
    options = check_options(
        source,
        center=center,
        scale=scale,
        row_weights=row_weights,
        column_weights=column_weights,
        nonfinite=nonfinite,
    )
    if not 0 < delta < 1:
        raise SpecError(f"delta={delta} is no probability of failure. Pass one in (0, 1), such as 1e-6.")
    if not 0 <= seed < 2**64:
        raise SpecError(f"seed={seed} is out of range. Pass an integer from 0 to 2**64 - 1.")
    if plan is None:
        plan = plan_svd(
            source,
            rank,
            energy=energy,
            tol=tol,
            memory=memory,
            center=center,
            scale=scale,
            row_weights=row_weights,
            column_weights=column_weights,
            nonfinite=nonfinite,
            u=u,
            out=out,
            max_passes=max_passes,
            certify=certify,
            device=device,
            precision=precision,
        )
    elif plan.shape != source.shape or plan.dtype != str(source.dtype):
        raise SpecError(
            f"the plan is for {plan.shape} {plan.dtype}, the matrix is {source.shape} {source.dtype}. "
            "Make a plan for this matrix."
        )
    settings = Settings(
        rank=plan.request.rank,
        energy=_target(plan.request, energy, tol),
        tol=plan.request.tol,
        delta=delta,
        kind=Kind.BOUNDS if plan.request.bounds else Kind.ESTIMATE,
        max_passes=max_passes,
        seed=seed,
    )
    writer = None if out is None else ResultWriter(Path(out), overwrite=overwrite)
    run = Factorisation(source, plan, options, settings, callback)
    with dense_threads(plan.layout.width):
        return _run(run, writer, u=u, callback=callback)


def pca(A: Any, rank: int | None = None, **options: Any) -> PCA:
    """Principal components of a stored matrix: `svd` of its columns less their means.

    Parameters
    ----------
    A
        Observations in rows, ``(m, n)``, or anything `streamsvd.open` takes.
    rank
        Components wanted; or ``energy=0.99`` for that share of the variance.
    options
        As in `svd`; ``scale=True`` standardises.

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
    if options.pop("center", True) is not True:
        raise SpecError("pca always centres; center=False is not possible. Use svd.")
    try:
        return as_pca(svd(A, rank, center=True, **options))
    except NotConverged as error:
        assert isinstance(error.result, SVD)
        raise NotConverged(error.message, as_pca(error.result)) from None


def as_pca(result: SVD) -> PCA:
    """The same factorisation in the words of statistics."""
    freedom = max(result.info.n_rows - 1, 1)
    variance = result.s**2 / freedom
    total = result.certificate.energy / freedom
    ratio = variance / total if total > 0 else np.zeros_like(variance)
    return PCA(result.Vh, variance, ratio, result)


def as_source(A: Any) -> Source:
    """A source, opened if it is not one yet."""
    return A if isinstance(A, Source) and hasattr(A, "locate") else open_matrix(A)


def _run(run: Factorisation, writer: ResultWriter | None, *, u: bool, callback: Callback) -> SVD:
    """The loop, then the factors, kept where asked; an interrupt keeps the last whole look."""
    look: Look | None = None
    try:
        for look in run.looks():
            if look.done:
                break
        assert look is not None
        sink = None
        if u and writer is not None:
            sink = writer.sink(run.source.shape[0], look.rank, run.layout, run.prep)
        s, Vh, U, certificate = run.factors(look, sink=sink, want_u=u)
    except KeyboardInterrupt:
        if writer is not None and run.best is not None and run.layout.axis == "rows":
            s, Vh, _, certificate = run.factors(run.best, sink=None, want_u=False)
            _keep(run, writer, _result(run, s, Vh, None, certificate, Status.INTERRUPTED), callback)
        elif writer is not None:
            writer.discard()
        raise
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    status = Status.CONVERGED if look.done else Status.NOT_CONVERGED
    result = _result(run, s, Vh, U, certificate, status)
    if writer is not None:
        result = _keep(run, writer, result, callback)
    if status is Status.NOT_CONVERGED:
        raise NotConverged(_shortfall(run, result), result)
    return result


def _result(
    run: Factorisation, s: Any, Vh: Any, U: Any, certificate: Any, status: Status
) -> SVD:
    mean, scale = _transforms(run)
    return SVD(s, Vh, U, mean, scale, certificate, run.info(status))


def _transforms(run: Factorisation) -> tuple[Any, Any]:
    assert run.stats is not None
    mean = run.stats.mean if run.options.center else None
    scale = run.stats.deviation if run.options.scale else None
    return mean, scale


def _keep(run: Factorisation, writer: ResultWriter, result: SVD, callback: Callback) -> SVD:
    path = writer.commit(result, options=asdict(run.options), source=run.source.name)
    callback(Committed(str(path)))
    return replace(result, U=load_u(path)) if writer.has_u else result


def _shortfall(run: Factorisation, result: SVD) -> str:
    c, info = result.certificate, result.info
    asked = f"every interval within {run.settings.tol:g}"
    found = f"the widest is {c.relative_width:.2g}"
    if run.settings.energy is not None:
        asked += f" and {run.settings.energy:.6g} of the energy"
        found += f", {c.captured:.6g} of the energy is held at rank {result.rank}"
    return (
        f"{asked} was asked; after {info.passes:.3g} passes {found}. {Status.NOT_CONVERGED.advice} "
        "The result so far is in the exception's .result."
    )


def _target(request: Request, energy: float | None, tol: float | None) -> float | None:
    if not request.searching:
        return None
    if energy is not None:
        return energy
    assert tol is not None
    return 1 - tol * tol


def _request(
    source: Source,
    *,
    rank: int | None,
    energy: float | None,
    tol: float | None,
    transform: bool,
    masked: bool,
    u: bool,
    out: Any,
    max_passes: int,
    certify: str,
    precision: str,
) -> Request:
    smallest = min(source.shape)
    if rank is None and energy is None and tol is None:
        raise SpecError("nothing says how much is wanted. Pass rank=, energy= or tol=.")
    if rank is not None and energy is not None:
        raise SpecError(f"rank={rank} and energy={energy} exclude each other. Pass one of them.")
    if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int | np.integer)):
        raise SpecError(f"rank={rank!r} is not an integer. Pass the number of triplets wanted.")
    if rank is not None and not 1 <= rank <= smallest:
        what = "below 1" if rank < 1 else f"more than the {smallest} singular values of A"
        raise ShapeError(
            f"rank={rank} is {what}, of shape {source.shape[0]:,} x {source.shape[1]:,}. "
            f"Pass 1 <= rank <= {smallest}."
        )
    if energy is not None and not 0 < energy <= 1:
        raise SpecError(f"energy={energy} is no share of the energy. Pass one in (0, 1], such as 0.99.")
    if tol is not None and not 1e-12 <= tol < 1:
        raise SpecError(f"tol={tol} is out of range. Pass a relative width in [1e-12, 1), such as 1e-3.")
    if max_passes < 1:
        raise SpecError(f"max_passes={max_passes} leaves nothing to do. Pass at least 1.")
    if certify not in ("bounds", "estimate"):
        raise SpecError(f'certify={certify!r} is unknown. Pass "bounds" or "estimate".')
    if precision not in ("auto", "single", "double"):
        raise SpecError(f'precision={precision!r} is unknown. Pass "auto", "single" or "double".')
    return Request(
        rank=int(rank) if rank is not None else min(smallest, SEARCH_RANK),
        searching=rank is None,
        tol=1e-3 if tol is None else float(tol),
        transform=transform,
        masked=masked,
        u=u,
        u_in_memory=out is None,
        bounds=certify == "bounds",
        max_passes=max_passes,
        precision=precision,
    )


