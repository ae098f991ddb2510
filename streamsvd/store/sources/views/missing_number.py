"""A number that stands for a missing value, where a source cannot say so itself: read as NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import masked_to_nan
from streamsvd.errors import SpecError
from streamsvd.numerics.sparse_rows import with_values
from streamsvd.protocols import Source, is_sparse
from streamsvd.store.sources.border import BLOCK_BYTES, check_rectangle
from streamsvd.store.sources.conventions import Conventions
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.packing import Packing
from streamsvd.store.sources.views.sparse_view import EntriesView


@dataclass(frozen=True, eq=False)
class MissingNumber(EntriesView):
    """A matrix in which each entry that equals a number is missing.

    Attributes
    ----------
    whole
        The matrix as it is.
    packing
        How its values are meant: integers as floats that have NaN.
    """

    __repr__ = matrix_text

    packing: Packing

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.packing.dtype

    @property
    def read_bytes(self) -> int:
        block = self._height * self.shape[1]
        copied = 0 if self.dtype == self.whole.dtype else block * self.whole.dtype.itemsize
        return (
            self.whole.read_bytes
            + copied
            + self.packing.transient_bytes(self.shape[0] * self.shape[1])
        )

    @property
    def _height(self) -> int:
        """Rows that are converted at once: whole chunks."""
        chunk, line = self.whole.chunks[0], self.shape[1] * self.whole.dtype.itemsize
        return min(self.shape[0], chunk * max(1, BLOCK_BYTES // (chunk * line)))

    @property
    def stored_bytes(self) -> int:
        """Decoded bytes of what is stored, as it is read: values and indices."""
        wider = self.dtype.itemsize - self.whole.dtype.itemsize
        return self.sparse_whole.stored_bytes + self.sparse_whole.entries * wider

    def read_sparse(self, run: slice, /) -> Any:
        """Rows (of CSC: columns) whose stored entries are NaN where they equal the number."""
        rows = self.sparse_whole.read_sparse(run)
        values = np.empty(rows.data.shape, self.dtype)
        self.packing.unpack(rows.data, values)
        return with_values(rows, values)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back."""
        copied = entries * self.dtype.itemsize + self.packing.transient_bytes(entries)
        return EntriesView.sparse_bytes(self, entries) + copied

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        if self.dtype == self.whole.dtype:
            self.whole.read(rows, columns, out)
            self.packing.unpack(out, out)
            return
        start, height = rows.start, self._height
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            values = np.empty((stop - start, out.shape[1]), self.whole.dtype)
            self.whole.read(slice(start, stop), columns, values)
            self.packing.unpack(values, out[start - rows.start : stop - rows.start])
            start = stop


def mark_missing(source: Source, number: float) -> Source:
    """The same matrix, NaN where it equals a number.

    Parameters
    ----------
    source
        A matrix.
    number
        Of floats the nearest of their type counts.

    Raises
    ------
    SpecError
        If no value of the matrix can equal it; or it is 0, and the matrix is sparse.
    """
    if number == 0 and is_sparse(source):
        raise SpecError(
            f"missing_value=0 of {source.name}, which is sparse: absent entries are zeros, and all of them would be missing. Leave it "
            "out; where absent entries are gaps, such as ratings that were not given, pass its values and places to complete."
        )
    found = missing_packing(source.dtype, number, source.name)
    return source if found is None else MissingNumber(source, found)


def missing_packing(dtype: np.dtype[Any], number: float, name: str) -> Packing | None:
    """How values of a type are meant where a number is missing; None where nothing has to be done.

    Raises
    ------
    SpecError
        If no value of the type can equal it.
    """
    value = number.item() if isinstance(number, np.generic) else number
    asked = f"missing_value={value!r} equals no value of {name}, which holds {dtype}"
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not math.isfinite(value) or value != int(value) or not limits.min <= value <= limits.max:
            raise SpecError(
                f"{asked}: whole numbers from {limits.min} to {limits.max}. Leave it out."
            )
        return Packing(Conventions(dtype, (int(value),)))
    if math.isnan(value):
        return None
    real = np.dtype(f"f{dtype.itemsize // (2 if dtype.kind == 'c' else 1)}")
    if math.isfinite(value) and abs(value) > float(np.finfo(real).max):
        raise SpecError(f"{asked}: at most {float(np.finfo(real).max):.6g}. Leave it out.")
    return Packing(Conventions(dtype, (float(real.type(value)),)))


def numbers_as_nan(block: Any, packing: Packing) -> npt.NDArray[Any]:
    """A block, NaN where it equals a number, or is masked."""
    values = np.asarray(masked_to_nan(block))
    out = np.empty(values.shape, packing.dtype)
    if values.dtype != packing.stored_dtype:  # integers with masked cells are floats by now
        packing = Packing(Conventions(values.dtype, packing.fills))
    packing.unpack(values, out)
    return out
