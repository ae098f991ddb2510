"""The verb ``cluster``: which matrices of a collection may share a basis, from one read of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamsvd.collections.encoding import EncodedCluster
from streamsvd.collections.mathematics import Method, Mode, number_merges
from streamsvd.collections.mathematics.options import Order
from streamsvd.collections.options import ClusteringRequest
from streamsvd.collections.planning import Backend
from streamsvd.collections.result import ClusterResult, clustering
from streamsvd.collections.run import run_of
from streamsvd.collections.weights import Weights
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.store.collections import as_collection


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
        As of `input_factor`.
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
    source = as_collection(collection)
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    asked = ClusteringRequest.of(
        source, error=error, rank=rank, mode=mode, method=method, order=order, patience=patience, seed=seed,
        weights=weights,
    )  # fmt: skip
    with run_of(source, asked, backend, memory, callback, keep=False) as run:
        shared = tuple(s for s, _ in run.find_clusters())
        info = run.info()
    return clustering(in_order(shared), run.members, run.reads, info, number_merges(run.merges))


def in_order(shared: Sequence[EncodedCluster]) -> tuple[EncodedCluster, ...]:
    """By first name."""
    return tuple(sorted(shared, key=lambda s: s.names))
