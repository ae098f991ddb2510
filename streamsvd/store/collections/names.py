"""What a caller says of names: which are wanted, which are transposed, which are reshaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from streamsvd.errors import SpecError
from streamsvd.store.collections.layout import MemberLayout

Patterns = str | Sequence[str] | None
Columns = int | Mapping[str, int] | None


def pattern_tuple(given: Patterns) -> tuple[str, ...]:
    """As a tuple."""
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def matches(name: str, given: Sequence[str]) -> bool:
    """Whether one of the patterns is that of the name."""
    return any(fnmatchcase(name, pattern) for pattern in given)


def select_names(names: Sequence[str], select: Patterns, option: str = "select") -> list[str]:
    """Names that are asked for; all if nothing was said. A pattern that is a name is that name alone.

    Raises
    ------
    SpecError
        If a pattern matches none.
    """
    given = pattern_tuple(select)
    check_used(names, given, option)
    known = set(names)
    exact, loose = {p for p in given if p in known}, [p for p in given if p not in known]
    return [name for name in names if not given or name in exact or matches(name, loose)]


def check_used(names: Sequence[str], given: Sequence[str], option: str) -> None:
    """Refuse a pattern that no name matches: it was misspelt.

    Raises
    ------
    SpecError
        It shows some of the names that there are.
    """
    for pattern in given:
        if pattern not in names and not any(fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(repr(n) for n in names[:3]) + (", ..." if len(names) > 3 else "")
            raise SpecError(
                f"{option}={pattern!r} matches no name; there are {len(names)}: {shown}."
            )


def columns_of(name: str, columns: Columns) -> int | None:
    """Columns that were asked of an array: the first pattern that matches counts."""
    if columns is None or isinstance(columns, int):
        return columns
    return next((n for pattern, n in columns.items() if fnmatchcase(name, pattern)), None)


def layout_of(
    name: str, shape: tuple[int, ...], transpose: Sequence[str], columns: Columns
) -> MemberLayout:
    """How an array is seen.

    Raises
    ------
    SpecError
        If the columns asked are not a number of columns.
    """
    count = columns_of(name, columns)
    if count is not None and (isinstance(count, bool) or count < 1):
        raise SpecError(f"columns={count!r} of {name!r} is no number of columns. Pass 1 or more.")
    return MemberLayout(shape, count, matches(name, transpose))
