"""``streamsvd info``: what a source is, without reading any of its values."""

from __future__ import annotations

from typing import Any

import click

from streamsvd.cli import options


@click.command("info", short_help="Shape, type and chunks of a matrix.")
@options.source
@options.as_json
def command(source: str, variable: str | None, rows: Any, missing: str, as_json: bool) -> None:
    """Shape, type and chunks of a matrix; reads none of its values."""
    from streamsvd.cli.present import facts, show_json
    from streamsvd.drivers.opening import open as open_matrix

    A = open_matrix(source, variable=variable, rows=rows, missing=missing)
    record = describe(A)
    if as_json:
        show_json(record)
        return
    click.echo(record["name"])
    facts(_said(record))


def describe(A: Any) -> dict[str, Any]:
    """All that is known of an opened matrix."""
    (m, n), (p, q) = A.shape, A.chunks
    record = {
        "status": "opened",
        "name": A.name,
        "shape": (m, n),
        "dtype": str(A.dtype),
        "nbytes": A.nbytes,
        "chunks": (p, q),
        "grid": (-(-m // p), -(-n // q)),
        "chunk_bytes": p * q * A.dtype.itemsize,
        "dims": None,
        "missing_values": None,
    }
    layout = getattr(A, "layout", None)  # of an N-dimensional array
    if layout is not None:
        record["dims"] = {
            "extents": layout.extents,
            "rows": layout.row_axes,
            "columns": layout.column_axes,
        }
    packing = getattr(getattr(A, "array", None), "packing", None)
    if packing is not None and not packing.is_plain:
        record["missing_values"] = packing.fills
        record["stored_dtype"] = str(packing.stored)
    return record


def _said(record: dict[str, Any]) -> list[tuple[str, str]]:
    from streamsvd.engine.memory import show_bytes

    (m, n), (p, q), grid = record["shape"], record["chunks"], record["grid"]
    dims = record["dims"]
    told = ""
    if dims is not None and len(dims["extents"]) > 2:
        rows, columns = (", ".join(str(axis) for axis in dims[key]) for key in ("rows", "columns"))
        told = f"{' x '.join(map(str, dims['extents']))}; rows from dimension {rows}, columns from {columns}"
    packed = ""
    if record["missing_values"] is not None:
        fills = ", ".join(f"{x:.6g}" for x in record["missing_values"]) or "none"
        packed = f"stored as {record['stored_dtype']}, unpacked when read; missing values: {fills}"
    return [
        ("shape", f"{m:,} x {n:,}"),
        ("type", record["dtype"]),
        ("size", f"{show_bytes(record['nbytes'])} for one pass"),
        (
            "chunks",
            f"{p:,} x {q:,} ({show_bytes(record['chunk_bytes'])}), {grid[0]:,} x {grid[1]:,} of them",
        ),
        ("array", told),
        ("values", packed),
    ]
