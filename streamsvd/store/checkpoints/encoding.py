"""Values of a run as plain ones and one array of bytes, as a checkpoint keeps them, and back: records nested to any depth.

One array, because each that is saved costs the time that a disk takes to say it is safe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BYTES = "bytes"
KIND, ARRAY, TUPLE, FLOAT = "__kind__", "__array__", "__tuple__", "__float__"


def encode_value(value: Any) -> tuple[Any, dict[str, Array]]:
    """Plain values, in which arrays are named by place, type, shape and order in memory, and their bytes.

    Parameters
    ----------
    value
        Numbers, text, None, lists, tuples, dictionaries with text for keys, arrays, and data classes of these.
    """
    held: list[Array] = []

    def plain(part: Any) -> Any:
        if isinstance(part, np.ndarray):
            start, order = sum(a.size for a in held), _order(part)
            held.append(np.frombuffer(part.tobytes(order), dtype=np.uint8))
            return {ARRAY: [start, part.dtype.str, list(part.shape), order]}
        if is_dataclass(part) and not isinstance(part, type):
            by_name = {f.name: plain(getattr(part, f.name)) for f in fields(part)}
            return {KIND: type(part).__name__, **by_name}
        if isinstance(part, Mapping):
            return {str(key): plain(item) for key, item in part.items()}
        if isinstance(part, tuple):
            return {TUPLE: [plain(item) for item in part]}
        if isinstance(part, list):
            return [plain(item) for item in part]
        part = part.item() if isinstance(part, np.generic) else part
        if isinstance(part, float) and not math.isfinite(part):  # JSON has no such numbers
            return {FLOAT: repr(part)}
        return part

    found = plain(value)
    return found, {BYTES: np.concatenate([*held, np.zeros(0, dtype=np.uint8)])}


def _order(array: Array) -> Literal["C", "F"]:
    """How its entries lie in memory: products of another order are other bits."""
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def decode_value(plain: Any, arrays: Mapping[str, Array], kinds: Mapping[str, type]) -> Any:
    """The value again: data classes are found in ``kinds`` by name and made without their checks."""
    if isinstance(plain, dict):
        if ARRAY in plain:
            start, name, shape, *rest = plain[ARRAY]
            order: Literal["C", "F"] = "F" if rest == ["F"] else "C"  # earlier releases wrote none
            dtype, count = np.dtype(name), int(np.prod(shape, dtype=np.int64))
            data = arrays[BYTES][start : start + count * dtype.itemsize].tobytes()
            return np.frombuffer(data, dtype=dtype).reshape(shape, order=order).copy(order)
        if TUPLE in plain:
            return tuple(decode_value(item, arrays, kinds) for item in plain[TUPLE])
        if FLOAT in plain:
            return float(plain[FLOAT])
        if KIND in plain:
            kind = kinds[plain[KIND]]
            made: Any = object.__new__(kind)
            for f in fields(kind):
                object.__setattr__(made, f.name, decode_value(plain[f.name], arrays, kinds))
            return made
        return {key: decode_value(item, arrays, kinds) for key, item in plain.items()}
    if isinstance(plain, list):
        return [decode_value(item, arrays, kinds) for item in plain]
    return plain
