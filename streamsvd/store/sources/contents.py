"""What a file, a folder or a store of several arrays holds, by their names; none of their values is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from streamsvd.errors import StreamSVDError
from streamsvd.store.sources.beside import REFERRING
from streamsvd.store.sources.conventions import ROWS
from streamsvd.store.sources.kinds import find_kind
from streamsvd.store.sources.sparse.vectors import number_dtype
from streamsvd.store.sources.zarr_store.anndata import (
    PARTS,
    RAW,
    ROOT,
    WHOLE,
    encoding_of,
    is_sparse_group,
    sparse_form,
)

ZARR, HDF5, H5AD = (
    "zarr_store.array:open_zarr",
    "hdf5.array:open_hdf5",
    "files.annotated:open_h5ad",
)
"""What opens kinds that AnnData is written in."""
LEVELS = 3
"""Of groups within groups that are looked into."""


@dataclass(frozen=True, slots=True)
class ListedArray:
    """An array among others.

    Attributes
    ----------
    name
        Its own, with the groups that it is in.
    shape, dtype
        As it is stored.
    dims
        Names of its dimensions; None where they have none.
    rows
        The one that makes its rows, where it says so itself.
    stored
        Form and entries of a sparse matrix, and their bytes; None of others.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dims: tuple[str, ...] | None
    rows: str | None = None
    stored: tuple[str, int, int] | None = None

    @property
    def kind(self) -> str:
        """The type of its entries, with their form."""
        return str(self.dtype) if self.stored is None else f"{self.dtype}, {self.stored[0]}"

    @property
    def nbytes(self) -> int:
        """Bytes of its entries, as they are stored."""
        if self.stored is not None:
            return self.stored[2]
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_matrix(self) -> bool:
        """Whether it can be read as a matrix: numbers of at least two dimensions, and one entry."""
        return len(self.shape) >= 2 and self.dtype.kind in "iufc" and math.prod(self.shape) > 0


def list_matrices(source: Any) -> list[ListedArray]:
    """The arrays of a source that may be the matrix, those that only belong to another left out; none where it holds no several.

    Parameters
    ----------
    source
        A `Path`, a URL or an object.
    """
    kind = find_kind(source)
    read = None if kind is None else LISTERS.get(kind.home)
    if read is None:
        return []
    found, beside = read(source)
    matrices = [array for array in found if array.is_matrix]
    return [array for array in matrices if array.name not in beside] or matrices


def names_beside_whole(source: Any) -> list[str] | None:
    """The other matrices of an AnnData, whose data are meant where none is named; None of what is none, or has no data.

    Parameters
    ----------
    source
        A `Path`, a URL or an object.
    """
    from streamsvd.store.sources.zarr_store.array import open_node

    kind = find_kind(source)
    home = "" if kind is None else kind.home
    if home == ZARR:
        node = source if isinstance(source, zarr.Array | zarr.Group) else open_node(source)
        if isinstance(node, zarr.Array) or encoding_of(node) != ROOT:
            return None
        names = sorted((array.name for array in list_matrices(source)), key=_place_beside)
    elif isinstance(source, Path) and home in (H5AD, HDF5):
        from streamsvd.store.sources.files.annotated import matrix_names
        from streamsvd.store.sources.hdf5.files import reading_hdf5

        with reading_hdf5(source) as file:
            if home == HDF5 and encoding_of(file) != ROOT:
                return None
            names = sorted(matrix_names(file), key=_place_beside)
    else:
        return None
    return [name for name in names if name != WHOLE] if WHOLE in names else None


def _place_beside(name: str) -> tuple[int, str]:
    """Where a matrix of AnnData stands among the others: layers and raw counts first."""
    homes = (WHOLE, "layers", RAW, f"{RAW}.{WHOLE}")
    home = name.partition("/")[0]
    return (homes.index(home) if home in homes else len(homes)), name


def _names(attributes: Iterable[Any]) -> set[str]:
    return {name for text in attributes for name in str(text).split()}


