"""A table of text, such as ``.csv``, read once from its beginning to its end: for what writes it in a form that passes can read.

Rows of text lie at no known places, so it is no source: a pass over it would parse all of it again.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.sources.magic import check_not_empty
from streamsvd.store.sources.tables.csv_head import is_header, names_rows, remarks
from streamsvd.store.sources.tables.csv_parsers import (
    TextLayout,
    fields_of_line,
    is_number,
    line_parser,
)
from streamsvd.typing import Real

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
"""Ends of the names of files that are tables of text."""
BLOCK_BYTES = 1 << 20
"""Of text that is parsed at once, about; of long lines, several."""
LINES_AT_ONCE = 16
_LOOK_BYTES = 64 << 20
_LOOK_LINES = 1000
_DELIMITERS = ("\t", ",", ";", "|", " ")


@dataclass(frozen=True, slots=True, eq=False)
class TextRows:
    """Consecutive rows of a table of text.

    Attributes
    ----------
    first
        Number of the first.
    values
        Numbers ``(rows, columns)``, missing ones NaN.
    names
        One for each row; None where the table has none.
    """

    first: int
    values: Real
    names: list[str] | None


@dataclass(frozen=True, slots=True)
class CsvTable(TextLayout):
    """A table of text whose head was looked at.

    Attributes
    ----------
    skipped_lines
        Lines before the first row: the header, and comments above it.
    line_bytes
        Of the longest of its first lines.
    remarks
        What was guessed of its first line and its first column.
    """

    skipped_lines: int = 0
    line_bytes: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def block_bytes(self) -> int:
        """Bytes of text that are parsed at once: a line longer than that is refused."""
        return max(BLOCK_BYTES, LINES_AT_ONCE * self.line_bytes)

    @property
    def transient_bytes(self) -> int:
        """Upper bound on what `csv_blocks` takes beside the library itself, rows that it handed over last among it.

        A field has 2 bytes of text at least, and is a place of 4, a number of 8 in a column that grows to twice that, and of 8 in
        rows, these and the last; a name of a row is an object of 60 bytes, of a line of 4 at least.
        """
        return (64 if self.has_row_names else 32) * self.block_bytes


def open_csv_table(path: Path, header: bool | None = None) -> CsvTable:
    """The head of a table of text; its rows are not read.

    Parameters
    ----------
    path
        A file of one of `SUFFIXES`; what ends in ``.gz`` is unpacked as it is read.
    header
        Whether the first line names the columns; `is_header` decides if left out.

    Raises
    ------
    ShapeError
        If it has no rows of numbers.
    SpecError
        If columns after the first hold texts, or the first holds texts and numbers; it names them. Or if the first line may be
        either, a header or a row.
    StoreError
        If it cannot be read.
    """
    check_not_empty(path)
    lines = _first_lines(path)
    above = 0
    while above < len(lines) and _is_skipped(lines[above]):
        above += 1
    texts = [line for line in lines[above:] if line.strip()]
    if not texts:
        raise ShapeError(f"{path} has no rows. A matrix needs at least one entry.")
    with _text_errors(path):
        delimiter = _delimiter(path, texts[:2])
    decimal = "," if delimiter == ";" and "," in "".join(texts[1:2] or texts) else "."
    with _text_errors(path):
        fields = [fields_of_line(line, delimiter, decimal) for line in texts[:2]]
        firsts = [fields_of_line(line, delimiter, decimal)[0] for line in texts]
    top = fields[0]
    below = fields[1] if len(fields) > 1 else None
    said = header
    if header is None:
        header = is_header(path, top, below)
    if header and below is None:
        raise ShapeError(f"{path} has a header and no rows. A matrix needs at least one entry.")
    row = below if header and below is not None else top
    named = names_rows(path, firsts[int(header) :], above + int(header), header=header)
    titles = top if header else None
    if titles is not None and len(titles) == len(row) - 1 and named:
        titles = ["", *titles]  # as R writes it: names of rows have no title
    width = len(row) - named
    if titles is not None and len(titles) != len(row):
        raise ShapeError(
            f"{path} has {len(titles)} titles in its header and {len(row)} fields in the first row below. Make them as many."
        )
    if width < 1:
        raise ShapeError(
            f"{path} has names of rows and no numbers: its first row is {texts[int(header)]!r}."
        )
    _check_numbers(path, row, titles, named)
    return CsvTable(
        path.absolute(),
        delimiter,
        decimal,
        width,
        None if titles is None else tuple(titles[int(named) :]),
        named,
        above + bool(header),
        max(len(line.encode()) for line in texts),
        remarks(top, firsts[int(header) :], header=header, is_said=said is not None, named=named),
    )


def csv_blocks(table: CsvTable) -> Iterator[TextRows]:
    """All rows of a table of text, some at a time and in their order.

    Parameters
    ----------
    table
        As `open_csv_table` makes it.

    Raises
    ------
    SpecError
        If a field is no number; it names the column and the line.
    StoreError
        If lines have different numbers of fields, or the file ends in the midst of packed bytes.

    Notes
    -----
    Cost: one pass; `CsvTable.transient_bytes` of memory.
    """
    read = line_parser(table)
    first, line = 0, table.skipped_lines
    for text in _whole_lines(table):
        with _text_errors(table.path):
            values, names = read(text, line)
        line += len(values)
        if len(values):
            yield TextRows(first, values, names)
            first += len(values)
    if not first:
        raise ShapeError(f"{table.path} has no rows. A matrix needs at least one entry.")


def field_text(table: CsvTable, row: int, column: int) -> str:
    """A field as the file has it, for a message; empty where it cannot be found."""
    for text in _whole_lines(table):
        lines = io.StringIO(text.decode(), newline="")
        for fields in filter(None, csv.reader(lines, delimiter=table.delimiter)):
            if not row:
                return fields[column + table.has_row_names].strip()
            row -= 1
    return ""


def _whole_lines(table: CsvTable) -> Iterator[bytes]:
    """The text below the header, cut where lines end."""
    rest = b""
    with _text_errors(table.path), _open_bytes(table.path) as file:
        for _ in range(table.skipped_lines):
            file.readline()
        while data := file.read(table.block_bytes):
            end = data.rfind(b"\n") + 1
            if not end and len(rest) > 2 * table.block_bytes:
                raise StoreError(
                    f"{table.path} has a line of more than {len(rest):,} bytes, and the first has {table.line_bytes:,}: it is no "
                    "table of lines of about equal length."
                )
            if end and (text := rest + data[:end]).strip():
                yield text
            rest = data[end:] if end else rest + data
        if rest.strip():
            yield rest


def _open_bytes(path: Path) -> Any:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


@contextmanager
def _text_errors(path: Path) -> Iterator[None]:
    """What may go wrong as text is read, in words."""
    try:
        with explain_errors(path, doing="read"):
            yield
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{path} is no text of UTF-8: {error}. Write it again in UTF-8."
        ) from error
    except csv.Error as error:
        raise StoreError(f"{path} is no table of text that can be read: {error}.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise StoreError(f"{path} is no complete .gz file: {error}. Pack it again.") from error


def _first_lines(path: Path) -> list[str]:
    """What stands above the table, and its first lines: two at least, then as many as a block has."""
    lines: list[str] = []
    with _text_errors(path), _open_bytes(path) as file:
        shown = size = 0
        while shown < 2 or (shown < _LOOK_LINES and size < BLOCK_BYTES):
            line = file.readline(_LOOK_BYTES)
            if not line or (shown > 1 and size + len(line) > BLOCK_BYTES):
                break
            size += len(line)
            try:
                text = line.decode("utf-8-sig" if not lines else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                if shown > 1:  # the line is named when it is read
                    break
                raise
            lines.append(text)
            shown += not _is_skipped(text)
    return lines


def _is_skipped(line: str) -> bool:
    """Whether a line above the table is none of it: blank, or a comment."""
    return not line.strip() or line.lstrip().startswith("#")


def _delimiter(path: Path, lines: Sequence[str]) -> str:
    """The sign that cuts all of these lines into as many fields, numbers after the first in the last of them."""
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    preferred = {"csv": ",", "tsv": "\t"}.get(ending, "\t")
    signs = dict.fromkeys((preferred, *_DELIMITERS))
    inside = [sign for sign in signs if sign in lines[-1]]
    if inside == [" "] and "  " in lines[-1].strip():
        raise StoreError(
            f"{path} has fields that runs of spaces keep apart, which are not read. Write one comma or tab between them, or make a "
            f"file that is read: numpy.save('{path.name.split('.')[0]}.npy', numpy.loadtxt('{path}'))"
        )

    def order(sign: str) -> tuple[bool, bool]:
        parts = [fields_of_line(line, sign, ",") for line in lines]
        numbers = all(is_number(text) for text in parts[-1][1:])
        return numbers and len(parts[-1]) > 1, len({len(part) for part in parts}) == 1

    return max(inside, key=order, default=preferred)


def _check_numbers(
    path: Path, row: Sequence[str], titles: Sequence[str] | None, named: bool
) -> None:
    texts = [
        str(j) if titles is None else repr(titles[j])
        for j, text in enumerate(row)
        if j >= named and not is_number(text)
    ]
    if texts:
        most = ", ".join(texts[:8]) + (", ..." if len(texts) > 8 else "")
        raise SpecError(
            f"{path} has columns of text: {most}. Only the first column may name the rows; leave the others out of the file, or "
            "encode them as numbers."
        )
