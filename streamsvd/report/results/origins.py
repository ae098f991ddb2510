"""Where what is shown comes from: what the writer of a result wrote down beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from streamsvd.report.results.components import Grid
from streamsvd.store.results.reader import is_result, raw_record


@dataclass(frozen=True, slots=True, eq=False)
class ResultOrigin:
    """What a page says of a result beside what is in it.

    Attributes
    ----------
    title
        Its name, the place where it lies.
    release
        That wrote it; empty if nobody knows.
    source
        What it was made of; empty if nobody knows.
    grid
        The dimensions that its columns come from.
    most
        Components that are drawn, at most.
    """

    title: str
    release: str = ""
    source: str = ""
    grid: Grid | None = None
    most: int = 8


def origin_of(
    address: str | os.PathLike[str], place: Path | None, grid: Grid | None
) -> ResultOrigin:
    """Of what lies at a place; None for a URL."""
    if place is None or not is_result(place):
        return ResultOrigin(os.fspath(address), grid=grid)
    raw = raw_record(place)
    release, source = (raw.get(name) for name in ("streamsvd", "source"))
    return ResultOrigin(
        os.fspath(address), release if isinstance(release, str) else "", source if isinstance(source, str) else "", grid
    )  # fmt: skip
