"""Faces that scikit-learn knows: they hold options and one state, and decide nothing."""

from __future__ import annotations

try:
    import sklearn  # noqa: F401  # an extra; asked for here, so that the message can name it
except ImportError as error:
    raise ImportError(
        "the estimators of streamsvd need scikit-learn, which is not installed. "
        "Run: pip install 'streamsvd[sklearn]'"
    ) from error

from streamsvd.estimators.incremental_pca import IncrementalPCA
from streamsvd.estimators.kernel_ridge import KernelRidge
from streamsvd.estimators.nystroem import Nystroem
from streamsvd.estimators.pca import PCA
from streamsvd.estimators.truncated_svd import TruncatedSVD

__all__ = ["PCA", "IncrementalPCA", "KernelRidge", "Nystroem", "TruncatedSVD"]
