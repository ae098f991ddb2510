"""What ``streamsvd info`` says of a matrix: what it is, what its rows are, what is missing, and the line that factorises it."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Any

import numpy as np

from streamsvd.engine.memory import show_bytes
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.protocols import Source, is_sparse
from streamsvd.store.sources.border import innermost_source
from streamsvd.store.sources.contents import ListedArray
from streamsvd.store.sources.gaps import may_lack
from streamsvd.store.sources.kinds import STACK, find_kind
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.matrix_text import stored_text
from streamsvd.store.sources.times import read_times

Facts = list[tuple[str, str]]
TIME_NAMES = (
    "time",
    "valid_time",
    "date",
    "datetime",
    "year",
    "t",
    "frame",
    "sample",
    "obs",
    "cell",
    "run",
)
"""Names of dimensions that make rows, by their habits; else the first does."""
RANK = 20
"""Components of the line that is shown, where there are so many."""
MOST_NAMES = 12
FAST_BYTES = (1 << 20, 256 << 20)
"""Chunks that hold so much of whole rows are read fast enough."""


def default_rows(array: ListedArray) -> str:
    """The dimension of an array that makes rows, as ``--rows`` takes it; empty for a matrix."""
    if len(array.shape) == 2 or array.rows:
        return ""
    dims = array.dims or tuple(str(axis) for axis in range(len(array.shape)))
    known = [dim for word in TIME_NAMES for dim in dims if dim.lower() == word]
    return known[0] if known else dims[0]


def pca_line(source: str, given: Sequence[str], shape: tuple[int, int], *, gaps: bool) -> str:
    """The line that factorises a source, opened with these options."""
    rank = max(1, min(RANK, *shape))
    missing = ["--nonfinite", "mean"] if gaps else []
    words = ["streamsvd", "pca", source, *given, "--rank", str(rank), *missing]
    return " ".join(quote(word) for word in words)


def describe(A: Any, source: str, given: Sequence[str]) -> dict[str, Any]:
    """All that is known of an opened matrix without reading its entries.

    Parameters
    ----------
    A
        The matrix.
    source, given
        How it was asked for: the address, and options as words.
    """
    (m, n), (p, q) = A.shape, A.chunks
    labels, stored = source_labels(A), innermost_source(A)
    layout = getattr(stored, "layout", None)  # of an N-dimensional array
    packing = getattr(getattr(stored, "array", stored), "packing", None)
    record: dict[str, Any] = {
        "status": "opened",
        "name": A.name,
        "what": _kind_title(source),
        "shape": (m, n),
        "dtype": str(A.dtype),
        "nbytes": A.nbytes,
        "chunks": (p, q),
        "grid": (-(-m // p), -(-n // q)),
        "chunk_bytes": p * q * A.dtype.itemsize,
        "has_no_chunks": bool(getattr(A, "has_no_chunks", False)),
        "dims": None,
        "missing_values": None,
        "variable": labels.name or None,
        "attributes": labels.attributes,
        "rows": [_dimension_record(d, labels) for d in labels.rows],
        "columns": [_dimension_record(d, labels) for d in labels.columns],
        "notes": list(labels.notes),
        "remarks": list(getattr(A, "remarks", ())),
    }
    if layout is not None:
        record["dims"] = {
            "extents": layout.extents,
            "rows": layout.row_axes,
            "columns": layout.column_axes,
        }
    parts = getattr(stored, "starts", None)
    if parts is not None:
        heights = np.diff(parts)
        record["parts"] = {
            "count": len(heights),
            "least_rows": int(heights.min()),
            "most_rows": int(heights.max()),
        }
    record["stored"] = _stored_record(A)
    marked = "--missing-value" in given or may_lack(A)
    if packing is not None and not packing.is_plain:
        record["missing_values"] = list(packing.fills)
        record["stored_dtype"] = str(packing.stored_dtype)
        record["scale_factor"], record["add_offset"] = packing.record.scale, packing.record.offset
    record["command"] = pca_line(source, given, (m, n), gaps=marked)
    record["faster"] = _faster_line(A, source, given)
    return record


def _stored_record(A: Any) -> dict[str, Any] | None:
    """What is stored of a sparse matrix; None of another."""
    if not is_sparse(A):
        return None
    return {
        "format": "csr" if A.sparse_axis == "rows" else "csc",
        "entries": A.entries,
        "density": A.entries / (A.shape[0] * A.shape[1]),
        "nbytes": A.stored_bytes,
        "text": stored_text(A),
    }


def _kind_title(source: str) -> str:
    """What it is, as the list of kinds calls it."""
    from streamsvd.checks.paths import is_url, local_path, split_inside

    if is_url(source):
        return "a zarr store, array or group"
    path, _ = split_inside(local_path(source, "source").absolute())
    kind = find_kind(path)
    if kind is None:
        return "a file of numbers without a header"
    return "files stacked by rows" if kind.home == STACK else kind.title


def _faster_line(A: Source, source: str, given: Sequence[str]) -> str:
    """The line that writes it in a faster layout; empty where it is fast enough."""
    if is_sparse(A):
        if getattr(A, "sparse_axis", "") == "rows":
            return ""
        return _convert_line(source, given)
    (p, q), n = A.chunks, A.shape[1]
    size, stored = p * q * A.dtype.itemsize, innermost_source(A)
    steps = getattr(getattr(getattr(stored, "array", None), "decoder", None), "steps", ())
    whole = q == n and (size >= FAST_BYTES[0] or p == A.shape[0]) and size <= FAST_BYTES[1]
    packed = any(type(step).__name__ != "Checksum" for step in steps)
    if getattr(A, "has_no_chunks", False) or A.nbytes < FAST_BYTES[0] or (whole and not packed):
        return ""
    return _convert_line(source, given)


def _convert_line(source: str, given: Sequence[str]) -> str:
    """The line that writes it by rows."""
    stem = source.rstrip("/").rpartition("/")[2].split(".")[0] or "A"
    words = ["streamsvd", "convert", source, f"{stem}-rows.zarr", *given]
    return " ".join(quote(word) for word in words)


def _dimension_record(dimension: Dimension, labels: Labels) -> dict[str, Any]:
    """Name, extent, and what its coordinate says."""
    found = labels.coordinate(dimension.name)
    record: dict[str, Any] = {"name": dimension.name, "length": dimension.length}
    if found is not None and found.dims == (dimension.name,) and dimension.length:
        first, last = _ends(found)
        record |= {"first": first, "last": last, "units": found.units}
    others = [c.name for c in labels.coordinates if c.dims and c.dims[0] == dimension.name]
    record["coordinates"] = [name for name in others if name != dimension.name]
    return record


def _ends(coordinate: Coordinate) -> tuple[Any, Any]:
    """First and last value: days as texts, numbers as they are."""
    values = coordinate.array
    if " since " in coordinate.units:
        try:
            days = read_times(values[[0, -1]], coordinate.attributes, coordinate.name).day
            first, last = (
                f"{d // 10000:04d}-{d // 100 % 100:02d}-{d % 100:02d}" for d in days.tolist()
            )
            return first, last
        except Exception:  # a calendar that is not known: numbers say something too
            pass
    return _plain(values[0]), _plain(values[-1])


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def source_lines(record: dict[str, Any]) -> Facts:
    """The record in words."""
    (m, n), (p, q), grid = record["shape"], record["chunks"], record["grid"]
    dims, told = record["dims"], ""
    if dims is not None and len(dims["extents"]) > 2:
        rows, columns = (", ".join(str(axis) for axis in dims[key]) for key in ("rows", "columns"))
        told = f"{' x '.join(map(str, dims['extents']))}; rows from dimension {rows}, columns from {columns}"
    packed = ""
    if record["missing_values"] is not None:
        fills = ", ".join(f"{x:.6g}" for x in record["missing_values"]) or "none"
        scale, offset = record["scale_factor"], record["add_offset"]
        scaled = f" (x {scale!r} + {offset!r})" if (scale, offset) != (1, 0) else ""
        packed = f"stored as {record['stored_dtype']}, unpacked when read{scaled}; missing values: {fills}"
    chunks = (
        f"{p:,} x {q:,} ({show_bytes(record['chunk_bytes'])}), {grid[0]:,} x {grid[1]:,} of them"
    )
    if record["has_no_chunks"]:
        chunks = "none: it is read from wherever"
    stored, size = record["stored"], f"{show_bytes(record['nbytes'])} for one pass"
    if stored is not None:
        along = "rows" if stored["format"] == "csr" else "columns"
        chunks = "" if record["has_no_chunks"] else chunks
        size = f"{show_bytes(stored['nbytes'])} for one pass along {along}; {show_bytes(record['nbytes'])} with its zeros"
    parts = record.get("parts")
    stacked = ""
    if parts:
        least, most = parts["least_rows"], parts["most_rows"]
        each = f"{most:,} rows each" if least == most else f"{least:,} to {most:,} rows each"
        stacked = f"{parts['count']:,}, {each}, {n:,} columns"
    return [
        ("is", record["what"]),
        ("shape", f"{m:,} x {n:,}"),
        ("type", record["dtype"]),
        ("stored", "" if stored is None else stored["text"]),
        ("size", size),
        ("chunks", chunks),
        ("parts", stacked),
        ("array", told),
        ("values", packed),
        ("says", _attributes_text(record)),
        ("rows", _dimensions_text(record["rows"])),
        ("columns", _dimensions_text(record["columns"])),
        *[("note", note) for note in record["notes"]],
        ("factorise", record["command"]),
        ("also", _also_text(record.get("also", []))),
        ("by rows" if stored is not None else "faster", record["faster"]),
    ]


def _also_text(names: Sequence[str]) -> str:
    """Other matrices beside the one that is meant, and how one is chosen."""
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}: choose one with --variable"


def _attributes_text(record: dict[str, Any]) -> str:
    """The name of the variable, and its units."""
    found = record["attributes"]
    name = found.get("long_name") or found.get("standard_name") or ""
    parts = [
        record["variable"] or "",
        f"{name}" if name else "",
        f"in {found['units']}" if found.get("units") else "",
    ]
    return ", ".join(str(part) for part in parts if part)


def _dimensions_text(dimensions: Sequence[dict[str, Any]]) -> str:
    """``time (40): 2000-01-01 to 2003-04-01; lat (5): -60 to 60 degrees_north``."""
    if [d["name"] for d in dimensions] in (["row"], ["column"]) and "first" not in dimensions[0]:
        return ""
    parts = []
    for d in dimensions:
        text = f"{d['name']} ({d['length']:,})"
        if "first" in d:
            units = "" if " since " in d["units"] or not d["units"] else f" {d['units']}"
            text += f": {_value(d['first'])} to {_value(d['last'])}{units}"
        names = d["coordinates"]
        if names:
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            text += f" [{', '.join(names[:MOST_NAMES])}{more}]"
        parts.append(text)
    return "; ".join(parts)


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def count_record(A: Any, memory: str | None, watch: Any) -> dict[str, Any]:
    """What one read says of the entries."""
    from streamsvd.conversion.counting import count_entries

    found = count_entries(A, memory=memory, callback=watch)
    names = (
        "missing", "infinite", "columns_with_missing", "columns_without_values", "constant_columns", "low", "high",
    )  # fmt: skip
    return {name: getattr(found, name) for name in names} | {"bytes_read": found.info.bytes_read}


def count_lines(counts: dict[str, Any], record: dict[str, Any]) -> Facts:
    """The same in words."""
    m, n = record["shape"]
    missing, without, some = (
        counts[name] for name in ("missing", "columns_without_values", "columns_with_missing")
    )
    told = "none"
    if missing:
        told = f"{missing:,} of {m * n:,} entries ({missing / (m * n):.3g}), in {some:,} columns"
        told += f", {without:,} of them without any value" if without else ""
    span = (
        "no value at all"
        if counts["low"] is None
        else f"{counts['low']:.6g} to {counts['high']:.6g}"
    )
    infinite = f"{counts['infinite']:,} entries are Inf, which is an error of every verb"
    return [
        ("missing", told),
        ("infinite", infinite if counts["infinite"] else ""),
        ("range", span),
        ("constant", f"{counts['constant_columns']:,} of {n:,} columns"),
    ]
