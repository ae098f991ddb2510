"""What embeddings of graphs compute: a random projection that is never stored, and products of rows of a graph with it."""

from streamsvd.graphs.mathematics.powers import (
    add_weighted,
    first_lost_row,
    has_norms,
    multiply_rows,
    row_maxima,
    square_norms,
)
from streamsvd.graphs.mathematics.projection import degree_factors, projected_rows
from streamsvd.graphs.mathematics.symmetry import MODULUS, asymmetry_hash

__all__ = [
    "MODULUS",
    "asymmetry_hash",
    "add_weighted",
    "degree_factors",
    "first_lost_row",
    "has_norms",
    "multiply_rows",
    "projected_rows",
    "row_maxima",
    "square_norms",
]
