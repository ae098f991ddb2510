"""Certified SVD and PCA of matrices larger than memory."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "open": "streamsvd.drivers.opening",
    "load": "streamsvd.drivers.loading",
    "Model": "streamsvd.drivers.model",
    "Update": "streamsvd.drivers.model",
    "export": "streamsvd.drivers.model",
    "merge": "streamsvd.drivers.model",
    "update": "streamsvd.drivers.model",
    "nystrom": "streamsvd.drivers.kernel",
    "kernel_ridge": "streamsvd.drivers.kernel",
    "load_nystrom": "streamsvd.drivers.kernel",
    "load_ridge": "streamsvd.drivers.kernel",
    "KernelRidgeFit": "streamsvd.drivers.kernel",
    "Nystrom": "streamsvd.drivers.kernel",
    "sample_rows": "streamsvd.drivers.sampling",
    "RowSample": "streamsvd.drivers.sampling",
    "lstsq": "streamsvd.drivers.sampling",
    "LeastSquares": "streamsvd.drivers.sampling",
    "top_eigenvectors": "streamsvd.drivers.stream",
    "TopEigenvectors": "streamsvd.drivers.stream",
    "StreamResult": "streamsvd.drivers.stream",
    "shuffle": "streamsvd.drivers.stream",
    "StreamCertificate": "streamsvd.stream",
    "IncrementalSVD": "streamsvd.incremental",
    "IncrementalPCA": "streamsvd.estimators",  # needs scikit-learn, as do the next
    "KernelRidge": "streamsvd.estimators",
    "Nystroem": "streamsvd.estimators",
    "TruncatedSVD": "streamsvd.estimators",
    "Clustering": "streamsvd.drivers.collection",
    "Compressed": "streamsvd.drivers.collection",
    "Compression": "streamsvd.drivers.collection",
    "Merge": "streamsvd.concat",
    "Rate": "streamsvd.drivers.collection",
    "Rates": "streamsvd.drivers.collection",
    "SharedBasis": "streamsvd.drivers.collection",
    "cluster": "streamsvd.drivers.collection",
    "compress": "streamsvd.drivers.collection",
    "decompress": "streamsvd.drivers.collection",
    "input_factor": "streamsvd.drivers.collection",
    "open_compressed": "streamsvd.drivers.collection",
    "rates": "streamsvd.drivers.collection",
    "open_collection": "streamsvd.store.collection",
    "verify": "streamsvd.drivers.verify",
    "plan_svd": "streamsvd.drivers.factorise",
    "svd": "streamsvd.drivers.factorise",
    "pca": "streamsvd.drivers.factorise",
    "SVD": "streamsvd.result",
    "PCA": "streamsvd.result",
    "Status": "streamsvd.result",
    "Certificate": "streamsvd.certificate",
    "Plan": "streamsvd.engine.plan",
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
    from streamsvd.certificate import Certificate
    from streamsvd.concat import Merge
    from streamsvd.drivers.collection import (
        Clustering,
        Compressed,
        Compression,
        Rate,
        Rates,
        SharedBasis,
        cluster,
        compress,
        decompress,
        input_factor,
        open_compressed,
        rates,
    )
    from streamsvd.drivers.factorise import pca, plan_svd, svd
    from streamsvd.drivers.kernel import (
        KernelRidgeFit,
        Nystrom,
        kernel_ridge,
        load_nystrom,
        load_ridge,
        nystrom,
    )
    from streamsvd.drivers.loading import load
    from streamsvd.drivers.model import Model, Update, export, merge, update
    from streamsvd.drivers.opening import open
    from streamsvd.drivers.sampling import LeastSquares, RowSample, lstsq, sample_rows
    from streamsvd.drivers.stream import StreamResult, TopEigenvectors, shuffle, top_eigenvectors
    from streamsvd.drivers.verify import verify
    from streamsvd.engine.plan import Plan
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
    from streamsvd.incremental import IncrementalSVD
    from streamsvd.result import PCA, SVD, Status
    from streamsvd.store.collection import open_collection
    from streamsvd.stream import StreamCertificate

# IncrementalPCA and the other estimators are left out: a star import must not need the extra.
__all__ = [
    "AccessError",
    "BudgetError",
    "Certificate",
    "Clustering",
    "Compressed",
    "Compression",
    "ConflictError",
    "CorruptChunkError",
    "IncrementalSVD",
    "KernelRidgeFit",
    "LeastSquares",
    "Merge",
    "MissingChunkError",
    "Model",
    "NonFiniteError",
    "NotConverged",
    "Nystrom",
    "OrderWarning",
    "PCA",
    "Plan",
    "Rate",
    "Rates",
    "RowSample",
    "SVD",
    "ShapeError",
    "SharedBasis",
    "SpecError",
    "Status",
    "StoreError",
    "StreamCertificate",
    "StreamResult",
    "StreamSVDError",
    "TopEigenvectors",
    "Update",
    "cluster",
    "compress",
    "decompress",
    "export",
    "input_factor",
    "kernel_ridge",
    "load",
    "load_nystrom",
    "load_ridge",
    "lstsq",
    "merge",
    "nystrom",
    "open",
    "open_collection",
    "open_compressed",
    "pca",
    "plan_svd",
    "rates",
    "sample_rows",
    "shuffle",
    "svd",
    "top_eigenvectors",
    "update",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Names on demand (PEP 562), so that the command line starts without importing the engine."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'streamsvd' has no attribute {name!r}")
