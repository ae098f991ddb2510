"""What the first lines of a table of text are: a header or a row, names of rows or numbers; what may be either is asked, not guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from streamsvd.errors import SpecError
from streamsvd.store.sources.tables.csv_parsers import is_entry, is_number

_LIKE_A_NUMBER = re.compile(
    r"[<>=~±≤≥+-]*\s*(0x[0-9a-f]+|[\d.,]*\d[\d.,]*([ed][+-]?\d+)?)\s*[%*]?", re.IGNORECASE
)
_HEADER = "if it names the columns, convert it with header=True (--header)"
_NO_HEADER = "if it is a row, convert it with header=False (--no-header)"


def is_header(path: Path, top: Sequence[str], below: Sequence[str] | None) -> bool:
    """Whether the first of two lines names the columns.

    It does where a field after its first is no number; where it is one field alone that is none; where it has one field less than a
    line that begins with a text, as R writes it; and where its first field is empty and the others count from 0 or 1, as pandas
    writes them. All else is a row of numbers.

    Raises
    ------
    SpecError
        If it may be either: whole numbers that differ, such as years, after a text or nothing.
    """
    rest = top[1:]
    if any(not is_number(text) for text in rest):
        return True
    if below is not None and len(top) == len(below) - 1 and not is_number(below[0]):
        return True
    if not rest:
        return not is_number(top[0])
    if below is None:
        return False
    if not top[0].strip() and _counts(rest):
        return True
    whole = all(text.strip().lstrip("+-").isdecimal() for text in rest)
    if (
        whole
        and len(set(rest)) == len(rest)
        and not is_entry(top[0])
        and (not top[0].strip() or not is_number(below[0]))
    ):
        raise SpecError(
            f"{path} begins with the line {_listing(top)}, which may be a header, such as one of years, or a row of numbers: "
            f"{_HEADER}; {_NO_HEADER}."
        )
    return False


def names_rows(path: Path, firsts: Sequence[str], above: int, *, header: bool) -> bool:
    """Whether the first fields of rows name them: no number is among them.

    Parameters
    ----------
    path
        Of the table.
    firsts
        First fields of its first rows.
    above
        Lines above these.
    header
        Whether a header is among those.

    Raises
    ------
    SpecError
        If texts and numbers are among them; it names one of each.
    """
    texts = [i for i, text in enumerate(firsts) if not is_number(text)]
    numbers = [i for i, text in enumerate(firsts) if is_entry(text)]
    if not texts or not numbers:
        return bool(texts)
    i, j = texts[0], numbers[0]
    remedy = f" Of the first line: {_HEADER}." if not header and 0 in (i, j) else ""
    raise SpecError(
        f"{path} has {firsts[i]!r} in line {above + i + 1:,} (blank ones are not counted) of its first column, which is no number, and "
        f"{firsts[j]!r} in line {above + j + 1:,}, which is one: it either names the rows or holds numbers. Mend that field; write what "
        f"is missing as NA, and names so that none is a number.{remedy}"
    )


def remarks(
    top: Sequence[str], firsts: Sequence[str], *, header: bool, is_said: bool, named: bool
) -> tuple[str, ...]:
    """What is told of guesses: a header that has what looks like a number, a row that counts, names of rows."""
    told = []
    if header and not is_said and any(_LIKE_A_NUMBER.fullmatch(text.strip()) for text in top):
        told.append(f"the first line is taken for a header: {_listing(top)}; {_NO_HEADER}")
    if not header and not is_said and _counts(top) and len(top) > 1:
        told.append(f"the first line is taken for a row of numbers: {_listing(top)}; {_HEADER}")
    if named:
        told.append(f"the first column is taken for names of rows: {_listing(firsts)}")
    return tuple(told)


def _counts(fields: Sequence[str]) -> bool:
    """Whether fields are 0, 1, 2 and so on, or 1, 2, 3."""
    return any(list(fields) == [str(j) for j in range(k, k + len(fields))] for k in (0, 1))


def _listing(fields: Sequence[str]) -> str:
    return ", ".join(repr(text) for text in fields[:3]) + (", ..." if len(fields) > 3 else "")
