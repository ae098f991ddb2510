"""Plots of a result in files: `plot`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from streamsvd.checks.libraries import optional_library
from streamsvd.checks.numbers import is_integer
from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.errors import SpecError
from streamsvd.factor.result import SVD
from streamsvd.factor.rotation_result import Rotation
from streamsvd.report.plot_parts import BIPLOT_COLUMNS, PlotParts, plot_parts
from streamsvd.store.results.loading import load
from streamsvd.store.writing.files import check_file, replacement_file
from streamsvd.store.writing.separation import check_apart

PLOT_KINDS = ("all", "scree", "components", "scores", "biplot")
PLOT_FORMATS = (".png", ".svg", ".pdf")
MOST = {"all": 4, "components": 6, "scores": 6, "biplot": 2, "scree": 1}
"""Components that are drawn where nobody says which."""


def plot(
    result: Any,
    kind: str = "all",
    *,
    components: Sequence[int] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Any:
    """Draw a result: its values, its components as maps, images or lines, its scores.

    Components are drawn as their columns lie: as a map where they are a grid, or places, of latitude and longitude; as an image where two
    dimensions make them; else as a line, or as bars with names. Colours are symmetric about zero; what has no value, as land, is grey.

    Parameters
    ----------
    result
        What `svd`, `pca` or `rotate` found, a `Model`, or the place where one was saved.
    kind
        ``"scree"``: shares with their certified intervals, beside them the sampling error by North's rule. ``"components"``. ``"scores"``:
        along the rows' coordinate, where the result has ``U``. ``"biplot"``: two components, up to 30 columns. ``"all"``: these on one sheet.
    components
        Numbers of the components, from 0; the leading ones if left out.
    out
        File to write, by its suffix ``.png``, ``.svg`` or ``.pdf``; there whole or not at all.
    overwrite
        Replace the file that is there.

    Returns
    -------
    figure
        Of matplotlib, to be shown by a notebook or changed; no window is opened.

    Raises
    ------
    StoreError
        If matplotlib is not installed, with the line that installs it; if the result, or the place of the file, is not to be had.
    SpecError
        If the kind or a component is unknown, or there is nothing of the kind to draw: no left factor, too many columns.

    Notes
    -----
    Cost: no pass; the left factor is read once in runs of rows, of more than 3000 rows the least and the largest of stretches are drawn.
    """
    found = _drawable(result)
    numbers = _numbers(components, found.rank, kind)
    place = None if out is None else _place(result, out, overwrite=overwrite)
    optional_library("matplotlib", "plots", "a plot is drawn with matplotlib")
    parts = plot_parts(found, numbers)
    _refuse_what_is_not_there(parts, kind, found)
    from streamsvd.report.figures.results import draw_result, write_figure

    figure = draw_result(parts, kind)
    if place is not None:
        with replacement_file(place, overwrite=overwrite) as file:
            write_figure(figure, file, place.suffix[1:].lower())
    return figure


def _drawable(result: Any) -> SVD | Rotation:
    """What has values and components."""
    if isinstance(result, str | os.PathLike):
        result = load(result)
    found = result.as_svd() if hasattr(result, "as_svd") else result
    if not isinstance(found, SVD | Rotation):
        raise SpecError(
            f"{type(found).__name__} has no components to plot. Pass what svd, pca or rotate found, or a model; streamsvd report makes a "
            "page of any result."
        )
    return found


def _numbers(components: Sequence[int] | None, rank: int, kind: str) -> tuple[int, ...]:
    """The components that are drawn."""
    if kind not in PLOT_KINDS:
        raise SpecError(f"kind={kind!r} is unknown. Pass one of {', '.join(PLOT_KINDS)}.")
    if components is None:
        return tuple(range(min(rank, MOST[kind])))
    chosen = tuple(components) if isinstance(components, Sequence) else (components,)
    for i in chosen:
        if not is_integer(i) or not 0 <= i < rank:
            raise SpecError(
                f"components={list(chosen)} names {i!r}, and there are components 0 to {rank - 1}. Pass numbers from there."
            )
    if not chosen or len(chosen) > 40:
        raise SpecError(f"components has {len(chosen)} numbers. Pass between 1 and 40.")
    if kind == "biplot" and len(chosen) != 2:
        raise SpecError(f"a biplot is of two components, {len(chosen)} were named. Pass two.")
    return tuple(int(i) for i in chosen)


def _place(result: Any, out: str | os.PathLike[str], *, overwrite: bool) -> PathOrUrl:
    """The file, checked before any work."""
    place = place_of(out, "out")
    if place.suffix.lower() not in PLOT_FORMATS:
        raise SpecError(f"out={place} is of no known format. Name it {', '.join(PLOT_FORMATS)}.")
    if isinstance(result, str | os.PathLike):
        check_apart(place, result)
    check_file(place, overwrite=overwrite)
    return place


def _refuse_what_is_not_there(parts: PlotParts, kind: str, found: SVD | Rotation) -> None:
    """What cannot be drawn.

    Raises
    ------
    SpecError
        It says why, and what to do.
    """
    if not parts.fields:
        raise SpecError("the result has no components: there is nothing to plot.")
    if kind == "scores" and parts.scores is None:
        raise SpecError(
            "the result keeps no left factor, and so no scores. Factorise with u=True, or plot what transform gives."
        )
    if kind == "biplot" and parts.biplot is None:
        n = (found.components if isinstance(found, Rotation) else found.Vh).shape[1]
        why = f"{n:,} columns" if n > BIPLOT_COLUMNS else "complex numbers"
        if found.rank < 2:
            why = "one component"
        raise SpecError(
            f"a biplot shows two components of real numbers and at most {BIPLOT_COLUMNS} columns; this result has {why}. Plot components instead."
        )
