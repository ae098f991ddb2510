"""Genotypes of PLINK (``.bed`` with ``.bim`` and ``.fam`` beside it): how often each person has the first allele of each variant.

Variants lie one after another, of each the persons, four to a byte from its lowest bits on: 00 is 2 copies of the first allele, 10 is 1,
11 is 0, and 01 is missing (Chang et al., GigaScience 4 (2015); PLINK 1.9, "File format reference", .bed).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, StoreError
from streamsvd.labels import Coordinate, Dimension, Labels, TextValues
from streamsvd.store.explanations import access_error
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.border import BLOCK_BYTES, WHOLE_BYTES, check_rectangle
from streamsvd.store.sources.files.raw import read_into
from streamsvd.store.sources.labels import MOST_ALONG_ROWS
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.stamp import FileStamp

MAGIC, BY_VARIANT, BY_PERSON = b"\x6c\x1b", b"\x01", b"\x00"
HEADER = 3
PERSONS = "sample"
VARIANTS = "variant"
STEP_BYTES = 64 << 10
"""Stored bytes that are decoded at once."""
DECODED_COPIES = 26
"""Bytes for each of them: itself, its place in the table, four numbers of 4, and what is at hand."""
RUN_PERSONS = 16 << 10
"""Of a part of a variant: a run of 4 KiB."""
COUNTS = np.array([2, np.nan, 1, 0], np.float32)
"""Of the first allele, by the two bits."""
TABLE = COUNTS[(np.arange(256)[:, None] >> np.array([0, 2, 4, 6])) & 3]
"""The four persons of each byte, ``(256, 4)``."""


@dataclass(frozen=True)
class PlinkSource:
    """Address of genotypes; rows are persons, columns are variants.

    Attributes
    ----------
    path
        Of the ``.bed``.
    shape
        Persons and variants.
    stamp
        Of the file when it was opened.
    """

    __repr__ = matrix_text

    path: Path
    shape: tuple[int, int]
    stamp: FileStamp

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def originals(self) -> list[Path]:
        """The three files."""
        return [self.path, *(self.path.with_suffix(end) for end in (".bim", ".fam"))]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    @property
    def chunks(self) -> tuple[int, int]:
        """Whole variants, about a mebibyte of them; parts of them where they are long."""
        (m, n), line = self.shape, line_bytes(self.shape[0])
        rows = m if line <= WHOLE_BYTES else min(m, RUN_PERSONS)
        return rows, min(n, max(1, BLOCK_BYTES // (4 * m)))

    @property
    def has_no_chunks(self) -> bool:
        """Its chunks are only a way to read it."""
        return True

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * 4

    @property
    def read_bytes(self) -> int:
        return DECODED_COPIES * STEP_BYTES

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        if rows.start == rows.stop:
            return
        first, last = rows.start // 4, line_bytes(rows.stop)
        try:
            with self.path.open("rb", buffering=0) as file:
                for a in range(first, last, STEP_BYTES):
                    part = slice(a, min(a + STEP_BYTES, last))
                    inside = slice(max(rows.start, 4 * part.start), min(rows.stop, 4 * part.stop))
                    place = out[inside.start - rows.start : inside.stop - rows.start]
                    self._read_part(file, part, inside, columns, place)
            self.stamp.check(self.path)
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise access_error(error, "read", self.path) from error

    def _read_part(
        self, file: IO[bytes], part: slice, rows: slice, columns: slice, place: npt.NDArray[Any]
    ) -> None:
        """The same bytes of consecutive variants, some variants at a time."""
        line, size = line_bytes(self.shape[0]), part.stop - part.start
        step = max(1, STEP_BYTES // size)
        cut = slice(rows.start - 4 * part.start, rows.stop - 4 * part.start)
        for begin in range(columns.start, columns.stop, step):
            end = min(begin + step, columns.stop)
            raw = np.empty((end - begin, size), np.uint8)
            if size == line:
                self._fill(file, begin * line, raw.reshape(-1))
            else:
                for j, one in enumerate(raw, begin):
                    self._fill(file, j * line + part.start, one)
            counts = TABLE[raw].reshape(end - begin, 4 * size)
            place[:, begin - columns.start : end - columns.start] = counts[:, cut].T

    def _fill(self, file: IO[bytes], start: int, raw: npt.NDArray[np.uint8]) -> None:
        if read_into(file, HEADER + start, raw) < raw.size:
            raise StoreError(
                f"{self.path} is not a complete .bed file: it ends before byte {HEADER + start + raw.size:,}. Copy it again."
            )

    def locate(self, row: int, column: int, /) -> str:
        return f"variant {column} of {self.path}"

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [FileAddress(self.path, HEADER)]

    @property
    def labels(self) -> Labels:
        """Persons by their identifiers, variants by theirs, with place and alleles."""
        (m, n), found = self.shape, []
        if m <= MOST_ALONG_ROWS:
            (persons,) = _fields(self.path.with_suffix(".fam"), (1,), 6)
            found.append(Coordinate(PERSONS, (PERSONS,), persons))
        names = ("chromosome", VARIANTS, "position", "allele_1", "allele_2")
        columns = _fields(self.path.with_suffix(".bim"), (0, 1, 3, 4, 5), 6)
        for name, values in zip(names, columns, strict=True):
            found.append(
                Coordinate(name, (VARIANTS,), _numbers(values) if name == "position" else values)
            )
        attributes = {"long_name": "copies of allele_1"}
        return Labels(
            "genotype",
            attributes,
            (Dimension(PERSONS, m),),
            (Dimension(VARIANTS, n),),
            tuple(found),
        )


def line_bytes(persons: int) -> int:
    """Of one variant."""
    return -(-persons // 4)


def open_plink(path: Path, request: OpenRequest) -> PlinkSource:
    """Genotypes as a source; the lines of the two files beside are counted.

    Raises
    ------
    ShapeError
        If there are no persons or no variants.
    StoreError
        If it is no ``.bed`` of PLINK by variants, its size does not fit, or a file beside it is not there.
    """
    del request
    try:
        with path.open("rb") as file:
            head = file.read(HEADER)
            size = file.seek(0, 2)
        stamp = FileStamp.of(path)
    except OSError as error:
        raise access_error(error, "read", path) from error
    if head[:2] != MAGIC:
        raise StoreError(
            f"{path} is no .bed file of PLINK, which begins with the bytes 6c 1b. A .bed of intervals of a genome is text, and no matrix."
        )
    if head[2:] == BY_PERSON:
        raise StoreError(
            f"{path} is stored person by person, as before PLINK 1. Write it by variants: plink --bfile {path.stem} --make-bed."
        )
    if head[2:] != BY_VARIANT:
        raise StoreError(
            f"{path} is no complete .bed file of PLINK: its third byte is none. Copy it again."
        )
    m, n = (_line_count(path, end) for end in (".fam", ".bim"))
    if not m or not n:
        raise ShapeError(
            f"{path} has {m:,} persons and {n:,} variants. A matrix needs at least one entry."
        )
    wanted = HEADER + n * line_bytes(m)
    if size != wanted:
        raise StoreError(
            f"{path} has {size:,} bytes, and {n:,} variants of {m:,} persons, as the files beside it say, are {wanted:,}. Copy all three "
            "again: they belong together."
        )
    return PlinkSource(path, (m, n), stamp)


def _line_count(path: Path, suffix: str) -> int:
    """Lines of a file beside a ``.bed`` that are not blank."""
    return sum(1 for _ in _lines(path.with_suffix(suffix)))


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    yield line
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} is not there: a .bed of PLINK has a .bim and a .fam of the same name beside it. Put it there."
        ) from error
    except OSError as error:
        raise access_error(error, "read", path) from error


def _fields(path: Path, wanted: tuple[int, ...], count: int) -> list[TextValues]:
    """Some columns of a table of words."""
    found: list[list[bytes]] = [[] for _ in wanted]
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if len(words) < count:
            raise StoreError(
                f"{path} has {len(words)} words in line {number:,} and needs {count}. Mend that line."
            )
        for column, j in zip(found, wanted, strict=True):
            column.append(words[j])
    return [TextValues.of(column) for column in found]


def _numbers(values: TextValues) -> npt.NDArray[np.int64] | TextValues:
    try:
        return values.values.astype(np.int64)
    except ValueError:
        return values
