"""What lies in an xarray object beside a variable: its coordinates, and the other arrays of the data set.

Nothing here imports xarray before it has to write times as numbers: an object that is here has brought it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.labels import Labels
from streamsvd.store.sources.beside import (
    Candidate,
    StoredVariable,
    choose_variable,
    names_text,
    variable_labels,
)
from streamsvd.store.sources.conventions import read_conventions
from streamsvd.store.sources.flatten import Flattening
from streamsvd.store.sources.neighbours import NeighbourArray
from streamsvd.store.sources.packing import Packing

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class XarrayContext:
    """A variable of xarray, and what lies beside it. Not sent to other processes, which read values alone.

    Attributes
    ----------
    name
        Of the variable; empty where it has none.
    variable
        The variable: values, names of dimensions, attributes.
    beside
        All other variables by name.
    coordinates
        Names of those that are coordinates.
    source
        The file or folder that it was opened from; empty where that is not told.
    """

    name: str
    variable: Any
    beside: Mapping[str, Any]
    coordinates: tuple[str, ...]
    source: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return XarrayContext, (self.name, None, {}, ())

    @property
    def place(self) -> str:
        """How messages call the variable."""
        return f"xarray variable {self.name!r}" if self.name else "xarray.DataArray"

    def labels(self, layout: Flattening) -> Labels:
        """What it says of the rows and columns of a matrix."""
        attributes = {} if self.variable is None else self.variable.attrs
        return variable_labels(layout, self.name, attributes, self.find, self.coordinates)

    def neighbour(self, name: str) -> NeighbourArray:
        """An array beside it; KeyError where there is none."""
        return self.find(name).as_neighbour()

    def variables(self) -> list[StoredVariable]:
        """All that lie beside it."""
        return [self.find(name) for name in self.beside]

    def find(self, name: str) -> StoredVariable:
        """An array beside it before it is read; KeyError where there is none.

        Raises
        ------
        KeyError
            It says what there is.
        """
        variable = self.beside.get(name)
        if variable is None:
            raise KeyError(
                f"; there are {names_text(map(str, self.beside))}" if self.beside else ""
            )
        if _has_times(variable):
            variable = _as_numbers(variable)
        dims = tuple(str(dim) for dim in variable.dims)
        shape, attributes = tuple(int(n) for n in variable.shape), dict(variable.attrs)
        read = partial(_values, variable, attributes, name)
        return StoredVariable(name, f"xarray variable {name!r}", shape, dims, attributes, read)


def xarray_context(given: Any, variable: str | None) -> XarrayContext:
    """The variable that is meant of a DataArray or a Dataset.

    Raises
    ------
    SpecError
        If there is none of this name, or several and none was named; it lists what there is.
    """
    coordinates = tuple(str(name) for name in given.coords)
    if not hasattr(given, "data_vars"):
        if variable is not None:
            raise SpecError(
                f"variable={variable!r} needs a Dataset, and this DataArray is one array. Leave it out."
            )
        beside = {str(name): given.coords[name].variable for name in given.coords}
        name = "" if given.name is None else str(given.name)
        return XarrayContext(name, given.variable, beside, coordinates, _source_of(given))
    everything = {str(name): given.variables[name] for name in given.variables}
    if variable is None:
        candidates = {
            str(name): Candidate(v.ndim, np.dtype(v.dtype), {**v.encoding, **v.attrs})
            for name, v in given.data_vars.items()
        }
        variable = choose_variable(candidates, "the Dataset")
    if variable not in everything:
        raise SpecError(
            f"the Dataset has no variable {variable!r}; it holds {names_text(map(str, given.data_vars))}."
        )
    own = tuple(str(name) for name in given[variable].coords if str(name) != variable)
    beside = {name: v for name, v in everything.items() if name != variable}
    source = _source_of(everything[variable]) or _source_of(given)
    return XarrayContext(variable, everything[variable], beside, own, source)


def _source_of(given: Any) -> str:
    """Where an object was opened from, as far as xarray tells."""
    source = given.encoding.get("source")
    return source if isinstance(source, str) else ""


def variable_packing(context: XarrayContext) -> Packing:
    """How the values of a variable are meant: as they are, where xarray has decoded them already."""
    variable = context.variable
    return Packing(
        read_conventions(
            np.dtype(variable.dtype), dict(variable.attrs), where=context.place, zarr_format=2
        )
    )


def _has_times(variable: Any) -> bool:
    """Whether values are dates or durations, of numpy or of cftime."""
    if variable.dtype.kind in "mM":
        return True
    if variable.dtype.kind != "O" or variable.size == 0:
        return False
    first = np.asarray(variable[(0,) * variable.ndim].values).item()
    return type(first).__module__.partition(".")[0] == "cftime"


def _as_numbers(variable: Any) -> Any:
    """Times as numbers of the units, in the calendar, that xarray writes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of units that were stored and do not do
        found = import_module("xarray.conventions").encode_cf_variable(variable)
    gaps = np.isnat(variable.values) if variable.dtype.kind in "mM" else np.zeros(1, bool)
    if not gaps.any() or found.dtype.kind == "f":
        return found
    return found.copy(data=np.where(gaps, np.nan, found.values))  # whole numbers have no NaT


def _values(variable: Any, attributes: Mapping[str, Any], name: str) -> Array:
    """All values of a small array as they are meant."""
    values = np.asarray(variable.values)
    if values.dtype.kind not in "iuf":
        return values
    where = f"xarray variable {name!r}"
    packing = Packing(read_conventions(values.dtype, attributes, where=where, zarr_format=2))
    if packing.is_plain:
        return values
    held = np.atleast_1d(values)
    out = np.empty(held.shape, packing.dtype)
    packing.unpack(held.view(packing.stored_dtype), out)
    return out.reshape(values.shape)
