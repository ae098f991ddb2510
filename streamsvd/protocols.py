"""What every layer expects of a stored matrix, as a protocol."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

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


class SparseSource(Source, Protocol):
    """A stored matrix of which only some entries are stored; the others are 0.

    Every such source can be read as any other too, a rectangle at a time, with its zeros.
    """

    @property
    def entries(self) -> int:
        """Entries that are stored; of some columns of a matrix, at most so many."""
        ...

    @property
    def sparse_axis(self) -> Literal["rows", "columns"]:
        """Along which runs are read as they are stored: rows of CSR, columns of CSC."""
        ...

    @property
    def stored_bytes(self) -> int:
        """Decoded bytes of what is stored: values and indices; one pass along `sparse_axis` reads this much."""
        ...

    def most_entries(self, length: int, /) -> int:
        """At most so many entries are stored in any ``length`` consecutive rows (of CSC: columns)."""
        ...

    def sparse_bytes(self, entries: int, /) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, at most, with what it hands back."""
        ...

    def read_sparse(self, run: slice, /) -> Any:
        """Rows of the matrix as a ``scipy.sparse.csr_array``; of CSC, columns of it as rows of that array.

        Indices are int32 where they fit, ascending and without duplicates. The arrays are not to be written into. What is missing
        is NaN among what is stored. Safe to call from several threads at once.

        Raises
        ------
        MissingChunkError, CorruptChunkError, StoreError
            Naming the stored key; also for an index that is outside of the matrix.
        """
        ...


SPARSE_MEMBERS = (
    "entries",
    "sparse_axis",
    "stored_bytes",
    "most_entries",
    "sparse_bytes",
    "read_sparse",
)
"""What a sparse source has beside the others; a view of one has them only where it says so itself."""


def is_sparse(source: Any) -> bool:
    """Whether a source can be read as it is stored, without its zeros."""
    return all(hasattr(source, name) for name in SPARSE_MEMBERS)
