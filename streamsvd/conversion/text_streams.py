"""Entries of a matrix as text, and edges of a graph in a table, as pieces of rows, columns and values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import local_path
from streamsvd.conversion.entry_streams import EntryPiece, Position, RowRun, ordered_rows
from streamsvd.conversion.identity import source_identity
from streamsvd.conversion.options import ConvertOptions
from streamsvd.conversion.passes import as_type
from streamsvd.errors import ShapeError, SpecError
from streamsvd.labels import Labels
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.tables.csv_table import (
    CsvTable,
    csv_blocks,
    field_text,
    open_csv_table,
)
from streamsvd.store.sources.tables.matrix_market import (
    market_pieces,
    open_matrix_market,
)

Array = npt.NDArray[Any]

LINE_BYTES = 4
"""Of the shortest edge as text."""
PACKING = 10
"""Times that packed text grows at most, about."""
MOST_EXACT = 1 << 53
"""Integers that a table of floats tells apart."""
_INDEX_TITLES = ("", "Unnamed: 0", "__index_level_0__")
"""Of a column that pandas writes beside those that were meant."""
_LEAST_COUNTED = 64
"""Rows of which it is seen whether a column counts them."""


class MarketEntries:
    """Entries of a file of Matrix Market; mirrored ones of a symmetric matrix too.

    Parameters
    ----------
    path
        Of the file.
    options
        What was asked.
    """

    is_text = True
    columns_ascend = False

    def __init__(self, path: Path, options: ConvertOptions) -> None:
        head = open_matrix_market(path)
        self.head, self.source, self.name = head, path, str(path)
        self._transpose = options.transpose
        m, n = head.shape
        self.shape: tuple[int, int] = (n, m) if options.transpose else (m, n)
        if head.is_symmetric and m != n:
            raise ShapeError(
                f"{path} says that it is symmetric, and has shape {head.shape}. Mend its head."
            )
        self.dtype = options.written_dtype(head.dtype)
        self.most_entries = max(1, head.lines * (1 + head.is_symmetric))
        self.read_bytes = path.stat().st_size
        self.start: Position = (head.first_byte, head.first_line, 0)
        self.remarks: list[str] = []
        self.is_ordered = not head.is_symmetric and self._begins_ordered()

    @property
    def labels(self) -> Labels:
        """It has none."""
        return Labels.plain(self.shape)

    @property
    def least_piece(self) -> int:
        """Entries of the lines that are parsed at once."""
        return min(self.most_entries, self.head.most_in_piece * (1 + self.head.is_symmetric))

    def piece_bytes(self, entries: int) -> int:
        """Of the lines that are parsed at once, and their mirror."""
        del entries
        item = self.head.dtype.itemsize + self.dtype.itemsize
        return self.head.transient_bytes + 2 * self.least_piece * (8 + item)

    def _begins_ordered(self) -> bool:
        for piece in self.pieces(self.start, 0):
            return not bool((piece.rows[1:] < piece.rows[:-1]).any())
        return True

    def pieces(self, position: Position, entries: int) -> Iterator[EntryPiece]:
        """As the lines have them."""
        del entries
        for found in market_pieces(self.head, *position):
            rows, columns, values = found.rows, found.columns, as_type(found.values, self.dtype)
            if not self.remarks and not (is_finite := np.isfinite(values)).all():
                i = int(np.argmin(is_finite))
                self.remarks.append(
                    f"{self.name} has an entry of {values[i]} in row {rows[i] + 1:,}, column {columns[i] + 1:,}, counted from 1 as "
                    "there; it is written as it is"
                )
            if self._transpose:
                rows, columns = columns, rows
                values = values.conj() if values.dtype.kind == "c" else values
            if self.head.is_symmetric:
                rows, columns, values = with_mirror(rows, columns, values)
            yield EntryPiece(rows, columns, values, (found.byte, found.line, found.count))

    def row_runs(self, position: Position, first: int, entries: int) -> Iterator[RowRun]:
        """Whole rows of the lines, where these are sorted."""
        return ordered_rows(self, position, first, entries, 4 * self.least_piece)

    def identity(self) -> dict[str, Any]:
        """The file, and what is made of it."""
        return {**_file_identity(self.head.path), "transpose": self._transpose}


class EdgeEntries:
    """Edges of a graph as entries of its adjacency: a source, a target, and a weight in each row of a table.

    Parameters
    ----------
    table
        A matrix of two columns or three; or the path of a table of text.
    options
        What was asked; its ``nodes`` are known.
    nodes
        How many there are.
    """

    is_ordered = columns_ascend = False
    start: Position = (0,)

    def __init__(self, table: Any, options: ConvertOptions, nodes: int) -> None:
        self.source, self._options = table, options
        self.is_text = isinstance(table, Path)
        self._text: CsvTable | None = (
            open_csv_table(table, options.header) if self.is_text else None
        )
        self.name = str(table) if self.is_text else table.name
        self.shape: tuple[int, int] = (nodes, nodes)
        columns = self._text.columns if self._text is not None else table.shape[1]
        if self._text is not None and self._text.has_row_names:
            raise SpecError(
                f"{self.name} has texts in its first column: nodes are numbers from 0 on. Number them first, such as by "
                "pandas.factorize."
            )
        if columns not in (2, 3):
            raise ShapeError(
                f"{self.name} has {columns} columns; edges have a source, a target, and a weight or none. {self._choice()}"
            )
        read = np.dtype(np.float64) if self._text is not None else table.dtype
        if read.kind == "c":
            raise SpecError(f"{self.name} holds complex numbers: nodes are numbers from 0 on.")
        self._weighted = columns == 3
        weight = np.dtype(np.float64) if read.kind == "f" else np.dtype(np.int64)
        self.dtype = options.written_dtype(weight if self._weighted else np.dtype(np.int32))
        self.remarks: list[str] = []
        self._is_odd = False
        if self._weighted:
            self._look_at_columns()
        both = 1 + options.symmetric
        self.most_entries = max(1, both * self._most_rows())
        self.read_bytes = table.stat().st_size if self.is_text else table.nbytes

    def _choice(self) -> str:
        """How to choose two columns or three."""
        if self._text is None:
            return "Choose them with variable= as it is opened, such as source,target, where they have names; or write them alone."
        sign = "" if self._text.delimiter == "\t" else f" -d {quote(self._text.delimiter)}"
        name = local_path(self.name).name
        if name.lower().endswith(".gz"):
            return f"Write a file of those alone, such as by: gzip -dc {quote(name)} | cut{sign} -f 1,2 > edges.csv"
        return (
            f"Write a file of those alone, such as by: cut{sign} -f 1,2 {quote(name)} > edges.csv"
        )

    def _look_at_columns(self) -> None:
        """Say which of three columns is which.

        Raises
        ------
        SpecError
            If the first numbers the rows.
        """
        names = self._text.column_names if self._text else source_labels(self.source).column_names
        titles = ["0", "1", "2"] if names is None else [repr(str(name)) for name in names]
        if names is not None and str(names[0]).strip() in _INDEX_TITLES:
            _, rows = next(self._blocks(0, _LEAST_COUNTED))
            counts = rows[:, 0] - rows[0, 0]
            if rows[0, 0] in (0, 1) and (counts == np.arange(len(rows))).all():
                raise SpecError(
                    f"{self.name} has a first column ({titles[0]}) of numbers of rows, as pandas writes an index, and not of sources. "
                    "Write it without: to_csv(..., index=False), to_parquet(..., index=False)."
                )
        self.remarks.append(
            f"columns of {self.name}: {titles[0]} is taken for the source of an edge, {titles[1]} for its target, {titles[2]} for its weight"
        )

    def _most_rows(self) -> int:
        if self._text is None:
            return int(self.source.shape[0])
        packed = PACKING if self.name.lower().endswith(".gz") else 1
        return (
            int(packed * self.source.stat().st_size // LINE_BYTES) + 1
        )  # the last may have no end

    @property
    def labels(self) -> Labels:
        """It has none."""
        return Labels.plain(self.shape)

    @property
    def least_piece(self) -> int:
        """Entries of the rows that are read at once."""
        if self._text is not None:
            return int((1 + self._options.symmetric) * self._text.block_bytes // LINE_BYTES)
        return 1

    def piece_bytes(self, entries: int) -> int:
        """Of the rows that are read at once, and both directions of their edges."""
        entries = max(entries, self.least_piece)
        reading = self._text.transient_bytes if self._text is not None else self.source.read_bytes
        return int(reading) + entries * (48 + 3 * self.dtype.itemsize)

    def _blocks(self, start: int, entries: int) -> Iterator[tuple[int, Array]]:
        """Rows of the table, with the number of the first."""
        if self._text is not None:
            for block in csv_blocks(self._text):
                stop = block.first + len(block.values)
                if stop > start:
                    first = max(start, block.first)
                    yield first, block.values[first - block.first :]
            return
        m, n = self.source.shape
        step = max(1, entries // (1 + self._options.symmetric))
        for first in range(start, m, step):
            values = np.empty((min(m, first + step) - first, n), self.source.dtype)
            self.source.read(slice(first, first + len(values)), slice(0, n), values)
            yield first, values

    def pieces(self, position: Position, entries: int) -> Iterator[EntryPiece]:
        """As the rows of the table have them, with their opposites where these were asked for."""
        (start,) = position
        for first, block in self._blocks(start, entries):
            sources, targets = (self._nodes(block[:, j], first, j) for j in (0, 1))
            weights = (
                as_type(np.ascontiguousarray(block[:, 2]).astype(self._weight_dtype), self.dtype)
                if self._weighted
                else np.ones(len(block), self.dtype)
            )
            self._look_at_weights(weights, first)
            if self._options.transpose:
                sources, targets = targets, sources
            if self._options.symmetric:
                sources, targets, weights = with_mirror(sources, targets, weights)
            yield EntryPiece(sources, targets, weights, (first + len(block),))

    def _look_at_weights(self, weights: Array, first: int) -> None:
        if self._is_odd or weights.dtype.kind != "f" or (is_finite := np.isfinite(weights)).all():
            return
        i, self._is_odd = int(np.argmin(is_finite)), True
        self.remarks.append(
            f"{self.name} has a weight of {weights[i]} in {place_of_row(first + i, self._text)}, the first that is missing or not finite: "
            "it is written as it is, and so are any others"
        )

    @property
    def _weight_dtype(self) -> np.dtype[Any]:
        of_floats = self._text is not None or self.source.dtype.kind == "f"
        return np.dtype(np.float64) if of_floats else np.dtype(np.int64)

    def _nodes(self, numbers: Array, first: int, j: int) -> Array:
        """Numbers of nodes, once they are known to be some.

        Raises
        ------
        SpecError
            If one is none; it names the line, or the row.
        """
        check_nodes(numbers, first, self.shape[0], self.name, self._text, j)
        kind = np.int32 if self.shape[0] <= np.iinfo(np.int32).max else np.int64
        return numbers.astype(kind)

    def largest_node(self, entries: int) -> Iterator[tuple[int, int, str]]:
        """How many rows were read, the largest node of some, and where: one read of all, where nobody said how many nodes there are."""
        for first, block in self._blocks(0, entries):
            for j in (0, 1):
                check_nodes(block[:, j], first, MOST_EXACT, self.name, self._text, j)
            largest = block[:, :2].max(axis=1)
            i = int(np.argmax(largest))
            yield first + len(block), int(largest[i]), place_of_row(first + i, self._text)

    def row_runs(self, position: Position, first: int, entries: int) -> Iterator[RowRun]:
        """Edges are in no order."""
        raise AssertionError(position, first, entries)

    def identity(self) -> dict[str, Any]:
        """The table, and what is made of it."""
        if isinstance(self.source, Path):
            said = _file_identity(self.source)
        else:
            said = source_identity(self.source, source_labels(self.source))
        options = self._options
        return {
            **said, "nodes": self.shape[0], "symmetric": options.symmetric, "transpose": options.transpose,
            "header": options.header,
        }  # fmt: skip


def place_of_row(row: int, text: CsvTable | None) -> str:
    """A row of a table in words: its line, where it is text."""
    if text is None:
        return f"row {row:,}"
    return f"line {text.skipped_lines + row + 1:,} (blank ones are not counted)"


def check_nodes(
    numbers: Array, first: int, nodes: int, name: str, text: CsvTable | None, numbers_at: int
) -> None:
    """Refuse what is no number of a node.

    Parameters
    ----------
    numbers, first
        Of some rows, and the number of the first.
    nodes
        How many there are.
    name, text
        Of the table.
    numbers_at
        The column that they are of.

    Raises
    ------
    SpecError
        It names the line, or the row.
    """
    if not numbers.size:
        return
    with np.errstate(invalid="ignore"):
        bad = ~((numbers >= 0) & (numbers < nodes))
        if numbers.dtype.kind == "f":
            bad |= numbers != np.floor(numbers)
    if not bad.any():
        return
    i = int(np.argmax(bad))
    where, value = place_of_row(first + i, text), numbers[i]
    is_whole = bool(np.isfinite(value)) and value == np.floor(value)
    shown = f"{int(value):,}" if is_whole else str(value)
    why = "nodes are integers from 0 on. Number them first"
    if is_whole and value >= MOST_EXACT:
        why = "that is 2^53 or more, too large to be read exactly. Number nodes from 0 on first, such as by pandas.factorize"
        if text is not None:
            shown = field_text(text, first + i, numbers_at) or shown
    elif is_whole and value >= 0:
        why = (
            f"there are {nodes:,} nodes (0 to {nodes - 1:,}). Pass a larger nodes=, or leave it out"
        )
    raise SpecError(f"{name} names the node {shown} in {where}, but {why}.")


def with_mirror(rows: Array, columns: Array, values: Array) -> tuple[Array, Array, Array]:
    """Entries, each followed by the one on the other side of the diagonal."""
    is_kept = np.ones(2 * rows.size, bool)
    is_kept[1::2] = rows != columns
    places = np.flatnonzero(is_kept)
    sides = np.stack((rows, columns), axis=1)
    return (
        sides.reshape(-1)[places],
        sides[:, ::-1].reshape(-1)[places],
        np.repeat(values, 2)[places],
    )


def _file_identity(path: Path) -> dict[str, Any]:
    state = path.stat()
    return {"path": str(path), "size": state.st_size, "time": state.st_mtime_ns}
