"""Rows of tall matrices: how much each matters, samples that stand for all, least squares by sketch and by triangle."""

from streamsvd.rows.mathematics.descent import (
    MOST_ITERATIONS,
    DescentSums,
    LeastSquaresDescent,
    least_singular,
)
from streamsvd.rows.mathematics.distortion import distortion_bounds
from streamsvd.rows.mathematics.draw import Draw, DrawnSample
from streamsvd.rows.mathematics.online import EPSILON, Online
from streamsvd.rows.mathematics.scores import leverage, sensitivity, total
from streamsvd.rows.mathematics.solution import TriangleSolution, solve_triangle
from streamsvd.rows.mathematics.space import RowSpace
from streamsvd.rows.mathematics.sparse_signs import NONZEROS, SparseSignSketch

__all__ = [
    "EPSILON",
    "MOST_ITERATIONS",
    "NONZEROS",
    "LeastSquaresDescent",
    "Draw",
    "Online",
    "DescentSums",
    "RowSpace",
    "DrawnSample",
    "SparseSignSketch",
    "TriangleSolution",
    "distortion_bounds",
    "least_singular",
    "leverage",
    "sensitivity",
    "solve_triangle",
    "total",
]
