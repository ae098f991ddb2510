"""The verb ``nystrom``: a dictionary of rows in one pass, centres and a feature map, and the error certified in a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.certificate import UNIT_ROUNDOFF
from streamsvd.drivers.model.size import check_size
from streamsvd.drivers.request import as_source
from streamsvd.drivers.stream.feed import Feed
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone, ignore
from streamsvd.engine.execute import dense_threads
from streamsvd.engine.memory import BASE_BYTES, parse_bytes
from streamsvd.engine.meter import mark, peak_since
from streamsvd.engine.plan import default_budget
from streamsvd.errors import BudgetError, NonFiniteError, SpecError
from streamsvd.leverage import (
    Dictionary,
    FeatureMap,
    Kernel,
    Spec,
    merged,
    pivots,
    pushed,
    remaining,
    typical_length,
)
from streamsvd.leverage.centres import ACTUAL
from streamsvd.leverage.dictionary import LEAST, Mode
from streamsvd.leverage.kernels import SCALED
from streamsvd.protocols import Source
from streamsvd.typing import Matrix, Real

SMALLEST_GAMMA, AUTO_LEAST = 1e-12, 3.0
"""Where no ridge is given: what to begin from, and the oversampling below which it rises."""
DEFAULT_CENTRES = 256
RATIO = 4
"""Rows of the dictionary for each centre: four of them make greedy centres as good as those of many passes."""
SAMPLE_ROWS = 2048
PARTS = 16


@dataclass(frozen=True, slots=True)
class NystromCertificate:
    """What is known of ``K - K_C``, the error of the Nyström approximation by the centres.

    Attributes
    ----------
    trace_error
        ``trace(K - K_C)``, summed over all rows in a second pass, and so an upper bound of its spectral norm, as
        ``K - K_C`` is positive semidefinite whatever the centres; infinite where no second pass was made.
    spectral_estimate
        Likely spectral norm, from the dictionary alone; nothing is proved of it.
    trace
        ``trace(K)``.
    """

    trace_error: float
    spectral_estimate: float
    trace: float


@dataclass(frozen=True, slots=True)
class NystromInfo:
    """How a result came about.

    Attributes
    ----------
    n_rows, passes, bytes_read, elapsed_s, peak_bytes, projected_bytes
        As of a factorisation.
    kernel
        Name and parameters, those that were chosen included.
    chosen
        Which of ``length`` and ``gamma`` were not given, but chosen on the data.
    oversampling
        Rows kept for each unit of effective dimension that the budget left.
    seed
        Of the sampling.
    warnings
        What a careful user should know.
    """

    n_rows: int
    passes: int
    bytes_read: int
    elapsed_s: float
    peak_bytes: int
    projected_bytes: int
    kernel: dict[str, Any]
    chosen: tuple[str, ...]
    oversampling: float
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Nystrom:
    """A dictionary, centres, and the feature map they make.

    Attributes
    ----------
    indices, rows, weights
        Of the dictionary: numbers of the rows in the matrix, the rows ``(m, n)``, and how many each stands for.
    centres
        Numbers of the rows that are centres, in the order of choice.
    effective_dimension
        ``sum_i lambda_i / (lambda_i + gamma)`` of the kernel matrix, as estimated.
    gamma
        Ridge at which the dictionary is accurate: that asked for, or larger where the budget was too small for it.
    feature_map
        ``z(X)`` of rows ``(p, n)``, with ``z(x).z(y)`` near ``k(x, y)``.
    certificate, info
        What is known of the error, and how it came about.
    """

    indices: npt.NDArray[np.int64]
    rows: Matrix
    weights: Real
    centres: npt.NDArray[np.int64]
    effective_dimension: float
    gamma: float
    feature_map: FeatureMap
    certificate: NystromCertificate
    info: NystromInfo


def nystrom(
    X: Any,
    kernel: str | Callable[[Matrix, Matrix], Matrix] = "rbf",
    *,
    n_centres: int = DEFAULT_CENTRES,
    gamma: float | None = None,
    length: float | None = None,
    degree: int = 3,
    offset: float = 1.0,
    smoothness: float = 1.5,
    budget: int | None = None,
    mode: Mode = "poisson",
    certify: bool = True,
    memory: int | float | str | None = None,
    seed: int = 0,
    callback: Callback = ignore,
) -> Nystrom:
    """Nyström approximation of a kernel matrix that is never formed, from one pass over the rows.

    Parameters
    ----------
    X
        A matrix as `svd` takes it; its rows are the points.
    kernel
        ``"linear"``, ``"polynomial"``, ``"rbf"``, ``"laplacian"``, ``"matern"``, ``"cosine"``, or a positive definite
        function of two blocks of rows.
    n_centres
        Rows that the feature map is made of.
    gamma
        Ridge: how fine the approximation is to be; directions of the kernel matrix with eigenvalues below it are not
        resolved. Left out, it is the smallest that the budget allows.
    length
        Length scale of ``"rbf"``, ``"laplacian"``, ``"matern"``; the median distance between random rows if left out.
    degree, offset, smoothness
        Parameters of ``"polynomial"``, and smoothness of ``"matern"``: 0.5, 1.5 or 2.5.
    budget
        Rows kept in the dictionary; four for each centre if left out.
    mode
        ``"poisson"``; or ``"squeak"``, ``"ink"`` as published; or ``"uniform"``, the baseline.
    certify
        Whether a second pass sums the exact trace of the error.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the sampling: it and the order of rows decide which are kept.
    callback
        Receives events.

    Raises
    ------
    SpecError
        If an option cannot be meant, the data are complex, or the kernel is not positive definite on them.
    NonFiniteError
        If an entry is NaN or Inf; it names row and column.
    BudgetError
        If the dictionary does not fit in the memory; it names the smallest that works.

    Notes
    -----
    Cost: one pass, ``8 n m^2`` flops for a dictionary of m rows and ``n m`` kernel entries twice; a second pass of
    ``n M^2`` to certify. Memory: ``40 (2 m)^2`` bytes and the rows kept; never n x n.

    References
    ----------
    Calandriello, Lazaric, Valko (2017), SQUEAK and DISQUEAK; centres by greedy pivoted Cholesky of the weighted
    dictionary.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> X = np.random.default_rng(0).standard_normal((3000, 4))
    >>> found = streamsvd.nystrom(X, n_centres=200, length=3.0)
    >>> found.feature_map(X[:5]).shape[0], found.certificate.trace_error < 0.05 * 3000
    (5, True)
    """
    source = as_source(X)
    if source.dtype.kind == "c":
        raise SpecError(f"{source.name} is complex: kernels are of real rows.")
    if n_centres < 1:
        raise SpecError(f"n_centres={n_centres} makes no map. Pass 1 or more.")
    if budget is None:
        budget = RATIO * n_centres
    if budget < n_centres:
        raise SpecError(
            f"budget={budget} is less than n_centres={n_centres}. Pass at least as many."
        )
    chosen = tuple(name for name, value in (("length", length), ("gamma", gamma)) if value is None)
    if kernel not in SCALED:
        chosen = tuple(name for name in chosen if name != "length")
    plain = Kernel(kernel, length or 1.0, degree, offset, smoothness)  # type: ignore[arg-type]
    spec = Spec(
        kernel=plain,
        gamma=SMALLEST_GAMMA if gamma is None else gamma,
        budget=budget,
        mode=mode,
        least=AUTO_LEAST if gamma is None else LEAST,
        seed=seed,
    )
    allowed = default_budget() if memory is None else parse_bytes(memory)
    feed = fitted(source, budget, allowed)
    began, start = time.perf_counter(), mark()
    with held_memory(), dense_threads(1):
        sample = _sample(source, seed)
        spec = replace(spec, kernel=_settled(plain, sample, length))
        state = _dictionary(feed, spec, callback)
        found = pivots(spec, state, n_centres)
        map_ = FeatureMap.of(spec.kernel, state.rows[found.chosen])
        left = _trace_left(feed, map_, callback) if certify else float("inf")
    m = source.shape[0]
    passes = 2 if certify else 1
    info = NystromInfo(
        n_rows=m, passes=passes, bytes_read=passes * feed.pass_bytes, elapsed_s=time.perf_counter() - began,
        peak_bytes=peak_since(start), projected_bytes=_needed(feed, budget), kernel=spec.kernel.record,
        chosen=chosen, oversampling=float(min(state.multiplier, 1e300)), seed=seed,
        warnings=_warnings(spec, state, gamma),
    )  # fmt: skip
    return Nystrom(
        indices=state.ids,
        rows=state.rows,
        weights=state.weights(spec),
        centres=state.ids[found.chosen],
        effective_dimension=state.dimension,
        gamma=state.gamma,
        feature_map=map_,
        certificate=NystromCertificate(left, ACTUAL * found.left_norm, state.trace),
        info=info,
    )


def _warnings(spec: Spec, state: Dictionary, gamma: float | None) -> tuple[str, ...]:
    said = []
    if gamma is not None and state.gamma > 1.0001 * gamma:
        said.append(
            f"budget={spec.budget} is too small for gamma={gamma:g}: the dictionary is accurate at {state.gamma:.3g}. "
            "Pass a larger budget, or a larger gamma."
        )
    if spec.budget is not None and spec.budget < 16:
        said.append(f"budget={spec.budget} is hardly of use; 16 is the least that is.")
    if state.n_rows > (spec.budget or 0) and state.dimension > state.n_rows / 4:
        said.append(
            f"the effective dimension {state.dimension:.0f} is more than a quarter of the {state.n_rows:,} rows: the kernel "
            "matrix has no low rank at this gamma."
        )
    return tuple(said)


def _needed(feed: Feed, budget: int) -> int:
    """Upper bound of the memory of a dictionary and what is read into it."""
    n = feed.source.shape[1]
    together = 2 * min(budget, feed.source.shape[0])
    rows = 8 * n * (4 * together + 3 * feed.piece + SAMPLE_ROWS)
    return BASE_BYTES + feed.bytes_needed + 40 * together**2 + rows + 8 * 3 * feed.piece * budget


def fitted(source: Source, budget: int, allowed: int) -> Feed:
    """How to read within the memory: whole chunks ahead if it holds them."""
    chunk = min(source.chunks[0], source.shape[0])
    unit, tried = chunk, []
    while True:
        for ahead in (True, False):
            feed = Feed(source, unit, 0, ahead, 0)
            tried.append(_needed(feed, budget))
            if tried[-1] <= allowed:
                return feed
        if unit <= 64:
            break
        unit = max(64, unit // 2)
    raise BudgetError(
        f"a dictionary of {budget:,} rows of {source.shape[1]:,} numbers from {source.name}",
        min(tried),
        allowed,
        f"Pass memory={min(tried)} or more, or a smaller budget.",
    )


def _sample(source: Source, seed: int) -> Matrix:
    """Some rows from parts spread over the matrix, in float64."""
    m, n = source.shape
    parts = min(PARTS, -(-m // max(1, SAMPLE_ROWS // PARTS)))
    height = min(m, SAMPLE_ROWS // PARTS)
    starts = np.linspace(0, max(m - height, 0), parts).astype(int)
    rng = np.random.default_rng(seed)
    out = []
    for start in starts:
        rows = np.empty((height, n), dtype=source.dtype)
        source.read(slice(int(start), int(start) + height), slice(0, n), rows)
        out.append(rows[rng.permutation(height)[: max(1, height)]].astype(np.float64))
    rows = np.concatenate(out, axis=0)
    return np.asarray(rows[np.isfinite(rows).all(axis=1)])


def _settled(kernel: Kernel, sample: Matrix, length: float | None) -> Kernel:
    """The kernel with its centre, and its length where none was given."""
    if sample.shape[0] == 0:
        return kernel
    name = kernel.name if isinstance(kernel.name, str) else ""
    if length is None and name in SCALED:
        kernel = replace(kernel, length=typical_length(sample, name))
    return replace(kernel, centre=sample.mean(axis=0))


def _dictionary(feed: Feed, spec: Spec, notify: Callback) -> Dictionary:
    state: Dictionary | None = None
    waiting: list[Matrix] = []
    first, step = 0, spec.budget or 256
    held = 0
    for _, rows in blocks_of(feed, 1, "dictionary", notify):
        waiting.append(rows)
        held += rows.shape[0]
        while held >= step:  # blocks of one size, counted from the first row, whatever the chunks
            block, rest = np.concatenate(waiting)[:step], np.concatenate(waiting)[step:]
            state = pushed(spec, state, block, first)
            first, waiting, held = first + step, [rest], rest.shape[0]
    if held:
        state = pushed(spec, state, np.concatenate(waiting), first)
    assert state is not None
    return merged(spec, [state])


def _trace_left(feed: Feed, map_: FeatureMap, notify: Callback) -> float:
    """``trace(K - K_C)``, rounded up."""
    left = trace = 0.0
    for _, rows in blocks_of(feed, 2, "error", notify):
        left += float(remaining(map_, rows).sum())
        trace += float(map_.kernel.diagonal(rows).sum())
    return left + 8 * UNIT_ROUNDOFF * float(np.sqrt(max(map_.n_features, 1))) * trace


def blocks_of(
    feed: Feed, number: int, purpose: str, notify: Callback
) -> Iterator[tuple[int, Matrix]]:
    """All rows in their order, in float64, checked: number of the first, and a block."""
    notify(PassStarted(number, purpose, feed.pass_bytes))
    began, at = time.perf_counter(), 0
    for index, pieces in feed.windows():
        for piece in pieces:
            check_size(piece, feed.source.name)
            rows = piece.astype(np.float64)
            bad = ~np.isfinite(rows)
            if bad.any():
                i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
                value = "NaN" if np.isnan(rows[i, j]) else "Inf"
                chunk = feed.source.locate(at + int(i), int(j))
                raise NonFiniteError(
                    value, at + int(i), int(j), chunk, "Mend or leave out the row."
                )
            yield at, rows
            at += rows.shape[0]
        notify(SpanDone(number, index + 1, feed.n_windows))
    notify(PassDone(number, purpose, time.perf_counter() - began, None))
