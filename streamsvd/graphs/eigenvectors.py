"""The verb ``graph_eigenvectors``: leading eigenvectors of a graph's normalised adjacency, each eigenvalue in a proved interval.

``N = D^-1/2 A D^-1/2`` of a symmetric A without negative weights has its eigenvalues in [-1, 1]. So ``B = (I + N) / 2`` is positive
semidefinite, its singular values are ``(1 + lambda) / 2`` in the same order, and what `streamsvd.svd` proves of them is proved of
``lambda = 2 sigma - 1``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from streamsvd.engine.budget import allowed_bytes
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import Run, in_run
from streamsvd.errors import BudgetError, NotConverged, SpecError
from streamsvd.factor.result import SVD
from streamsvd.factor.svd import plan_svd, svd
from streamsvd.graphs.options import MAX_PASSES, GraphEigenvectorsOptions
from streamsvd.graphs.passes import DegreePass
from streamsvd.graphs.planning import GraphSchedule, check_graph, schedule_degrees
from streamsvd.graphs.result import GraphEigenvectors
from streamsvd.info import Info, Status
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.protocols import Source, SparseSource, is_sparse
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.views.normalized_graph import normalized_graph
from streamsvd.typing import Real

ENTRY_ROUNDINGS = 8
"""Of an entry of ``B`` beside those of its degrees: roots, their products, halves."""


def graph_eigenvectors(
    A: Any,
    rank: int,
    *,
    tol: float = 1e-3,
    max_passes: int = MAX_PASSES,
    seed: int = 0,
    memory: int | float | str | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    callback: Callback = ignore_event,
) -> GraphEigenvectors:
    """Leading eigenvectors of the normalised adjacency of an undirected graph, with an interval around each eigenvalue.

    Parameters
    ----------
    A
        Symmetric adjacency matrix, ``(n, n)``, weights of 0 or more, as `streamsvd.embed` takes it.
    rank
        Eigenvectors wanted, those of the k largest eigenvalues, signs and all.
    tol
        Width asked of every interval; eigenvalues lie in [-1, 1].
    max_passes
        Most passes of the loop, beside the read for degrees.
    seed
        Of the random blocks.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    out, overwrite
        Where the result is saved too, and whether it may replace one.
    callback
        Receives events.

    Returns
    -------
    GraphEigenvectors
        With ``values``, ``vectors``, ``lower`` and ``upper``.

    Raises
    ------
    NotConverged
        If an interval is wider; its ``result`` is what is proved. Where eigenvalues lie close together after the k-th, as in most
        graphs after their communities, few passes prove little: take k where there is a gap.
    ShapeError
        If the matrix is not square.
    SpecError
        If it is not symmetric, a weight is negative, or an option cannot be meant.
    NonFiniteError
        If a weight is NaN or Inf; it names row and column.
    BudgetError
        If nothing fits the memory; it names the smallest that does.

    Notes
    -----
    Cost: one read of the graph for degrees and symmetry, then the passes of `streamsvd.svd` on ``(I + N) / 2``, which is as sparse
    as the graph. Memory: that of `svd`, and 24 bytes a node. Symmetry is of bits: a graph that is symmetric up to rounding only is
    refused. Intervals hold for the exact N of the stored weights: the rounding of degrees and entries is added.

    Examples
    --------
    >>> import numpy as np, scipy.sparse, streamsvd
    >>> two = scipy.sparse.block_diag([np.ones((20, 20)), np.ones((30, 30))]).tocsr()
    >>> found = streamsvd.graph_eigenvectors(two, 3)
    >>> bool(np.abs(found.values - [1, 1, 0]).max() < 1e-3)
    True
    """
    source = as_source(A)
    options = GraphEigenvectorsOptions(rank=rank, tol=tol, max_passes=max_passes, seed=seed)
    check_graph(source)
    n = source.shape[0]
    schedule, asked = _plan(source, options, allowed_bytes(memory))
    if out is not None:
        _check_place(out, source, overwrite=overwrite)
    run = Run(
        schedule.reader, schedule.workers, "cpu", schedule.projected_bytes, schedule.task_bytes, callback, seed=options.seed
    )  # fmt: skip
    with in_run(run):
        found = run(DegreePass(source, compares=True), "degrees")
    if found.asymmetry:
        raise SpecError(
            f"{source.name} is not symmetric, and eigenvalues are of undirected graphs. Pass (A + A.T) / 2, or take "
            "streamsvd.svd of a directed graph."
        )
    degrees = np.empty(n)
    found.fill(degrees)
    view = normalized_graph(source, _inverse_roots(degrees))
    shift = _Shift(source, degrees, options, run.info())
    try:
        result = shift.of(svd(view, **asked, seed=options.seed, callback=callback))
    except NotConverged as error:
        assert isinstance(error.result, SVD)
        result = shift.of(error.result)
        if out is not None:
            result.save(out, overwrite=overwrite)
        short = int(np.count_nonzero(~result.is_resolved))
        if not short:  # what was asked of singular values is more
            return replace(result, info=replace(result.info, status=Status.CONVERGED))
        raise NotConverged(
            f"{short} of {options.rank} eigenvalues have intervals wider than {options.tol:g} after {options.max_passes} passes. "
            "Pass a rank where there is a gap, a larger tol=, or more max_passes=.",
            result,
        ) from None
    if out is not None:
        result.save(out, overwrite=overwrite)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Shift:
    """What is proved of ``B`` as what is proved of ``N``.

    Attributes
    ----------
    source, degrees
        The graph.
    options
        What is asked.
    before
        How degrees came about.
    """

    source: Source
    degrees: Real
    options: GraphEigenvectorsOptions
    before: Info

    @property
    def rounding(self) -> float:
        """Bound of the error of an eigenvalue by the rounding of B, whose entries are not negative and whose norm is at most 1."""
        longest = self.source.shape[0]
        if is_sparse(self.source):
            longest = cast(SparseSource, self.source).most_entries(1)
        return (longest + ENTRY_ROUNDINGS) * UNIT_ROUNDOFF

    def of(self, found: SVD) -> GraphEigenvectors:
        """The eigenvectors."""
        c = found.certificate
        lower = np.clip(2 * c.sigma_lower - 1 - self.rounding, -1, 1)
        upper = np.clip(2 * c.sigma_upper - 1 + self.rounding, -1, 1)
        before, info = self.before, found.info
        return GraphEigenvectors(
            values=np.clip(2 * found.s - 1, lower, upper),
            vectors=np.ascontiguousarray(found.Vh.T),
            lower=lower,
            upper=upper,
            isolated=int(np.count_nonzero(self.degrees == 0)),
            certificate=c,
            options=self.options,
            info=replace(
                info,
                passes=info.passes + before.passes,
                bytes_read=info.bytes_read + before.bytes_read,
                peak_bytes=max(
                    info.peak_bytes + _vector_bytes(self.degrees.size), before.peak_bytes
                ),
                projected_bytes=max(
                    info.projected_bytes + _vector_bytes(self.degrees.size), before.projected_bytes
                ),
                elapsed_s=info.elapsed_s + before.elapsed_s,
            ),
            labels=source_labels(self.source).of_columns,
        )


def _plan(
    source: Source, options: GraphEigenvectorsOptions, allowed: int
) -> tuple[GraphSchedule, dict[str, Any]]:
    """How degrees are read, and what is asked of `svd`; what cannot be is refused before anything is read.

    A relative width of at most half that of an eigenvalue is asked, as singular values are at most 1.
    """
    vectors, found, short = _vector_bytes(source.shape[0]), None, list[int]()
    asked: dict[str, Any] = {
        "rank": options.rank,
        "tol": options.tol / 2,
        "max_passes": options.max_passes,
        "target": "values",
        "memory": max(1, allowed - vectors),
    }
    try:
        plan_svd(normalized_graph(source, np.empty(0)), **asked)
    except BudgetError as error:
        short.append(error.needs + vectors)
    try:
        found = schedule_degrees(source, allowed)
    except BudgetError as error:
        short.append(error.needs)
    if short or found is None:
        least = max(short)
        raise BudgetError(
            f"{options.rank} eigenvectors of {source.name}", least, allowed, f"Pass memory={least} or more, or a smaller rank."
        )  # fmt: skip
    return found, asked


def _vector_bytes(n: int) -> int:
    """Degrees, their roots, and what one was made of."""
    return 24 * n


def _inverse_roots(degrees: Real) -> Real:
    """``d^-1/2``, 0 of nodes without edges."""
    found = np.zeros_like(degrees)
    np.power(degrees, -0.5, out=found, where=degrees > 0)
    return found


def _check_place(out: str | os.PathLike[str], source: Source, *, overwrite: bool) -> None:
    """Refuse a place that may not be written, before anything is read."""
    from streamsvd.checks.paths import place_of
    from streamsvd.store.results.writer import ResultWriter  # these import zarr
    from streamsvd.store.writing.separation import check_apart

    place = place_of(out, "out")
    check_apart(place, source)
    ResultWriter(place, overwrite=overwrite).discard()
