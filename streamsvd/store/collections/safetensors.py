"""Files of named tensors as safetensors lays them out: a length, a header of JSON, and the bytes.

Read and written here, not by the package of that name: it hands numpy no bfloat16, and maps the file, so that all of it
counts in the memory of the process.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.collections.arrays import ArrayInFile, RefusedArray, StoredArray
from streamsvd.store.explanations import raise_access_error

TYPES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "BF16": "<u2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
NAMES = {
    np.dtype(code).newbyteorder("=").name: name for name, code in TYPES.items() if name != "BF16"
}
MOST_HEADER = 100 << 20


class TensorRecord(msgspec.Struct, frozen=True):
    """What a header says of a tensor."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def open_tensors(path: Path) -> dict[str, StoredArray]:
    """Addresses of the tensors of a file; only its header is read.

    Raises
    ------
    StoreError
        If it is no such file, or says what cannot be true of it.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MOST_HEADER, size - 8):
                raise ValueError(
                    f"it promises a header of {length:,} bytes and has {size:,} in all"
                )
            header = _header(file.read(length))
        start = 8 + length
        found = {name: _tensor(path, name, header[name], start, size) for name in sorted(header)}
        _check_places({n: record.data_offsets for n, record in header.items()}, size - start)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise_access_error(error, path)
        raise StoreError(
            f"{path} is no whole safetensors file: {error}. Restore it from a copy."
        ) from error
    return found


def _header(data: bytes) -> dict[str, TensorRecord]:
    """What the header says of each tensor; the format knows no name twice.

    Raises
    ------
    ValueError
        If it is no header.
    """
    header = json.loads(data.decode("utf-8"), object_pairs_hook=_each_once)
    if not isinstance(header, dict):
        raise ValueError("its header is no object of JSON")
    header.pop("__metadata__", None)
    return {name: msgspec.convert(record, TensorRecord) for name, record in header.items()}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, which names everything once.

    Raises
    ------
    ValueError
        If it does not.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = ", ".join(repr(name) for name, count in counts.items() if count > 1)
        raise ValueError(f"its header names {twice} more than once")
    return found


def _tensor(path: Path, name: str, record: TensorRecord, start: int, size: int) -> StoredArray:
    shape, (a, b) = tuple(record.shape), record.data_offsets
    if min(shape, default=0) < 0 or not 0 <= a <= b <= size - start:
        raise ValueError(
            f"tensor {name!r} has shape {record.shape}, and its place is {a:,} to {b:,} of {size - start:,} bytes"
        )
    if record.dtype not in TYPES:
        return RefusedArray(shape, np.dtype(np.void), record.dtype, str(path))
    dtype = np.dtype(TYPES[record.dtype])
    promised = math.prod(shape) * dtype.itemsize
    if b - a != promised:
        raise ValueError(
            f"tensor {name!r} of shape {record.shape} takes {promised:,} bytes, its place is {a:,} to {b:,}"
        )
    return ArrayInFile(path, start + a, shape, dtype, is_bfloat16=record.dtype == "BF16")


def _check_places(places: dict[str, tuple[int, int]], size: int) -> None:
    """Refuse tensors that share bytes, and bytes of no tensor: the format forbids both.

    Raises
    ------
    ValueError
        It names the tensors.
    """
    end, last = 0, ""
    for name, (a, b) in sorted(places.items(), key=lambda item: (*item[1], item[0])):
        if a < end:
            raise ValueError(
                f"tensors {last!r} and {name!r} share bytes: one ends at {end:,}, the other begins at {a:,}"
            )
        if a > end:
            after = f"after tensor {last!r}" if last else "at the beginning"
            raise ValueError(f"{a - end:,} bytes {after}, before {name!r}, belong to no tensor")
        end, last = b, name
    if end != size:
        raise ValueError(f"{size - end:,} bytes at the end belong to no tensor")


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies in a file: the name of its type, and its first byte."""

    code: str
    start: int


def lay_out_tensors(
    path: Path, shapes: Mapping[str, tuple[str, tuple[int, ...]]]
) -> dict[str, TensorPlace]:
    """A new file of tensors without values: its header, and its length; as `plan_tensors`."""
    head, size, tensors = plan_tensors(shapes)
    with path.open("xb") as file:
        file.write(head)
        file.truncate(size)
    return tensors


def plan_tensors(
    shapes: Mapping[str, tuple[str, tuple[int, ...]]],
) -> tuple[bytes, int, dict[str, TensorPlace]]:
    """How a file of tensors begins, how long it is, and where each of them is.

    Parameters
    ----------
    shapes
        Type (``"bfloat16"`` too) and shape of each, by name, in order.

    Raises
    ------
    SpecError
        If a type has no name in the format.
    """
    header: dict[str, dict[str, Any]] = {}
    codes: dict[str, tuple[str, int]] = {}
    at = 0
    for name, (kind, shape) in shapes.items():
        code = "BF16" if kind == "bfloat16" else NAMES.get(kind)
        if code is None:
            raise SpecError(
                f"block {name!r} holds {kind}, which safetensors has no name for. Write a .zarr."
            )
        length = math.prod(shape) * np.dtype(TYPES[code]).itemsize
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [at, at + length]}
        codes[name] = code, at
        at += length
    data = msgspec.json.encode(header)
    data += b" " * (-len(data) % 8)
    start = 8 + len(data)
    head = len(data).to_bytes(8, "little") + data
    return (
        head,
        start + at,
        {n: TensorPlace(code, start + first) for n, (code, first) in codes.items()},
    )


def stored_tensor(values: npt.NDArray[Any], code: str) -> npt.NDArray[np.uint8]:
    """The bytes of a tensor of a type."""
    A = np.ascontiguousarray(values)
    if code == "BF16":
        A = to_bfloat16(A)
    return A.astype(np.dtype(TYPES[code]), copy=False).reshape(-1).view(np.uint8)


def to_bfloat16(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Upper halves of float32, to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
