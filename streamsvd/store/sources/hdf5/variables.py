"""Arrays of a file of HDF5: found by name, with dimensions, attributes and neighbours as netCDF-4 lays them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.sources.beside import Candidate, StoredVariable, choose_variable, names_text
from streamsvd.store.sources.border import check_dtype
from streamsvd.store.sources.conventions import Conventions, read_conventions
from streamsvd.store.sources.hdf5.files import reading_hdf5
from streamsvd.store.sources.packing import Packing
from streamsvd.store.sources.text import joined_characters

Array = npt.NDArray[Any]
OWN_ATTRIBUTES = (
    "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS", "_Netcdf4Dimid", "_Netcdf4Coordinates", "_NCProperties",
    "_nc3_strict",
)  # fmt: skip
"""By which dimensions are attached to arrays."""
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_ADVICE = {
    "compound": "Store its numeric fields as arrays of their own.",
    "text": "Text has no inner product. Encode it as numbers first.",
    "lists of unequal length": "Store them as one array, padded by NaN.",
    "references": "Give the array that they lead to.",
}


def find_dataset(file: Any, variable: str | None, path: Path) -> Any:
    """The array that is meant.

    Raises
    ------
    SpecError
        If there is none of this name, or several and none was named; it lists what there is.
    """
    if variable is None:
        found = {name: _candidate(dataset) for name, dataset in datasets_of(file)}
        return file[choose_variable(found, str(path))]
    try:
        node = file.get(variable)
    except (KeyError, ValueError, OSError, RuntimeError):
        node = None
    if node is None:
        there = _parent(file, variable)
        inside = (
            "" if there.name == "/" else f" Its group {there.name!r} holds {names_text(there)}."
        )
        raise SpecError(
            f"{path} has no variable {variable!r}; it holds {names_text(n for n, _ in datasets_of(file))}.{inside}"
        )
    if not hasattr(node, "shape"):
        return find_dataset_in(node, path)
    return node


def find_dataset_in(group: Any, path: Path) -> Any:
    """The one matrix of a group."""
    found = {name: _candidate(dataset) for name, dataset in datasets_of(group)}
    name = "" if group.name == "/" else group.name
    return group[choose_variable(found, f"{path}{name}")]


def _parent(file: Any, variable: str) -> Any:
    """The innermost group on the way to a name."""
    node = file
    for part in variable.strip("/").split("/")[:-1]:
        inner = node.get(part)
        if inner is None or not hasattr(inner, "visititems"):
            break
        node = inner
    return node


def datasets_of(group: Any) -> Iterator[tuple[str, Any]]:
    """All arrays of a group and below."""
    found: list[tuple[str, Any]] = []

    def visit(name: str, node: Any) -> None:
        if getattr(node, "shape", None) is not None and not is_bare_dimension(node):
            found.append((name, node))

    group.visititems(visit)
    return iter(found)


def _candidate(dataset: Any) -> Candidate:
    return Candidate(dataset.ndim, plain_dtype(dataset), attributes_of(dataset))


def plain_dtype(dataset: Any) -> np.dtype[Any]:
    """The type of its values; void where the library cannot say it."""
    try:
        found: np.dtype[Any] = np.dtype(dataset.dtype)
    except TypeError:
        found = np.dtype(np.void)
    return found


def is_bare_dimension(dataset: Any) -> bool:
    """Whether an array only stands for a dimension of netCDF."""
    name = dataset.attrs.get("NAME", b"") if "NAME" in dataset.attrs else b""
    return text_of(name).startswith(_NO_VARIABLE)


def text_of(value: Any) -> str:
    """A text of an attribute, whichever way it is stored; empty for what is none."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def attributes_of(dataset: Any) -> dict[str, Any]:
    """Attributes as plain values; those by which dimensions are attached are left out."""
    found = {}
    for name in dataset.attrs:
        if name in OWN_ATTRIBUTES:
            continue
        try:
            value = dataset.attrs[name]
        except (OSError, TypeError, ValueError, RuntimeError):  # of a type that has no numpy
            continue
        found[str(name)] = _attribute(value)
    return {name: value for name, value in found.items() if value is not None}


