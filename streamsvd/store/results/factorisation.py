"""A factorisation on disk: one zarr group, whole or not there at all.

Arrays are written with checksums into a folder beside the final one, which is renamed when everything is in
it. Column signs, certificate and the record of the run are in the group's attributes.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from streamsvd.errors import StoreError
from streamsvd.info import Info, Status
from streamsvd.numerics.certificate import TOL, Certificate, Kind
from streamsvd.numerics.support import degrees_of_freedom
from streamsvd.result import SVD
from streamsvd.store.explanations import explain_errors, path_exists, raise_access_error
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.zarr_array import check_metadata
from streamsvd.store.writing.partial import Partial
from streamsvd.store.writing.placing import check_local, put_back, put_in_place
from streamsvd.store.writing.shield import defer_interrupts
from streamsvd.typing import Matrix

FORMAT = 1
INTACT = "nothing was replaced."
ARRAYS = ("s", "Vh", "U", "mean", "scale", "row_weights", "column_weights", "columns")
"""What a result may hold; a model that extends it has objects of its own beside them."""


@dataclass(frozen=True, slots=True)
class USink:
    """Writes runs of rows of ``U``; each run is whole chunks that one task owns."""

    path: str

    def addresses(self) -> list[Address]:
        """Where other processes write."""
        return [FileAddress(Path(self.path) / "zarr.json", 0)]

    def write(self, start: int, rows: Matrix, /) -> None:
        """Write rows from ``start`` on.

        Raises
        ------
        StoreError
            If the disk is full or the store cannot be written.
        """
        with explain_errors(f"rows {start} on of U"):
            # A column of zeros is written too: a chunk that is not there means damage.
            array = zarr.open_array(self.path, mode="r+").with_config({"write_empty_chunks": True})
            array[start : start + rows.shape[0]] = rows


class ResultWriter:
    """One result on its way to disk.

    Parameters
    ----------
    path
        Where the result will be.
    overwrite
        Whether something may be there already; it is replaced when the new result is whole.

    Raises
    ------
    StoreError
        At once, if something is there and may not be replaced, or the folder cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path, self.overwrite = path, overwrite
        self.has_u = self.committed = False
        check_local(path)
        put_back(path)
        if path_exists(path, "write") and not overwrite:
            raise StoreError(
                f"{path} exists already. Pass overwrite=True (--overwrite) to replace it."
            )
        if path.exists() and not is_result(path):
            raise StoreError(
                f"{path} exists and is not a result of streamsvd; it will not be replaced. Choose another place."
            )
        with explain_errors(path, INTACT):
            self.partial = Partial(path)

    def sink(self, m: int, rank: int, layout: Any, prep: Any) -> USink:
        """Make the array of ``U``, chunked as the spans are, and the sink that fills it."""
        rows = min(layout.grain, m) if layout.axis == "rows" else m
        dtype = prep.narrow if layout.axis == "rows" else prep.wide
        target = self.partial.folder / "U"
        with explain_errors(self.path, INTACT):
            _create(target, (m, rank), (max(rows, 1), rank), dtype)
        self.has_u = True
        return USink(str(target.absolute()))

    def write_u(self, U: Any, rows_at_once: int) -> None:
        """Write a left factor that exists already, a run of rows at a time."""
        m, rank = U.shape
        rows = max(1, min(m, rows_at_once))
        with explain_errors(self.path, INTACT):
            _create(self.partial.folder / "U", (m, rank), (rows, rank), U.dtype)
        self.has_u = True
        sink = USink(str(self.partial.folder / "U"))
        for start in range(0, m, rows):
            sink.write(start, np.asarray(U[start : start + rows]))

    def drop_u(self) -> None:
        """Leave ``U`` out after all: it is not whole."""
        shutil.rmtree(self.partial.folder / "U", ignore_errors=True)
        self.has_u = False

    def commit(self, result: SVD, *, options: dict[str, Any], source: str) -> Path:
        """Write the small arrays and the record, then rename the folder into place."""
        try:
            with explain_errors(self.path, INTACT), defer_interrupts():
                _write_small(self.partial.folder, result, options, source)
                put_in_place(self.partial, self.path, overwrite=self.overwrite)
                self.committed = True
        except BaseException:
            self.discard()
            raise
        return self.path

    def discard(self) -> None:
        """Remove what was written so far; what was at the path before is untouched."""
        self.partial.remove()


def _create(path: Path, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: Any) -> Any:
    return zarr.create_array(
        str(path),
        shape=shape,
        chunks=tuple(max(1, c) for c in chunks),
        dtype=dtype,
        serializer=BytesCodec(),
        compressors=[Crc32cCodec()],
        fill_value=0,
        config={"write_empty_chunks": True},
    )


def _write_small(folder: Path, result: SVD, options: dict[str, Any], source: str) -> None:
    group = zarr.open_group(str(folder), mode="a")
    small = {"s": result.s, "Vh": result.Vh, "mean": result.mean, "scale": result.scale}
    small |= {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    for name, value in small.items():
        if value is not None:
            array = _create(folder / name, value.shape, value.shape, value.dtype)
            array[...] = value
    group.attrs["streamsvd"] = {
        "format": FORMAT,
        "source": source,
        "options": {k: v for k, v in options.items() if not isinstance(v, np.ndarray)},
        "certificate": plain_json(asdict(result.certificate)),
        "info": plain_json(asdict(result.info)),
    }


def plain_json(value: Any) -> Any:
    """JSON's types only: arrays become lists, enumerations their values, infinities text."""
    if isinstance(value, dict):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return [plain_json(item) for item in value.tolist()]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float | np.floating) and not np.isfinite(value):
        return str(float(value))
    if isinstance(value, np.generic):
        return value.item()
    return value


