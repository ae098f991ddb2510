"""The verb ``compress``: a collection as bases and coefficients, each matrix read once."""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

from streamsvd.collections.appending import append as append_to
from streamsvd.collections.compressed import CompressedCollection
from streamsvd.collections.mathematics import Method, Mode
from streamsvd.collections.options import ClusteringRequest, Principal
from streamsvd.collections.planning import Backend
from streamsvd.collections.records import check_storable, put
from streamsvd.collections.residuals import splits
from streamsvd.collections.result import CompressionReport, compression
from streamsvd.collections.run import run_of
from streamsvd.collections.weights import Weights
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.errors import SpecError
from streamsvd.store.collections import as_collection
from streamsvd.store.collections.archive import (
    ClusterRecord,
    CompressedStore,
    MemberRecord,
    RequestRecord,
)
from streamsvd.store.writing.separation import check_apart

__all__ = ["CompressionReport", "compress"]


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
    callback: Callback = ignore_event,
) -> CompressionReport:
    """A collection stored as bases that its matrices share, each within a certified error.

    Parameters
    ----------
    collection, rank, mode, method, backend, memory, seed, row_weights, column_weights, inputs, damping, callback
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
    matrix with its weights. Matrices that are no smaller as factors are kept as they are, exactly. A kill
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
            callback=callback,
        )
    source = as_collection(collection)
    how: Method = method or "certified"
    what: Mode = mode or "cluster"
    allowed = 0.05 if error is None else error
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    asked = ClusteringRequest.of(
        source,
        error=allowed,
        rank=rank,
        mode=what,
        method=how,
        seed=seed,
        weights=weights,
        principal=principal,
    )
    members = {m.name: m for m in source.members}
    check_storable(members)
    store = CompressedStore.from_address(out)
    check_apart(out, source, row_weights, column_weights, inputs)
    store.check_free(overwrite=overwrite)
    check_backend(backend, principal)
    how_read: Backend = backend if principal is None else "primal"
    with run_of(source, asked, how_read, memory, callback, keep=True) as run:
        found = run.find_clusters() if principal is None else splits(run)
        first = next(found)  # what cannot be clustered is refused before anything is written
        writing = store.begin(overwrite=overwrite)
        try:
            clusters: list[ClusterRecord] = []
            records: dict[str, MemberRecord] = {}
            for number, (shared, held) in enumerate(chain([first], found)):
                one, some = put(writing, number, shared, held, members, run.zeros, run.metrics)
                clusters.append(one)
                records |= some
            record = RequestRecord(float(allowed), asked.options.rank, what, how, run.principal)
            ordered = in_order(records, members)
            at = "" if weights.rows is None else writing.add({"rows": weights.rows})["rows"]
            contents = writing.commit(record, source.rows, ordered, clusters, at)
        except BaseException:
            writing.abandon()
            raise
        info = run.info()
    callback(ResultWritten(store.name))
    return compression(CompressedCollection(store, contents), run.reads, info)


def check_backend(backend: Backend, principal: Principal) -> None:
    """Refuse residuals without sketches in memory.

    Raises
    ------
    SpecError
        It names the backend.
    """
    if principal is not None and backend not in ("auto", "primal"):
        raise SpecError(
            f"backend={backend!r} was passed, but residuals need sketches in memory. Leave it out, or leave principal out."
        )


def in_order(records: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """In the order of the collection."""
    return {name: records[name] for name in members}
