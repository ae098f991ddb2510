"""The verb ``cluster``: which matrices of a collection may share a basis, from one read of them."""

from __future__ import annotations

import os
from typing import Any

from streamsvd.collections.criteria import Order
from streamsvd.collections.gram import BasisRows, GramSums
from streamsvd.collections.mathematics import BlockSketch, Method, Mode, number_merges
from streamsvd.collections.options import Backend, ClusterOptions
from streamsvd.collections.passes import BlockReading
from streamsvd.collections.planning import CollectionPlan, plan_collection
from streamsvd.collections.readers import take_collection
from streamsvd.collections.request import ClusteringRequest
from streamsvd.collections.result import Cluster, ClusterResult, labels_of, ratio_of
from streamsvd.collections.run import clustering_run
from streamsvd.collections.saves import open_collection_saves
from streamsvd.collections.strategies import find_clusters
from streamsvd.collections.weights import Weights
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.saves import SAVE_SECONDS, check_saves, try_saves
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.numerics.ledger import Ledger
from streamsvd.store.collections import Collection

KINDS = (BlockReading, BlockSketch, Ledger, GramSums, BasisRows)
"""Data classes that a checkpoint holds."""


def cluster(
    collection: Any,
    error: float = 0.05,
    rank: int | None = None,
    mode: Mode = "cluster",
    *,
    method: Method = "certified",
    order: Order = "norm",
    patience: int | None = None,
    backend: Backend = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    row_weights: Any = None,
    column_weights: Any = None,
    inputs: Any = None,
    damping: float = 0.0,
    nonfinite: str = "raise",
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> ClusterResult:
    """Clusters of matrices with equal rows, each of which shares one basis within an error.

    Parameters
    ----------
    collection
        A mapping of names to arrays, or what `open_collection` takes or returns.
    error
        Relative Frobenius error allowed, in [0, 1).
    rank
        Of every basis; left out, ranks and clusters are chosen that take the least storage.
    mode
        ``"cluster"``: the error is that of each cluster, and may hide small matrices in it; ``"global"``: of all
        together; ``"block"``: of every matrix.
    method
        ``"certified"``, or one of the published ``"maxnorm"``, ``"residual"``, ``"incremental"``, which need a rank.
    order, patience
        Of the published methods: the order in which matrices are tried, ``"norm"`` or ``"residual"``, ascending; and how many
        clusters in a row may gain nothing before the rest stay alone, without end if left out.
    backend
        ``"primal"``: sketches of all matrices are in memory. ``"gram"``: sums over rows, for matrices of very many rows
        and few columns; a second read completes the bases. ``"propose"``: clusters are proposed on random projections,
        and certified in a second read. ``"auto"``: the first that fits in the memory.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the projections.
    row_weights, column_weights
        Where errors matter: every error is then that of matrices with rows and columns multiplied by these. Positive
        weights of the rows, ``(m,)``, the same for all; weights of the columns, ``(n,)``, of all matrices or a mapping of patterns
        of names to them; columns of weight 0 are never looked at.
    inputs
        What matrices act on: samples as rows of as many entries as a matrix has columns, of any number, anything that `svd`
        takes; of all matrices, or a mapping of patterns to them. Errors are then those of ``A x``, in the mean square over samples x.
    damping
        As of `second_moment_factor`.
    nonfinite
        What a NaN is: ``"raise"``, an error that names it, or ``"zero"``. Inf is always an error.
    checkpoint, save_seconds
        Folder, or URL of an object store, where sketches and sums are saved now and then, at least so many seconds apart, so that
        a run that was killed goes on from there, to the same bits; of ``"propose"``, the first read. It is removed at the end.
    callback
        Receives events.

    Returns
    -------
    found
        The same for every order of the collection.

    Raises
    ------
    SpecError
        If an option cannot be meant, a name is there twice, or a block is not of real numbers.
    ShapeError
        If there are no blocks, or rows differ.
    NonFiniteError
        At the first NaN or Inf; it names the block and the place.
    BudgetError
        If the memory is too small, before anything is read; it names the smallest that works.

    Notes
    -----
    Cost: one read, ``2 m n min(m, n)`` flops a matrix and about four small eigenvalue problems a matrix and start;
    memory of the sketches, at most ``8 k (6 m + 3 n)`` bytes for a matrix of rank k. ``"gram"`` and ``"propose"`` read
    twice. Inputs are read once more, for ``4 N n^2`` flops and ``8 n^2`` bytes. Errors are bounds in floating point too, with the rounding of factors to the type of the blocks.

    References
    ----------
    Shamrai (2026), arXiv 2601.11626, for the problem and the published methods.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> bases = [rng.standard_normal((60, 3)) for _ in range(2)]
    >>> blocks = {f"w{i}": bases[i % 2] @ rng.standard_normal((3, 20)) for i in range(6)}
    >>> found = streamsvd.cluster(blocks, error=0.01)
    >>> [c.members for c in found.clusters], [c.rank for c in found.clusters]
    ([('w0', 'w2', 'w4'), ('w1', 'w3', 'w5')], [3, 3])
    """
    source = take_collection(collection, nonfinite)
    options = ClusterOptions(
        error=error, rank=rank, mode=mode, method=method, order=order, patience=patience, backend=backend, damping=damping,
        seed=seed,
    )  # fmt: skip
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    request, budget = ClusteringRequest.of(source, options, weights), allowed_bytes(memory)
    plan = _plan(source, options, request, budget, saving=checkpoint is not None)
    try_saves(checkpoint, source, row_weights, column_weights, inputs)
    saves = open_collection_saves(checkpoint, source, plan, weights, KINDS, save_seconds)
    with clustering_run(source, request, plan, callback, saves, keep=False) as run:
        found = list(find_clusters(run))
        zeros = {name: count for one in found for name, count in one.zeros.items()}
        info = run.info(zeros, max(one.passes for one in found))
    shared = sorted((part for one in found for part in one.parts), key=lambda s: s.names)
    members = dict(run.members)
    return ClusterResult(
        labels=labels_of(shared),
        clusters=tuple(
            Cluster(s.names, s.rank, s.basis, s.error_lower, s.error_upper, s.raw) for s in shared
        ),
        block_errors={n: e for s in shared for n, e in zip(s.names, s.block_errors, strict=True)},
        compression_ratio=ratio_of(shared, members),
        reads=run.reads,
        merges=number_merges([one.merges for one in found]),
        zeros=zeros,
        input_bytes=weights.input_bytes,
        options=options,
        plan=plan,
        info=info,
        _encoded_clusters=tuple(shared),
        _members=members,
    )


def plan_cluster(
    collection: Any,
    error: float = 0.05,
    rank: int | None = None,
    mode: Mode = "cluster",
    *,
    method: Method = "certified",
    order: Order = "norm",
    patience: int | None = None,
    backend: Backend = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    row_weights: Any = None,
    column_weights: Any = None,
    inputs: Any = None,
    damping: float = 0.0,
    nonfinite: str = "raise",
    checkpoint: str | os.PathLike[str] | None = None,
) -> CollectionPlan:
    """What `cluster` will read and need, from shapes alone.

    Parameters
    ----------
    collection, error, rank, mode, method, order, patience, backend, memory, seed, row_weights, column_weights, inputs, damping
        As of `cluster`.
    nonfinite, checkpoint
        As of `cluster`; nothing is written.

    Raises
    ------
    SpecError, ShapeError, BudgetError
        As `cluster`, before anything is read.
    """
    source = take_collection(collection, nonfinite)
    options = ClusterOptions(
        error=error, rank=rank, mode=mode, method=method, order=order, patience=patience, backend=backend, damping=damping,
        seed=seed,
    )  # fmt: skip
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    check_saves(checkpoint, source, row_weights, column_weights, inputs)
    request = ClusteringRequest.of(source, options, weights)
    return _plan(source, options, request, allowed_bytes(memory), saving=checkpoint is not None)


def _plan(
    source: Collection,
    options: ClusterOptions,
    request: ClusteringRequest,
    budget: int,
    *,
    saving: bool = False,
) -> CollectionPlan:
    criteria = request.criteria
    return plan_collection(
        "cluster", source, options, options.backend, budget, error=criteria.error, keep=False, rank=criteria.rank,
        weights=request.weights, saving=saving,
    )  # fmt: skip
