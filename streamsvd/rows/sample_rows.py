"""The verb ``sample_rows``: rows that stand for a tall matrix, and how well, proved from its triangle."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from streamsvd.checks.numbers import check_numbers, check_seed
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.columns import View, over_columns_with_values, with_columns
from streamsvd.engine.events import Callback, ignore_event, send_remarks
from streamsvd.engine.execute import dense_threads
from streamsvd.engine.meter import mark_memory, peak_since
from streamsvd.engine.opening import as_source
from streamsvd.engine.runs import (
    Passes,
    RowSchedule,
    RunInfo,
    allowed_bytes,
    blocks_with_events,
    plan_row_schedule,
)
from streamsvd.engine.runs.checks import check_real
from streamsvd.engine.runs.triangles import TrianglePass
from streamsvd.errors import BudgetError, SpecError
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
    Kind,
    Online,
    RowSpace,
    distortion_bounds,
    total,
)
from streamsvd.rows.passes import DrawPass
from streamsvd.typing import Matrix, Real

Method = Literal["two-pass", "online"]
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


@dataclass(frozen=True, slots=True)
class SampleInfo(RunInfo):
    """How a sample came about.

    Attributes
    ----------
    n_rows, passes, bytes_read, elapsed_s, peak_bytes, projected_bytes, seed, warnings
        As of every verb of rows.
    scores, p, method, gamma, oversampling
        As asked, or chosen where nothing was; the oversampling that a size came to is infinite where all rows were kept.
    chosen_options
        Which of ``oversampling`` and ``gamma`` were not given.
    """

    scores: str
    p: float
    method: str
    gamma: float | None
    oversampling: float
    chosen_options: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RowSample:
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
    certificate, info
        What is proved, and how it came about.
    """

    indices: npt.NDArray[np.int64]
    rows: Matrix
    weights: Real
    chances: Real
    scores: Real
    dimension: float
    certificate: SampleCertificate
    info: SampleInfo


@dataclass(frozen=True, slots=True)
class _SampleRequest:
    """What is wanted, checked."""

    kind: Kind
    p: float
    size: int | None
    oversampling: float | None
    gamma: float | None
    method: Method
    seed: int

    @property
    def ridge(self) -> float:
        """What is added to both sides of the certificate."""
        return self.gamma or 0.0 if self.kind == "ridge" else 0.0


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
    method: Method = "two-pass",
    mask: Any = None,
    memory: int | float | str | None = None,
    seed: int = 0,
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
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the sampling: it and a row's number and score decide whether it is kept.
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
    del mask  # A has the columns that are kept
    source = as_source(A)
    check_real(source)
    m, n = source.shape
    asked = _check_request(source, size, scores, oversampling, gamma, p, method, seed)
    height, kept = block_height(n), _most_kept(asked, m, n)
    arrangement = plan_row_schedule(
        source, height, allowed_bytes(memory), work=lambda piece: _work(n, height, m), found=8 * n * n,
        held=64 * n * n + 48 * n * kept, what=f"a sample of up to {kept:,} rows of {n:,} numbers from {source.name}",
        remedy=", or a smaller size or oversampling",
    )  # fmt: skip
    began, start = time.perf_counter(), mark_memory()
    with held_memory(), dense_threads(1):
        if method == "online":
            sample, space, dimension, asked = _online(arrangement, height, kept, asked, callback)
        else:
            passes = Passes(arrangement, callback)
            triangle = passes("triangle", TrianglePass(arrangement.rows, height))
            space = _space_with_ridge(triangle, n, asked.ridge)
            draw = Draw(asked.seed, asked.oversampling, asked.size)
            draw = passes("sample", DrawPass(arrangement.rows, height, space, draw, asked.p))
            sample, dimension = draw.finalize(n), draw.total
        lower, upper = distortion_bounds(space, sample.rows, sample.weights, asked.ridge)
    count = 1 if method == "online" else 2
    chosen = [] if size is not None or oversampling is not None else ["oversampling"]
    info = SampleInfo(
        n_rows=m, passes=count, bytes_read=count * arrangement.pass_bytes, elapsed_s=time.perf_counter() - began,
        peak_bytes=peak_since(start), projected_bytes=arrangement.projected_bytes, scores=asked.kind, p=asked.p, method=method,
        gamma=asked.gamma, oversampling=sample.oversampling, seed=seed,
        chosen_options=(*chosen, *(["gamma"] if method == "online" and gamma is None else [])),
        warnings=_warnings(source, space, sample, lower),
    )  # fmt: skip
    return RowSample(
        indices=sample.ids,
        rows=sample.rows,
        weights=sample.weights,
        chances=sample.chances,
        scores=sample.scores,
        dimension=dimension,
        certificate=SampleCertificate(lower, upper, asked.ridge, space.rank),
        info=info,
    )


