"""Kernel methods on rows that do not fit in memory: dictionaries by ridge leverage scores, features, ridge regression."""

from streamsvd.leverage.centres import FeatureMap, Pivots, pivots, remaining
from streamsvd.leverage.dictionary import (
    Dictionary,
    Mode,
    Spec,
    exact_scores,
    leaf,
    merged,
    pushed,
)
from streamsvd.leverage.kernels import Kernel, typical_length
from streamsvd.leverage.placed import Placed, PlacedDense

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
