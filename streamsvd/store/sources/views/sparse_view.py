"""Sources that show another one and stay as sparse as that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.protocols import SparseSource
from streamsvd.store.sources.views.view import SourceView

Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class EntriesView(SourceView):
    """A source that shows another one entry by entry: what is stored of it is what is stored of the whole.

    Where the whole is not sparse, neither is this: it has no such attributes.
    """

    @property
    def sparse_whole(self) -> SparseSource:
        """The whole, which is sparse where this is asked."""
        return cast(SparseSource, self.whole)

    @property
    def entries(self) -> int:
        """As of `streamsvd.protocols.SparseSource`."""
        return self.sparse_whole.entries

    @property
    def sparse_axis(self) -> Literal["rows", "columns"]:
        """As of `streamsvd.protocols.SparseSource`."""
        return self.sparse_whole.sparse_axis

    @property
    def stored_bytes(self) -> int:
        """As of `streamsvd.protocols.SparseSource`."""
        return self.sparse_whole.stored_bytes

    def most_entries(self, length: int, /) -> int:
        """As of `streamsvd.protocols.SparseSource`."""
        return self.sparse_whole.most_entries(length)

    def read_sparse(self, run: slice, /) -> Any:
        """As of `streamsvd.protocols.SparseSource`."""
        return self.sparse_whole.read_sparse(run)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back."""
        return self.sparse_whole.sparse_bytes(entries)


def entry_bytes(source: SparseSource) -> int:
    """Bytes of a stored entry: its value and its index, as it is handed on."""
    return source.dtype.itemsize + (4 if max(source.shape) < 1 << 31 else 8)


def picking_bytes(source: SparseSource, entries: int) -> int:
    """Bytes that `pick_columns` takes for so many entries: copies of what is kept, places, and a table of these."""
    index = np.dtype(np.int64).itemsize
    width = source.shape[1 if source.sparse_axis == "rows" else 0]
    return 2 * entries * (entry_bytes(source) + index) + 2 * index * width


def canonical(rows: Any) -> Any:
    """The same rows, known to be in order."""
    rows.has_sorted_indices = rows.has_canonical_format = True
    return rows


def pick_columns(rows: Any, numbers: Numbers) -> Any:
    """Columns of some rows, ascending ones, by a table of their new places; entries of others are left out."""
    places = np.full(rows.shape[1], -1, rows.indices.dtype)
    places[numbers] = np.arange(numbers.size, dtype=places.dtype)
    found = places[rows.indices]
    kept = found >= 0
    ends = np.zeros(rows.nnz + 1, rows.indptr.dtype)
    np.cumsum(kept, out=ends[1:])
    shape = rows.shape[0], numbers.size
    return canonical(
        sparse.csr_array((rows.data[kept], found[kept], ends[rows.indptr]), shape=shape)
    )


def pick_rows(rows: Any, numbers: Numbers) -> Any:
    """Some rows, in any order, some perhaps more than once."""
    return canonical(rows[numbers])


def stack_rows(parts: list[Any], dtype: np.dtype[Any], width: int) -> Any:
    """Rows one below another, of one type."""
    if len(parts) == 1 and parts[0].dtype == dtype:
        return parts[0]
    ends = [np.zeros(1, np.int64)]
    for part in parts:
        ends.append(part.indptr[1:] + ends[-1][-1])
    values = [part.data.astype(dtype, copy=False) for part in parts]
    kind = np.int32 if width <= np.iinfo(np.int32).max else np.int64
    offsets = np.concatenate(ends)
    return canonical(
        sparse.csr_array(
            (
                np.concatenate(values) if values else np.empty(0, dtype),
                np.concatenate([part.indices for part in parts]) if parts else np.empty(0, kind),
                offsets.astype(kind),
            ),
            shape=(offsets.size - 1, width),
        )
    )
