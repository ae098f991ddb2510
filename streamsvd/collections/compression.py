"""The verb ``compress``: a collection as bases and coefficients, each matrix read once."""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

from streamsvd.collections.appending import append as append_to
from streamsvd.collections.cluster import KINDS
from streamsvd.collections.compressed import CompressedCollection
from streamsvd.collections.encoding import EncodedResidual
from streamsvd.collections.mathematics import Method, Mode
from streamsvd.collections.options import (
    Backend,
    CompressionOptions,
    Principal,
)
from streamsvd.collections.planning import CollectionPlan, plan_collection
from streamsvd.collections.readers import take_collection
from streamsvd.collections.records import check_storable, put
from streamsvd.collections.request import ClusteringRequest
from streamsvd.collections.residuals import Split, principal_parts, with_residuals
from streamsvd.collections.result import CompressionReport, compression_report
from streamsvd.collections.run import clustering_run
from streamsvd.collections.saves import open_collection_saves
from streamsvd.collections.strategies import find_clusters
from streamsvd.collections.weights import Weights
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.saves import SAVE_SECONDS, check_saves, try_saves
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import SpecError
from streamsvd.store.collections import Collection
from streamsvd.store.collections.archive import (
    ClusterRecord,
    CompressedStore,
    MemberRecord,
    RequestRecord,
)
from streamsvd.store.writing.separation import check_apart

__all__ = ["CompressionReport", "compress", "plan_compress"]