def _attribute(value: Any) -> Any:
    """A plain value, or a list of them; None where it is empty or nothing of the kind."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.generic):
        return value if value.dtype.kind in "biufc" else _attribute(value.item())
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufcSUOT" or value.size == 0:
            return None
        parts = [_attribute(part) for part in value.reshape(-1)]
        return parts[0] if len(parts) == 1 else parts
    return value if isinstance(value, str | bool | int | float) else None


def dimension_scales(dataset: Any) -> list[Any]:
    """The scale attached to each of its dimensions; None where there is none, or it cannot be followed."""
    if "DIMENSION_LIST" not in dataset.attrs:
        return [None] * dataset.ndim
    found = []
    for axis in range(dataset.ndim):
        try:
            dimension = dataset.dims[axis]
            found.append(dimension[0] if len(dimension) else None)
        except (OSError, KeyError, RuntimeError, ValueError):
            found.append(None)
    return found


def dimension_names(dataset: Any) -> tuple[str | None, ...] | None:
    """Names of the dimensions, by the scales attached to them or by their labels; None where none has one."""
    names: list[str | None] = []
    for axis, scale in enumerate(dimension_scales(dataset)):
        label = (
            dataset.dims[axis].label
            if scale is None and "DIMENSION_LABELS" in dataset.attrs
            else ""
        )
        names.append(str(label) or None if scale is None else str(scale.name).rpartition("/")[2])
    if not any(names) and dataset.ndim == 1 and _is_scale(dataset):
        return (str(dataset.name).rpartition("/")[2],)
    return tuple(names) if any(names) else None


def _is_scale(dataset: Any) -> bool:
    return text_of(dataset.attrs.get("CLASS", b"")) == "DIMENSION_SCALE"


def check_numbers(dataset: Any, where: str) -> np.dtype[Any]:
    """The type of an array of numbers.

    Raises
    ------
    SpecError
        If it holds something else; it is called by its name.
    """
    dtype = plain_dtype(dataset)
    kind = _other_kind(dtype)
    if kind:
        raise SpecError(
            f"{where} holds {kind} ({dtype}); a matrix needs integers, floats or complex. {_ADVICE[kind]}"
        )
    check_dtype(dtype, where)
    return dtype


def _other_kind(dtype: np.dtype[Any]) -> str:
    """What HDF5 calls a type that is no number of numpy; empty for others."""
    told: Mapping[str, Any] = dtype.metadata or {}
    if dtype.names:
        return "compound"
    if "ref" in told:
        return "references"
    if "vlen" in told:
        return "text" if told["vlen"] in (str, bytes) else "lists of unequal length"
    return "text" if dtype.kind in "SUT" else ""


def conventions_of(dataset: Any, dtype: np.dtype[Any], where: str) -> Conventions:
    """What the attributes of an array of numbers say of its values, as xarray reads netCDF: the fill value of HDF5 says nothing."""
    return read_conventions(dtype, attributes_of(dataset), where=where, zarr_format=2)


def variable_beside(path: Path, variable: str, name: str) -> StoredVariable:
    """The array of a name in the group of a variable, or in a group that holds it, as names of netCDF-4 are found.

    Raises
    ------
    KeyError
        If there is none.
    StoreError
        If it cannot be read.
    """
    with reading_hdf5(path) as file:
        try:
            found = _look_up(file, variable, name)
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(f"{path}:{name} cannot be looked at: {error}.") from error
        if found is not None:
            return _variable_at(path, found)
    there = names_text(found.name for found in variables_of_group(path, variable))
    raise KeyError(f"; there are {there}")


def variables_of_group(path: Path, variable: str) -> list[StoredVariable]:
    """All arrays in the group of a variable but itself, none of them read."""
    with reading_hdf5(path) as file:
        group = file[variable].parent
        nodes = [group[name] for name in group if group.get(name) is not None]
        return [
            _variable_at(path, node)
            for node in nodes
            if getattr(node, "shape", None) is not None
            and node.name != file[variable].name
            and not is_bare_dimension(node)
        ]


def _look_up(file: Any, variable: str, name: str) -> Any:
    dataset = file[variable]
    for scale in dimension_scales(dataset):
        if scale is not None and str(scale.name).rpartition("/")[2] == name:
            return None if is_bare_dimension(scale) else scale
    group = dataset.parent
    while True:
        node = group.get(name)
        if node is not None and getattr(node, "shape", None) is not None:
            return None if is_bare_dimension(node) else node
        if group.name == "/":
            return None
        group = group.parent


def _variable_at(path: Path, dataset: Any) -> StoredVariable:
    place = f"{path}:{dataset.name}"
    shape, dims = tuple(dataset.shape), dimension_names(dataset)
    dtype = plain_dtype(dataset)
    if dtype == np.dtype("S1") and len(shape) > 1:  # texts of single characters
        shape, dims = shape[:-1], dims and dims[:-1]
    return StoredVariable(
        str(dataset.name).rpartition("/")[2], place, shape, dims, attributes_of(dataset),
        partial(_read_all, path, str(dataset.name)),
    )  # fmt: skip


def _read_all(path: Path, variable: str) -> Array:
    """All values of a small array as they are meant.

    Raises
    ------
    StoreError
        If it is no array of numbers or texts.
    """
    where = f"{path}:{variable}"
    with reading_hdf5(path) as file:
        dataset = file[variable]
        dtype, other = plain_dtype(dataset), _other_kind(plain_dtype(dataset))
        if other == "text":
            values = dataset.asstr(errors="replace")[()] if dtype.kind == "O" else dataset[()]
            return joined_characters(np.asarray(values))
        if other or dtype.kind not in "biufc":
            raise StoreError(f"{where} holds {dtype}, and no numbers or texts.")
        values = np.asarray(dataset[()])
        if dtype.kind in "bc":
            return values
        packing = Packing(conventions_of(dataset, dtype, where))
    out = np.empty(values.shape, packing.dtype)
    packing.unpack(values.view(packing.stored_dtype), out)
    return out
