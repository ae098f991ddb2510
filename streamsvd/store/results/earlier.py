"""The format of `svd` and `pca` before every verb had one: no kind, and a certificate and a record of fixed fields."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import msgspec
import numpy as np

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import StoreError
from streamsvd.info import Info, Status
from streamsvd.numerics.certificate import Certificate, Kind
from streamsvd.numerics.support import degrees_of_freedom
from streamsvd.options import TOL
from streamsvd.store.places import location_of

EARLIER_FORMAT = 1
FACTORS = ("s", "Vh", "mean", "scale")
OPTION_ARRAYS = ("row_weights", "column_weights", "columns")
Number: TypeAlias = float | str
"""A float, or the text of an infinite one: squares may overflow where values do not."""


class EarlierArrays(Protocol):
    """Where the arrays are."""

    @property
    def path(self) -> PathOrUrl: ...
    def array(self, name: str) -> Any: ...
    def lazy_array(self, name: str) -> Any: ...


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


class EarlierRecord(msgspec.Struct):
    """What the group's attributes say of a result."""

    format: int
    source: str
    options: dict[str, Any]
    certificate: _CertificateRecord
    info: _InfoRecord


def decode_earlier(raw: dict[str, Any], svd: type, arrays: EarlierArrays) -> Any:
    """A factorisation of that format, of the class that holds one.

    Raises
    ------
    StoreError
        If an array is missing or damaged; it names it.
    ValueError, msgspec.ValidationError
        If the record is damaged.
    """
    record = msgspec.convert(raw, EarlierRecord)
    there = {
        name: arrays.array(name) if location_of(arrays.path / name).is_folder() else None
        for name in (*FACTORS, *OPTION_ARRAYS)
    }
    if there["s"] is None or there["Vh"] is None:
        raise StoreError(f"{arrays.path} lacks its factors. Restore it from a copy.")
    options = record.options | {
        name: there[name] for name in OPTION_ARRAYS if there[name] is not None
    }
    return svd(
        s=there["s"],
        Vh=there["Vh"],
        U=arrays.lazy_array("U") if location_of(arrays.path / "U").is_folder() else None,
        mean=there["mean"],
        scale=there["scale"],
        certificate=_certificate(record.certificate),
        info=_info(record.info, there["row_weights"]),
        options=None,
        preparation=options,
    )


def _certificate(record: _CertificateRecord) -> Certificate:
    proved: dict[str, Any] = {
        name: float(value) if isinstance(value, str) and name != "kind" else value
        for name, value in msgspec.structs.asdict(record).items()
    }
    proved |= {
        name: np.asarray(proved[name], dtype=np.float64) for name in ("sigma_lower", "sigma_upper")
    }
    return Certificate(**proved | {"kind": Kind(record.kind)})


def _info(record: _InfoRecord, row_weights: Any) -> Info:
    fields = msgspec.structs.asdict(record)
    fields |= {
        "status": Status(record.status),
        "dropped_columns": tuple(record.dropped_columns),
        "widths": tuple(float(w) for w in record.widths),
    }
    if record.freedom is None:  # written before rows of weight 0 were left out of it
        fields["freedom"] = degrees_of_freedom(record.n_rows, row_weights)
    return Info(**fields)
