"""Files of named tensors as safetensors lays them out: a length, a header of JSON, and the bytes.

Read and written here, not by the package of that name: it hands numpy no bfloat16, and maps the file, so that all of it
counts in the memory of the process.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.collection.stored import InFile

TYPES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "BF16": "<u2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
NAMES = {
    np.dtype(code).newbyteorder("=").name: name for name, code in TYPES.items() if name != "BF16"
}
MOST_HEADER = 100 << 20


class Tensor(msgspec.Struct, frozen=True):
    """What a header says of a tensor."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def tensors(path: Path) -> dict[str, InFile]:
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
            header = msgspec.json.decode(file.read(length), type=dict[str, Any])
        header.pop("__metadata__", None)
        return {
            name: _tensor(path, name, record, 8 + length, size)
            for name, record in sorted(header.items())
        }
    except StoreError:
        raise
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise StoreError(
            f"{path} is no whole safetensors file: {error}. Restore it from a copy."
        ) from error


def _tensor(path: Path, name: str, record: Any, start: int, size: int) -> InFile:
    found = msgspec.convert(record, Tensor)
    if found.dtype not in TYPES:
        raise StoreError(
            f"tensor {name!r} of {path} is {found.dtype}, which cannot be read; leave it out with select."
        )
    dtype, (a, b) = np.dtype(TYPES[found.dtype]), found.data_offsets
    promised = math.prod(found.shape) * dtype.itemsize
    if min(found.shape, default=0) < 0 or b - a != promised or not 0 <= a <= b <= size - start:
        raise ValueError(
            f"tensor {name!r} of shape {found.shape} takes {promised:,} bytes, its place is {a:,} to {b:,}"
        )
    return InFile(path, start + a, tuple(found.shape), dtype, brain=found.dtype == "BF16")


def write_tensors(
    path: Path, shapes: dict[str, tuple[str, tuple[int, ...]]], arrays: Iterable[npt.NDArray[Any]]
) -> None:
    """A file of tensors.

    Parameters
    ----------
    path
        The file, which is not there yet.
    shapes
        Type (``"bfloat16"`` too) and shape of each, by name, in order.
    arrays
        Their values, in the same order.

    Raises
    ------
    SpecError
        If a type has no name in the format.
    """
    header, at = {}, 0
    for name, (kind, shape) in shapes.items():
        code = "BF16" if kind == "bfloat16" else NAMES.get(kind)
        if code is None:
            raise SpecError(
                f"block {name!r} holds {kind}, which safetensors has no name for. Write a .zarr."
            )
        length = math.prod(shape) * np.dtype(TYPES[code]).itemsize
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [at, at + length]}
        at += length
    data = msgspec.json.encode(header)
    data += b" " * (-len(data) % 8)
    with path.open("xb") as file:
        file.write(len(data).to_bytes(8, "little") + data)
        for record, values in zip(header.values(), arrays, strict=True):
            A = np.ascontiguousarray(values)
            if record["dtype"] == "BF16":
                A = to_brain(A)
            file.write(A.astype(np.dtype(TYPES[str(record["dtype"])]), copy=False).tobytes())


def to_brain(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Upper halves of float32, to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
