"""What rows had lost before they were factorised, in the dimensions of the data: means of groups by their names, and a trend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from streamsvd.factor.exports.labelled import free_name
from streamsvd.factor.exports.layout import DatasetLayout
from streamsvd.store.sources.times import SEASONS

if TYPE_CHECKING:
    from streamsvd.engine.transforms import Climatology

GROUP = "group"
"""The dimension of groups that are of no one field of the time."""


def climatology_variables(found: Climatology, layout: DatasetLayout) -> dict[str, Any]:
    """Variables of a climatology, with the coordinate of its groups.

    Returns
    -------
    variables
        ``climatology (month, *column dimensions)``, or the field that groups are of, or ``group``, with the numbers of the groups;
        no such dimension where there is one group. ``trend (*column dimensions)`` for a day, or a unit of the times, about the
        ``origin`` in its attributes.
    """
    if found.fit is None:
        return {}
    extents = tuple(d.length for d in layout.labels.columns)
    by = () if found.asked is None else found.asked.by
    title = {"long_name": "mean that rows had lost before"}
    variables: dict[str, Any] = {}
    if found.asked is not None and not by:
        variables["climatology"] = layout.along_columns(found.fit.level, title)
    else:
        name = by[0] if len(by) == 1 else GROUP
        dim = free_name(name, layout.rows, layout.columns, layout.coordinates)
        numbers = found.keys
        names = np.array(SEASONS, object)[numbers] if name == "season" else numbers
        variables[dim] = xr.Variable((dim,), names, {"long_name": _title(by)})
        cube = found.fit.level.reshape(len(numbers), *extents)
        variables["climatology"] = xr.Variable((dim, *layout.columns), cube, title)
    if found.fit.slope is not None:
        said = {"long_name": "trend that rows had lost before", "origin": float(found.origin)}
        variables["trend"] = layout.along_columns(found.fit.slope / found.scale, said)
    return variables


def _title(by: tuple[str, ...]) -> str:
    """What the numbers of groups are: of several fields the first is in thousands, or in millions."""
    weights = [1000**power for power in reversed(range(len(by)))]
    terms = (name if w == 1 else f"{w} {name}" for name, w in zip(by, weights, strict=True))
    return " + ".join(terms) or "number of the group"
