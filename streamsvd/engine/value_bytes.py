"""What values weigh that passes hand around: dask asks for it, so that it places, moves and spills by bytes that are there."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

DEPTH = 8
"""Of values within values that are looked into; arrays lie no deeper."""


def bytes_of(value: Any, depth: int = DEPTH) -> int:
    """Bytes of all arrays in a value, and of small objects about; no array of another library is touched.

    Of mappings only those that lie in memory are looked into: others may read what they hand out, as a compressed collection does.
    """
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if depth == 0 or value is None or isinstance(value, str | bytes | int | float):
        return sys.getsizeof(value)
    if isinstance(value, dict | MappingProxyType):
        return sum(bytes_of(item, depth - 1) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return sum(bytes_of(item, depth - 1) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return sum(bytes_of(getattr(value, f.name, None), depth - 1) for f in fields(value))
    return sys.getsizeof(value)