def _check_request(
    source: Source, size: int | None, kind: Kind, oversampling: float | None, gamma: float | None, p: float,
    method: Method, seed: int,
) -> _SampleRequest:  # fmt: skip
    for name, value, known in (("scores", kind, Kind), ("method", method, Method)):
        if value not in get_args(known):
            raise SpecError(
                f"{name}={value!r} is unknown. Pass one of {', '.join(get_args(known))}."
            )
    check_seed(seed)
    check_numbers(oversampling=oversampling, gamma=gamma, p=p)
    _check_amount(size, oversampling)
    _check_norm(kind, p)
    if gamma is not None and not 0 < gamma < float("inf"):
        raise SpecError(f"gamma={gamma} is no ridge. Pass a positive number.")
    if kind == "ridge" and gamma is None:
        raise SpecError('scores="ridge" has no ridge. Pass gamma=.')
    if method == "online" and (size is not None or kind not in ("leverage", "ridge")):
        raise SpecError(
            f'method="online" decides on each row as it comes: no size={size} can be kept, and scores={kind!r} must be '
            "leverage or ridge. Pass oversampling=, or take two passes."
        )
    if gamma is not None and kind != "ridge" and method != "online":
        raise SpecError(f'gamma={gamma} has no meaning for scores={kind!r}. Pass scores="ridge".')
    if size is None and oversampling is None:
        oversampling = 8 * float(np.log(max(min(source.shape), 3)))
        oversampling /= EPSILON**2 if method == "online" else 1
    return _SampleRequest(
        kind, float(p), None if size is None else int(size), oversampling, gamma, method, int(seed)
    )


def _check_amount(size: int | None, oversampling: float | None) -> None:
    if size is not None and oversampling is not None:
        raise SpecError(
            f"size={size} and oversampling={oversampling} exclude each other. Pass one of them."
        )
    if size is not None and (
        isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1
    ):
        raise SpecError(f"size={size!r} is no number of rows. Pass an integer of 1 or more.")
    if oversampling is not None and not 0 < oversampling < float("inf"):
        raise SpecError(f"oversampling={oversampling} keeps nothing. Pass a positive number.")


def _check_norm(kind: Kind, p: float) -> None:
    if kind in ("leverage", "ridge") and p != 2:
        raise SpecError(
            f'scores={kind!r} are for p=2, and p={p} was passed. Pass scores="sensitivity".'
        )
    if kind == "root-leverage" and not 1 <= p < 2:
        raise SpecError(
            f'scores="root-leverage" is for norms of 1 <= p < 2, and p={p} was passed. Pass such a p, or '
            'scores="sensitivity" beyond.'
        )
    if not 1 <= p < float("inf"):
        raise SpecError(f"p={p} is no norm that rows are sampled for. Pass 1 <= p.")


def _most_kept(asked: _SampleRequest, m: int, n: int) -> int:
    """Rows that are kept at once; more have a chance of less than 1e-8."""
    if asked.size is not None:
        return min(m, 2 * (asked.size + 1))
    assert asked.oversampling is not None
    if asked.method == "online":
        # the sum of online scores is at most about n ln(1 + |A|^2 / (n gamma))
        share = (1 + EPSILON) * n * float(np.log(1 + m / ONLINE_RIDGE))
    else:
        share = total(asked.p, m, n)
    mean = asked.oversampling * share
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
    arrangement: RowSchedule, height: int, most: int, asked: _SampleRequest, notify: Callback
) -> tuple[DrawnSample, RowSpace, float, _SampleRequest]:
    """The one pass: the sample, and the row space that judges it."""
    source = arrangement.rows.source
    m, n = source.shape
    c, state, tower = asked.oversampling, None, Tower()
    assert c is not None
    send_remarks(source, notify)
    blocks = arrangement.rows.even_blocks((0, m), height)
    for first, rows in blocks_with_events(blocks, "sample", arrangement.pass_bytes, m, notify):
        tower = tower.push(rows)
        if state is None:
            energy = float(np.einsum("ij,ij->", rows, rows)) * (m / rows.shape[0])
            gamma = ONLINE_RIDGE * energy if asked.gamma is None else asked.gamma
            if gamma == 0:
                continue  # rows of zeros alone are never kept
            asked = replace(asked, gamma=gamma)
            state = Online.start(n, gamma, oversampling=c, seed=asked.seed)
        state = state.push(first, rows)
        if state.n_kept > most:
            raise BudgetError(
                f"an online sample of {state.n_kept:,} rows after {first + rows.shape[0]:,} of {m:,}, more than the {most:,} planned,",
                48 * n * state.n_kept, 48 * n * most, "Pass a larger gamma, a smaller oversampling, or take two passes.",
            )  # fmt: skip
    if state is None:
        empty = Draw(asked.seed, c, None).finalize(n)
        return empty, _space_with_ridge(tower.top(), n, 0.0), 0.0, asked
    return state.finalize(), _space_with_ridge(tower.top(), n, asked.ridge), state.total, asked


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
