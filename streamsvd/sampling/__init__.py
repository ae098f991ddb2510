"""Rows of tall matrices: how much each matters, samples that stand for all, least squares by sketch and by triangle."""

from streamsvd.sampling.descent import MOST_ITERATIONS, Descent, Products, least_singular
from streamsvd.sampling.distortion import certified
from streamsvd.sampling.draw import Draw, Sample
from streamsvd.sampling.online import EPSILON, Online
from streamsvd.sampling.scores import Kind, leverage, sensitivity, total
from streamsvd.sampling.solution import Solution, solved
from streamsvd.sampling.space import RowSpace
from streamsvd.sampling.sparse_signs import NONZEROS, Sketch
from streamsvd.sampling.triangle import (
    Tower,
    Triangle,
    block_height,
    joined,
    reduced,
    tower_bytes,
)

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
    "Tower",
    "Triangle",
    "block_height",
    "certified",
    "joined",
    "least_singular",
    "leverage",
    "reduced",
    "sensitivity",
    "solved",
    "total",
    "tower_bytes",
]
