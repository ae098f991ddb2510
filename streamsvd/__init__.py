"""Certified SVD and PCA of matrices larger than memory."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "open": "streamsvd.drivers.opening",
    "plan_svd": "streamsvd.drivers.factorise",
    "svd": "streamsvd.drivers.factorise",
    "pca": "streamsvd.drivers.factorise",
    "SVD": "streamsvd.result",
    "PCA": "streamsvd.result",
    "Status": "streamsvd.result",
    "Certificate": "streamsvd.certificate",
    "Plan": "streamsvd.engine.plan",
    "NotConverged": "streamsvd.errors",
    "StreamSVDError": "streamsvd.errors",
}

if TYPE_CHECKING:
    from streamsvd.certificate import Certificate
    from streamsvd.drivers.factorise import pca, plan_svd, svd
    from streamsvd.drivers.opening import open
    from streamsvd.engine.plan import Plan
    from streamsvd.errors import NotConverged, StreamSVDError
    from streamsvd.result import PCA, SVD, Status

__all__ = [
    "Certificate",
    "NotConverged",
    "PCA",
    "Plan",
    "SVD",
    "Status",
    "StreamSVDError",
    "open",
    "pca",
    "plan_svd",
    "svd",
]


def __getattr__(name: str) -> Any:
    """Names on demand (PEP 562), so that the command line starts without importing the engine."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'streamsvd' has no attribute {name!r}")
