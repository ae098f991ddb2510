"""Certified SVD and PCA of matrices larger than memory."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "open": "streamsvd.engine.opening",
    "anomalies": "streamsvd.engine.transforms",
    "apply_steps": "streamsvd.engine.steps",
    "column_weights": "streamsvd.engine.transforms",
    "detrend": "streamsvd.engine.transforms",
    "convert": "streamsvd.conversion.convert",
    "transpose": "streamsvd.conversion.convert",
    "ConvertedArray": "streamsvd.conversion.convert",
    "load": "streamsvd.store.results.loading",
    "Model": "streamsvd.models",
    "UpdateReport": "streamsvd.models",
    "export_model": "streamsvd.models",
    "merge_models": "streamsvd.models",
    "update": "streamsvd.models",
    "nystrom": "streamsvd.kernels.nystrom",
    "kernel_ridge": "streamsvd.kernels.ridge",
    "load_nystrom": "streamsvd.kernels.nystrom",
    "load_ridge": "streamsvd.kernels.ridge",
    "KernelRidgeResult": "streamsvd.kernels.ridge",
    "NystromResult": "streamsvd.kernels.nystrom",
    "sample_rows": "streamsvd.rows.sample_rows",
    "RowSample": "streamsvd.rows.sample_rows",
    "lstsq": "streamsvd.rows.lstsq",
    "LeastSquaresResult": "streamsvd.rows.lstsq",
    "embed": "streamsvd.graphs.verb",
    "Embedding": "streamsvd.graphs.result",
    "GraphEigenvectors": "streamsvd.graphs.result",
    "graph_eigenvectors": "streamsvd.graphs.eigenvectors",
    "top_eigenvectors": "streamsvd.streams.verb",
    "TopEigenvectorStream": "streamsvd.streams.stream",
    "TopEigenvectorsResult": "streamsvd.streams.result",
    "shuffle": "streamsvd.streams.shuffle",
    "StreamCertificate": "streamsvd.streams.mathematics",
    "IncrementalSVD": "streamsvd.models.mathematics.incremental",
    "IncrementalPCA": "streamsvd.estimators",  # needs scikit-learn, as do the next
    "KernelRidge": "streamsvd.estimators",
    "Nystroem": "streamsvd.estimators",
    "TruncatedSVD": "streamsvd.estimators",
    "ClusterResult": "streamsvd.collections.result",
    "CompressedCollection": "streamsvd.collections.compressed",
    "CompressionReport": "streamsvd.collections.result",
    "MergeStep": "streamsvd.collections.mathematics",
    "RatePoint": "streamsvd.collections.rates",
    "RateCurve": "streamsvd.collections.rates",
    "Cluster": "streamsvd.collections.result",
    "cluster": "streamsvd.collections.cluster",
    "compress": "streamsvd.collections.compression",
    "decompress": "streamsvd.collections.decompression",
    "second_moment_factor": "streamsvd.collections.inputs",
    "open_compressed": "streamsvd.collections.compressed",
    "rate_curve": "streamsvd.collections.rates",
    "open_collection": "streamsvd.store.collections",
    "verify": "streamsvd.models.verify",
    "plan": "streamsvd.verbs",
    "Info": "streamsvd.info",
    "RunPlan": "streamsvd.engine.run_plan",
    "plan_svd": "streamsvd.factor.svd",
    "plan_pca": "streamsvd.factor.pca",
    "svd": "streamsvd.factor.svd",
    "pca": "streamsvd.factor.pca",
    "cells": "streamsvd.single_cell.verb",
    "CellsResult": "streamsvd.single_cell.result",
    "rotate": "streamsvd.factor.rotation",
    "Rotation": "streamsvd.factor.rotation_result",
    "effective_sample_size": "streamsvd.factor.sampling",
    "plot": "streamsvd.report.plotting",
    "SVD": "streamsvd.factor.result",
    "PCA": "streamsvd.factor.result",
    "Status": "streamsvd.info",
    "Certificate": "streamsvd.numerics.certificate",
    "Plan": "streamsvd.factor.plan",
    "AccessError": "streamsvd.errors",
    "BudgetError": "streamsvd.errors",
    "ConflictError": "streamsvd.errors",
    "CorruptChunkError": "streamsvd.errors",
    "MissingChunkError": "streamsvd.errors",
    "NonFiniteError": "streamsvd.errors",
    "NotConverged": "streamsvd.errors",
    "OrderWarning": "streamsvd.errors",
    "ShapeError": "streamsvd.errors",
    "SpecError": "streamsvd.errors",
    "StoreError": "streamsvd.errors",
    "StreamSVDError": "streamsvd.errors",
}

if TYPE_CHECKING:
    from streamsvd.collections.cluster import cluster
    from streamsvd.collections.compressed import CompressedCollection, open_compressed
    from streamsvd.collections.compression import compress
    from streamsvd.collections.decompression import decompress
    from streamsvd.collections.inputs import second_moment_factor
    from streamsvd.collections.mathematics import MergeStep
    from streamsvd.collections.rates import RateCurve, RatePoint, rate_curve
    from streamsvd.collections.result import Cluster, ClusterResult, CompressionReport
    from streamsvd.conversion.convert import ConvertedArray, convert, transpose
    from streamsvd.engine.opening import open
    from streamsvd.engine.run_plan import RunPlan
    from streamsvd.engine.steps import apply_steps
    from streamsvd.engine.transforms import anomalies, column_weights, detrend
    from streamsvd.errors import (
        AccessError,
        BudgetError,
        ConflictError,
        CorruptChunkError,
        MissingChunkError,
        NonFiniteError,
        NotConverged,
        OrderWarning,
        ShapeError,
        SpecError,
        StoreError,
        StreamSVDError,
    )
    from streamsvd.estimators import IncrementalPCA as IncrementalPCA
    from streamsvd.estimators import KernelRidge as KernelRidge
    from streamsvd.estimators import Nystroem as Nystroem
    from streamsvd.estimators import TruncatedSVD as TruncatedSVD
    from streamsvd.factor.pca import pca, plan_pca
    from streamsvd.factor.plan import Plan
    from streamsvd.factor.result import PCA, SVD
    from streamsvd.factor.rotation import rotate
    from streamsvd.factor.rotation_result import Rotation
    from streamsvd.factor.sampling import effective_sample_size
    from streamsvd.factor.svd import plan_svd, svd
    from streamsvd.graphs.eigenvectors import graph_eigenvectors
    from streamsvd.graphs.result import Embedding, GraphEigenvectors
    from streamsvd.graphs.verb import embed
    from streamsvd.info import Info, Status
    from streamsvd.kernels.nystrom import NystromResult, load_nystrom, nystrom
    from streamsvd.kernels.ridge import KernelRidgeResult, kernel_ridge, load_ridge
    from streamsvd.models import Model, UpdateReport, export_model, merge_models, update
    from streamsvd.models.mathematics.incremental import IncrementalSVD
    from streamsvd.models.verify import verify
    from streamsvd.numerics.certificate import Certificate
    from streamsvd.report.plotting import plot
    from streamsvd.rows.lstsq import LeastSquaresResult, lstsq
    from streamsvd.rows.sample_rows import RowSample, sample_rows
    from streamsvd.single_cell.result import CellsResult
    from streamsvd.single_cell.verb import cells
    from streamsvd.store.collections import open_collection
    from streamsvd.store.results.loading import load
    from streamsvd.streams.mathematics import StreamCertificate
    from streamsvd.streams.result import TopEigenvectorsResult
    from streamsvd.streams.shuffle import shuffle
    from streamsvd.streams.stream import TopEigenvectorStream
    from streamsvd.streams.verb import top_eigenvectors
    from streamsvd.verbs import plan

# IncrementalPCA and the other estimators are left out: a star import must not need the extra.
__all__ = [
    "AccessError",
    "BudgetError",
    "CellsResult",
    "Certificate",
    "ClusterResult",
    "CompressedCollection",
    "CompressionReport",
    "ConflictError",
    "ConvertedArray",
    "CorruptChunkError",
    "Embedding",
    "GraphEigenvectors",
    "IncrementalSVD",
    "Info",
    "KernelRidgeResult",
    "LeastSquaresResult",
    "MergeStep",
    "MissingChunkError",
    "Model",
    "NonFiniteError",
    "NotConverged",
    "NystromResult",
    "OrderWarning",
    "PCA",
    "Plan",
    "RatePoint",
    "RateCurve",
    "Rotation",
    "RowSample",
    "RunPlan",
    "SVD",
    "ShapeError",
    "Cluster",
    "SpecError",
    "Status",
    "StoreError",
    "StreamCertificate",
    "TopEigenvectorsResult",
    "StreamSVDError",
    "TopEigenvectorStream",
    "UpdateReport",
    "anomalies",
    "apply_steps",
    "cells",
    "cluster",
    "column_weights",
    "compress",
    "convert",
    "decompress",
    "detrend",
    "effective_sample_size",
    "embed",
    "export_model",
    "graph_eigenvectors",
    "second_moment_factor",
    "kernel_ridge",
    "load",
    "load_nystrom",
    "load_ridge",
    "lstsq",
    "merge_models",
    "nystrom",
    "open",
    "open_collection",
    "open_compressed",
    "pca",
    "plan",
    "plan_pca",
    "plan_svd",
    "plot",
    "rate_curve",
    "rotate",
    "sample_rows",
    "shuffle",
    "svd",
    "top_eigenvectors",
    "transpose",
    "update",
    "verify",
]

_FACES = ("anndata", "xarray")
"""Packages for users of other libraries, imported when they are named."""


def __getattr__(name: str) -> Any:
    """Names on demand (PEP 562), so that the command line starts without importing the engine."""
    if name in _FACES:
        return import_module(f"streamsvd.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'streamsvd' has no attribute {name!r}")
