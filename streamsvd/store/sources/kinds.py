"""Kinds of input: how each is recognised, what may be asked of it, and the function that opens it, imported when it is used.

A new kind is one adapter and one line here. Kinds are asked in this order; the first that recognises a source opens it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from streamsvd.checks.paths import is_url
from streamsvd.errors import StoreError
from streamsvd.protocols import Source
from streamsvd.store.sources.magic import is_hdf5, is_netcdf3
from streamsvd.store.sources.request import OpenRequest

ZARR_METADATA = ("zarr.json", ".zarray", ".zgroup")
ZARR = "zarr_store.array:open_zarr"
STACK = "views.stack:open_stack"
"""What opens several files as one."""
Opener = Callable[[Any, OpenRequest], Source]


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One kind of input.

    Attributes
    ----------
    title
        What it is, in messages and in the list of kinds: ``"a .npy file"``.
    home
        ``module:function`` of this package that opens it, given the source and an `OpenRequest`; a path is a `Path` that is there.
    takes
        Which fields of `OpenRequest` may be asked of it; others are refused before it is opened.
    suffixes
        Ends of the names of its files, small.
    types
        Its classes, and all that come from them: first part of the module and name, such as ``"numpy.ndarray"``.
    recognise
        Tells of a path, or of an object, what neither its name nor its type does.
    url_home
        As ``home``, for the URL of such a file; empty where it is read from a disk alone.
    """

    title: str
    home: str
    takes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    recognise: Callable[[Any], bool] | None = None
    url_home: str = ""

    def matches(self, source: Any) -> bool:
        """Whether a path, a URL or an object is of this kind."""
        if _is_file_url(source) and url_name(source).endswith(self.suffixes):
            return True
        ends = isinstance(source, Path) and source.name.lower().endswith(self.suffixes)
        if ends and not source.is_dir():
            return True
        if self.types and _type_names(source) & set(self.types):
            return True
        return self.recognise is not None and self.recognise(source)

    def open(self, source: Any, request: OpenRequest) -> Source:
        """The source, by the function that opens its kind.

        Raises
        ------
        StoreError
            If it is the URL of a file of a kind that is read from a disk alone.
        """
        home = self.home
        if _is_file_url(source) and self.suffixes and home != ZARR:
            home = self.url_home
            if not home:
                raise StoreError(
                    f"{source} is {self.title}, which is read from a disk, not over a network. Fetch it and pass the path, or "
                    "write it as zarr there: streamsvd convert."
                )
        module, _, name = home.partition(":")
        opener: Opener = getattr(import_module(f"streamsvd.store.sources.{module}"), name)
        return opener(source, request)


def _is_file_url(source: Any) -> bool:
    """Whether a source is a URL, and none of what is in another file there."""
    return isinstance(source, str) and is_url(source) and "::" not in source


