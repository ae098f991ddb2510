"""Kernel methods on rows that do not fit in memory: dictionaries by ridge leverage scores, features, ridge regression."""

from streamsvd.kernels.mathematics.centres import FeatureMap, Pivots, pivots, remaining
from streamsvd.kernels.mathematics.device_kernels import DeviceFeatureMap, DeviceGram
from streamsvd.kernels.mathematics.dictionary import (
    Dictionary,
    DictionaryOptions,
    exact_scores,
    leaf,
    merge_dictionaries,
    push_rows,
)
from streamsvd.kernels.mathematics.kernel import Kernel, typical_length

__all__ = [
    "Dictionary",
    "FeatureMap",
    "Kernel",
    "Pivots",
    "DeviceFeatureMap",
    "DeviceGram",
    "DictionaryOptions",
    "exact_scores",
    "leaf",
    "merge_dictionaries",
    "pivots",
    "push_rows",
    "remaining",
    "typical_length",
]
