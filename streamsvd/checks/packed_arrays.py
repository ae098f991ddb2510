"""Stored arrays whose values are packed: numpy would take what is stored for what is meant.

A matrix is opened, and then unpacked (`streamsvd.open`); a vector, or a block in memory, comes through numpy, which knows
nothing of attributes. So packed ones are refused at every door of arrays.
"""

from __future__ import annotations

from typing import Any

from streamsvd.errors import SpecError

_SCALING = ("scale_factor", "add_offset")
_MARKS = ("_FillValue", "missing_value")
_NANS = ("NaN", "nan", "AAAAAAAA+H8=", "AAAAAAAA+P8=")  # the last two as xarray writes them
REMEDY = "Pass its values: xarray.open_zarr(place)[name].to_numpy()"


def check_unpacked(values: Any) -> None:
    """Refuse a zarr array whose attributes say that its values are not what is stored.

    Raises
    ------
    SpecError
        It names the attribute.
    """
    if not any(base.__module__.split(".")[0] == "zarr" for base in type(values).__mro__):
        return
    attributes = dict(getattr(values, "attrs", {}))
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    said = {name: attributes.get(name) for name in (*_SCALING, *_MARKS, "_Unsigned")}
    if "_ARRAY_DIMENSIONS" in attributes:  # there the fill value of zarr v2 marks missing values
        said["fill_value"] = getattr(values, "fill_value", None)
    for name, value in said.items():
        if value is None or (name == "_Unsigned" and kind not in "iu"):
            continue
        if name not in (*_SCALING, "_Unsigned") and _is_nan(value):
            continue  # NaN marks what is missing already
        raise SpecError(
            f"a zarr array with the attribute {name}={value!r} was given where an array in memory is needed, "
            f"and what it stores would be taken for its values. {REMEDY}."
        )


def _is_nan(value: Any) -> bool:
    return value in _NANS if isinstance(value, str) else bool(value != value)
