"""What the attributes of a stored array say of its values: the conventions of CF, read as xarray reads them.

The law: what `Packing` makes of the stored values by this record equals what ``xarray.open_zarr`` decodes, missing
cells included. Where it could not, because xarray would take an attribute for nothing, cut digits off, or choose
between two that disagree, the attribute is refused, and the message says how to write it. ``valid_min``, ``valid_max``
and ``valid_range`` change no values, as in xarray; times stay the numbers that they are stored as.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from streamsvd.errors import SpecError

NAMES = (
    "_Unsigned",
    "_FillValue",
    "missing_value",
    "scale_factor",
    "add_offset",
    "valid_min",
    "valid_max",
    "valid_range",
)
"""Attributes about stored values, which unpacked ones do not have."""
ROWS = "matrix_rows"
"""Attribute of an array that was written as a matrix: the dimension that makes its rows, if nothing else is asked."""

_WIDE = np.dtype(np.float64)
_EXACT = 2**53  # whole numbers up to here are float64


@dataclass(frozen=True, slots=True)
class Conventions:
    """How stored values are meant.

    Attributes
    ----------
    stored_dtype
        Type of the stored values, as ``_Unsigned`` has it, with their byte order.
    fills
        Values that stand for a missing one.
    scale, offset
        A value is ``stored * scale + offset``.
    work_dtype
        Type in which that is computed, and delivered.
    marks_missing
        Whether attributes say what a missing value is, NaN included.
    """

    stored_dtype: np.dtype[Any]
    fills: tuple[complex | float | int, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    work_dtype: np.dtype[Any] = _WIDE
    marks_missing: bool = field(default=False, compare=False)

    @property
    def scales(self) -> bool:
        """Whether values are more than stored ones with some of them missing."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def is_plain(self) -> bool:
        """Whether values are what is stored."""
        return not self.fills and not self.scales

    @property
    def delivered_dtype(self) -> np.dtype[Any]:
        """The narrowest type that holds every value: float64 where a scale or an offset makes them."""
        if self.scales:
            return self.work_dtype
        if self.is_plain or self.stored_dtype.kind in "fc":
            return self.stored_dtype.newbyteorder("=")
        return np.dtype(np.float32 if self.stored_dtype.itemsize <= 2 else np.float64)


def read_conventions(
    dtype: np.dtype[Any],
    attributes: Mapping[str, Any],
    fill_value: Any = None,
    *,
    where: str,
    zarr_format: int = 3,
    named: bool = False,
) -> Conventions:
    """What an array says of its values.

    Parameters
    ----------
    dtype
        Type of the stored values.
    attributes
        Of the array.
    fill_value
        Of the metadata of zarr.
    where
        Name of the array, for messages.
    zarr_format
        2 or 3.
    named
        Whether its dimensions have names: then xarray takes the fill value of zarr v2 for ``_FillValue``.

    Raises
    ------
    SpecError
        If an attribute cannot be read, or xarray reads another value than is written; it names the attribute.
    """
    found = _Attributes(dict(attributes), where)
    if dtype.kind == "b":
        return _boolean_conventions(
            dtype, found, masked=zarr_format == 2 and named and fill_value is not None
        )
    stored = _signed_dtype(dtype, found)
    marked = _MissingMarks(stored, dtype, found)
    if zarr_format == 2 and named and fill_value is not None:
        marked.fill_value(fill_value)
    else:
        marked.attribute("_FillValue", coded=zarr_format != 2)
    marked.attribute("missing_value", coded=False)
    marked.check_signs()
    scale, offset = found.number("scale_factor", 1.0), found.number("add_offset", 0.0)
    if scale == 0 or not math.isfinite(scale) or not math.isfinite(offset):
        raise SpecError(
            f"{where} has scale_factor {scale} and add_offset {offset}; "
            "unpacking needs a finite offset and a finite scale other than 0."
        )
    work, scales = _WIDE, scale != 1.0 or offset != 0.0
    if scales and stored.kind == "f" and marked.of_nan_alone:
        work = stored.newbyteorder("=")  # nothing has widened the values before they are scaled
    record = Conventions(
        stored, tuple(dict.fromkeys(marked.fills)), scale, offset, work, marked.said
    )
    _check_scale(record, found, nan_alone=stored.kind == "f" and marked.of_nan_alone)
    return record


def _boolean_conventions(dtype: np.dtype[Any], found: _Attributes, *, masked: bool) -> Conventions:
    """Of true and false, of which xarray makes objects where one of them marks what is missing."""
    for name in ("_FillValue", "missing_value", "scale_factor", "add_offset"):
        if found.get(name) is not None:
            found.refuse(
                name, "and its values are true and false. Store them as uint8, without it."
            )
    if masked:
        raise SpecError(
            f"the fill value of {found.where} marks one of true and false as missing, as xarray reads zarr v2. "
            "Store them as uint8, or with fill_value: null."
        )
    return Conventions(dtype)


