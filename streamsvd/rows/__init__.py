"""Verbs of tall matrices: rows that stand for all, and least squares."""

from streamsvd.rows.lstsq import LeastSquares, lstsq
from streamsvd.rows.sample_rows import RowSample, sample_rows

__all__ = ["LeastSquares", "RowSample", "lstsq", "sample_rows"]
