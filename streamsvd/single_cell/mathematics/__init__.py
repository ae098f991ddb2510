"""Sums over counts, and which genes vary more than their mean lets expect: arithmetic on arrays of one number a gene."""

from streamsvd.single_cell.mathematics.counts import (
    CellSums,
    GeneMoments,
    GeneSums,
    count_entries,
    moments_of,
    sum_clipped,
    sum_normalised,
)
from streamsvd.single_cell.mathematics.dispersion import GeneDispersions, dispersions_of
from streamsvd.single_cell.mathematics.trend import VarianceTrend, normalised_variances, trend_of
from streamsvd.single_cell.mathematics.variable_genes import GeneRanks, ranks_of

__all__ = [
    "CellSums",
    "GeneDispersions",
    "GeneMoments",
    "GeneRanks",
    "GeneSums",
    "VarianceTrend",
    "count_entries",
    "dispersions_of",
    "moments_of",
    "normalised_variances",
    "ranks_of",
    "sum_clipped",
    "sum_normalised",
    "trend_of",
]
