"""Verbs of kernels: a dictionary of rows with a feature map, and ridge regression on it."""

from streamsvd.kernels.nystrom import Nystrom, load_nystrom, nystrom
from streamsvd.kernels.ridge import KernelRidgeFit, kernel_ridge, load_ridge

__all__ = ["KernelRidgeFit", "Nystrom", "kernel_ridge", "load_nystrom", "load_ridge", "nystrom"]
