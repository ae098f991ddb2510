"""Verbs of kernels: a dictionary of rows with a feature map, and ridge regression on it."""

from streamsvd.kernels.nystrom import NystromResult, load_nystrom, nystrom
from streamsvd.kernels.ridge import KernelRidgeResult, kernel_ridge, load_ridge

__all__ = [
    "KernelRidgeResult",
    "NystromResult",
    "kernel_ridge",
    "load_nystrom",
    "load_ridge",
    "nystrom",
]
