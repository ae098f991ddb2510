"""Columns of frames that hold no numbers: named, before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from streamsvd.errors import SpecError

LIBRARIES = ("pandas", "polars")
MOST_NAMES = 4
"""Columns that a message names."""
KINDS = {"M": "times", "m": "durations", "O": "objects", "U": "text", "S": "text", "T": "text"}
"""What a column holds, by the kind of its type."""


def is_frame(X: Any) -> bool:
    """Whether it is a table of pandas or polars in memory."""
    kind = type(X)
    return kind.__module__.split(".")[0] in LIBRARIES and kind.__name__ == "DataFrame"


def check_columns(X: Any, name: str = "X") -> None:
    """Refuse a frame with columns of text, of categories, of times or of other objects; anything else passes.

    Raises
    ------
    SpecError
        It names the columns, what they hold, and what to do.
    """
    if not is_frame(X):
        return
    of_pandas = type(X).__module__.startswith("pandas")
    found = list(_pandas_columns(X) if of_pandas else _polars_columns(X))
    if not found:
        return
    said = ", ".join(f"{column!r} ({what})" for column, what in found[:MOST_NAMES])
    more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
    numbers = (
        f"{name}.select_dtypes('number')"
        if of_pandas
        else f"{name}.select(polars.selectors.numeric())"
    )
    raise SpecError(
        f"columns of {name} hold no numbers: {said}{more}. Leave them out, {numbers}, or make numbers of them before, with "
        "OneHotEncoder or OrdinalEncoder of scikit-learn in a pipeline."
    )


def _pandas_columns(X: Any) -> Iterator[tuple[Any, str]]:
    for at, (column, dtype) in enumerate(zip(X.columns, X.dtypes, strict=True)):
        if str(dtype) == "category":
            yield column, "categorical"
            continue
        kind = getattr(dtype, "kind", "O")
        if kind in "OUST":
            what = _what_objects_are(X.iloc[:, at])
            if what is not None:
                yield column, what
        elif kind in KINDS:
            yield column, KINDS[kind]


def _what_objects_are(column: Any) -> str | None:
    """What a column of objects holds; None for numbers."""
    values = list(column)
    if any(isinstance(value, str | bytes) for value in values):
        return "text"
    try:
        np.array([np.nan if _is_missing(value) else value for value in values], dtype=np.float64)
    except (TypeError, ValueError):
        # complex numbers are refused by scikit-learn, in its words
        return None if any(isinstance(value, complex) for value in values) else "objects"
    return None


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType"


def _polars_columns(X: Any) -> Iterator[tuple[str, str]]:
    for column, dtype in X.schema.items():
        what = type(dtype).__name__ if not isinstance(dtype, type) else dtype.__name__
        if dtype.is_numeric() or what in ("Boolean", "Null"):
            continue
        if what in ("Categorical", "Enum"):
            yield column, "categorical"
        elif what in ("String", "Utf8", "Binary"):
            yield column, "text"
        elif dtype.is_temporal():
            yield column, "times"
        else:
            yield column, what
