"""Kernel methods on rows that do not fit in memory: dictionaries by ridge leverage scores, features, ridge regression."""

from streamsvd.kernels.mathematics.centres import FeatureMap, Pivots, pivots, remaining
from streamsvd.kernels.mathematics.dictionary import (
    Dictionary,
    Mode,
    Spec,
    exact_scores,
    leaf,
    merged,
    pushed,
)
from streamsvd.kernels.mathematics.kernel import Kernel, typical_length
from streamsvd.kernels.mathematics.placed import Placed, PlacedDense

__all__ = [
    "Dictionary",
    "FeatureMap",
    "Kernel",
    "Mode",
    "Pivots",
    "Placed",
    "PlacedDense",
    "Spec",
    "exact_scores",
    "leaf",
    "merged",
    "pivots",
    "pushed",
    "remaining",
    "typical_length",
]