def compress(
    collection: Any,
    out: str | os.PathLike[str],
    error: float | None = None,
    rank: int | None = None,
    mode: Mode | None = None,
    *,
    method: Method | None = None,
    backend: Backend = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    row_weights: Any = None,
    column_weights: Any = None,
    inputs: Any = None,
    damping: float = 0.0,
    principal: Principal = None,
    append: bool = False,
    overwrite: bool = False,
    nonfinite: str = "raise",
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> CompressionReport:
    """A collection stored as bases that its matrices share, each within a certified error.

    Parameters
    ----------
    collection, rank, mode, method, backend, memory, seed, row_weights, column_weights, inputs, damping, nonfinite, callback
        As `cluster` takes them; mode ``"cluster"`` and method ``"certified"`` if left out.
    out
        Folder of the compressed collection, or URL of an object store.
    error
        Relative Frobenius error allowed; 0.05 if left out.
    principal
        Store matrices as a principal part and a residual: bases are shared within this larger error, and what they leave of
        each matrix is stored in whole numbers of few bits so that the matrix meets ``error`` by itself, whatever the mode. 1 for
        no bases, ``"auto"`` for what seems to take the least storage. Pays where matrices are of nearly full rank.
    append
        Add to the collection there, by what was asked when it was made: a matrix goes to an existing basis where it
        meets the error by itself and costs no more than alone, or into new clusters. Matrices there already stay as they
        are.
    overwrite
        Replace a compressed collection at ``out``, once the new one is whole.
    checkpoint, save_seconds
        As of `cluster`; what had been written of a version that was not finished is written again.

    Returns
    -------
    done
        The version that was made, and what is certified of it.

    Raises
    ------
    SpecError, ShapeError, NonFiniteError, BudgetError
        As `cluster`; SpecError also for a name that is there already.
    StoreError
        If the place is taken, or cannot be written; what was there before is whole.
    ConflictError
        If another writer was first.

    Notes
    -----
    Cost: one read, and a write of factors; with ``principal`` a second read, or, at 1, one in all, and about 20 products of a
    matrix with its weights; tasks write what they find themselves, unless ``checkpoint`` is to have it. An addition that fits no basis is read
    a second time where there are residuals. Matrices that are no smaller as factors are kept as they are, exactly. A kill
    at any moment leaves the version before.
    """
    if append:
        given = {"error": error, "rank": rank, "mode": mode, "method": method}
        said = [f"{name}={value}" for name, value in given.items() if value is not None]
        said += ["row_weights"] if row_weights is not None else []
        said += [f"principal={principal}"] if principal is not None else []
        if said:
            raise SpecError(
                f"{said[0]} was passed, but additions are held to what the collection was made with. Leave it out."
            )
        if backend != "auto":
            raise SpecError(
                f"backend={backend!r} was passed, but additions are sketched in memory. Leave it out."
            )
        if overwrite:
            raise SpecError("append=True adds, overwrite=True replaces. Pass one of them.")
        return append_to(
            out,
            collection,
            memory=memory,
            seed=seed,
            column_weights=column_weights,
            inputs=inputs,
            damping=damping,
            nonfinite=nonfinite,
            checkpoint=checkpoint,
            save_seconds=save_seconds,
            callback=callback,
        )
    source = take_collection(collection, nonfinite)
    options = _options(error, rank, mode, method, backend, principal, damping, seed)
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    request = ClusteringRequest.of(source, options, weights)
    members = {m.name: m for m in source.members}
    check_storable(members)
    store = CompressedStore.from_address(out)
    check_apart(out, source, row_weights, column_weights, inputs)
    store.check_free(overwrite=overwrite)
    saving = checkpoint is not None
    plan = _plan(source, options, request, allowed_bytes(memory), saving=saving)
    try_saves(checkpoint, source, row_weights, column_weights, inputs, out)
    kinds = (*KINDS, Split, EncodedResidual)
    saves = open_collection_saves(checkpoint, source, plan, weights, kinds, save_seconds)
    keep = principal is None
    with clustering_run(source, request, plan, callback, saves, keep=keep) as run:
        shared_part = None if principal is None else principal_parts(run)
        if shared_part is None:
            found = find_clusters(run)
            first = [next(found)]  # what cannot be clustered is refused before anything is written
            writing = store.begin(overwrite=overwrite)
        else:
            writing, first = store.begin(overwrite=overwrite), []
        try:
            if shared_part is not None:
                found = with_residuals(run, shared_part, None if saving else writing.sink())
            clusters: list[ClusterRecord] = []
            records: dict[str, MemberRecord] = {}
            zeros: dict[str, int] = {}
            passes = 0
            for one in chain(first, found):
                zeros |= one.zeros
                passes = max(passes, one.passes)
                for shared in one.parts:
                    arrays = run.raw_arrays(shared, one.arrays) if keep else one.arrays
                    number = len(clusters)
                    c, some = put(writing, number, shared, arrays, members, one.zeros, run.metrics)
                    clusters.append(c)
                    records |= some
            record = RequestRecord(
                options.error, options.rank, options.mode, options.method,
                None if shared_part is None else shared_part.error,
            )  # fmt: skip
            ordered = {name: records[name] for name in members}
            at = "" if weights.rows is None else writing.add({"rows": weights.rows})["rows"]
            contents = writing.commit(record, source.rows, ordered, clusters, at)
        except BaseException:
            writing.abandon()
            raise
        info = run.info(zeros, passes)
    callback(ResultWritten(store.name))
    return compression_report(
        CompressedCollection(store, contents), options, plan, info, reads=run.reads, zeros=zeros,
        input_bytes=weights.input_bytes,
    )  # fmt: skip


def plan_compress(
    collection: Any,
    error: float | None = None,
    rank: int | None = None,
    mode: Mode | None = None,
    *,
    method: Method | None = None,
    backend: Backend = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    row_weights: Any = None,
    column_weights: Any = None,
    inputs: Any = None,
    damping: float = 0.0,
    principal: Principal = None,
    nonfinite: str = "raise",
    checkpoint: str | os.PathLike[str] | None = None,
) -> CollectionPlan:
    """What `compress` will read and need for a new collection, from shapes alone.

    Parameters
    ----------
    collection, error, rank, mode, method, backend, memory, seed, row_weights, column_weights, inputs, damping, principal
        As of `compress`.
    nonfinite, checkpoint
        As of `compress`; nothing is written.

    Raises
    ------
    SpecError, ShapeError, BudgetError
        As `compress`, before anything is read.
    """
    source = take_collection(collection, nonfinite)
    options = _options(error, rank, mode, method, backend, principal, damping, seed)
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    request = ClusteringRequest.of(source, options, weights)
    check_saves(checkpoint, source, row_weights, column_weights, inputs)
    return _plan(source, options, request, allowed_bytes(memory), saving=checkpoint is not None)


def _options(
    error: float | None,
    rank: int | None,
    mode: Mode | None,
    method: Method | None,
    backend: Backend,
    principal: Principal,
    damping: float,
    seed: int,
) -> CompressionOptions:
    """What was asked, and what stands for what was left out."""
    return CompressionOptions(
        error=0.05 if error is None else error, rank=rank, mode=mode or "cluster", method=method or "certified",
        backend=backend, principal=principal, damping=damping, seed=seed,
    )  # fmt: skip


def _plan(
    source: Collection,
    options: CompressionOptions,
    request: ClusteringRequest,
    budget: int,
    *,
    saving: bool = False,
) -> CollectionPlan:
    criteria, principal = request.criteria, options.principal
    passes = None if principal is None else 1 if principal == 1 else 2
    return plan_collection(
        "compress", source, options, options.backend if principal is None else "primal", budget, error=criteria.error,
        keep=principal is None or saving, rank=criteria.rank, weights=request.weights, saving=saving, passes=passes,
        alone=principal == 1 and not saving,
    )  # fmt: skip
