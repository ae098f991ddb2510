"""Lines of a table of text as numbers: by a library where there are few columns, by plain Python where each would cost it more than its fields."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from streamsvd.checks.libraries import optional_library
from streamsvd.errors import SpecError, StoreError
from streamsvd.typing import Real

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "#N/A", "?", "-")
"""What stands for a missing value."""
MANY_COLUMNS = 256
"""From so many on, what the library makes for each column costs more than the fields in it: 10 kB of memory, 0.1 ms a block."""

LineParser = Callable[[bytes, int], tuple[Real, list[str] | None]]
"""Whole lines, and how many lines stand above them, to numbers ``(rows, columns)`` and names of the rows."""


@dataclass(frozen=True, slots=True)
class TextLayout:
    """How lines of a table are cut into fields, and what these are.

    Attributes
    ----------
    path
        Of the file.
    delimiter, decimal_point
        As the first lines have them.
    columns
        How many hold numbers.
    column_names
        Of these; None without a header.
    has_row_names
        Whether the first field of each line is a text that names the row.
    """

    path: Path
    delimiter: str
    decimal_point: str
    columns: int
    column_names: tuple[str, ...] | None
    has_row_names: bool

    @property
    def fields(self) -> int:
        """Of a line."""
        return self.columns + self.has_row_names

    def refuse_count(self, count: int, line: int) -> StoreError:
        """What is said of a line with more fields or fewer."""
        return StoreError(
            f"{self.path} has {count} fields in line {line:,} (blank ones are not counted) and {self.fields} in the lines before: "
            "all lines need as many. Mend that line."
        )

    def refuse_text(self, text: str, line: int, field: int) -> SpecError:
        """What is said of a field that is no number."""
        column = field - self.has_row_names
        title = "" if self.column_names is None else f" {self.column_names[column]!r}"
        return SpecError(
            f"{self.path} has {text!r} in line {line:,} (blank ones are not counted) of column {column}{title}, which is no number. "
            "Leave that column out of the file, or write what is missing as NA."
        )

    def refuse_size(self, text: str, line: int, column: int) -> SpecError:
        """What is said of a number that 64 bits do not hold."""
        return SpecError(
            f"{self.path} has {text!r} in line {line:,} (blank ones are not counted) of column {column}, which is beyond 64-bit floats. "
            "Mend that field, or write it as inf."
        )

    def refuse_name(self, text: str, line: int) -> SpecError:
        """What is said of a number among names of rows."""
        return SpecError(
            f"{self.path} has {text!r} in line {line:,} (blank ones are not counted) of its first column, which is a number, and texts "
            "in the lines before: it either names the rows or holds numbers. Mend that field; write names so that none is a number."
        )


def line_parser(layout: TextLayout) -> LineParser:
    """What turns lines of a table into numbers; it refuses a number among names of rows."""
    parse = (_PlainParser if layout.columns > MANY_COLUMNS else _ArrowParser)(layout)

    def read(text: bytes, above: int) -> tuple[Real, list[str] | None]:
        values, names = parse(text, above)
        for i, name in enumerate(names or ()):
            if is_entry(with_point(name, layout.decimal_point)):
                raise layout.refuse_name(name, above + i + 1)
        if np.isinf(values).any():
            _check_range(layout, text, above)
        return values, names

    return read


def _check_range(layout: TextLayout, text: bytes, above: int) -> None:
    """Refuse numbers in digits that became infinite."""
    lines = io.StringIO(text.decode(), newline="")
    rows = filter(None, csv.reader(lines, delimiter=layout.delimiter))
    for line, fields in enumerate(rows, above + 1):
        for j, field in enumerate(fields[layout.has_row_names :]):
            if field.strip()[-1:].isdigit() and np.isinf(
                float(with_point(field, layout.decimal_point))
            ):
                raise layout.refuse_size(field, line, j)


class _ArrowParser:
    """By a library, column by column."""

    def __init__(self, layout: TextLayout) -> None:
        self._layout = layout
        self._lib = optional_library("pyarrow", "tables", f"{layout.path} is a table of text")
        self._csv = import_module("pyarrow.csv")
        self._names = [f"c{j}" for j in range(layout.fields)]
        types = dict.fromkeys(self._names, self._lib.float64())
        if layout.has_row_names:
            types[self._names[0]] = self._lib.string()
        self._parse = self._csv.ParseOptions(delimiter=layout.delimiter, ignore_empty_lines=True)
        self._convert = self._csv.ConvertOptions(
            column_types=types,
            null_values=list(MISSING),
            strings_can_be_null=False,
            decimal_point=layout.decimal_point,
        )

    def __call__(self, text: bytes, above: int) -> tuple[Real, list[str] | None]:
        options = self._csv.ReadOptions(
            use_threads=False,  # which tells lines of errors
            block_size=len(text) + 1,
            column_names=self._names,
        )
        stream = self._lib.BufferReader(text)
        try:
            table = self._csv.read_csv(stream, options, self._parse, self._convert)
        except (self._lib.ArrowInvalid, self._lib.ArrowKeyError) as error:
            raise self._refusal(str(error), above) from error
        begin = int(self._layout.has_row_names)
        values = np.empty((table.num_rows, self._layout.columns))
        for j in range(self._layout.columns):
            values[:, j] = table.column(begin + j).to_numpy()
        return values, table.column(0).to_pylist() if begin else None

    def _refusal(self, said: str, above: int) -> StoreError | SpecError:
        row = re.search(r"Row #(\d+)", said)
        line = above + (int(row[1]) if row else 1)
        if ragged := re.search(r"Expected \d+ columns, got (\d+)", said):
            return self._layout.refuse_count(int(ragged[1]), line)
        if bad := re.search(r"CSV column #(\d+):.*?invalid value '([^']*)'", said, re.DOTALL):
            return self._layout.refuse_text(bad[2], line, int(bad[1]))
        path = self._layout.path
        if "UTF8" in said:
            return StoreError(
                f"{path} is no text of UTF-8 from line {line:,} on. Write it again in UTF-8."
            )
        return StoreError(f"{path} is no table of text that can be read: {said}")


class _PlainParser:
    """By Python, line by line."""

    def __init__(self, layout: TextLayout) -> None:
        self._layout = layout

    def __call__(self, text: bytes, above: int) -> tuple[Real, list[str] | None]:
        layout, lines = self._layout, io.StringIO(text.decode(), newline="")
        begin = int(layout.has_row_names)
        rows: list[Real] = []
        names: list[str] = []
        for fields in csv.reader(lines, delimiter=layout.delimiter):
            if not fields:
                continue
            if len(fields) != layout.fields:
                raise layout.refuse_count(len(fields), above + len(rows) + 1)
            names.extend(fields[:begin])
            rows.append(self._numbers(fields, begin, above + len(rows) + 1))
        values = np.stack(rows) if rows else np.empty((0, layout.columns))
        return values, names if begin else None

    def _numbers(self, fields: Sequence[str], begin: int, line: int) -> Real:
        if self._layout.decimal_point == ",":
            fields = [text.replace(",", ".") for text in fields]
        try:
            return np.array(fields[begin:], dtype=np.float64)
        except ValueError:
            pass
        values = np.empty(self._layout.columns)
        for j, text in enumerate(fields[begin:]):
            if not is_number(text):
                raise self._layout.refuse_text(text, line, begin + j)
            values[j] = np.nan if text.strip() in MISSING else float(text)
        return values


def fields_of_line(line: str, delimiter: str, decimal_point: str) -> list[str]:
    """The fields of one line, with a point in their numbers."""
    (parts,) = csv.reader([line], delimiter=delimiter)
    return [with_point(part, decimal_point) for part in parts]


def with_point(text: str, decimal_point: str) -> str:
    """A field with a point where its number has a comma."""
    return text.replace(",", ".") if decimal_point == "," else text


def is_number(text: str) -> bool:
    """Whether a field is a number, or stands for a missing one."""
    try:
        float(text)
    except ValueError:
        return text.strip() in MISSING
    return "_" not in text


def is_entry(text: str) -> bool:
    """Whether a field is a number, and not missing."""
    return text.strip() not in MISSING and is_number(text)
