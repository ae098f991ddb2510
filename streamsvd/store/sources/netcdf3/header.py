"""The header of a file of netCDF-3: dimensions, attributes, and where the values of each variable lie.

Read here and not by scipy, which maps the file, tells no offsets, and knows neither records of an odd number of bytes nor the variant with
64 bits. The grammar is that of the NetCDF Classic Format Specification of Unidata.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from streamsvd.errors import StoreError
from streamsvd.store.explanations import access_error

VERSIONS = (1, 2, 5)
"""The classic format, that with offsets of 64 bits, and that with numbers of 64 bits."""

TYPES = {
    1: ">i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: ">u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8",
}  # fmt: skip
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 0x0A, 0x0B, 0x0C
_MOST_TEXT = 1 << 24


@dataclass(frozen=True, slots=True)
class ClassicVariable:
    """A variable, and where its values lie.

    Attributes
    ----------
    shape, dims
        Extents, and names of its dimensions.
    dtype
        Type with its byte order, the big one.
    attributes
        Plain values, and lists of them.
    offset
        First byte of its values.
    record_bytes
        From one record to the next; None where the values lie one after another.
    """

    shape: tuple[int, ...]
    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    attributes: dict[str, Any]
    offset: int
    record_bytes: int | None

    @property
    def end(self) -> int:
        """The byte after its last value."""
        if self.record_bytes is None:
            return self.offset + math.prod(self.shape) * self.dtype.itemsize
        own = math.prod(self.shape[1:]) * self.dtype.itemsize
        return (
            self.offset + max(0, self.shape[0] - 1) * self.record_bytes + own * (self.shape[0] > 0)
        )


def read_header(path: Path) -> dict[str, ClassicVariable]:
    """The variables of a file by their names; none of their values is read.

    Raises
    ------
    StoreError
        If it is no file of netCDF-3 that is whole.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            found = _Header(file, size).variables()
    except (ValueError, struct.error, UnicodeDecodeError, EOFError, OverflowError) as error:
        raise StoreError(
            f"{path} is no whole file of netCDF-3: {error}. Copy it again, or restore it from a copy."
        ) from error
    except OSError as error:
        raise access_error(error, "read", path) from error
    for name, variable in found.items():
        if variable.end > size:
            raise StoreError(
                f"{path} is cut short: the values of {name!r} end at byte {variable.end:,}, and it has {size:,}. Copy it again, or "
                "restore it from a copy."
            )
    return found


class _Header:
    """What a header says, part by part, in its order."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size
        magic = self._bytes(4)
        if magic[:3] != b"CDF" or magic[3] not in VERSIONS:
            raise ValueError(f"it begins with {magic!r}")
        self.wide, self.far = magic[3] == 5, magic[3] != 1

    def variables(self) -> dict[str, ClassicVariable]:
        """The variables by their names."""
        records = self._count()
        streaming = (1 << (64 if self.wide else 32)) - 1
        dimensions = self._list(_DIMENSIONS, lambda: (self._text(), self._count()))
        self._attributes()
        told = self._list(_VARIABLES, self._variable)
        lengths = [length for _, length in dimensions]
        for _, dimids, *_ in told:
            if any(not 0 <= i < len(lengths) for i in dimids) or any(
                lengths[i] == 0 for i in dimids[1:]
            ):
                raise ValueError("a variable has a dimension that is not there")
        growing = [bool(dimids) and lengths[dimids[0]] == 0 for _, dimids, *_ in told]
        own = [
            math.prod(lengths[i] for i in dimids[grows:]) * dtype.itemsize
            for grows, (_, dimids, _, dtype, _) in zip(growing, told, strict=True)
        ]
        parts = [n for n, grows in zip(own, growing, strict=True) if grows]
        record = parts[0] if len(parts) == 1 else sum(n + -n % 4 for n in parts)
        if records == streaming:
            first = min(v[4] for v, grows in zip(told, growing, strict=True) if grows)
            records = (self.size - first) // record
        found = {}
        for grows, (name, dimids, attributes, dtype, offset) in zip(growing, told, strict=True):
            shape = tuple(lengths[i] or records for i in dimids)
            dims = tuple(dimensions[i][0] for i in dimids)
            step = record if grows and len(parts) > 1 else None
            found[name] = ClassicVariable(shape, dims, dtype, attributes, offset, step)
        return found

    def _variable(self) -> tuple[str, list[int], dict[str, Any], np.dtype[Any], int]:
        name = self._text()
        dimids = [self._count() for _ in range(self._within(self._count(), 4))]
        attributes = self._attributes()
        dtype = self._type()
        self._count()  # bytes, which follow from the rest
        return name, dimids, attributes, dtype, self._number(">q" if self.far else ">i")

    def _attributes(self) -> dict[str, Any]:
        return dict(self._list(_ATTRIBUTES, self._attribute))

    def _attribute(self) -> tuple[str, Any]:
        name, dtype = self._text(), self._type()
        count = self._within(self._count(), dtype.itemsize)
        data = self._padded(count * dtype.itemsize)
        if dtype.kind == "S":
            return name, data.rstrip(b"\0").decode("utf-8", errors="replace")
        values = list(np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")))
        return name, values[0] if len(values) == 1 else values

    def _list(self, tag: int, read: Callable[[], Any]) -> list[Any]:
        found, count = self._number(">i"), self._count()
        if found not in (0, tag) or (found == 0 and count):
            raise ValueError(f"a part that is to begin with {tag} begins with {found}")
        return [read() for _ in range(self._within(count, 8))]

    def _type(self) -> np.dtype[Any]:
        code = self._number(">i")
        if code not in TYPES:
            raise ValueError(f"there is no type {code}")
        return np.dtype(TYPES[code])

    def _text(self) -> str:
        return self._padded(self._within(self._count(), 1)).decode("utf-8")

    def _within(self, count: int, each: int) -> int:
        """A count of things that are in the file."""
        if not 0 <= count * each <= self.size:
            raise ValueError(f"it promises {count:,} parts and has {self.size:,} bytes")
        return count

    def _count(self) -> int:
        return self._number(">Q" if self.wide else ">I")

    def _number(self, form: str) -> int:
        (value,) = struct.unpack(form, self._bytes(struct.calcsize(form)))
        return int(value)

    def _padded(self, length: int) -> bytes:
        return self._bytes(length + -length % 4)[:length]

    def _bytes(self, length: int) -> bytes:
        if length > _MOST_TEXT:
            raise ValueError(f"it promises a text of {length:,} bytes")
        data = self.file.read(length)
        if len(data) < length:
            raise EOFError("its header is cut short")
        return data
