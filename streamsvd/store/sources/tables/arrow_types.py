"""What columns of Arrow are, and their numbers as arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.libraries import optional_library
from streamsvd.errors import ShapeError, StoreError
from streamsvd.store.sources.tables.columns import TableColumn

EXTRA = "tables"


def arrow(purpose: str) -> Any:
    """The library, or the line that installs it."""
    return optional_library("pyarrow", EXTRA, purpose)


def arrow_columns(
    lib: Any, schema: Any, may_lack: Mapping[str, bool] | None = None
) -> list[TableColumn]:
    """What a schema says of its columns.

    Parameters
    ----------
    lib
        The library.
    schema
        Of a table.
    may_lack
        Whether an entry of a column may be missing, by name; where it is not known, it may.
    """
    index = _index_names(schema)
    return [
        _column(lib, field, (may_lack or {}).get(field.name, True), field.name in index)
        for field in schema
    ]


def _column(lib: Any, field: Any, may_lack: bool, names_rows: bool) -> TableColumn:
    types, kind = lib.types, field.type
    if isinstance(kind, lib.BaseExtensionType):
        kind = kind.storage_type
    length = 0
    if types.is_fixed_size_list(kind):
        length, kind = kind.list_size, kind.value_type
    elif types.is_list(kind) or types.is_large_list(kind):
        length, kind = -1, kind.value_type
    if types.is_integer(kind) or types.is_floating(kind):
        dtype = np.dtype(kind.to_pandas_dtype())
        return TableColumn(field.name, dtype, "numbers", may_lack, length, names_rows)
    return TableColumn(field.name, None, _what(types, kind), may_lack, 0, names_rows)


def _what(types: Any, kind: Any) -> str:
    """What a type is that is no number, in a word."""
    words = {
        "is_dictionary": "categories",
        "is_boolean": "true and false",
        "is_temporal": "times",
        "is_decimal": "decimals",
        "is_string": "text",
        "is_large_string": "text",
        "is_binary": "bytes",
        "is_null": "nothing",
    }
    return next((word for name, word in words.items() if getattr(types, name)(kind)), str(kind))


def _index_names(schema: Any) -> set[str]:
    """Columns that pandas wrote as the index of its table."""
    try:
        said = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    except ValueError:
        return set()
    names = said.get("index_columns", []) if isinstance(said, dict) else []
    return {name for name in names if isinstance(name, str)}


def write_column(values: Any, place: npt.NDArray[Any], where: str) -> None:
    """Write the numbers of a column of Arrow, missing ones NaN."""
    start = 0
    for chunk in getattr(values, "chunks", [values]):
        part = place[start : start + len(chunk)]
        if not chunk.null_count:
            part[...] = chunk.to_numpy(zero_copy_only=False)
        else:
            _require_float(place, where)
            part[...] = np.nan
            there = chunk.is_valid().to_numpy(zero_copy_only=False)
            part[there] = chunk.drop_null().to_numpy(zero_copy_only=False)
        start += len(chunk)


def write_lists(
    values: Any, columns: slice, place: npt.NDArray[Any], where: str, first: int, width: int
) -> None:
    """Write the lists of a column of Arrow as rows, missing ones NaN.

    Raises
    ------
    ShapeError
        If one has another length; it names the row.
    """
    start = 0
    for chunk in getattr(values, "chunks", [values]):
        part = place[start : start + len(chunk)]
        there = chunk.is_valid().to_numpy(zero_copy_only=False)
        lengths = _lengths(chunk, there, width)
        if (lengths != width).any():
            row = int(np.flatnonzero(there)[np.argmax(lengths != width)])
            raise ShapeError(
                f"{where} has a list of {lengths[np.argmax(lengths != width)]:,} numbers in row {first + start + row:,}, and {width:,} in "
                "the first: rows of a matrix need as many."
            )
        flat = chunk.flatten()
        if not there.all() or flat.null_count:
            _require_float(place, where)
            part[~there] = np.nan
        rows = np.empty((int(there.sum()), width), place.dtype)
        write_column(flat, rows.reshape(-1), where)
        part[there] = rows[:, columns]
        start += len(chunk)


def _lengths(chunk: Any, there: npt.NDArray[Any], width: int) -> npt.NDArray[np.int64]:
    if not hasattr(chunk, "value_lengths") or hasattr(chunk.type, "list_size"):
        return np.full(int(there.sum()), chunk.type.list_size, np.int64)
    found: npt.NDArray[np.int64] = chunk.value_lengths().drop_null().to_numpy().astype(np.int64)
    return found


def _require_float(place: npt.NDArray[Any], where: str) -> None:
    if place.dtype.kind != "f":
        raise StoreError(
            f"{where} lacks values where its metadata say that none are missing. Write it again."
        )


def row_names(lib: Any, values: Any) -> Any:
    """The entries of a column that names rows, as numbers, dates or texts."""
    if lib.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if lib.types.is_integer(values.type) and not values.null_count:
        return values.to_numpy()
    if lib.types.is_timestamp(values.type) and not values.null_count:
        return values.to_numpy()
    return np.array([None if v is None else str(v) for v in values.to_pylist()], object)
