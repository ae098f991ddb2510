"""Rows of tall matrices: how much each matters, samples that stand for all, least squares by sketch and by triangle."""

from streamsvd.rows.mathematics.descent import MOST_ITERATIONS, Descent, Products, least_singular
from streamsvd.rows.mathematics.distortion import certified
from streamsvd.rows.mathematics.draw import Draw, Sample
from streamsvd.rows.mathematics.online import EPSILON, Online
from streamsvd.rows.mathematics.scores import Kind, leverage, sensitivity, total
from streamsvd.rows.mathematics.solution import Solution, solved
from streamsvd.rows.mathematics.space import RowSpace
from streamsvd.rows.mathematics.sparse_signs import NONZEROS, Sketch

__all__ = [
    "EPSILON",
    "MOST_ITERATIONS",
    "NONZEROS",
    "Descent",
    "Draw",
    "Kind",
    "Online",
    "Products",
    "RowSpace",
    "Sample",
    "Sketch",
    "Solution",
    "certified",
    "least_singular",
    "leverage",
    "sensitivity",
    "solved",
    "total",
]