Number: TypeAlias = float | str
"""A float, or the text of an infinite one: squares may overflow where values do not."""


class _CertificateRecord(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    sigma_lower: list[Number]
    sigma_upper: list[Number]
    frobenius_error: Number
    energy: Number
    failure_probability: float
    subspace_angle_bound: Number
    orthogonality: float
    rounding: Number
    tail: Number
    numerical_rank: int
    deficit: Number = 0.0
    kind: str
    excess: Number = "inf"
    spectral_error: Number = "inf"
    next_lower: Number = 0.0
    resolved_angle_bound: Number = "inf"
    tol: float = TOL
    zero: float = 0.0


class _InfoRecord(msgspec.Struct, forbid_unknown_fields=True):
    status: str
    passes: float
    bytes_read: int
    peak_bytes: int
    projected_bytes: int
    elapsed_s: float
    n_rows: int
    route: str
    axis: str
    precision: str
    missing: int
    dropped_columns: list[int]
    widths: list[Number]
    seed: int
    freedom: float | None = None
    criterion: str = ""
    warnings: list[str] = []


class ResultRecord(msgspec.Struct):
    """What the group's attributes say of a result."""

    format: int
    source: str
    options: dict[str, Any]
    certificate: _CertificateRecord
    info: _InfoRecord


def read_result(path: Path) -> tuple[SVD, ResultRecord]:
    """A stored result and its record; ``U`` stays a lazy zarr array.

    Raises
    ------
    StoreError
        If the path holds no result, or one that is damaged or of a newer format.
    """
    check_local(path)
    path_exists(path)
    try:
        # zarr lists wrongly where a relative root is named as one of its arrays, such as "mean".
        group = zarr.open_group(str(path.absolute()), mode="r", use_consolidated=False)
        raw = group.attrs["streamsvd"]
    except Exception as error:
        raise_access_error(error, path)
        check_metadata(path)
        raise StoreError(
            f"{path} is not a result of streamsvd ({error}). Pass a folder that svd wrote."
        ) from error
    try:
        record = msgspec.convert(raw, ResultRecord)
        if record.format > FORMAT:
            raise StoreError(
                f"{path} has format {record.format}, this version reads up to {FORMAT}. Upgrade streamsvd."
            )
        c, i = record.certificate, record.info
        for name in ARRAYS:  # a chunk that is not there would read as zeros
            array = group.get(name)
            if array is not None and array.nchunks_initialized != array.nchunks:
                raise StoreError(
                    f"{path} lacks {array.nchunks - array.nchunks_initialized} of the {array.nchunks} chunks of "
                    f"{name}. Restore it from a copy."
                )
        small = {
            name: np.asarray(group[name][...]) if name in group else None
            for name in ("s", "Vh", "mean", "scale")
        }
        if small["s"] is None or small["Vh"] is None:
            raise StoreError(f"{path} lacks its factors. Restore it from a copy.")
        proved = msgspec.structs.asdict(c)
        proved = {
            name: float(value) if isinstance(value, str) and name != "kind" else value
            for name, value in proved.items()
        }
        proved |= {
            name: np.asarray(proved[name], dtype=np.float64)
            for name in ("sigma_lower", "sigma_upper")
        }
        certificate = Certificate(**proved | {"kind": Kind(c.kind)})
        fields = msgspec.structs.asdict(i)
        fields |= {
            "status": Status(i.status),
            "dropped_columns": tuple(i.dropped_columns),
            "widths": tuple(float(w) for w in i.widths),
            "warnings": tuple(i.warnings),
        }
        if i.freedom is None:  # written before rows of weight 0 were left out of it
            fields["freedom"] = degrees_of_freedom(i.n_rows, load_weights(path, "row_weights"))
        U = group.get("U")
    except StoreError:
        raise
    except Exception as error:
        raise_access_error(error, path)
        raise StoreError(f"{path} is damaged: {error}. Restore it from a copy.") from error
    return (
        SVD(small["s"], small["Vh"], U, small["mean"], small["scale"], certificate, Info(**fields)),
        record,
    )


def load_u(path: Path) -> Any:
    """The lazy array of ``U``."""
    return zarr.open_array(str(path / "U"), mode="r")


def load_weights(path: Path, name: str) -> Any:
    """Weights stored with a result, ``row_weights`` or ``column_weights``; or the marks of its ``columns``; None if there were none."""
    group = zarr.open_group(str(path), mode="r", use_consolidated=False)
    return np.asarray(group[name][...]) if name in group else None


def is_result(path: Path) -> bool:
    """Whether a result of `svd` or `pca` is there."""
    try:
        return "streamsvd" in zarr.open_group(str(path), mode="r", use_consolidated=False).attrs
    except Exception as error:
        raise_access_error(error, path)
        return False
