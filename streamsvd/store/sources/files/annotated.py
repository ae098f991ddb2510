"""Matrices of AnnData: in memory, in a file of HDF5 or in a zarr store, with the names of observations and variables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks.foreign import check_object
from streamsvd.checks.paths import local_path
from streamsvd.errors import SpecError
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.protocols import Source
from streamsvd.store.sources.files.tenx import is_tenx, open_tenx, tenx_groups
from streamsvd.store.sources.hdf5.array import open_hdf5_array
from streamsvd.store.sources.hdf5.files import reading_hdf5
from streamsvd.store.sources.hdf5.sparse_groups import open_sparse_hdf5
from streamsvd.store.sources.hdf5.variables import attributes_of
from streamsvd.store.sources.kinds import is_scipy_sparse
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.views.sparse_view import EntriesView
from streamsvd.store.sources.zarr_store.anndata import (
    RAW,
    ROOT,
    SPARSE,
    WHOLE,
    encoding_of,
    is_sparse_group,
    refuse_table,
    sparse_form,
)

SIDES = {
    "obsm": ("obs", ""), "obsp": ("obs", "obs"), "varm": ("var", ""), "varp": ("var", "var"), "raw": ("obs", "raw/var"),
    "raw.X": ("obs", "raw.var"),
}  # fmt: skip
"""The tables that name the rows and the columns, by the first part of a name; of X and layers they are obs and var."""


HOMES = ("layers", "obsm", "varm", "obsp", "varp")
"""Groups of matrices beside the data."""


def name_tables(variable: str) -> tuple[str, str]:
    """The tables whose index names the rows and the columns of a matrix; empty for none."""
    return SIDES.get(variable.strip("/").partition("/")[0], ("obs", "var"))


def annotated_labels(
    variable: str, shape: tuple[int, int], names: dict[str, Any], notes: tuple[str, ...] = ()
) -> Labels:
    """Labels of a matrix of AnnData.

    Parameters
    ----------
    variable
        Its name in the file.
    shape
        Its extents.
    names
        The index of each table, as far as it is there.
    notes
        What is missing, in sentences.
    """
    dimensions: list[Dimension] = []
    found: list[Coordinate] = []
    for side, table, length in zip(("row", "column"), name_tables(variable), shape, strict=True):
        dim = table.rpartition("/")[2] or side
        if dimensions and dimensions[0].name == dim:
            dim += "_"
        dimensions.append(Dimension(dim, length))
        values = names.get(table)
        if values is not None and len(values) == length:
            found.append(Coordinate.of(dim, [dim], values))
    rows, columns = dimensions
    name = variable.strip("/").rpartition("/")[2]
    return Labels(name, {}, (rows,), (columns,), tuple(found), notes)


@dataclass(frozen=True, eq=False)
class AnnotatedFile(EntriesView):
    """A matrix of a file of AnnData, with its names.

    Attributes
    ----------
    whole
        The array.
    path, annotated_variable
        The file, and the name of the matrix in it.
    """

    path: Path
    annotated_variable: str

    @property
    def labels(self) -> Labels:
        """Names of observations and variables."""
        with reading_hdf5(self.path) as file:
            names = {
                table: _hdf5_index(file, table)
                for table in name_tables(self.annotated_variable)
                if table
            }
        return annotated_labels(self.annotated_variable, self.shape, names)


def open_h5ad(path: Path, request: OpenRequest) -> AnnotatedFile:
    """A matrix of a file of AnnData as a source; anndata need not be installed. Of a sparse one the offsets are read.

    Raises
    ------
    SpecError
        If it is a table, or there is none of its name; it lists what there is.
    StoreError
        If h5py is not installed, or the file is not whole.
    """
    path = path.absolute()
    variable = (request.variable or WHOLE).strip("/")
    with reading_hdf5(path) as file:
        node = file.get(variable)
        if variable == f"{RAW}/{WHOLE}" and node is None:
            variable = f"{RAW}.{WHOLE}"  # before 0.7
            node = file.get(variable)
        if node is None:
            raise SpecError(
                f"{path} has no {request.variable or WHOLE!r}; it holds {_matrices(file)}."
            )
        where, form = f"{path}:{variable}", None
        if not hasattr(node, "shape"):
            kind = encoding_of(node)
            refuse_table(kind, where)
            if kind == RAW:
                return open_h5ad(path, replace(request, variable=f"{variable}/{WHOLE}"))
            if kind not in SPARSE:
                raise SpecError(
                    f"{where} is a group and no matrix; the file holds {_matrices(file)}. Choose one with variable=."
                )
            form = sparse_form(kind, attributes_of(node), where)
    found: Source
    if form is None:
        found = open_hdf5_array(path, replace(request, variable=variable))
    else:
        found = open_sparse_hdf5(path, variable, *form)
    return AnnotatedFile(found, path, variable)


def open_sparse_group(path: Path, request: OpenRequest) -> Source | None:
    """The sparse matrix that is meant in a file of HDF5, of AnnData, of 10x Genomics or of others; None where an array is.

    Raises
    ------
    SpecError, StoreError
        If it cannot be read.
    """
    variable = (request.variable or "").strip("/")
    with reading_hdf5(path) as file:
        try:
            node = file.get(variable) if variable else file
        except (KeyError, ValueError, OSError, RuntimeError):
            return None
        if node is None or not hasattr(node, "keys"):
            return None
        counts = [variable] if is_tenx(node) else [] if variable else tenx_groups(file)
        is_annotated = encoding_of(file) == ROOT
        is_sparse, kind = is_sparse_group(node), encoding_of(node)
        attributes = attributes_of(node)
    if counts:
        return open_tenx(path, counts, request.variable)
    if is_annotated and (is_sparse or kind in (ROOT, RAW)):
        return open_h5ad(path, replace(request, variable=variable or None))
    where = f"{path}:{variable}"
    return (
        open_sparse_hdf5(path, variable, *sparse_form(kind, attributes, where))
        if is_sparse
        else None
    )


def matrix_names(file: Any) -> list[str]:
    """Names of what may be read in a file of AnnData, `WHOLE` first."""
    found: list[str] = []
    for name in (WHOLE, f"{RAW}/{WHOLE}", f"{RAW}.{WHOLE}", *HOMES):
        node = file.get(name)
        if node is not None and (hasattr(node, "shape") or encoding_of(node) in SPARSE):
            found.append(name)
        elif node is not None and name in HOMES:
            found += [
                f"{name}/{key}"
                for key, inner in node.items()
                if len(getattr(inner, "shape", ())) == 2 or encoding_of(inner) in SPARSE
            ]
    return found


def _matrices(file: Any) -> str:
    """The same for messages."""
    return ", ".join(matrix_names(file)) or "no matrix"


def _hdf5_index(file: Any, table: str) -> Any:
    """The index of a table, as texts; None where it is stored in no known way."""
    group = file.get(table)
    names = getattr(getattr(group, "dtype", None), "names", None) or ()
    for name in ("index", "_index"):  # records, as AnnData before 0.7 wrote them
        if name in names:
            return np.asarray(group[name], object)
    if group is None or not hasattr(group, "keys"):
        return None
    key = group.attrs.get("_index", "_index")
    values = group.get(key.decode() if isinstance(key, bytes) else key)
    if values is None or not hasattr(values, "shape") or values.ndim != 1:
        return None
    return np.asarray(values[...], object)


def open_annotated(adata: Any, request: OpenRequest) -> AnnotatedFile | AnnotatedMatrix:
    """A matrix of an object of AnnData; of one that is backed by a file, that of the file.

    Raises
    ------
    SpecError
        If there is none of its name, or the object shows a part of a file.
    """
    variable = (request.variable or WHOLE).strip("/")
    if getattr(adata, "isbacked", False) and variable in (WHOLE, "raw/X"):
        if adata.is_view:
            raise SpecError(
                "this AnnData shows a part of a file that it is backed by. Pass the whole, or x.to_memory()."
            )
        return open_h5ad(local_path(str(adata.filename)).absolute(), request)
    values = _member(adata, variable)
    if not is_scipy_sparse(values):
        check_object(values, f"{variable} of the AnnData")
    from streamsvd.store.sources.opening import open_source

    whole = open_source(values, rows=request.rows)
    names = {"obs": adata.obs_names, "var": adata.var_names}
    if variable.startswith("raw/"):
        names["raw/var"] = adata.raw.var_names
    texts = {table: np.array([str(v) for v in index], object) for table, index in names.items()}
    return AnnotatedMatrix(whole, annotated_labels(variable, whole.shape, texts))


def _member(adata: Any, variable: str) -> Any:
    """A matrix of an object by its name in a file."""
    home, _, key = variable.partition("/")
    found = None
    if variable == WHOLE:
        found = adata.X
    elif variable == "raw/X":
        found = None if adata.raw is None else adata.raw.X
    elif home in ("layers", "obsm", "varm", "obsp", "varp"):
        found = getattr(adata, home).get(key)
    if found is None:
        has = [WHOLE] if adata.X is not None else []
        has += [f"{home}/{key}" for home in ("layers", "obsm") for key in getattr(adata, home)]
        raise SpecError(
            f"this AnnData has no {variable!r}; it has {', '.join(has) or 'no matrix'}."
        )
    return found


@dataclass(frozen=True, eq=False)
class AnnotatedMatrix(EntriesView):
    """A matrix in memory, with its names.

    Attributes
    ----------
    whole
        The matrix.
    labels
        Names of observations and variables.
    """

    labels: Labels = field(repr=False)
