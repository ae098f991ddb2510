"""One door for every kind of stored matrix."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamsvd.checks.foreign import check_file_kind, check_object
from streamsvd.checks.paths import local_path, split_inside
from streamsvd.errors import SpecError, StoreError
from streamsvd.protocols import Source
from streamsvd.store.explanations import path_exists
from streamsvd.store.sources.flatten import Rows
from streamsvd.store.sources.kinds import KINDS, NUMBERS, SourceKind, find_kind
from streamsvd.store.sources.magic import check_not_empty
from streamsvd.store.sources.request import OpenRequest, source_text
from streamsvd.store.sources.views.missing_number import mark_missing


def open_source(
    source: Any,
    variable: str | None = None,
    rows: Rows = None,
    missing: str = "error",
    **asked: Any,
) -> Source:
    """A stored matrix, ready to be read a rectangle at a time; none of its values is read here.

    Parameters
    ----------
    source
        A path, the URL of a zarr store, or an object, of one of the `KINDS`.
    variable, rows, missing, **asked
        What is asked of it: the fields of `OpenRequest`.

    Returns
    -------
    source
        Values are those that are meant: unpacked as the CF conventions say, missing ones NaN.

    Raises
    ------
    StoreError
        If there is nothing there, or it cannot be read.
    ShapeError
        If it is not a matrix with at least one entry.
    SpecError
        If it is of no known kind, or is asked what its kind has not; a name is unknown, or the values are not numbers.
    """
    request = OpenRequest(variable, rows, missing, **asked)
    if isinstance(source, str | os.PathLike) and "://" not in os.fspath(source):
        source, inside = split_inside(local_path(source, "source").absolute())
        request = _with_inside(request, inside)
        if not path_exists(source):
            source = _pattern(source)
    elif isinstance(source, os.PathLike):  # a URL as verbs hand it back
        source = os.fspath(source)
    if isinstance(source, Path):
        check_not_empty(source)
    kind = find_kind(source)
    if (
        kind is None
        and isinstance(source, Path)
        and {"dtype", "shape"} & set(request.non_defaults())
    ):
        kind = NUMBERS
    if kind is None:
        raise _refusal(source)
    _check_request(source, kind, request)
    found = kind.open(source, request)
    return found if request.missing_value is None else mark_missing(found, request.missing_value)


def _pattern(path: Path) -> Any:
    """What a path stands for at which nothing lies: a pattern of names.

    Raises
    ------
    StoreError
        If it is none.
    """
    from streamsvd.store.sources.views.shards import (  # which knows all kinds
        FilePattern,
        is_pattern,
    )

    if not is_pattern(path):
        raise StoreError(f"{path} does not exist. Check the path.")
    return FilePattern(path)


def _with_inside(request: OpenRequest, inside: str | None) -> OpenRequest:
    """What is asked, with the name of an array that stands behind a path."""
    if inside is None:
        return request
    if request.variable is not None and request.variable.strip("/") != inside:
        raise SpecError(
            f"the path names the array {inside!r}, and variable={request.variable!r} another. Leave one of them out."
        )
    return replace(request, variable=inside)


def _refusal(source: Any) -> StoreError | SpecError:
    """What is said of what no kind recognises: what it is, and what is read.

    Raises
    ------
    StoreError, SpecError
        Where it is of a kind that is known.
    """
    accepted = "; ".join(kind.title for kind in KINDS)
    if isinstance(source, Path):
        check_file_kind(source)
        endings = sorted({suffix for kind in KINDS for suffix in kind.suffixes})
        return StoreError(
            f"{source} is a file of a kind that cannot be read. Names of files end in one of {', '.join(endings)}; "
            "else give the folder of a zarr array or group, or, of numbers without a header, their type and extents: dtype= and shape=."
        )
    check_object(source)
    return SpecError(f"{source_text(source)} is not a source; accepted are {accepted}.")


def _check_request(source: Any, kind: SourceKind, request: OpenRequest) -> None:
    """Refuse what is asked and its kind has not.

    Raises
    ------
    SpecError
        It says which kinds have it.
    """
    for name in request.non_defaults():
        if name in (*kind.takes, "missing_value") or (name == "rows" and request.rows == 0):
            continue
        if name == "rows":
            raise SpecError(
                f"rows={request.rows!r} flattens an array; {source_text(source)} is a matrix already."
            )
        others = "; ".join(other.title for other in KINDS if name in other.takes)
        raise SpecError(
            f"{name}={getattr(request, name)!r} belongs to {others}; {source_text(source)} is {kind.title}, which has none. "
            "Leave it out."
        )
