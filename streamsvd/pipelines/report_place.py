"""Where the page of a run may go: beside what is read and published, never in it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from streamsvd.checks.paths import is_url, local_path
from streamsvd.errors import DescriptionError, SpecError

ENDINGS = (".html", ".htm")
WHERE = "$.report"


def report_place(
    text: str | None, folder: Path, published: Iterable[str], read: Iterable[str]
) -> Path | None:
    """The file that a pipeline's page goes to; None where none is wanted.

    Parameters
    ----------
    text
        As the pipeline says it.
    folder
        That of the pipeline's file, which places are relative to.
    published, read
        Places of links, and of sources, models and results that are read: what lies in one of these would change it.

    Raises
    ------
    DescriptionError
        If it is no name of a page, or lies in one of these.
    """
    if text is None:
        return None
    try:
        place = local_path(text)
    except SpecError as error:
        raise DescriptionError(f"{error} - at {WHERE}.") from error
    if is_url(text) or place.suffix not in ENDINGS:
        raise DescriptionError(f"{text} is no name of a page - at {WHERE}. End a path in .html.")
    report = _absolute(folder, text)
    for what, texts in (("published", published), ("read", read)):
        for other in (_absolute(folder, each) for each in texts if not is_url(each)):
            if report.is_relative_to(other) or other.is_relative_to(report):
                raise DescriptionError(
                    f"{report} lies in {other}, which is {what} - at {WHERE}. Write the page beside it."
                )
    return report


def _absolute(folder: Path, text: str) -> Path:
    """A place, without following links."""
    return Path(os.path.abspath(folder / local_path(text)))  # noqa: PTH100
