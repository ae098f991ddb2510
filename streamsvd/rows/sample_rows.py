"""The verb ``sample_rows``: rows that stand for a tall matrix, and how well, proved from its triangle."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from streamsvd.checks.real import check_real
from streamsvd.engine.columns import (
    View,
    over_columns_with_values,
    plan_over_columns,
    with_columns,
)
from streamsvd.engine.device import NumpyBackend
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import Run, running
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.saves import SAVE_SECONDS, check_saves, open_saves, try_saves
from streamsvd.engine.schedule import Schedule, allowed_bytes, schedule_rows
from streamsvd.engine.triangle_pass import TrianglePass
from streamsvd.errors import BudgetError, SpecError
from streamsvd.info import Info
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.numerics.triangle import (
    Tower,
    Triangle,
    block_height,
    join_triangles,
    reduce_block,
    tower_bytes,
)
from streamsvd.protocols import Source
from streamsvd.rows.mathematics import (
    EPSILON,
    Draw,
    DrawnSample,
    Online,
    RowSpace,
    distortion_bounds,
    total,
)
from streamsvd.rows.mathematics.draw import DrawnRows
from streamsvd.rows.options import Kind, SampleMethod, SampleOptions
from streamsvd.rows.passes import DrawPass
from streamsvd.store.results.saving import LabelledResult
from streamsvd.typing import Matrix, Real

ONLINE_RIDGE = 1e-7
"""Ridge of the online scores, as a share of the energy that the first rows promise, where none is given."""


@dataclass(frozen=True, slots=True)
class SampleCertificate:
    """What is proved of a sample: ``(1 - lower) |A x|^2 <= |S A x|^2 <= (1 + upper) |A x|^2`` for every x.

    Attributes
    ----------
    lower, upper
        The two distortions, rounding included; negative where every ratio is beyond 1, or below. A lower of 1 says that the
        sample misses a direction.
    gamma
        Ridge that both sides have: ``gamma |x|^2`` is added to ``|A x|^2`` and to ``|S A x|^2``; 0 without one.
    rank
        Directions of the row space for which this holds: all, if it is the number of columns.
    """

    lower: float
    upper: float
    gamma: float
    rank: int


@dataclass(frozen=True, slots=True, eq=False)
class RowSample(LabelledResult):
    """Rows of a matrix that stand for all, each at most once.

    Attributes
    ----------
    indices, rows
        Numbers of the rows, ascending, and the rows as they are, ``(k, n)``.
    weights
        ``1 / chances``: how many rows each stands for. ``sqrt(weights) * rows`` is S A; for p norms it is ``weights**(1/p)``.
    chances, scores
        Of each, to be kept, and what the chance was made of.
    dimension
        Sum of the scores of all rows: the rank, for leverage in two passes.
    certificate
        What is proved.
    options, chosen_options, info
        What was asked, with what was chosen where nothing was; which of ``oversampling`` and ``gamma`` were chosen; and how
        it came about. The oversampling that a size came to is infinite where all rows were kept.
    labels
        What the matrix says of its columns, and of the rows that were taken: dimensions, coordinates, names, units.
    """

    indices: npt.NDArray[np.int64]
    rows: Matrix
    weights: Real
    chances: Real
    scores: Real
    dimension: float
    certificate: SampleCertificate
    options: SampleOptions
    oversampling: float
    chosen_options: tuple[str, ...]
    info: Info
    labels: Labels = NO_LABELS

    def __repr__(self) -> str:
        c = self.certificate
        return (
            f"<RowSample: {self.indices.size:,} of {self.info.n_rows:,} rows, |S A x|^2 within -{c.lower:.3g} .. +{c.upper:.3g} of "
            f"|A x|^2, {self.info.cost}>"
        )

    def with_labels(self, labels: Labels) -> Self:
        """The same with the labels of the matrix that it was made of."""
        return replace(self, labels=labels.take_rows(self.indices))


def _put_back(found: RowSample, view: View) -> RowSample:
    return replace(found, rows=view.spread(found.rows), info=with_columns(found.info, view))


@over_columns_with_values(_put_back)
def sample_rows(
    A: Any,
    size: int | None = None,
    *,
    scores: Kind = "leverage",
    oversampling: float | None = None,
    gamma: float | None = None,
    p: float = 2.0,
    method: SampleMethod = "two-pass",
    mask: Any = None,
    nonfinite: str = "raise",
    memory: int | float | str | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> RowSample:
    """Rows of a tall matrix that stand for all, drawn by how much each matters, with the distortion proved.

    Parameters
    ----------
    A
        A matrix as `svd` takes it.
    size
        Most rows to keep.
    scores
        ``"leverage"``; ``"ridge"``, leverage in ``[A; sqrt(gamma) I]``; ``"root-leverage"``, ``tau^(p/2)``, for norms of
        ``1 <= p < 2``; or ``"sensitivity"``, upper bounds for any ``p >= 1``.
    oversampling
        Instead of a size: a row is kept with chance ``min(1, oversampling * score)``. Without either it is ``8 ln(n)``, and
        ``8 ln(n) / eps^2`` with ``eps = 1/2`` online, as the theorem asks.
    gamma
        Ridge of ``"ridge"``, and of the online scores, where it is how fine the sample is to be; there ``1e-7`` of the energy
        that the first rows promise if left out.
    p
        The norm that ``"root-leverage"`` and ``"sensitivity"`` are for.
    method
        ``"two-pass"``: exact scores. ``"online"``: one pass, every decision final, more rows.
    mask
        Columns to keep, as in `streamsvd.svd`; the others are not looked at, and NaN in the rows kept.
    nonfinite
        What a NaN is: ``"raise"``, an error that names it; ``"zero"``; ``"mean"`` of its column, or ``"drop_columns"``, which leaves
        out the columns that have any; these two take one more pass, before the others. Inf is always an error.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the sampling: it and a row's number and score decide whether it is kept.
    checkpoint, save_seconds
        Folder, or URL of an object store, where finished parts are saved now and then, at least so many seconds apart, so that a
        run that was killed goes on from there, to the same bits. It is removed at the end.
    callback
        Receives events.

    Returns
    -------
    RowSample
        Its certificate is of the 2-norm whatever the scores; what holds in a p norm is the theory's, in probability.

    Raises
    ------
    SpecError
        If an option cannot be meant, the matrix is complex, or its entries have squares that float64 does not hold.
    NonFiniteError
        If an entry is NaN or Inf; it names row and column.
    BudgetError
        If scores and sample do not fit in the memory: before reading, with the smallest that works; online, where the number of
        rows is not known, also when it outgrows what was planned.

    Notes
    -----
    Cost: two passes, or one online; ``4 m n^2`` flops for each. Memory: ``8 n^2 log2(m / 2n)`` bytes a task for triangles,
    and the rows kept. The row space is numerical (`streamsvd.rows.mathematics.space`); rows of zeros are never kept.

    References
    ----------
    Drineas, Mahoney (2006 on); Cohen, Musco, Pachocki (2016), online; Woodruff, Yasuda (2023), p norms.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> A = np.random.default_rng(0).standard_normal((5000, 10))
    >>> found = streamsvd.sample_rows(A, 400)
    >>> found.indices.size, round(found.dimension), found.certificate.upper < 0.6
    (400, 10, True)
    """
    del mask, nonfinite  # A has the columns that are kept, and no NaN
    source, budget = as_source(A), allowed_bytes(memory)
    options = SampleOptions(
        size=size,
        scores=scores,
        oversampling=oversampling,
        gamma=gamma,
        p=p,
        method=method,
        seed=seed,
    )
    _refuse_online_saves(method, checkpoint)
    try_saves(checkpoint, source)
    options, chosen = _with_oversampling(options, source)
    schedule, kept = _schedule(source, options, budget, saves=checkpoint is not None)
    m, n = source.shape
    saves = open_saves(
        checkpoint,
        "sample_rows",
        schedule,
        options,
        seconds=save_seconds,
        kinds=(Triangle, Draw, DrawnRows),
    )
    with running(schedule, notify=callback, saves=saves, seed=seed) as run:
        if method == "online":
            sample, space, dimension, options = _online(run, source, kept, options)
        else:
            triangle = run.once("triangle", TrianglePass())
            space = _space_with_ridge(triangle, n, options.ridge)
            draw = Draw(seed, options.oversampling, options.size)
            draw = run.once("sample", DrawPass(space, draw, options.p, m))
            sample, dimension = draw.finalize(n), draw.total
        lower, upper = distortion_bounds(space, sample.rows, sample.weights, options.ridge)
    return RowSample(
        indices=sample.ids,
        rows=sample.rows,
        weights=sample.weights,
        chances=sample.chances,
        scores=sample.scores,
        dimension=dimension,
        certificate=SampleCertificate(lower, upper, options.ridge, space.rank),
        options=options,
        oversampling=sample.oversampling,
        chosen_options=(*chosen, *(["gamma"] if method == "online" and gamma is None else [])),
        info=run.info(
            passes=float(_passes(options)),
            warnings=_warnings(source, space, sample, lower),
        ),
    )


@plan_over_columns
def plan_sample_rows(
    A: Any,
    size: int | None = None,
    *,
    scores: Kind = "leverage",
    oversampling: float | None = None,
    gamma: float | None = None,
    p: float = 2.0,
    method: SampleMethod = "two-pass",
    mask: Any = None,
    nonfinite: str = "raise",
    memory: int | float | str | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
) -> RunPlan:
    """What `sample_rows` will read and need, from shapes alone.

    Parameters
    ----------
    A, size, scores, oversampling, gamma, p, method, mask, nonfinite, memory, seed, checkpoint
        As of `sample_rows`; nothing is written.

    Raises
    ------
    SpecError, BudgetError
        As `sample_rows`, before anything is read.
    """
    del mask, nonfinite  # A is as the run will be given it
    source, budget = as_source(A), allowed_bytes(memory)
    options = SampleOptions(
        size=size,
        scores=scores,
        oversampling=oversampling,
        gamma=gamma,
        p=p,
        method=method,
        seed=seed,
    )
    _refuse_online_saves(method, checkpoint)
    check_saves(checkpoint, source)
    options, _ = _with_oversampling(options, source)
    schedule, _ = _schedule(source, options, budget, saves=checkpoint is not None)
    return RunPlan.of("sample_rows", schedule, options, budget, passes=_passes(options))


def _passes(options: SampleOptions) -> int:
    """One for the row space, one to draw from it; both in one online."""
    return 1 if options.method == "online" else 2


def _refuse_online_saves(method: SampleMethod, checkpoint: Any) -> None:
    if method == "online" and checkpoint is not None:
        raise SpecError(
            'checkpoint= has no meaning for method="online", which is one pass in the order of the rows. Leave it out, or take '
            "two passes."
        )


def _schedule(
    source: Source, options: SampleOptions, budget: int, *, saves: bool
) -> tuple[Schedule, int]:
    """How the rows are read, and the most of them that are kept at once."""
    check_real(source)
    m, n = source.shape
    height, kept = block_height(n), _most_kept(options, m, n)
    schedule = schedule_rows(
        source, height, budget, work=lambda _: _work(n, height, m), partial=8 * n * n,
        saved=8 * n * n if saves else 0, passes=_passes(options),
        shared=64 * n * n + 48 * n * kept, what=f"a sample of up to {kept:,} rows of {n:,} numbers",
        remedy=", or a smaller size or oversampling",
    )  # fmt: skip
    return schedule, kept


def _with_oversampling(
    options: SampleOptions, source: Source
) -> tuple[SampleOptions, tuple[str, ...]]:
    """With the oversampling that is chosen where no amount was given, and what was chosen."""
    if options.size is not None or options.oversampling is not None:
        return options, ()
    amount = 8 * float(np.log(max(min(source.shape), 3)))
    amount /= EPSILON**2 if options.method == "online" else 1
    return replace(options, oversampling=amount), ("oversampling",)


def _most_kept(options: SampleOptions, m: int, n: int) -> int:
    """Rows that are kept at once; more have a chance of less than 1e-8."""
    if options.size is not None:
        return min(m, 2 * (options.size + 1))
    assert options.oversampling is not None
    if options.method == "online":
        # the sum of online scores is at most about n ln(1 + |A|^2 / (n gamma))
        share = (1 + EPSILON) * n * float(np.log(1 + m / ONLINE_RIDGE))
    else:
        share = total(options.p, m, n)
    mean = options.oversampling * share
    return int(min(m, mean + 6 * np.sqrt(mean) + 36))


def _work(n: int, height: int, m: int) -> int:
    """Bytes of a task beside reading: the triangles of its blocks, and blocks as they are scored."""
    return tower_bytes(n, height, m) + 8 * n * 6 * min(height, m)


def _space_with_ridge(triangle: Triangle, n: int, ridge: float) -> RowSpace:
    """The row space, with the rows of the ridge."""
    return RowSpace.of(
        join_triangles(triangle, reduce_block(np.sqrt(ridge) * np.eye(n))) if ridge else triangle
    )


def _online(
    run: Run, source: Source, most: int, options: SampleOptions
) -> tuple[DrawnSample, RowSpace, float, SampleOptions]:
    """The one pass: the sample, and the row space that judges it."""
    m, n = source.shape
    c, state, tower = options.oversampling, None, Tower()
    assert c is not None
    for block in run.in_order("sample"):
        rows = block.float64_on_host(NumpyBackend())
        tower = tower.push(rows)
        if state is None:
            energy = float(np.einsum("ij,ij->", rows, rows)) * (m / rows.shape[0])
            gamma = ONLINE_RIDGE * energy if options.gamma is None else options.gamma
            if gamma == 0:
                continue  # rows of zeros alone are never kept
            options = replace(options, gamma=gamma)
            state = Online.start(n, gamma, oversampling=c, seed=options.seed)
        state = state.push(block.first, rows)
        if state.n_kept > most:
            raise BudgetError(
                f"an online sample of {state.n_kept:,} rows after {block.first + rows.shape[0]:,} of {m:,}, more than the {most:,} planned,",
                48 * n * state.n_kept, 48 * n * most, "Pass a larger gamma, a smaller oversampling, or take two passes.",
            )  # fmt: skip
    if state is None:
        empty = Draw(options.seed, c, None).finalize(n)
        return empty, _space_with_ridge(tower.top(), n, 0.0), 0.0, options
    return state.finalize(), _space_with_ridge(tower.top(), n, options.ridge), state.total, options


def _warnings(
    source: Source, space: RowSpace, sample: DrawnSample, lower: float
) -> tuple[str, ...]:
    said, n = [], source.shape[1]
    if not space.full:
        said.append(
            f"{source.name} has numerical rank {space.rank} of {n} columns: scores and certificate are of that row space."
        )
    if sample.ids.size < space.rank:
        said.append(
            f"{sample.ids.size} rows cannot span the {space.rank} directions of the row space. Pass a larger size or oversampling."
        )
    elif lower >= 1:
        said.append(
            "the sample misses a direction of the row space. Pass a larger size or oversampling."
        )
    if sample.ids.size == source.shape[0] > 1:
        said.append(f"all {source.shape[0]:,} rows were kept: nothing was gained by sampling.")
    return tuple(said)
