"""Values of a run as plain ones and arrays, as a checkpoint keeps them, and back: records nested to any depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
KIND = "__kind__"
ARRAY = "__array__"


def packed(value: Any) -> tuple[Any, dict[str, Array]]:
    """Plain values, in which arrays are named by number, and the arrays by those names.

    Parameters
    ----------
    value
        Numbers, text, None, lists, tuples, dictionaries with text for keys, arrays, and data classes of these.
    """
    arrays: dict[str, Array] = {}

    def plain(part: Any) -> Any:
        if isinstance(part, np.ndarray):
            name = f"n{len(arrays)}"
            arrays[name] = part
            return {ARRAY: name}
        if is_dataclass(part) and not isinstance(part, type):
            held = {f.name: plain(getattr(part, f.name)) for f in fields(part)}
            return {KIND: type(part).__name__, **held}
        if isinstance(part, Mapping):
            return {str(key): plain(item) for key, item in part.items()}
        if isinstance(part, list | tuple):
            return [plain(item) for item in part]
        return part.item() if isinstance(part, np.generic) else part

    return plain(value), arrays


def unpacked(plain: Any, arrays: Mapping[str, Array], kinds: Mapping[str, type]) -> Any:
    """The value again: tuples are lists, data classes are found in ``kinds`` by name and made without their checks."""
    if isinstance(plain, dict):
        if ARRAY in plain:
            return arrays[plain[ARRAY]]
        if KIND in plain:
            kind = kinds[plain[KIND]]
            made: Any = object.__new__(kind)
            for f in fields(kind):
                object.__setattr__(made, f.name, unpacked(plain[f.name], arrays, kinds))
            return made
        return {key: unpacked(item, arrays, kinds) for key, item in plain.items()}
    if isinstance(plain, list):
        return [unpacked(item, arrays, kinds) for item in plain]
    return plain
