"""A table of text as a zarr array: parsed once, in its order, a chunk of rows at a time; how many there are is known at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import PathOrUrl, is_url, local_path
from streamsvd.conversion.options import ConvertOptions
from streamsvd.conversion.passes import as_type
from streamsvd.engine.events import Callback, SourceRemarked
from streamsvd.engine.memory import BASE_BYTES, MIB
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.task import HomeTask
from streamsvd.errors import BudgetError, StoreError
from streamsvd.info import Info
from streamsvd.labels import COLUMN, ROW, Coordinate, Dimension, Labels, TextValues
from streamsvd.store.explanations import explain_errors, path_exists
from streamsvd.store.places import location_of
from streamsvd.store.sources.labels import MOST_ALONG_ROWS
from streamsvd.store.sources.tables.csv_table import (
    SUFFIXES,
    CsvTable,
    TextRows,
    csv_blocks,
    open_csv_table,
)
from streamsvd.store.writing.labelled_array import DEFAULT_NAME, create_labelled_array
from streamsvd.store.writing.row_chunks import RowChunks
from streamsvd.store.writing.shield import defer_interrupts

NAMES_BYTES = 16 * MIB
"""Most bytes of names of rows that are kept."""
INTACT = "nothing was replaced."


def text_table(source: Any) -> Path | None:
    """The path of a table of text; None for anything else.

    Raises
    ------
    StoreError
        If it is the name of one that is not there.
    """
    if not isinstance(source, str | os.PathLike) or is_url(source):
        return None
    path = local_path(source, "source").absolute()
    if not path.name.lower().endswith(SUFFIXES) or (path_exists(path) and path.is_dir()):
        return None
    if not path_exists(path):
        raise StoreError(f"{path} does not exist. Check the path.")
    return path


def table_bytes(table: CsvTable, options: ConvertOptions, budget: int) -> int:
    """Upper bound of the memory of writing a table.

    Raises
    ------
    BudgetError
        If that is more than is allowed.
    """
    row = 8 * table.columns
    chunk = table_height(table, options) * row
    names = 3 * NAMES_BYTES if table.has_row_names else 0
    needed = BASE_BYTES + table.transient_bytes + 2 * chunk + names + 2 * MIB
    if needed > budget:
        raise BudgetError(
            f"converting {table.path} ({table.columns:,} columns of text)",
            needed,
            budget,
            f"Pass memory={needed} or more.",
        )
    return needed


def table_height(table: CsvTable, options: ConvertOptions) -> int:
    """Rows of a chunk."""
    if options.chunk_rows is not None:
        return options.chunk_rows
    item = options.written_dtype(np.dtype(np.float64)).itemsize
    return max(1, options.chunk_bytes // (item * table.columns))


def convert_table(
    path: Path,
    place: PathOrUrl,
    options: ConvertOptions,
    budget: int,
    *,
    overwrite: bool,
    callback: Callback,
) -> tuple[Labels, np.dtype[Any], int, Info]:
    """Write a table of text; its labels, type, rows of a chunk and how it came about.

    Raises
    ------
    BudgetError, StoreError, ShapeError, SpecError
        As of `convert` and of `csv_blocks`.
    """
    table = open_csv_table(path, options.header)
    needed = table_bytes(table, options, budget)
    for remark in table.remarks:
        callback(SourceRemarked(remark))
    dtype, height = options.written_dtype(np.dtype(np.float64)), table_height(table, options)
    run = Run(None, 1, "cpu", needed, notify=callback)
    with explain_errors(place, INTACT):
        partial = location_of(place).begin()
    names = _RowNames(table.has_row_names)
    size = path.stat().st_size
    named = is_named(table)
    try:
        with in_run(run):
            folder, has_gaps = partial.folder, False
            inside, rows = folder / DEFAULT_NAME if named else folder, 0
            inside.mkdir(exist_ok=True)
            task = HomeTask(run.id)
            with run.at_home("text into chunks", size) as progress:
                for index, values in enumerate(_chunks(table, names, dtype, height)):
                    task.check()
                    if index == 0:
                        height = values.shape[0]  # all of them, where one chunk holds them
                    RowChunks(inside, (1, table.columns), height, dtype).write(index, values)
                    rows += values.shape[0]
                    has_gaps = has_gaps or bool(np.isnan(values).any())
                    progress(index + 1, index + 2)
            run.bytes_read += size
            labels = _labels(table, rows, names)
            with explain_errors(place, INTACT):
                create_labelled_array(folder, labels, height, dtype, has_gaps=has_gaps)
        with explain_errors(place, INTACT), defer_interrupts():
            partial.publish(overwrite=overwrite)
    except BaseException:
        partial.remove()
        raise
    for note in labels.notes:
        callback(SourceRemarked(note))
    told = (*table.remarks, *labels.notes)
    return labels, dtype, height, run.info(warnings=told, n_rows=rows)


class _RowNames:
    """Names of rows as they come, as few bytes as they are."""

    def __init__(self, wanted: bool) -> None:
        self.parts: list[TextValues] = []
        self.count = self.size = 0
        self.is_full = not wanted
        self.note = ""

    def add(self, names: list[str] | None) -> None:
        """Those of more rows."""
        if self.is_full or names is None:
            return
        part = TextValues.of(names)
        self.parts.append(part)
        self.count += len(part)
        self.size += part.utf8.nbytes + part.offsets.nbytes
        if self.count > MOST_ALONG_ROWS or self.size > NAMES_BYTES:
            self.parts, self.is_full = [], True
            self.note = f"names of more than {MOST_ALONG_ROWS:,} rows, or of {NAMES_BYTES >> 20} MiB, are not written"

    @property
    def values(self) -> TextValues | None:
        """All of them; None where there are none."""
        if not self.parts:
            return None
        ends = np.cumsum([0, *(p.utf8.size for p in self.parts)])
        offsets = [p.offsets[:-1] + end for p, end in zip(self.parts, ends[:-1], strict=True)]
        return TextValues(
            np.concatenate([p.utf8 for p in self.parts]), np.concatenate([*offsets, ends[-1:]])
        )


def _chunks(
    table: CsvTable, names: _RowNames, dtype: np.dtype[Any], height: int
) -> Iterator[npt.NDArray[Any]]:
    """Rows of a table in chunks of one height."""
    buffer, held = np.empty((0, table.columns), dtype), 0
    block: TextRows
    for block in csv_blocks(table):
        names.add(block.names)
        values, at = as_type(block.values, dtype), 0
        while at < values.shape[0]:
            if buffer.shape[0] < min(height, held + values.shape[0] - at):  # grows to a chunk
                grown = np.empty(
                    (min(height, max(2 * held, held + values.shape[0] - at)), table.columns), dtype
                )
                grown[:held] = buffer[:held]
                buffer = grown
            count = min(height - held, values.shape[0] - at)
            buffer[held : held + count] = values[at : at + count]
            held, at = held + count, at + count
            if held == height:
                yield buffer
                held = 0
    if held:
        yield buffer[:held]


def is_named(table: CsvTable) -> bool:
    """Whether columns or rows have names, so that a group is written."""
    return table.column_names is not None or table.has_row_names


def _labels(table: CsvTable, rows: int, names: _RowNames | None) -> Labels:
    """Names of columns and rows, as far as the table has them."""
    found = Labels.plain((rows, table.columns))
    coordinates = []
    if table.column_names is not None:
        coordinates.append(Coordinate.of(COLUMN, [COLUMN], TextValues.of(table.column_names)))
    values = None if names is None else names.values
    if values is not None:
        coordinates.append(Coordinate.of(ROW, [ROW], values))
    notes = (names.note,) if names is not None and names.note else ()
    return replace(
        found,
        name=DEFAULT_NAME if is_named(table) else "",
        rows=(Dimension(ROW, rows),),
        columns=(Dimension(COLUMN, table.columns),),
        coordinates=tuple(coordinates),
        notes=notes,
    )
