"""Verbs of kernels: a dictionary of rows with a feature map, and ridge regression on it."""

from streamsvd.drivers.kernel.nystrom import Nystrom, load_nystrom, nystrom
from streamsvd.drivers.kernel.ridge import KernelRidgeFit, kernel_ridge, load_ridge

__all__ = ["KernelRidgeFit", "Nystrom", "kernel_ridge", "load_nystrom", "load_ridge", "nystrom"]