@dataclass(frozen=True, slots=True)
class _Attributes:
    """The attributes of one array; None is none."""

    values: dict[str, Any]
    where: str

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def refuse(self, name: str, why: str) -> NoReturn:
        raise SpecError(f"{name} of {self.where} is {self.values.get(name)!r}, {why}")

    def number(self, name: str, default: float) -> float:
        """One real number, which may be the only one of a list."""
        value = self.get(name)
        if value is None:
            return default
        parts = self.numbers(name)
        if len(parts) != 1:
            self.refuse(name, f"{len(parts)} numbers where one is needed. Correct the attribute.")
        return float(parts[0])

    def numbers(self, name: str) -> list[Any]:
        """All numbers of an attribute: plain, a list, or text as xarray writes it for ``_FillValue``."""
        value = self.get(name)
        parts = value if isinstance(value, list | tuple) else [value]
        try:
            return [_number(part) for part in parts] or [_number(None)]
        except (TypeError, ValueError, OverflowError, struct.error):
            self.refuse(name, "which is not a number. Correct the attribute.")


def _number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return struct.unpack("<d", base64.b64decode(value, validate=True))[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | complex):
        raise TypeError(f"{type(value).__name__} is not a number")
    complex(value)  # of more digits than any float has
    return value


def _signed_dtype(dtype: np.dtype[Any], found: _Attributes) -> np.dtype[Any]:
    """The type that ``_Unsigned`` makes of an integer one."""
    said = found.get("_Unsigned")
    if said is None or dtype.kind not in "iu":
        return dtype
    if said not in ("true", "false") or not isinstance(said, str):
        found.refuse("_Unsigned", 'which xarray takes for nothing. Write "true" or "false".')
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((dtype.kind, said), dtype.kind)
    return np.dtype(f"{dtype.byteorder}{kind}{dtype.itemsize}")


