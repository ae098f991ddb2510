"""Results as plain values and named arrays, and back: data classes nested to any depth.

An array is named by its place, as ``certificate.sigma_lower``. What is read is made by the annotations of the class that is
expected there, and never by what the file says of itself: it can name no class, and no array at another place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from streamsvd.errors import SpecError
from streamsvd.options import from_plain

ARRAY, DTYPE, SHAPE = "array", "dtype", "shape"
IN_CHUNKS = {"in_chunks": True}
"""Metadata of a field whose array may have more rows than memory holds: it is read where it is used."""
MOST_DEPTH = 16
"""Of values that are not annotated."""
NUMBERS = "biufc"
NON_FINITE = ("inf", "-inf", "nan")


class ArrayReader(Protocol):
    """Where the arrays of a result are."""

    def array(self, name: str) -> Any:
        """One in memory."""
        ...

    def lazy_array(self, name: str) -> Any:
        """One that is read where it is used."""
        ...


def is_array(value: Any) -> bool:
    """Whether it is an array of any kind, lazy ones too."""
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, np.generic)


def encode_fields(value: Any, arrays: dict[str, Any], name: str = "") -> dict[str, Any]:
    """The fields of a data class as plain values; its arrays are put into ``arrays`` by their places.

    Raises
    ------
    SpecError
        If something in it is a function, which no file can hold.
    """
    return {
        key: encode_value(getattr(value, key), arrays, f"{name}.{key}" if name else key)
        for key, default in _field_defaults(value.__class__).items()
        if not (callable(default) and getattr(value, key) is default)
    }


def encode_value(value: Any, arrays: dict[str, Any], name: str) -> Any:
    """One value; see `encode_fields`."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_array(value):
        if np.dtype(value.dtype).kind not in NUMBERS:
            raise SpecError(f"{name} is an array of {value.dtype}, which is not saved.")
        arrays[name] = value
        return {ARRAY: name, DTYPE: np.dtype(value.dtype).name, SHAPE: list(value.shape)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return _encode_parts(value, arrays, name)


def _encode_parts(value: Any, arrays: dict[str, Any], name: str) -> Any:
    if _is_record(type(value)):
        return encode_fields(value, arrays, name)
    if isinstance(value, Mapping) and ARRAY not in value:
        # keys may hold what no name of a file can: parts are named by number
        return {
            str(key): encode_value(part, arrays, f"{name}.{i}")
            for i, (key, part) in enumerate(value.items())
        }
    if isinstance(value, list | tuple):
        return [encode_value(part, arrays, f"{name}.{i}") for i, part in enumerate(value)]
    if callable(value):
        raise SpecError(f"{name} is a function, which cannot be saved. Use one that has a name.")
    raise SpecError(f"{name} is of the type {type(value).__name__}, which is not saved.")


def decode_fields(plain: Any, kind: type, read: ArrayReader, name: str = "") -> Any:
    """A data class again, made with its own checks.

    Raises
    ------
    ValueError
        If a field is missing, unknown, or of another type; it names the field.
    """
    if not isinstance(plain, dict):
        raise ValueError(f"{name} is {_brief(plain)}, not the fields of {kind.__name__}")
    hints, defaults = _hints(kind), _field_defaults(kind)
    options = name.rpartition(".")[2] == "options"
    unknown = [key for key in plain if key not in defaults]
    if unknown and not options:
        raise ValueError(
            f"{name or 'it'} has {unknown[0]}, which {kind.__name__} of this release does not know"
        )
    missing = [key for key, default in defaults.items() if default is MISSING and key not in plain]
    if missing:
        raise ValueError(f"{name or 'it'} has no {missing[0]}")
    lazy = _fields_in_chunks(kind)
    values = {
        key: decode_value(
            part, hints.get(key, Any), read, f"{name}.{key}" if name else key, key in lazy
        )
        for key, part in plain.items()
    }
    return from_plain(kind, values, "it") if options else kind(**values)


def decode_value(plain: Any, hint: Any, read: ArrayReader, name: str, lazy: bool = False) -> Any:
    """One value of the type that is annotated; see `decode_fields`."""
    origin = get_origin(hint)
    if hint is Any:
        return _decode_any(plain, read, name, lazy, MOST_DEPTH)
    if origin in (Union, UnionType):
        return _decode_union(plain, get_args(hint), read, name, lazy)
    if origin is np.ndarray or hint is np.ndarray:
        return _decode_array(plain, read, name, lazy)
    if _is_record(hint):
        return decode_fields(plain, hint, read, name)
    if origin in (tuple, list, Sequence):
        return _decode_sequence(plain, hint, read, name)
    if origin in (dict, Mapping):
        if not isinstance(plain, dict):
            raise ValueError(f"{name} is {_brief(plain)}, not a mapping")
        part = get_args(hint)[1]
        return {
            key: decode_value(value, part, read, f"{name}.{i}")
            for i, (key, value) in enumerate(plain.items())
        }
    return _decode_scalar(plain, hint, name)


def _decode_union(
    plain: Any, hints: tuple[Any, ...], read: ArrayReader, name: str, lazy: bool
) -> Any:
    if plain is None and NoneType in hints:
        return None
    problem: ValueError | None = None
    for hint in hints:
        try:
            return decode_value(plain, hint, read, name, lazy)
        except ValueError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _decode_array(plain: Any, read: ArrayReader, name: str, lazy: bool) -> Any:
    if not isinstance(plain, dict) or plain.get(ARRAY) != name:
        raise ValueError(f"{name} is {_brief(plain)}, not the array of that name")
    found = read.lazy_array(name) if lazy else read.array(name)
    there = {ARRAY: name, DTYPE: np.dtype(found.dtype).name, SHAPE: list(found.shape)}
    if there != plain:
        raise ValueError(
            f"{name} is of {there[DTYPE]} and shape {there[SHAPE]}, not of {_brief(plain.get(DTYPE))} and shape "
            f"{_brief(plain.get(SHAPE))}"
        )
    return found


def _decode_any(plain: Any, read: ArrayReader, name: str, lazy: bool, depth: int) -> Any:
    if depth == 0:
        raise ValueError(f"{name} is nested deeper than {MOST_DEPTH} times")
    if isinstance(plain, dict):
        if ARRAY in plain:
            return _decode_array(plain, read, name, lazy)
        return {
            key: _decode_any(part, read, f"{name}.{i}", False, depth - 1)
            for i, (key, part) in enumerate(plain.items())
        }
    if isinstance(plain, list):
        return [
            _decode_any(part, read, f"{name}.{i}", False, depth - 1) for i, part in enumerate(plain)
        ]
    return plain


def _decode_sequence(plain: Any, hint: Any, read: ArrayReader, name: str) -> Any:
    if not isinstance(plain, list):
        raise ValueError(f"{name} is {_brief(plain)}, not a list")
    parts = get_args(hint)
    if get_origin(hint) is not tuple or parts[-1:] == (Ellipsis,):
        parts = parts[:1] * len(plain)
    if len(parts) != len(plain):
        raise ValueError(f"{name} has {len(plain)} parts, not {len(parts)}")
    found = [
        decode_value(part, of, read, f"{name}.{i}")
        for i, (part, of) in enumerate(zip(plain, parts, strict=True))
    ]
    return tuple(found) if get_origin(hint) is tuple else found


def _decode_scalar(plain: Any, hint: Any, name: str) -> Any:
    if get_origin(hint) is Literal:
        if not any(plain == known and type(plain) is type(known) for known in get_args(hint)):
            raise ValueError(
                f"{name} is {_brief(plain)}, not one of {', '.join(map(repr, get_args(hint)))}"
            )
        return plain
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(plain)
    if hint is float:
        if isinstance(plain, str) and plain in NON_FINITE:
            return float(plain)
        if isinstance(plain, int | float) and not isinstance(plain, bool):
            return float(plain)
    elif hint in (int, bool, str, NoneType) and type(plain) is hint:
        return plain
    raise ValueError(
        f"{name} is {_brief(plain)}, not of the type {getattr(hint, '__name__', hint)}"
    )


def plain_json(value: Any) -> Any:
    """JSON's types only: arrays become lists, enumerations their values, infinities text."""
    if isinstance(value, dict):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return [plain_json(item) for item in value.tolist()]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float | np.floating) and not np.isfinite(value):
        return str(float(value))
    if isinstance(value, np.generic):
        return value.item()
    return value


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, msgspec.Struct))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _field_defaults(kind: type) -> dict[str, Any]:
    """The fields that make one, and their defaults; `MISSING` of those without."""
    if issubclass(kind, msgspec.Struct):
        return {f.name: MISSING if f.required else f.default for f in msgspec.structs.fields(kind)}
    record: Any = kind
    return {
        f.name: f.default if f.default_factory is MISSING else f.default_factory
        for f in fields(record)
        if f.init
    }


@cache
def _fields_in_chunks(kind: type) -> frozenset[str]:
    if not is_dataclass(kind):
        return frozenset()
    return frozenset(f.name for f in fields(kind) if f.metadata.get("in_chunks"))


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."
