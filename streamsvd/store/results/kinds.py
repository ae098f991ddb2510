"""Kinds of results: the name that a stored result has, and the class that it is made of, which is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from streamsvd.errors import StoreError

RESULT_HOMES = {
    "svd": "streamsvd.factor.result:SVD",
    "pca": "streamsvd.factor.result:PCA",
    "cells": "streamsvd.single_cell.result:CellsResult",
    "rotate": "streamsvd.factor.rotation_result:Rotation",
    "lstsq": "streamsvd.rows.lstsq:LeastSquaresResult",
    "nystrom": "streamsvd.kernels.nystrom:NystromResult",
    "kernel_ridge": "streamsvd.kernels.ridge:KernelRidgeResult",
    "cluster": "streamsvd.collections.result:ClusterResult",
    "rate_curve": "streamsvd.collections.rates:RateCurve",
    "sample_rows": "streamsvd.rows.sample_rows:RowSample",
    "embed": "streamsvd.graphs.result:Embedding",
    "eigenvectors": "streamsvd.graphs.result:GraphEigenvectors",
    "top_eigenvectors": "streamsvd.streams.result:TopEigenvectorsResult",
    "verify": "streamsvd.models.verify:Verification",
}
"""Classes of results by their kinds, the names of the verbs; a new one is one line here."""

MODEL_HOME = "streamsvd.models.model:Model"
COLLECTION_HOME = "streamsvd.collections.compressed:open_compressed"
STREAM_HOME = "streamsvd.streams.stream:TopEigenvectorStream"
FILE_HOMES = {
    "indices": "streamsvd.kernels.nystrom:load_nystrom",
    "coefficients": "streamsvd.kernels.ridge:load_ridge",
}
"""What reads the ``.npz`` files of earlier releases, by the name of an array that tells what is in one."""


def from_home(home: str) -> Any:
    """What stands at ``module:name``."""
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def result_class(kind: str, where: object) -> type:
    """The class of a kind.

    Raises
    ------
    StoreError
        If this release knows no such kind.
    """
    if kind not in RESULT_HOMES:
        raise StoreError(
            f"{where} holds a result of the kind {kind!r}, which this release does not know. It knows "
            f"{', '.join(RESULT_HOMES)}. Read it with the release that wrote it, or a newer one."
        )
    found: type = from_home(RESULT_HOMES[kind])
    return found


def kind_of(result: Any) -> str:
    """The kind of a result.

    Raises
    ------
    TypeError
        If it is none that can be saved.
    """
    home = f"{type(result).__module__}:{type(result).__qualname__}"
    for kind, known in RESULT_HOMES.items():
        if known == home:
            return kind
    raise TypeError(f"{home} has no line in streamsvd.store.results.kinds")
