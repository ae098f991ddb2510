"""What every layer expects of a stored matrix, as a protocol."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@runtime_checkable
class Source(Protocol):
    """A stored matrix, read a rectangle at a time into memory that the caller owns.

    A source is small, immutable and picklable: it is an address, and never holds data of the matrix
    (unless the matrix is in memory already). Shapes and sizes are Python ints, known without reading.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that `read` delivers (after unpacking, with missing values as NaN)."""
        ...

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns of the stored rectangles; a read aligned to them decodes each once."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded matrix, ``rows * columns * itemsize``; one pass reads this much."""
        ...

    @property
    def read_bytes(self) -> int:
        """Upper bound on the transient bytes that one call of `read` allocates beside ``out``."""
        ...

    @property
    def name(self) -> str:
        """How messages call it: a path, a variable, ``"ndarray"``."""
        ...

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        """Fill ``out`` (C-contiguous, of this `dtype` and the rectangle's shape) with ``A[rows, columns]``.

        What is missing, masked cells too, is NaN. Safe to call from several threads at once.

        Raises
        ------
        MissingChunkError, CorruptChunkError, StoreError
            Naming the stored key.
        """
        ...

    def locate(self, row: int, column: int, /) -> str:
        """Name of the stored chunk that holds an entry, for messages."""
        ...
