"""The door of reports: whatever was saved, or ran, as one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamsvd.checks.numbers import check_integer
from streamsvd.checks.paths import PathOrUrl, is_url, local_path, place_of
from streamsvd.errors import SpecError, StoreError
from streamsvd.report.parts import Page
from streamsvd.report.results.components import Grid
from streamsvd.report.results.kinds import result_page
from streamsvd.report.results.origins import origin_of
from streamsvd.store.explanations import path_exists
from streamsvd.store.results.belongings import check_outside
from streamsvd.store.results.kinds import from_home
from streamsvd.store.writing.files import check_file, replacement_file
from streamsvd.store.writing.separation import check_apart

PIPELINES = "streamsvd.pipelines.run_page:pipeline_page"
"""What makes the page of a run; pipelines write reports too, and stand above them."""
MARK = b'<meta name="generator" content="streamsvd '
"""By which a page is known to be ours."""


@dataclass(frozen=True, slots=True)
class ReportWritten:
    """A page that was written.

    Attributes
    ----------
    path
        Where.
    nbytes
        How large.
    title, verdict, tone
        Of what it is, its first sentence, and how that is: ``"good"``, ``"caution"``, ``"bad"`` or ``"plain"``.
    """

    path: PathOrUrl
    nbytes: int
    title: str
    verdict: str
    tone: str


def write_report(
    address: str | os.PathLike[str],
    out: str | os.PathLike[str] = "report.html",
    *,
    run: int | None = None,
    settings: Sequence[str] = (),
    grid: Sequence[int] | None = None,
    overwrite: bool = False,
) -> ReportWritten:
    """A saved result, a model or a run of a pipeline as one page that needs no network.

    Parameters
    ----------
    address
        What `streamsvd.load` opens; a model; the file of a pipeline, or the folder of its state.
    out
        File to write; it is there whole or not at all.
    run
        Of a pipeline: the number of the run; the newest if left out.
    settings
        Of the file of a pipeline: texts ``key=value``, as of `streamsvd run --set`.
    grid
        Of a result: the extents of the dimensions that its columns come from, such as ``(61, 96)``; components are images then. A
        pipeline knows them.
    overwrite
        Replace the file that is there.

    Returns
    -------
    written
        Where the page is, and its verdict.

    Raises
    ------
    StoreError
        If there is nothing of the kind, it is damaged, or the page cannot be written.
    SpecError
        If an option is none of what lies there, or the grid has not as many places as there are columns.

    Notes
    -----
    Cost: reads the arrays of a result, of a model those of its newest version; no matrix. A left factor is read up to 64 MiB.
    """
    place = place_of(out, "out")
    check_apart(place, address)
    check_outside(place)
    check_file(place, overwrite=overwrite)
    page = make_page(address, run=run, settings=settings, grid=grid)
    return write_page(page, place, overwrite=overwrite)


def make_page(
    address: str | os.PathLike[str],
    *,
    run: int | None = None,
    settings: Sequence[str] = (),
    grid: Sequence[int] | None = None,
) -> Page:
    """The page of what lies at an address, not yet written; as `write_report`."""
    place = None if is_url(address) else local_path(address)
    if place is not None and is_pipeline(place):
        if grid is not None:
            raise SpecError(
                f"grid={tuple(grid)} is of a result; {place} is a pipeline, whose sources say it. Leave it out."
            )
        page: Page = from_home(PIPELINES)(place, run=run, settings=settings)
        return page
    if run is not None or settings:
        what = f"run={run}" if run is not None else f"settings={list(settings)}"
        raise SpecError(
            f"{what} is of a pipeline, and {address} is none. Leave it out, or pass its file."
        )
    if place is not None and not path_exists(place):
        raise StoreError(
            f"{place} does not exist. Pass a result, a model, or the file of a pipeline."
        )
    found = None if grid is None else _grid(grid)
    return result_page(address if place is None else place, origin_of(address, place, found))


def _grid(extents: Sequence[int]) -> Grid:
    """The dimensions that columns come from."""
    found = tuple(check_integer("grid", n, least=1) for n in extents)
    if len(found) < 2 or min(found[-2:]) < 2:
        raise SpecError(f"grid={found} makes no image. Pass two extents or more, such as (61, 96).")
    return Grid(found)


def is_pipeline(place: Path) -> bool:
    """Whether a path is the file of a pipeline, or the state of one."""
    if not path_exists(place):
        return False
    if not place.is_dir():
        return place.suffix != ".npz"
    return any((place / "runs").glob("*.begun.json"))


def write_page(page: Page, place: PathOrUrl, *, overwrite: bool = True) -> ReportWritten:
    """Write a page, whole or not at all."""
    from streamsvd.report.rendering import render  # imports jinja2

    data = render(page)
    with replacement_file(place, overwrite=overwrite) as file:
        file.write(data)
    return ReportWritten(place, len(data), page.title, page.verdict, page.tone)


def replace_page(page: Page, place: Path) -> ReportWritten:
    """Write a page where an earlier one may be, and folders on the way.

    Raises
    ------
    StoreError
        If something else is there: it is not replaced.
    """
    check_outside(place)
    if path_exists(place, "write"):
        if not place.is_file() or MARK not in place.read_bytes()[:1000]:
            raise StoreError(
                f"{place} is there and no report of streamsvd: it will not be replaced. Choose another place."
            )
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
    return write_page(page, place)
