"""Verbs of tall matrices: rows that stand for all, and least squares."""

from streamsvd.drivers.sampling.lstsq import LeastSquares, lstsq
from streamsvd.drivers.sampling.rows import RowSample, sample_rows

__all__ = ["LeastSquares", "RowSample", "lstsq", "sample_rows"]
