"""Values of a run as plain ones and one array of bytes, as a checkpoint keeps them, and back: records nested to any depth.

One array, because each that is saved costs the time that a disk takes to say it is safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BYTES = "bytes"
KIND, ARRAY = "__kind__", "__array__"


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
            start = sum(a.size for a in held)
            turned = part.flags.f_contiguous and not part.flags.c_contiguous
            stored = np.ascontiguousarray(part.T if turned else part)
            held.append(np.frombuffer(stored.tobytes(), dtype=np.uint8))
            return {ARRAY: [start, part.dtype.str, list(part.shape), *["F"] * turned]}
        if is_dataclass(part) and not isinstance(part, type):
            by_name = {f.name: plain(getattr(part, f.name)) for f in fields(part)}
            return {KIND: type(part).__name__, **by_name}
        if isinstance(part, Mapping):
            return {str(key): plain(item) for key, item in part.items()}
        if isinstance(part, list | tuple):
            return [plain(item) for item in part]
        return part.item() if isinstance(part, np.generic) else part

    found = plain(value)
    return found, {BYTES: np.concatenate([*held, np.zeros(0, dtype=np.uint8)])}


def decode_value(plain: Any, arrays: Mapping[str, Array], kinds: Mapping[str, type]) -> Any:
    """The value again: tuples are lists, data classes are found in ``kinds`` by name and made without their checks."""
    if isinstance(plain, dict):
        if ARRAY in plain:
            start, name, shape, *turned = plain[ARRAY]
            dtype, count = np.dtype(name), int(np.prod(shape, dtype=np.int64))
            data = arrays[BYTES][start : start + count * dtype.itemsize].tobytes()
            flat = np.frombuffer(data, dtype=dtype)
            found = flat.reshape(shape[::-1]).T if turned else flat.reshape(shape)
            return found.copy(order="K")
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
