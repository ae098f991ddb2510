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

ARRAY, DTYPE, SHAPE, ORDER = "array", "dtype", "shape", "order"
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
    named = all(hasattr(value, name) for name in ("dtype", "shape", "__getitem__"))
    return named and not isinstance(value, np.generic)


class ResultEncoder:
    """Values on their way to a file; an array that stands in several places is written once."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def fields(self, value: Any, name: str = "") -> dict[str, Any]:
        """The fields of a data class as plain values; its arrays are in `arrays` by their places.

        Raises
        ------
        SpecError
            If something in it is a function, which no file can hold.
        """
        return {
            key: self.value(getattr(value, key), f"{name}.{key}" if name else key)
            for key, default in _field_defaults(value.__class__).items()
            if not (callable(default) and getattr(value, key) is default)
        }

    def value(self, value: Any, name: str) -> Any:
        """One value; see `fields`."""
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float):
            return value if np.isfinite(value) else str(value)
        if value is None or isinstance(value, bool | int | str):
            return value
        if is_array(value):
            return self._array(value, name)
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        return self._parts(value, name)

    def _array(self, value: Any, name: str) -> dict[str, Any]:
        dtype = np.dtype(value.dtype)
        if dtype.kind not in NUMBERS:
            raise SpecError(f"{name} is an array of {dtype}, which is not saved.")
        if id(value) not in self._names:
            self._names[id(value)], self.arrays[name] = name, value
        return _mark(self._names[id(value)], value)

    def _parts(self, value: Any, name: str) -> Any:
        if _is_record(type(value)):
            return self.fields(value, name)
        if isinstance(value, np.dtype):
            return value.name
        if isinstance(value, Mapping) and ARRAY not in value:
            # keys may hold what no name of a file can: parts are named by number
            return {
                str(key): self.value(part, f"{name}.{i}")
                for i, (key, part) in enumerate(value.items())
            }
        if isinstance(value, list | tuple):
            return [self.value(part, f"{name}.{i}") for i, part in enumerate(value)]
        if callable(value):
            raise SpecError(
                f"{name} is a function, which cannot be saved. Use one that has a name."
            )
        raise SpecError(f"{name} is of the type {type(value).__name__}, which is not saved.")


class ResultDecoder:
    """A result of one class again.

    Parameters
    ----------
    kind
        The class.
    read
        Where its arrays are.
    """

    def __init__(self, kind: type, read: ArrayReader) -> None:
        self.kind, self.read = kind, read
        self.arrays: dict[str, Any] = {}

    def result(self, plain: Any) -> Any:
        """The result of its fields.

        Raises
        ------
        ValueError
            If a field is missing, unknown, or of another type; it names the field.
        """
        return self._fields(plain, self.kind, "")

    def _fields(self, plain: Any, kind: type, name: str) -> Any:
        """A data class, made with its own checks."""
        if not isinstance(plain, dict):
            raise ValueError(f"{name} is {_brief(plain)}, not the fields of {kind.__name__}")
        defaults, options = _field_defaults(kind), name.rpartition(".")[2] == "options"
        unknown = [key for key in plain if key not in defaults]
        if unknown and not options:
            raise ValueError(
                f"{name or 'it'} has {unknown[0]}, which {kind.__name__} of this release does not know"
            )
        missing = [key for key, value in defaults.items() if value is MISSING and key not in plain]
        if missing:
            raise ValueError(f"{name or 'it'} has no {missing[0]}")
        lazy = _fields_in_chunks(kind)
        values = {
            key: self._value(
                part, self._hint(kind, key), f"{name}.{key}" if name else key, key in lazy
            )
            for key, part in plain.items()
        }
        return from_plain(kind, values, "it") if options else kind(**values)

    def _hint(self, kind: type, key: str) -> Any:
        """What is annotated; a plan within a result is of the options that the result is of."""
        hint = _hints(kind).get(key, Any)
        return _hints(self.kind).get(key, Any) if hint is Any and key == "options" else hint

    def _value(self, plain: Any, hint: Any, name: str, lazy: bool = False) -> Any:
        origin = get_origin(hint)
        if hint is Any:
            return self._any(plain, name, lazy, MOST_DEPTH)
        if origin in (Union, UnionType):
            return self._union(plain, get_args(hint), name, lazy)
        if np.ndarray in (origin, hint):
            return self._array(plain, name, lazy)
        if _is_record(hint):
            return self._fields(plain, hint, name)
        if origin in (tuple, list, Sequence):
            return self._sequence(plain, hint, name)
        if origin in (dict, Mapping):
            if not isinstance(plain, dict):
                raise ValueError(f"{name} is {_brief(plain)}, not a mapping")
            part = get_args(hint)[1]
            return {
                key: self._value(value, part, f"{name}.{i}")
                for i, (key, value) in enumerate(plain.items())
            }
        return _scalar(plain, hint, name)

    def _union(self, plain: Any, hints: tuple[Any, ...], name: str, lazy: bool) -> Any:
        if plain is None and NoneType in hints:
            return None
        problem: ValueError | None = None
        for hint in hints:
            try:
                return self._value(plain, hint, name, lazy)
            except ValueError as error:
                problem = problem or error
        assert problem is not None
        raise problem

    def _array(self, plain: Any, name: str, lazy: bool) -> Any:
        there = plain.get(ARRAY) if isinstance(plain, dict) else None
        if there != name and not (isinstance(there, str) and there in self.arrays):
            raise ValueError(f"{name} is {_brief(plain)}, not the array of that name")
        if there not in self.arrays:
            found = self.read.lazy_array(name) if lazy else self.read.array(name)
            self.arrays[name] = np.asfortranarray(found) if plain.get(ORDER) == "F" else found
        found = self.arrays[there]
        if _mark(there, found) != plain:
            raise ValueError(
                f"{name} is of {found.dtype} and shape {list(found.shape)}, not of {_brief(plain.get(DTYPE))} and shape "
                f"{_brief(plain.get(SHAPE))}"
            )
        return found

    def _any(self, plain: Any, name: str, lazy: bool, depth: int) -> Any:
        if depth == 0:
            raise ValueError(f"{name} is nested deeper than {MOST_DEPTH} times")
        if isinstance(plain, dict):
            if ARRAY in plain:
                return self._array(plain, name, lazy)
            return {
                key: self._any(part, f"{name}.{i}", False, depth - 1)
                for i, (key, part) in enumerate(plain.items())
            }
        if isinstance(plain, list):
            return [
                self._any(part, f"{name}.{i}", False, depth - 1) for i, part in enumerate(plain)
            ]
        return plain

    def _sequence(self, plain: Any, hint: Any, name: str) -> Any:
        if not isinstance(plain, list):
            raise ValueError(f"{name} is {_brief(plain)}, not a list")
        parts = get_args(hint)
        if get_origin(hint) is not tuple or parts[-1:] == (Ellipsis,):
            parts = parts[:1] * len(plain)
        if len(parts) != len(plain):
            raise ValueError(f"{name} has {len(plain)} parts, not {len(parts)}")
        found = [
            self._value(part, of, f"{name}.{i}")
            for i, (part, of) in enumerate(zip(plain, parts, strict=True))
        ]
        return tuple(found) if get_origin(hint) is tuple else found


def _scalar(plain: Any, hint: Any, name: str) -> Any:
    """A value without parts."""
    if get_origin(hint) is Literal:
        if not any(plain == known and type(plain) is type(known) for known in get_args(hint)):
            raise ValueError(
                f"{name} is {_brief(plain)}, not one of {', '.join(map(repr, get_args(hint)))}"
            )
        return plain
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(plain)
    if np.dtype in (hint, get_origin(hint)):
        return _dtype(plain, name)
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


def _dtype(plain: Any, name: str) -> np.dtype[Any]:
    try:
        found = np.dtype(plain) if isinstance(plain, str) else None
    except TypeError:
        found = None
    if found is None or found.kind not in NUMBERS or found.name != plain:
        raise ValueError(f"{name} is {_brief(plain)}, not the name of a type of numbers")
    return found


def _mark(name: str, array: Any) -> dict[str, Any]:
    """What a record says of an array; its order in memory too, on which the last bits of products hang."""
    mark = {ARRAY: name, DTYPE: np.dtype(array.dtype).name, SHAPE: list(array.shape)}
    if isinstance(array, np.ndarray) and array.flags.fnc:  # by columns, and not by rows as well
        mark[ORDER] = "F"
    return mark


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
