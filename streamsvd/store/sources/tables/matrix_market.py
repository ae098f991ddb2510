"""A matrix as text of Matrix Market, ``.mtx`` or ``.mtx.gz``, parsed once from its beginning to its end in pieces.

Entries lie at no known places, so it is no source: a pass over it would parse all of it again. scipy parses each piece of whole lines
under a header that is made for it.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.sources.magic import check_not_empty

Array = npt.NDArray[Any]

SUFFIXES = (".mtx", ".mtx.gz")
"""Ends of the names of such files."""
PIECE_BYTES = 1 << 20
"""Of text that is parsed at once."""
_BANNER = "%%matrixmarket"
_MOST_LINE = 1 << 16
_FIELDS = {"real": "f8", "double": "f8", "integer": "i8", "pattern": "i4", "complex": "c16"}
_SIGNS = bytes.maketrans(b"0123456789+-.eE \t\r\n", b"0000000000--.ee    ")
_NEVER_BESIDE = (
    b"0-", b".-", b"--", b"-e", b" e", b"e ", b"- ", b"e.", b" . ", b"-. ", b" .e", b"-.e",
)  # fmt: skip
"""With a digit as 0, a sign as -, and a blank: what has no place in a number."""
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE)
_PLUS = re.compile(rb"(?<![eE])\+")
_MEANINGS = {
    "skew-symmetric": "half of its entries are stored, with the other sign",
    "hermitian": "half of its entries are stored, as conjugates",
}


@dataclass(frozen=True, slots=True)
class MatrixMarket:
    """The head of a matrix as text.

    Attributes
    ----------
    path
        Of the file.
    kind
        Of its entries: ``"real"``, ``"integer"``, ``"pattern"`` or ``"complex"``.
    is_symmetric
        Whether one of each two mirrored entries is stored.
    shape
        Rows and columns.
    lines
        Entries that it says it has.
    first_byte, first_line
        Where they begin: decoded bytes, and lines, above.
    """

    path: Path
    kind: str
    is_symmetric: bool
    shape: tuple[int, int]
    lines: int
    first_byte: int
    first_line: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its entries; those of a pattern are 1."""
        return np.dtype(_FIELDS[self.kind])

    @property
    def fields(self) -> int:
        """Of a line."""
        return {"pattern": 2, "complex": 4}.get(self.kind, 3)

    @property
    def transient_bytes(self) -> int:
        """Upper bound on what a piece takes: its text five times, and entries of lines of 4 bytes at least."""
        return 6 * PIECE_BYTES + (PIECE_BYTES // (2 * self.fields)) * (16 + 3 * self.dtype.itemsize)

    @property
    def most_in_piece(self) -> int:
        """Entries of a piece at most."""
        return PIECE_BYTES // (2 * self.fields)


@dataclass(frozen=True, slots=True, eq=False)
class TextEntries:
    """Entries of some lines.

    Attributes
    ----------
    rows, columns, values
        From 0 on.
    byte, line, count
        Decoded bytes, lines and entries up to the end of these.
    """

    rows: Array
    columns: Array
    values: Array
    byte: int
    line: int
    count: int


def open_matrix_market(path: Path) -> MatrixMarket:
    """The head of a matrix as text; its entries are not read.

    Raises
    ------
    StoreError
        If it cannot be read, or has no such head.
    SpecError
        If it is of a kind that is not read; it says which are.
    ShapeError
        If it has no rows or no columns.
    """
    check_not_empty(path)
    with _text_errors(path), _open_bytes(path) as file:
        first = file.readline(_MOST_LINE)
        words = first.decode(errors="replace").lower().split()
        if len(words) != 5 or words[0] != _BANNER or words[1] != "matrix":
            raise StoreError(
                f"{path} begins with {first[:60]!r}, not with %%MatrixMarket matrix. Write it with scipy.io.mmwrite."
            )
        line = 1
        while (text := file.readline(_MOST_LINE)).startswith(b"%") or (text and not text.strip()):
            line += 1
        line, end = line + 1, file.tell()
    _, _, form, kind, symmetry = words
    _check_kind(path, form, kind, symmetry)
    sizes = text.split()
    if len(sizes) != 3 or not all(re.fullmatch(rb"\d+", size) for size in sizes):
        raise StoreError(
            f"{path} has {text[:60]!r} in line {line:,}, where rows, columns and entries are to be said. It is damaged: write it again."
        )
    m, n, count = (int(size) for size in sizes)
    if not m or not n:
        raise ShapeError(f"{path} has shape {(m, n)}; a matrix needs at least one entry.")
    kind = "real" if kind == "double" else kind
    return MatrixMarket(path.absolute(), kind, symmetry == "symmetric", (m, n), count, end, line)


def _check_kind(path: Path, form: str, kind: str, symmetry: str) -> None:
    """Refuse what is not read.

    Raises
    ------
    SpecError
        It says what it is, and what to do.
    """
    save = f"Save it with scipy.sparse.save_npz('{path.name.split('.')[0]}.npz', ...) after scipy.io.mmread."
    if form != "coordinate":
        raise SpecError(
            f"{path} is of the kind {form!r}: all its entries are stored, and it is dense. Make it numbers: "
            f"numpy.save('{path.name.split('.')[0]}.npy', scipy.io.mmread('{path}'))"
        )
    if kind not in _FIELDS:
        raise SpecError(
            f"{path} has entries of the kind {kind!r}; real, integer, pattern and complex are read. {save}"
        )
    if symmetry not in ("general", "symmetric"):
        meaning = _MEANINGS.get(symmetry, "which is not known")
        raise SpecError(
            f"{path} is {symmetry}: {meaning}; general and symmetric ones are read. {save}"
        )


def market_pieces(head: MatrixMarket, byte: int, line: int, count: int) -> Iterator[TextEntries]:
    """All entries, those of some lines at a time, as they are stored; mirrored ones are not made.

    Parameters
    ----------
    head
        As `open_matrix_market` makes it.
    byte, line, count
        Where to begin: decoded bytes, lines and entries above.

    Raises
    ------
    StoreError
        If a line is no entry, or lies outside of the matrix: it names the line. Or if there are more entries or fewer than the head
        says, or the file ends in the midst of packed bytes.

    Notes
    -----
    Cost: one pass; `MatrixMarket.transient_bytes` of memory.
    """
    for text in _whole_lines(head, byte):
        byte += len(text)
        lines = text.count(b"\n") + (not text.endswith(b"\n"))
        body, found = _entry_lines(head, text, lines, line)
        if found:
            count += found
            if count > head.lines:
                raise StoreError(
                    f"{head.path} has more than the {head.lines:,} entries that its head says, up to line {line + lines:,}. It is "
                    "damaged: write it again."
                )
            try:
                rows, columns, values = _parse(head, body, found)
            except (ValueError, OverflowError) as error:
                raise _fault(head, text, line, str(error)) from error
            yield TextEntries(rows, columns, values, byte, line + lines, count)
        line += lines
    if count != head.lines:
        raise StoreError(
            f"{head.path} has {count:,} entries, and its head says {head.lines:,}: an interrupted write. Write it again."
        )


def _parse(head: MatrixMarket, body: bytes, count: int) -> tuple[Array, Array, Array]:
    m, n = head.shape
    top = f"%%MatrixMarket matrix coordinate {head.kind} general\n{m} {n} {count}\n"
    if b"+" in body:
        body = _PLUS.sub(b"", body)
    found: Any = scipy.io.mmread(io.BytesIO(top.encode() + body))
    values = found.data if head.kind != "pattern" else np.ones(count, head.dtype)
    if values.dtype.kind in "fc" and np.isinf(values).any():
        _check_range(body)
    return found.row, found.col, values.astype(head.dtype, copy=False)


def _entry_lines(head: MatrixMarket, text: bytes, lines: int, above: int) -> tuple[bytes, int]:
    """Lines that are not blank, and how many there are; their fields are counted, as the parser does not look behind the last.

    Raises
    ------
    StoreError
        If one has more or fewer, or a field is no number.
    """
    cuts = text.count(b" ") + text.count(b"\t")
    is_whole = head.kind in ("integer", "pattern")
    is_plain = has_numbers_alone(text, is_whole=is_whole)
    if is_plain and cuts == (head.fields - 1) * lines:
        return text, lines
    kept = []
    for number, each in enumerate(text.split(b"\n"), above + 1):
        fields = each.split()
        if not fields:
            continue
        if len(fields) != head.fields or (not is_plain and _reason(head, fields)):
            raise _fault(head, each, number - 1, "")
        kept.append(each)
    return b"\n".join([*kept, b""]), len(kept)


def has_numbers_alone(text: bytes, *, is_whole: bool) -> bool:
    """Whether text is numbers and blanks, each number with nothing behind it: the parser takes the beginning of a field for all of it.

    Infinite and missing ones count as none: their fields are looked at one by one.

    Parameters
    ----------
    text
        Some whole lines.
    is_whole
        Whether numbers have no fraction and no exponent.

    Notes
    -----
    Digits become one sign, blanks another; two neighbours then say whether something stands where it may not. Cost: 14 searches.
    """
    signs = b" " + text.translate(_SIGNS) + b" "
    if signs.translate(None, b"0- " if is_whole else b"0-.e "):
        return False
    if any(pair in signs for pair in _NEVER_BESIDE):
        return False
    marks = signs.translate(None, b"0-")
    return not any(pair in marks for pair in (b"..", b"ee", b"e."))


def _check_range(text: bytes) -> None:
    """Refuse numbers in digits that became infinite.

    Raises
    ------
    OverflowError
        If there is one.
    """
    for field in text.split():
        if field[-1:].isdigit() and np.isinf(float(field)):
            raise OverflowError(f"{field.decode()} is beyond 64-bit floats")


def _fault(head: MatrixMarket, text: bytes, above: int, said: str) -> StoreError:
    """What is wrong with the first of some lines that is no entry."""
    for number, each in enumerate(text.split(b"\n"), above + 1):
        fields = each.split()
        if fields and (reason := _reason(head, fields)):
            return StoreError(f"{head.path}, line {number:,}: {reason}. Mend that line.")
    return StoreError(f"{head.path} from line {above + 1:,} on is not read: {said}")


def _reason(head: MatrixMarket, fields: list[bytes]) -> str:
    """Why the fields of a line are no entry; empty where they are one."""
    texts = [field.decode(errors="replace") for field in fields]
    if len(texts) != head.fields:
        return f"{len(texts)} fields, and an entry ({head.kind}) has {head.fields}"
    for what, text, extent in zip(("row", "column"), texts, head.shape, strict=False):
        if not re.fullmatch(r"[+-]?\d+", text):
            return f"{text!r} is no {what}"
        if not 1 <= int(text) <= extent:
            return f"{what} {text} is outside of the matrix, whose {what}s are 1 to {extent:,}"
    for text in texts[2:]:
        if head.kind == "integer":
            if not re.fullmatch(r"[+-]?\d+", text):
                return f"{text!r} is no integer, which the head says it is"
            if abs(int(text)) >= 1 << 63:
                return f"{text} is beyond 64 bits"
        else:
            if not _NUMBER.fullmatch(text):
                return f"{text!r} is no number"
            if text[-1].isalpha() or np.isfinite(float(text)):
                continue
            return f"{text} is beyond 64-bit floats"
    return ""


def _whole_lines(head: MatrixMarket, byte: int) -> Iterator[bytes]:
    """The text from a place on, cut where lines end."""
    rest = b""
    with _text_errors(head.path), _open_bytes(head.path) as file:
        file.seek(byte)
        while data := file.read(PIECE_BYTES):
            end = data.rfind(b"\n") + 1
            if not end and len(rest) > PIECE_BYTES:
                raise StoreError(
                    f"{head.path} has a line of more than {len(rest):,} bytes: it is no list of entries."
                )
            if end:
                yield rest + data[:end]
                rest = data[end:]
            else:
                rest += data
        if rest:
            yield rest


def _open_bytes(path: Path) -> Any:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


@contextmanager
def _text_errors(path: Path) -> Iterator[None]:
    """What may go wrong as text is read, in words."""
    try:
        with explain_errors(path, doing="read"):
            yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise StoreError(f"{path} is no complete .gz file: {error}. Pack it again.") from error
