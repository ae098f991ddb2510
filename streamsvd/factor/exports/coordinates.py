"""Coordinates as xarray has them: times decoded, attributes that every format can write."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from streamsvd.labels import Coordinate
from streamsvd.store.sources.conventions import NAMES

STORAGE_NAMES = ("_ARRAY_DIMENSIONS", "coordinates", "grid_mapping", *NAMES)
"""Attributes about how an array is stored: a writer sets its own."""


def coordinate_variables(coordinates: Iterable[Coordinate]) -> dict[str, Any]:
    """Coordinates by name, times as dates; what cannot be decoded stays the numbers that it is, with its units."""
    return {each.name: _variable(each) for each in coordinates}


def _variable(coordinate: Coordinate) -> Any:
    attributes = writable_attributes(coordinate.attributes)
    plain = xr.Variable(coordinate.dims, coordinate.array, attributes)
    if " since " not in coordinate.units:
        return plain
    alone = xr.Dataset({coordinate.name: plain})
    try:
        with (
            warnings.catch_warnings()
        ):  # that dates beyond datetime64 are those of cftime is what is wanted
            warnings.simplefilter("ignore")
            found = xr.decode_cf(alone, decode_timedelta=False)[coordinate.name].variable.copy()
    except (ValueError, OverflowError, ImportError):  # a calendar that nothing here knows
        return plain
    if coordinate.units.startswith("microseconds"):
        found.encoding = {}  # units of our own, beyond the integers of some formats: a writer finds better ones
    return found


def writable_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as numbers and texts, which netCDF and zarr both write."""
    found = {}
    for name, value in attributes.items():
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        if name in STORAGE_NAMES or plain is None:
            continue
        if isinstance(plain, bool):
            plain = int(plain)
        elif isinstance(plain, list | tuple):
            numbers = all(isinstance(part, int | float) for part in plain)
            plain = [_number(part) for part in plain] if numbers else ", ".join(map(str, plain))
        elif not isinstance(plain, int | float):
            plain = str(plain)
        if isinstance(plain, float) and not math.isfinite(plain):
            continue  # JSON has none
        if plain != []:
            found[str(name)] = plain
    return found


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value
