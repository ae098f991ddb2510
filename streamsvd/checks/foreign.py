"""What is not read, by the name of its type or of its file: what it is, and the line that gets it in.

Nothing is imported to tell: an object that is here has brought its library, and a file is known by the end of its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from streamsvd.errors import SpecError, StoreError

SPARSE_REMEDY = "Pass a matrix of scipy.sparse, which is read as it is: {scipy}."
"""Of sparse arrays of other libraries, where a sparse matrix is read."""
DENSE_REMEDY = "If it fits in memory as a dense array, pass {dense}."
"""Of sparse arrays where only dense ones are taken."""
MEMBER_REMEDY = (
    "Members of a collection are stored as dense factors and residuals; a sparse member would be made dense ({size}). Factorise it by itself, "
    "with svd; or pass it with its zeros, block.toarray(), if that is small."
)
"""Of sparse members of a collection."""

ForeignAdvice = tuple[str, str]
"""What it is, and what to do, with ``x`` for the object."""

FOREIGN_TYPES: dict[tuple[str, str], ForeignAdvice] = {
    ("pandas", "DataFrame"): ("a table", "Pass x.to_numpy()."),
    ("pandas", "Series"): ("a column", "Pass x.to_numpy()[:, None]."),
    ("polars", "DataFrame"): ("a table", "Pass x.to_numpy()."),
    ("polars", "LazyFrame"): ("a table", "Pass x.collect().to_numpy()."),
    ("pyarrow", "Table"): ("a table", "Pass x.to_pandas().to_numpy()."),
    ("pyarrow", "RecordBatch"): ("a table", "Pass x.to_pandas().to_numpy()."),
    ("dask", "DataFrame"): ("a table", "Pass x.to_dask_array(lengths=True)."),
    ("dask", "FrameBase"): ("a table", "Pass x.to_dask_array(lengths=True)."),
    ("anndata", "AnnData"): ("an annotated matrix", "Pass x.X."),
    ("anndata", "_CSRDataset"): ("a sparse matrix of AnnData in a store", "Pass x.group."),
    ("anndata", "_CSCDataset"): ("a sparse matrix of AnnData in a store", "Pass x.group."),
    ("xarray", "Dataset"): (
        "several arrays",
        "Give the path of the zarr store behind it, and variable= for the name; what is in memory is x['NAME'].values.",
    ),
    ("xarray", "DataArray"): (
        "an array with labels",
        "Give the path of the zarr store behind it, and variable= for its name; or pass x.data.",
    ),
    ("h5py", "Dataset"): ("an HDF5 array", "Pass dask.array.from_array(x)."),
    ("h5py", "Group"): ("an HDF5 group", "Pass dask.array.from_array(x['NAME'])."),
    ("netCDF4", "Variable"): ("a netCDF array", "Pass numpy.asarray(x[:])."),
    ("netCDF4", "Dataset"): ("a netCDF file", "Pass numpy.asarray(x['NAME'][:])."),
    ("torch", "Tensor"): ("a tensor", "Pass x.detach().cpu().numpy()."),
    ("tensorflow", "Tensor"): ("a tensor", "Pass x.numpy()."),
    ("jaxlib", "ArrayImpl"): ("a jax array", "Pass numpy.asarray(x)."),
    ("cupy", "ndarray"): ("an array on a device", "Pass cupy.asnumpy(x)."),
    ("numpy", "NpzFile"): ("a file of several arrays", "Pass x['NAME']."),
    ("array", "array"): ("an array of numbers", "Pass numpy.asarray(x) in the shape of the matrix."),
    ("builtins", "memoryview"): ("a buffer", "Pass numpy.asarray(x)."),
    ("builtins", "list"): ("a list", "Pass numpy.asarray(x)."),
    ("builtins", "tuple"): ("a tuple", "Pass numpy.asarray(x)."),
    ("builtins", "bytes"): ("a text of bytes", "Pass os.fsdecode(x)."),
}  # fmt: skip
"""By the first part of the module and the name of a class, or of one that it comes from."""

_TABLE = "numpy.save('{stem}.npy', pandas.{reader}('{path}'{more}).to_numpy())"
_HDF5 = "dask.array.from_array(h5py.File('{path}')['NAME']).to_zarr('{stem}.zarr')"
_NETCDF = "xarray.open_dataset('{path}', chunks={{}}).to_zarr('{stem}.zarr')"
_H5AD = "numpy.save('{stem}.npy', anndata.read_h5ad('{path}').to_df().to_numpy())"


_CSV = "streamsvd convert {quoted} {stem}.zarr"


FOREIGN_SUFFIXES: dict[str, ForeignAdvice] = {
    ".h5ad": ("AnnData in HDF5", _H5AD),
    ".loom": ("a loom file", _HDF5),
    ".h5": ("HDF5", _HDF5),
    ".hdf5": ("HDF5", _HDF5),
    ".he5": ("HDF5", _HDF5),
    ".nc": ("netCDF", _NETCDF),
    ".nc4": ("netCDF", _NETCDF),
    ".cdf": ("netCDF", _NETCDF),
    ".grib": ("GRIB", _NETCDF),
    ".grb": ("GRIB", _NETCDF),
    ".parquet": ("a parquet table", _TABLE.replace("{reader}", "read_parquet")),
    ".pq": ("a parquet table", _TABLE.replace("{reader}", "read_parquet")),
    ".feather": ("a feather table", _TABLE.replace("{reader}", "read_feather")),
    ".arrow": ("an arrow table", _TABLE.replace("{reader}", "read_feather")),
    ".bed": ("genotypes of PLINK", "streamsvd convert {quoted} {stem}.zarr"),
    ".xlsx": ("a table", _TABLE.replace("{reader}", "read_excel")),
    ".csv": ("text, in which rows have no known places", _CSV),
    ".tsv": ("text, in which rows have no known places", _CSV),
    ".txt": ("text, in which rows have no known places", _CSV),
    ".dat": (
        "text, or bytes without a header",
        "numpy.save('{stem}.npy', numpy.loadtxt('{path}'))",
    ),
    ".npz": ("a file of several arrays", "numpy.save('{stem}.npy', numpy.load('{path}')['NAME'])"),
    ".mtx": ("a sparse matrix as text (Matrix Market)", "streamsvd convert {quoted} {stem}.zarr"),
    ".mat": ("MATLAB", "numpy.save('{stem}.npy', scipy.io.loadmat('{path}')['NAME'])"),
    ".bin": (
        "bytes without a header",
        "numpy.save('{stem}.npy', numpy.fromfile('{path}', dtype='f4').reshape(ROWS, COLUMNS))",
    ),
    ".pt": (
        "a torch file",
        "numpy.save('{stem}.npy', torch.load('{path}', weights_only=True)['NAME'].numpy())",
    ),
    ".tif": ("an image", "numpy.save('{stem}.npy', tifffile.imread('{path}'))"),
    ".tiff": ("an image", "numpy.save('{stem}.npy', tifffile.imread('{path}'))"),
    ".pkl": ("a pickle", "numpy.save('{stem}.npy', pandas.read_pickle('{path}').to_numpy())"),
    ".safetensors": (
        "a collection of tensors",
        "numpy.save('{stem}.npy', safetensors.numpy.load_file('{path}')['NAME'])",
    ),
}
"""By the end of the name of a file, small; ``.gz`` and the like before it are looked through."""
COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def foreign_advice(value: Any) -> ForeignAdvice | None:
    """What an object is and what to do; None for what is nothing of the kind."""
    for base in type(value).__mro__:
        module = base.__module__.split(".")
        if "sparse" in module and module[0] != "streamsvd":
            return "sparse", _sparse_remedy(value, module[0])
        if words := FOREIGN_TYPES.get((module[0], base.__qualname__)):
            return words
    if isinstance(value, Mapping):
        return "several matrices", "Pass x['NAME']; compress and rates take them all."
    if isinstance(value, Iterator):
        return "an iterator", "Pass it to top_eigenvectors, which reads blocks that come once."
    return None


def _sparse_remedy(value: Any, library: str) -> str:
    """What to do with a sparse array, of one of the libraries that have them."""
    if library == "scipy":
        return DENSE_REMEDY.format(dense="x.toarray()")
    if library == "cupyx":
        return SPARSE_REMEDY.format(scipy="x.get()")
    return SPARSE_REMEDY.format(
        scipy="x.to_scipy_sparse()" if hasattr(value, "to_scipy_sparse") else "one made of x"
    )


def is_sparse_object(value: Any) -> bool:
    """Whether an object is a sparse array, of whatever library."""
    words = foreign_advice(value)
    return words is not None and words[0] == "sparse"


def check_object(value: Any, name: str = "") -> None:
    """Refuse an object that is not read.

    Parameters
    ----------
    value
        Anything.
    name
        How messages call it; its type if left out.

    Raises
    ------
    SpecError
        What it is, and the line that gets it in.
    """
    if (words := foreign_advice(value)) is not None:
        kind = f"{type(value).__module__.split('.')[0]}.{type(value).__qualname__}"
        what, remedy = words
        is_matrix = what == "sparse" and kind.startswith("scipy.")
        where = "where a dense array is needed" if is_matrix else "which is not read yet"
        raise SpecError(
            f"{name or 'x'} is {what} ({kind.removeprefix('builtins.')}), {where}. {remedy}"
        )


def check_dense(block: Any, name: str) -> None:
    """Refuse a block that is sparse where a dense one was promised; numpy makes one object of it.

    Raises
    ------
    SpecError
        What it is, and the line that gets it in.
    """
    if is_sparse_object(block):
        raise SpecError(
            f"{name} is sparse ({type(block).__qualname__}), where dense rows are promised. Make each dense: block.toarray()."
        )


def member_remedy(shape: Sequence[int], itemsize: int) -> str:
    """Why a sparse member of a collection is refused, and what to do."""
    return MEMBER_REMEDY.format(size=f"{math.prod(int(n) for n in shape) * itemsize:,} bytes")


def file_advice(path: Path) -> ForeignAdvice | None:
    """What a file is by its name, and the line that makes one of it that is read; None for what is not known."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in COMPRESSION_SUFFIXES:
        suffixes.pop()
    found = FOREIGN_SUFFIXES.get(suffixes[-1]) if suffixes else None
    if found is None:
        return None
    what, line = found
    stem = path.name.split(".")[0] or "A"
    return what, line.format(path=path, quoted=quote(str(path)), stem=quote(stem), more="")


def check_file_kind(path: Path) -> None:
    """Refuse a file of a kind that is known and not read.

    Raises
    ------
    StoreError
        What it is, and the line that makes one of it that is read.
    """
    found = file_advice(path)
    if found is not None:
        what, said = found
        raise StoreError(f"{path} is {what}, which is not read yet. Make one of it that is: {said}")