def _of_zarr(source: Any) -> tuple[list[ListedArray], set[str]]:
    from streamsvd.store.sources.zarr_store.array import dimension_names, open_node, store_name
    from streamsvd.store.sources.zarr_store.hierarchy import hierarchy

    node = source if isinstance(source, zarr.Array | zarr.Group) else open_node(source)
    arrays: dict[str, Any] = {"": node}
    found = []
    if isinstance(node, zarr.Group):
        members, _ = hierarchy(node, store_name(node)).list_members(LEVELS)
        arrays = {name: a for name, a in members.items() if isinstance(a, zarr.Array)}
        groups = {name: g for name, g in members.items() if is_sparse_group(g)}
        listed = (_sparse_listed(name, group, members) for name, group in groups.items())
        found = [each for each in listed if each is not None]
    for name, array in arrays.items():
        dims = dimension_names(array, dict(array.attrs))
        told = None if dims is None or None in dims else tuple(str(d) for d in dims)
        rows = array.attrs.get(ROWS)
        found.append(ListedArray(name, tuple(array.shape), np.dtype(array.dtype), told, rows))
    said = [a.attrs.get(word, "") for a in arrays.values() for word in REFERRING]
    return found, _names(said)


def _sparse_listed(name: str, group: Any, members: Mapping[str, Any]) -> ListedArray | None:
    """A sparse matrix in a group; None where it is damaged, and opening it says how."""
    kind = encoding_of(group)
    parts = [members.get(f"{name}/{part}") for part in PARTS[:2]]
    try:
        shape, _ = sparse_form(kind, dict(group.attrs), name)
    except StreamSVDError:
        return None
    if not all(isinstance(part, zarr.Array) for part in parts):
        return None
    values, indices = (np.dtype(part.dtype) for part in parts if part is not None)
    entries = math.prod(parts[0].shape) if parts[0] is not None else 0
    stored = kind.partition("_")[0], entries, entries * (values.itemsize + indices.itemsize)
    return ListedArray(name, shape, number_dtype(values), None, None, stored)


def _of_hdf5(path: Path) -> tuple[list[ListedArray], set[str]]:
    from streamsvd.store.sources.hdf5.files import reading_hdf5
    from streamsvd.store.sources.hdf5.variables import (
        attributes_of,
        datasets_of,
        dimension_names,
        plain_dtype,
    )

    found, said = [], []
    with reading_hdf5(path) as file:
        for name, dataset in datasets_of(file):
            dims = dimension_names(dataset)
            told = None if dims is None or None in dims else tuple(str(d) for d in dims)
            found.append(ListedArray(name, tuple(dataset.shape), plain_dtype(dataset), told))
            attributes = attributes_of(dataset)
            said += [attributes.get(word, "") for word in REFERRING]
    return found, _names(said)


def _of_netcdf3(path: Path) -> tuple[list[ListedArray], set[str]]:
    from streamsvd.store.sources.netcdf3.header import read_header

    variables = read_header(path)
    found = [ListedArray(name, v.shape, v.dtype, v.dims) for name, v in variables.items()]
    return found, _names(
        v.attributes.get(word, "") for v in variables.values() for word in REFERRING
    )


def _of_npz(path: Path) -> tuple[list[ListedArray], set[str]]:
    from streamsvd.store.sources.files.npz import array_header

    found = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy") and not member.flag_bits & 1:
                with archive.open(member) as stream:
                    shape, _, dtype, _ = array_header(stream)
                name = member.filename.removesuffix(".npy")
                found.append(ListedArray(name, tuple(shape), dtype, None))
    return found, set()


def _of_tensors(path: Path) -> tuple[list[ListedArray], set[str]]:
    from streamsvd.store.collections.safetensors import open_tensors

    tensors = open_tensors(path).items()
    return [ListedArray(n, tuple(t.shape), np.dtype(t.dtype), None) for n, t in tensors], set()


LISTERS: dict[str, Callable[[Any], tuple[list[ListedArray], set[str]]]] = {
    ZARR: _of_zarr,
    HDF5: _of_hdf5,
    "netcdf3.array:open_netcdf3": _of_netcdf3,
    "files.npz:open_npz": _of_npz,
    "files.tensors:open_tensor": _of_tensors,
}
"""What lists the arrays of a source, by what opens its kind."""
