"""Verbs of tall matrices: rows that stand for all, and least squares."""

from streamsvd.rows.lstsq import LeastSquaresResult, lstsq
from streamsvd.rows.sample_rows import RowSample, sample_rows

__all__ = ["LeastSquaresResult", "RowSample", "lstsq", "sample_rows"]
