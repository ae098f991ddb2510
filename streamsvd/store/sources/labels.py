"""The labels of any source: those that it has, or plain ones; what cannot be read is left out with a note, and never an error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamsvd.labels import COLUMN, ROW, Coordinate, Dimension, Labels
from streamsvd.protocols import Source
from streamsvd.store.sources.flatten import Flattening

MOST_ALONG_ROWS = 1 << 20
"""Entries of a coordinate of rows that a result keeps: rows may be more than memory holds, columns may not."""


def source_labels(source: Source) -> Labels:
    """What a source says of its rows and columns.

    Notes
    -----
    Reads the coordinates, and none of the values.
    """
    rows, columns = source.shape
    try:
        found = getattr(source, "labels", None)
    except Exception as error:  # names are a help, and no reason to stop
        plain = plain_labels(source)
        return replace(plain, notes=(f"the labels of {source.name} cannot be read: {error}",))
    if not isinstance(found, Labels) or found.shape[0] != rows:
        return plain_labels(source)
    if found.shape[1] != columns:  # some columns of a matrix: its rows are the same
        found = replace(
            found, columns=(Dimension(COLUMN, columns),), coordinates=found.row_coordinates
        )
    return _without_long_rows(found)


def plain_labels(source: Source) -> Labels:
    """Dimensions as the layout of a source tells them, without coordinates."""
    layout = getattr(source, "layout", None)
    if not isinstance(layout, Flattening) or layout.shape != source.shape:
        return Labels.plain(source.shape)
    return layout_labels(layout)


def layout_labels(layout: Flattening) -> Labels:
    """The dimensions of a flattened array, with a name for each."""
    names = dimension_labels(layout)
    return Labels(
        rows=tuple(Dimension(names[axis], layout.extents[axis]) for axis in layout.row_axes),
        columns=tuple(Dimension(names[axis], layout.extents[axis]) for axis in layout.column_axes),
    )


def dimension_labels(layout: Flattening) -> tuple[str, ...]:
    """A name for each dimension of an array; made up, and different from all others, where it has none."""
    given = layout.names or (None,) * len(layout.extents)
    found: list[str] = []
    for axis, name in enumerate(given):
        sides = ((layout.row_axes, ROW), (layout.column_axes, COLUMN))
        side = next(word for axes, word in sides if axis in axes)
        alone = sum(axes == (axis,) for axes, _ in sides)
        text = name or (side if alone else f"dim_{axis}")
        while text in found or (not name and text in given):
            text += "_"
        found.append(text)
    return tuple(found)


def _without_long_rows(labels: Labels) -> Labels:
    """The same without coordinates of more rows than a result keeps."""
    long = {c.name for c in labels.row_coordinates if _entries(c) > MOST_ALONG_ROWS}
    if not long:
        return labels
    kept = tuple(c for c in labels.coordinates if c.name not in long)
    note = (
        f"coordinates of rows with more than {MOST_ALONG_ROWS:,} entries are not kept with results: "
        f"{', '.join(sorted(long))}"
    )
    return replace(labels, coordinates=kept, notes=(*labels.notes, note))


def _entries(coordinate: Coordinate) -> int:
    values: Any = coordinate.values
    return int(values.size) if hasattr(values, "size") else len(values)