def url_name(url: str) -> str:
    """The name of the file at a URL, small, without a query."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2].lower()


def _type_names(source: Any) -> set[str]:
    return {
        f"{base.__module__.partition('.')[0]}.{base.__qualname__}" for base in type(source).__mro__
    }


def _is_zarr(source: Any) -> bool:
    """A URL, a folder with metadata of zarr, or an object of zarr."""
    if isinstance(source, str):
        return True
    if isinstance(source, Path):
        return source.is_dir()
    return any(base.__module__.partition(".")[0] == "zarr" for base in type(source).__mro__)


def _is_source(source: Any) -> bool:
    return isinstance(source, Source)


def is_scipy_sparse(source: Any) -> bool:
    """Whether an object is a sparse matrix or array of scipy."""
    return hasattr(source, "format") and any(
        base.__module__.startswith("scipy.sparse.") for base in type(source).__mro__
    )


def _is_reader(source: Any) -> bool:
    return all(hasattr(source, name) for name in ("shape", "dtype", "read"))


NUMBERS = SourceKind(
    "a file of numbers without a header", "files.binary:open_binary", ("dtype", "shape", "offset", "rows"),
    suffixes=(".bin", ".dat", ".raw"), url_home="urls.numbers:open_binary_url",
)  # fmt: skip
"""Also any file that no other kind recognises, where its type and extents are given."""


def _is_shards(source: Any) -> bool:
    """A list of sources, a pattern of names, or a folder of files that are one each."""
    from streamsvd.store.sources.views.shards import (  # which knows all kinds
        FilePattern,
        is_shard_folder,
    )

    if isinstance(source, list | tuple):
        return not source or not isinstance(source[0], int | float | complex | list | tuple)
    return isinstance(source, FilePattern) or (isinstance(source, Path) and is_shard_folder(source))


KINDS = (
    SourceKind("a .npy file", "files.npy:open_npy", ("rows",), suffixes=(".npy",), url_home="urls.numbers:open_npy_url"),
    SourceKind("a .npz file", "files.npz:open_npz", ("variable", "rows"), suffixes=(".npz",)),
    SourceKind("a safetensors file", "files.tensors:open_tensor", ("variable", "rows"), suffixes=(".safetensors",)),
    SourceKind("a netCDF-3 file", "netcdf3.array:open_netcdf3", ("variable", "rows"), recognise=is_netcdf3),
    SourceKind(
        "a netCDF-4 or HDF5 file", "hdf5.array:open_hdf5", ("variable", "rows"),
        suffixes=(".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5"), recognise=is_hdf5,
    ),
    SourceKind(
        "an array, group or file of h5py or netCDF4", "hdf5.array:open_hdf5_object", ("variable", "rows"),
        types=("h5py.Dataset", "h5py.Group", "netCDF4.Variable", "netCDF4.Dataset"),
    ),
    SourceKind("an xarray DataArray", "objects.xarray_arrays:open_xarray", ("rows",), types=("xarray.DataArray",)),
    SourceKind("an xarray Dataset", "objects.xarray_arrays:open_xarray", ("variable", "rows"), types=("xarray.Dataset",)),
    SourceKind("a parquet file", "tables.parquet:open_parquet", ("variable",), suffixes=(".parquet", ".pq")),
    SourceKind("a file of Arrow or feather", "tables.arrow_file:open_arrow", ("variable",), suffixes=(".arrow", ".feather", ".ipc")),
    SourceKind("a .h5ad file of AnnData", "files.annotated:open_h5ad", ("variable", "rows"), suffixes=(".h5ad",)),
    SourceKind("an AnnData object", "files.annotated:open_annotated", ("variable", "rows"), types=("anndata.AnnData",)),
    SourceKind("genotypes of PLINK", "files.plink:open_plink", suffixes=(".bed",)),
    SourceKind(
        "a list, a folder or a pattern of such files, stacked by rows", STACK,
        ("variable", "rows", "missing", "dtype", "shape", "offset"), recognise=_is_shards,
    ),
    NUMBERS,
    SourceKind(
        "a zarr store, array or group", ZARR, ("variable", "rows", "missing"),
        suffixes=(".zip",), recognise=_is_zarr,
    ),
    SourceKind("a sparse matrix of scipy", "sparse.in_memory:open_scipy", recognise=is_scipy_sparse),
    SourceKind("a numpy array", "objects.arrays:open_array", ("rows",), types=("numpy.ndarray",)),
    SourceKind("a table of pandas", "tables.frames:open_pandas", ("variable",), types=("pandas.DataFrame",)),
    SourceKind("a table of polars", "tables.frames:open_polars", ("variable",), types=("polars.DataFrame",)),
    SourceKind(
        "a table of Arrow", "tables.frames:open_arrow_table", ("variable",), types=("pyarrow.Table", "pyarrow.RecordBatch"),
    ),
    SourceKind("a matrix that is open already", "views.view:same_source", recognise=_is_source),
    SourceKind("a reader with shape, dtype, chunks and read(rows)", "objects.reader:open_reader", recognise=_is_reader),
)  # fmt: skip
"""All kinds, in the order in which they are asked."""


def find_kind(source: Any) -> SourceKind | None:
    """The kind of a path, a URL or an object; None where none recognises it."""
    return next((kind for kind in KINDS if kind.matches(source)), None)
