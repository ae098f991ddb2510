"""Matrices of AnnData: in memory, in a file of HDF5 or in a zarr store, with the names of observations and variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks.foreign import check_object
from streamsvd.checks.paths import local_path
from streamsvd.errors import SpecError
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.store.sources.hdf5.array import open_hdf5
from streamsvd.store.sources.hdf5.files import reading_hdf5
from streamsvd.store.sources.hdf5.sparse_groups import open_sparse_hdf5
from streamsvd.store.sources.hdf5.variables import attributes_of
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.views.view import SourceView
from streamsvd.store.sources.zarr_store.anndata import (
    SPARSE,
    WHOLE,
    encoding_of,
    refuse_table,
    sparse_form,
)

SIDES = {
    "obsm": ("obs", ""), "obsp": ("obs", "obs"), "varm": ("var", ""), "varp": ("var", "var"), "raw": ("obs", "raw/var"),
}  # fmt: skip
"""The tables that name the rows and the columns, by the first part of a name; of X and layers they are obs and var."""


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
class AnnotatedFile(SourceView):
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
    """A matrix of a file of AnnData as a source; anndata need not be installed.

    Raises
    ------
    SpecError
        If it is sparse or a table, or there is none of its name; it lists what there is.
    StoreError
        If h5py is not installed, or the file is not whole.
    """
    variable = (request.variable or WHOLE).strip("/")
    with reading_hdf5(path) as file:
        node = file.get(variable)
        if node is None:
            raise SpecError(f"{path} has no {variable!r}; it holds {_matrices(file)}.")
        if not hasattr(node, "shape"):
            kind = encoding_of(node)
            refuse_table(kind, f"{path}:{variable}")
            if kind in SPARSE:
                return AnnotatedFile(
                    open_sparse_hdf5(
                        path,
                        variable,
                        *sparse_form(kind, attributes_of(node), f"{path}:{variable}"),
                    ),
                    path,
                    variable,
                )
            raise SpecError(
                f"{path}:{variable} is a group and no matrix; the file holds {_matrices(file)}. Choose one with variable=."
            )
    whole = open_hdf5(path, OpenRequest(variable, request.rows))
    return AnnotatedFile(whole, path, variable)


def _matrices(file: Any) -> str:
    """Names of what may be read, for messages."""
    found: list[str] = []
    for name in ("X", "raw/X", "layers", "obsm"):
        node = file.get(name)
        if node is not None and hasattr(node, "shape"):
            found.append(name)
        elif node is not None and encoding_of(node) in SPARSE:
            found.append(f"{name} (sparse)")
        elif node is not None and name in ("layers", "obsm"):
            found += [
                f"{name}/{key}" + ("" if hasattr(inner, "shape") else f" ({encoding_of(inner)})")
                for key, inner in node.items()
            ]
    return ", ".join(found) or "no matrix"


def _hdf5_index(file: Any, table: str) -> Any:
    """The index of a table, as texts; None where it is stored in no known way."""
    group = file.get(table)
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
        If it is sparse, there is none of its name, or the object shows a part of a file.
    """
    variable = (request.variable or WHOLE).strip("/")
    if getattr(adata, "isbacked", False) and variable in (WHOLE, "raw/X"):
        if adata.is_view:
            raise SpecError(
                "this AnnData shows a part of a file that it is backed by. Pass the whole, or x.to_memory()."
            )
        return open_h5ad(local_path(str(adata.filename)).absolute(), request)
    values = _member(adata, variable)
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
class AnnotatedMatrix(SourceView):
    """A matrix in memory, with its names.

    Attributes
    ----------
    whole
        The matrix.
    labels
        Names of observations and variables.
    """

    labels: Labels = field(repr=False)