class _MissingMarks:
    """Values that stand for a missing one, as they are collected.

    Attributes
    ----------
    fills
        Those that a stored value may equal.
    of_nan_alone
        Whether attributes are there, and all say NaN.
    """

    def __init__(self, stored: np.dtype[Any], dtype: np.dtype[Any], found: _Attributes) -> None:
        self.stored, self.dtype, self.found = stored, dtype, found
        self.fills: list[Any] = []
        self.said = False
        self.numbers = 0
        self.doubtful: list[tuple[str, int]] = []

    @property
    def of_nan_alone(self) -> bool:
        return self.said and not self.numbers

    def fill_value(self, value: Any) -> None:
        """The fill value of zarr, which goes before the attribute."""
        fill = np.asarray(value).item()
        if self.found.get("_FillValue") is not None:
            given = self._attribute_values("_FillValue", coded=True)
            if any(not (part == fill or (part != part and fill != fill)) for part in given):
                self.found.refuse(
                    "_FillValue",
                    f"and the fill value in its metadata is {fill!r}: xarray takes that one alone, and the attribute "
                    "for nothing. Make both equal, or remove the attribute.",
                )
        self.found.values["_FillValue"] = fill
        self._mark("_FillValue", fill)

    def attribute(self, name: str, *, coded: bool) -> None:
        """The values of an attribute, which xarray writes as text if ``coded``."""
        if self.found.get(name) is not None:
            # Where xarray expects text, it refuses a number: the nearest is taken, as what else could be meant.
            nearest = coded and not isinstance(self.found.get(name), str)
            for fill in self._attribute_values(name, coded=coded):
                self._mark(name, fill, nearest=nearest)

    def _attribute_values(self, name: str, *, coded: bool) -> list[Any]:
        value = self.found.get(name)
        if self.stored.kind == "c" and isinstance(value, list | tuple) and len(value) == 2:
            if not coded:
                self.found.refuse(
                    name,
                    "which xarray reads as two real numbers. Name the missing value by _FillValue.",
                )
            return [complex(*self.found.numbers(name))]
        numbers = self.found.numbers(name)
        texts = isinstance(value, str) or (
            isinstance(value, list | tuple) and any(isinstance(part, str) for part in value)
        )
        if texts and not coded:
            if any(number == number for number in numbers):
                self.found.refuse(
                    name, "text, which xarray takes for nothing. Write it as a number."
                )
            self.numbers += 1  # text is not NaN to xarray, which compares and widens
        return numbers

    def _mark(self, name: str, fill: Any, *, nearest: bool = False) -> None:
        self.said = True
        if fill != fill:
            return
        self.numbers += 1
        if self.stored.kind in "iu":
            self._mark_whole(name, fill)
        else:
            self._mark_real(name, fill, nearest)

    def _mark_real(self, name: str, fill: Any, nearest: bool) -> None:
        """Of floats: what none of them equals, but for its last digits, was meant to be equal."""
        parts = (fill.real, fill.imag) if isinstance(fill, complex) else (fill,)
        if self.stored.kind == "f" and len(parts) == 2:
            self.found.refuse(name, "a complex number, and its values are real.")
        real = np.dtype(f"f{self.stored.itemsize // (2 if self.stored.kind == 'c' else 1)}")
        most = float(np.finfo(real).max)
        if any(math.isfinite(part) and abs(part) > most for part in parts):
            return
        near = [float(real.type(part)) for part in parts]
        if not nearest and near != [float(part) for part in parts]:
            self.found.refuse(
                name,
                f"which no {real} equals, so that xarray takes it for nothing. "
                f"Write the nearest, {near[0] if len(near) == 1 else near!r}.",
            )
        self.fills.append(complex(*near) if len(near) == 2 else near[0])

    def _mark_whole(self, name: str, fill: Any) -> None:
        """Of integers, which may have been read with another sign than the attribute was written with."""
        if isinstance(fill, complex):
            self.found.refuse(name, "a complex number, and its values are real.")
        limits = np.iinfo(self.stored)
        if not math.isfinite(fill) or fill != int(fill):
            if name == "_FillValue" and math.isfinite(fill):
                self.found.refuse(
                    name, f"and its values are {self.stored.name}. Write a whole number."
                )
            return
        fill = int(fill)
        if name == "_FillValue" and self.dtype.kind == "i" and self.stored.kind == "u":
            self._check_bytes(name, fill, limits)
        if limits.min <= fill <= limits.max:
            self.fills.append(fill)
            return
        turned = fill % (1 << limits.bits)
        if turned > limits.max:
            turned -= 1 << limits.bits
        bound = 1 << (limits.bits - 1)
        if not -bound <= fill < 2 * bound:
            return
        if name == "_FillValue" and self.stored.kind != self.dtype.kind:
            self.fills.append(turned)
        else:
            self.doubtful.append((name, turned))

    def _check_bytes(self, name: str, fill: int, limits: Any) -> None:
        """Refuse a mark whose bytes xarray swaps where it changes the sign of integers in the other byte order."""
        bits = np.array(fill % (1 << limits.bits), self.stored.newbyteorder("="))
        if not self.dtype.isnative and bits.byteswap() != bits:
            self.found.refuse(
                name,
                "whose bytes xarray swaps, as they are in its values. Store them in native byte order.",
            )

    def check_signs(self) -> None:
        """Refuse a mark of the other sign, which xarray compares with no value."""
        for name, turned in self.doubtful:
            if turned not in self.fills:
                self.found.refuse(
                    name,
                    f"which no {self.stored.name} equals, so that xarray takes it for nothing. "
                    f'Write {turned}, or _Unsigned "true" or "false" for the sign that is meant.',
                )


def _check_scale(record: Conventions, found: _Attributes, *, nan_alone: bool) -> None:
    """Refuse scales by which xarray gets other values."""
    stored, work = record.stored_dtype, record.work_dtype
    there = [name for name in ("scale_factor", "add_offset") if found.get(name) is not None]
    if stored.kind == "c" and there:
        found.refuse(
            there[0],
            "and its values are complex, of which xarray drops a part. Store them unpacked.",
        )
    limits = np.finfo(work)
    scale = abs(record.scale)
    if not float(limits.smallest_subnormal) <= scale <= float(limits.max):
        found.refuse(
            "scale_factor", f"beyond {work}, in which values are scaled. Store {work} values."
        )
    if abs(record.offset) > float(limits.max):
        found.refuse(
            "add_offset", f"beyond {work}, in which values are scaled. Store {work} values."
        )
    whole = found.get("scale_factor")
    if not isinstance(whole, int) or found.get("add_offset") is not None or nan_alone:
        return
    if stored.kind == "f" or not _stays_exact(whole, stored):
        found.refuse(
            "scale_factor",
            f"an integer, so that xarray makes integers of its {stored.name}. Write {whole}.0.",
        )


def _stays_exact(scale: int, stored: np.dtype[Any]) -> bool:
    """Whether an integer times each stored one is what float64 makes of it."""
    limits = np.iinfo(stored)
    largest = max(-int(limits.min), int(limits.max))
    return (scale == 1 and stored.kind == "i") or largest * abs(scale) <= _EXACT
