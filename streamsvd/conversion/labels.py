"""The labels of a matrix as an array whose first dimension is its rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from streamsvd.labels import Coordinate, Dimension, Labels, TextValues
from streamsvd.protocols import Source
from streamsvd.store.sources.beside import variables_beside, visible_attributes
from streamsvd.store.sources.labels import MOST_ALONG_ROWS


def row_major_labels(labels: Labels) -> Labels:
    """The same with one dimension of rows: where several make them, their coordinates lie along that one.

    Coordinates along rows and columns together, or along dimensions that are not there, are left out with a note.
    """
    rows, columns = labels.rows, _distinct(labels.columns, {d.name for d in labels.rows})
    notes = list(labels.notes)
    lengths = {d.name: d.length for d in (*rows, *columns)}
    kept: list[Coordinate] = []
    for c in labels.coordinates:
        shape = (len(c.values),) if isinstance(c.values, TextValues) else c.values.shape
        if shape == tuple(lengths.get(dim) for dim in c.dims):
            kept.append(c)
    if len(rows) > 1:
        whole = Dimension("_".join(d.name for d in rows), math.prod(d.length for d in rows))
        while whole.name in {d.name for d in columns}:
            whole = replace(whole, name=whole.name + "_")
        along = {d.name for d in rows}
        if whole.length > MOST_ALONG_ROWS:
            gone = [c.name for c in kept if set(c.dims) & along]
            if gone:
                notes.append(
                    f"coordinates of more than {MOST_ALONG_ROWS:,} rows are not written: {', '.join(gone)}"
                )
            kept = [c for c in kept if not set(c.dims) & along]
        mixed = [c.name for c in kept if set(c.dims) & along and not set(c.dims) <= along]
        if mixed:
            notes.append(
                f"coordinates along rows and columns together are not written: {', '.join(mixed)}"
            )
        kept = [
            _spread(c, rows, whole) if set(c.dims) <= along and c.dims else c
            for c in kept
            if c.name not in mixed
        ]
        rows = (whole,)
    return replace(labels, rows=rows, columns=columns, coordinates=tuple(kept), notes=tuple(notes))


def _distinct(dimensions: tuple[Dimension, ...], taken: set[str]) -> tuple[Dimension, ...]:
    found = []
    for dimension in dimensions:
        name = dimension.name
        while name in taken:
            name += "_"
        taken = taken | {name}
        found.append(replace(dimension, name=name))
    return tuple(found)


def _spread(coordinate: Coordinate, rows: tuple[Dimension, ...], whole: Dimension) -> Coordinate:
    """A coordinate of some of the dimensions of rows, an entry a row."""
    values: Any = coordinate.array
    names = [d.name for d in rows]
    order = sorted(range(values.ndim), key=lambda axis: names.index(coordinate.dims[axis]))
    shape = [d.length if d.name in coordinate.dims else 1 for d in rows]
    flat = np.broadcast_to(
        values.transpose(order).reshape(shape), [d.length for d in rows]
    ).reshape(-1)
    name = coordinate.name + "_" * (coordinate.name == whole.name)
    return Coordinate.of(name, (whole.name,), flat, coordinate.attributes)


def labels_bytes(labels: Labels) -> int:
    """Bytes of the coordinates."""
    total = 0
    for c in labels.coordinates:
        if isinstance(c.values, TextValues):
            total += c.values.utf8.nbytes + 80 * len(c.values)  # and a Python text of each
        else:
            total += c.values.nbytes
    return total


def arrays_over_columns(source: Source, labels: Labels) -> tuple[Coordinate, ...]:
    """Arrays of numbers beside a matrix that lie along its columns alone, and are no coordinates: masks, areas, weights.

    Parameters
    ----------
    source
        The matrix.
    labels
        What it is written with.
    """
    lengths = {d.name: d.length for d in labels.columns}
    taken = {c.name for c in labels.coordinates} | {d.name for d in labels.rows} | {labels.name}
    found = []
    for variable in variables_beside(source):
        dims = tuple(str(dim) for dim in variable.dims or ())
        fits = variable.shape == tuple(lengths.get(dim, -1) for dim in dims)
        if not dims or not fits or variable.name in taken or len(set(dims)) != len(dims):
            continue
        near = variable.as_neighbour()
        if near.values.dtype.kind in "biuf":
            attributes = visible_attributes(near.attributes)
            found.append(Coordinate.of(variable.name, dims, near.values, attributes))
    return tuple(found)
