"""What the verbs of kernels save as ``.npz`` files, and how it is read again: such a file may be damaged, or anything else."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import local_path
from streamsvd.errors import SpecError, StoreError
from streamsvd.kernels.mathematics import Dictionary, DictionaryOptions, FeatureMap, Kernel
from streamsvd.kernels.records import NystromCertificate, NystromInfo
from streamsvd.numerics.columns import Columns
from streamsvd.store.explanations import path_exists, raise_access_error

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
DictionaryParts: TypeAlias = tuple[
    DictionaryOptions,
    Dictionary,
    npt.NDArray[np.int64],
    FeatureMap,
    NystromCertificate,
    NystromInfo,
]
"""The parts of a `streamsvd.Nystrom`, in their order."""
FORMAT = 1
SAMPLING = ("gamma", "budget", "mode", "oversampling", "least", "seed")
"""What of a `DictionaryOptions` tells one sampling from another, beside the kernel."""
STATE = ("gamma", "multiplier", "n_rows", "trace", "dimension")
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, IndexError, zipfile.BadZipFile, msgspec.MsgspecError,
)  # fmt: skip
"""What reading a file that is none of ours may raise."""


def dictionary_arrays(
    spec: DictionaryOptions,
    state: Dictionary,
    centres: npt.NDArray[np.int64],
    map_: FeatureMap,
    certificate: NystromCertificate,
    info: NystromInfo,
) -> Arrays:
    """The arrays of a dictionary and what is known of it.

    Raises
    ------
    SpecError
        If the kernel is a function, which cannot be saved.
    """
    record = {
        "spec": {name: getattr(spec, name) for name in SAMPLING},
        "state": {name: getattr(state, name) for name in STATE},
        "certificate": msgspec.to_builtins(certificate),
        "info": msgspec.to_builtins(info),
    }
    return {
        "indices": state.ids, "rows": state.rows, "weights": state.weights(spec), "centres": centres,
        "chance": state.chance, "scores": state.scores, **map_arrays(map_, "centre_rows"),
        "record": record_array(record, spec.kernel),
    }  # fmt: skip


def dictionary_in(path: str | os.PathLike[str]) -> DictionaryParts:
    """The same parts again.

    Raises
    ------
    StoreError
        If the file is no such thing, or of a newer release.
    """
    with reading(path, "dictionary of rows") as (arrays, record):
        map_ = map_in(arrays, record, "centre_rows")
        spec = DictionaryOptions(kernel=map_.kernel, **record["spec"])
        state = Dictionary(
            rows=arrays["rows"],
            ids=arrays["indices"],
            chance=arrays["chance"],
            scores=arrays["scores"],
            **record["state"],
        )
        check_shapes(
            (state.ids, state.chance, state.scores, state.rows), (map_.centres, map_.whitening), (state.rows.T, map_.centres.T)
        )  # fmt: skip
        proved = {  # JSON knows no infinity
            name: float("inf") if value is None else value
            for name, value in record["certificate"].items()
        }
        info = msgspec.convert(record["info"], NystromInfo)
        return spec, state, arrays["centres"], map_, NystromCertificate(**proved), info


def map_arrays(map_: FeatureMap, centres: str = "centres") -> Arrays:
    """The arrays of a feature map and its kernel, empty where there is none; rows of its centres under this name."""
    none, kernel = np.zeros(0), map_.kernel
    return {
        centres: map_.centres,
        "whitening": map_.whitening,
        "centre": none if kernel.centre is None else kernel.centre,
        "scale": none if kernel.scale is None else kernel.scale,
        **({} if map_.columns is None else {"columns": map_.columns.marks}),
    }


def map_in(arrays: Arrays, record: dict[str, Any], centres: str = "centres") -> FeatureMap:
    """The feature map that was saved."""
    centre, scale = (a if a.size else None for a in (arrays["centre"], arrays["scale"]))
    k = record["kernel"]
    kernel = Kernel(
        k["name"], k["length"], k["degree"], k["offset"], k["smoothness"], centre, scale
    )
    marks = arrays.get("columns")
    columns = None if marks is None else Columns(marks)
    if columns is not None and columns.indices.size != arrays[centres].shape[1]:
        raise ValueError(
            f"it keeps {columns.indices.size} columns, and its centres have {arrays[centres].shape[1]}"
        )
    return FeatureMap(kernel, arrays[centres], arrays["whitening"], columns)


def record_array(record: dict[str, Any], kernel: Kernel) -> npt.NDArray[np.uint8]:
    """A record, with those of the format and of the kernel, as bytes.

    Raises
    ------
    SpecError
        If the kernel is a function, which cannot be saved.
    """
    if callable(kernel.name):
        raise SpecError(
            "a kernel that is a function cannot be saved. Use one of the named kernels."
        )
    whole = {"format": FORMAT, "kernel": kernel.record, **record}
    return np.frombuffer(msgspec.json.encode(whole), dtype=np.uint8)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[tuple[Arrays, dict[str, Any]]]:
    """The arrays of a ``.npz`` file by name, and its record; nothing in it is executed.

    Raises
    ------
    StoreError
        If the file, or what is made of it meanwhile, shows that it is no such thing, or is of a newer release.
    """
    place = local_path(path)
    if not path_exists(place):
        raise StoreError(f"{place} does not exist. Check the path.")
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        record = msgspec.json.decode(arrays["record"].tobytes())
        if record["format"] > FORMAT:
            raise StoreError(f"{place} was saved by a newer release. Upgrade streamsvd.")
        yield arrays, record
    except StoreError:
        raise
    except DAMAGE as error:
        raise_access_error(error, place)
        raise StoreError(f"{place} holds no {what}: {damage(error)}.") from error


def damage(error: BaseException) -> str:
    """What was found, in words."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    text = str(error) or type(error).__name__
    return "it is no .npz file of arrays" if "pickle" in text else text.rstrip(".")


def check_shapes(*groups: tuple[npt.NDArray[Any], ...]) -> None:
    """Refuse arrays of which those in a group do not have one length.

    Raises
    ------
    ValueError
        With the lengths.
    """
    for group in groups:
        lengths = [a.shape[0] for a in group]
        if len(set(lengths)) > 1:
            raise ValueError(f"its arrays have {lengths} rows, which should be as many")
