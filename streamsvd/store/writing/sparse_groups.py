"""A sparse matrix by rows (CSR) as AnnData writes it: three arrays of one dimension in a zarr group, from the first row to the last.

Chunks hold as many entries each, whatever the rows; what does not fill one yet waits in memory, and is saved with the place where a
run goes on. A matrix whose rows or columns have names becomes ``X`` of an AnnData.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import ZstdCodec

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import StoreError
from streamsvd.labels import TextValues
from streamsvd.store.places import location_of
from streamsvd.store.sources.zarr_store.anndata import ROOT, WHOLE

Array = npt.NDArray[Any]

SPARSE_MARK = "streamsvd_entries"
"""Attribute of a group that we wrote, which may be replaced."""
NAMES_AT_ONCE = 1 << 16
_CODECS = [ZstdCodec(level=1, checksum=True)]
_SMALL = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, slots=True, eq=False)
class SparseForm:
    """What a sparse matrix is written as.

    Attributes
    ----------
    shape
        Rows and columns.
    dtype
        Of the entries.
    most_entries
        So many are stored at most.
    chunk
        Entries of a chunk.
    row_names, column_names
        Texts along rows and columns; None where they have none.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    most_entries: int
    chunk: int
    row_names: TextValues | None = None
    column_names: TextValues | None = None

    @property
    def index_dtype(self) -> np.dtype[Any]:
        """Of the columns of entries."""
        return np.dtype(np.int32 if self.shape[1] <= _SMALL else np.int64)

    @property
    def offset_dtype(self) -> np.dtype[Any]:
        """Of the places where rows begin."""
        return np.dtype(np.int32 if self.most_entries <= _SMALL else np.int64)

    @property
    def is_named(self) -> bool:
        """Whether rows or columns have names."""
        return self.row_names is not None or self.column_names is not None

    @property
    def inside(self) -> str:
        """Where the matrix lies in the place."""
        return WHOLE if self.is_named else ""


class _VectorWriter:
    """An array of one dimension that is appended to: whole chunks go to the store, the rest waits."""

    def __init__(self, array: zarr.Array) -> None:
        self.array = array
        self._buffer = np.empty(array.chunks[0], array.dtype)
        self._written = self._waiting = 0

    @property
    def count(self) -> int:
        return self._written + self._waiting

    @property
    def tail(self) -> Array:
        return self._buffer[: self._waiting]

    def append(self, values: Array) -> None:
        at = 0
        while at < values.size:
            count = min(self._buffer.size - self._waiting, values.size - at)
            self._buffer[self._waiting : self._waiting + count] = values[at : at + count]
            self._waiting, at = self._waiting + count, at + count
            if self._waiting == self._buffer.size:
                self._flush()

    def restore(self, written: int, tail: Array) -> None:
        self._buffer[: tail.size] = tail
        self._written, self._waiting = written, tail.size

    def finish(self) -> None:
        self._flush()
        if self._written != self.array.shape[0]:
            self.array.resize((self._written,))

    def _flush(self) -> None:
        if self._waiting:
            if self.count > self.array.shape[0]:  # zarr leaves out what lies beyond
                self.array.resize((max(self.count, 2 * self.array.shape[0]),))
            self.array[self._written : self.count] = self.tail
        self._written, self._waiting = self.count, 0


class SparseGroupWriter:
    """Writes a sparse matrix into a folder that is there; rows come in their order.

    Parameters
    ----------
    place
        Where.
    form
        As what.
    is_begun
        Whether the arrays are there already, from a run that was stopped.
    """

    def __init__(self, place: PathOrUrl, form: SparseForm, *, is_begun: bool = False) -> None:
        self.form, store = form, location_of(place).store(form.inside)
        if not is_begun:
            self._create(place, store)
        group = zarr.open_group(store, mode="r+", use_consolidated=False)
        self._vectors = {name: _VectorWriter(_array(group, name)) for name in self._lengths}
        for name, length in self._lengths.items():
            array = self._vectors[name].array
            if array.shape[0] < length:  # a run was stopped when it had all
                array.resize((length,))
        if not is_begun:
            self._vectors["indptr"].append(np.zeros(1, form.offset_dtype))

    @property
    def _lengths(self) -> dict[str, int]:
        most = self.form.most_entries
        return {"data": most, "indices": most, "indptr": self.form.shape[0] + 1}

    def _create(self, place: PathOrUrl, store: Any) -> None:
        form = self.form
        if form.is_named:
            _create_annotations(place, form)
        attributes: dict[str, Any] = {
            "encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(form.shape),
        }  # fmt: skip
        if not form.is_named:
            attributes[SPARSE_MARK] = True
        group = zarr.create_group(store, attributes=attributes)
        kinds = {"data": form.dtype, "indices": form.index_dtype, "indptr": form.offset_dtype}
        for name, length in self._lengths.items():
            group.create_array(
                name, shape=(length,), chunks=(min(form.chunk, max(1, length)),), dtype=kinds[name], fill_value=0,
                compressors=_CODECS, config={"write_empty_chunks": True},
            )  # fmt: skip

    @property
    def rows(self) -> int:
        """Rows that are written, or wait."""
        return self._vectors["indptr"].count - 1

    @property
    def entries(self) -> int:
        """Entries that are written, or wait."""
        return self._vectors["data"].count

    def append(self, rows: Any) -> None:
        """The rows that follow, a ``csr_array`` in canonical form."""
        self.add_entries(rows.data, rows.indices)
        self.end_rows(np.diff(rows.indptr))

    def add_entries(self, values: Array, columns: Array) -> None:
        """More entries of the next rows."""
        self._vectors["data"].append(values)
        self._vectors["indices"].append(columns)

    def end_rows(self, lengths: Array) -> None:
        """The rows that follow have so many of the entries each."""
        offsets = self._vectors["indptr"]
        step = self.form.chunk
        last = self.entries - int(lengths.sum(dtype=np.int64))
        if self.entries > np.iinfo(self.form.offset_dtype).max:
            raise StoreError(
                f"more entries came than the {self.form.most_entries:,} that were expected, and more than offsets of "
                f"{self.form.offset_dtype} can count. Unpack what is read, and convert that."
            )
        for start in range(0, lengths.size, step):
            ends = last + np.cumsum(lengths[start : start + step], dtype=np.int64)
            offsets.append(ends)
            last = int(ends[-1])

    def state(self) -> tuple[dict[str, list[int]], list[Array]]:
        """How far it is: numbers, and what waits."""
        tails = {name: vector.tail for name, vector in self._vectors.items()}
        counts = {name: [self._vectors[name].count - t.size, t.size] for name, t in tails.items()}
        return counts, list(tails.values())

    def restore(self, counts: Mapping[str, list[int]], data: memoryview) -> None:
        """Go on from a state, of which what waits is bytes one after another."""
        at = 0
        for name, vector in self._vectors.items():
            written, waiting = counts[name]
            tail = np.frombuffer(data, vector.array.dtype, waiting, at)
            vector.restore(written, tail)
            at += tail.nbytes

    def finish(self) -> None:
        """All rows have come.

        Raises
        ------
        StoreError
            If less is stored than came.
        """
        assert self.rows == self.form.shape[0]
        assert self.entries == self._vectors["indices"].count
        for vector in self._vectors.values():
            vector.finish()
            stored, all_chunks = vector.array.nchunks_initialized, vector.array.nchunks
            if stored != all_chunks:
                raise StoreError(
                    f"{vector.array.name} has {stored:,} chunks of {all_chunks:,}: what was written last is lost. Run it again."
                )


def _array(group: zarr.Group, name: str) -> zarr.Array:
    found: Any = group[name]
    return found.with_config({"write_empty_chunks": True})


def _create_annotations(place: PathOrUrl, form: SparseForm) -> None:
    """The group of an AnnData, with the names of its observations and variables."""
    version = {"encoding-version": "0.1.0"}
    root = zarr.create_group(
        location_of(place).store(), attributes={"encoding-type": ROOT, **version, SPARSE_MARK: True}
    )
    sides = (("obs", form.row_names), ("var", form.column_names))
    for (table, names), count in zip(sides, form.shape, strict=True):
        attributes = {
            "encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index", "column-order": [],
        }  # fmt: skip
        home = root.create_group(table, attributes=attributes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that not every reader knows texts: AnnData does
            index = home.create_array(
                "_index", shape=(count,), chunks=(min(count, NAMES_AT_ONCE),), dtype=str,
                attributes={"encoding-type": "string-array", "encoding-version": "0.2.0"},
                config={"write_empty_chunks": True},
            )  # fmt: skip
        for start, texts in _name_runs(names, count):
            index[start : start + len(texts)] = np.array(texts, object)
    for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        root.create_group(name, attributes={"encoding-type": "dict", **version})


def _name_runs(names: TextValues | None, count: int) -> Iterator[tuple[int, list[str]]]:
    """Names some at a time; numbers where there are none, as AnnData has them."""
    for start in range(0, count, NAMES_AT_ONCE):
        run = range(start, min(count, start + NAMES_AT_ONCE))
        yield start, [str(i) if names is None else names[i] for i in run]


def pack_state(facts: Mapping[str, Any], tails: list[Array]) -> list[Any]:
    """A state as runs of bytes: the length of its facts, these, and what waits."""
    head = msgspec.json.encode(facts)
    return [
        len(head).to_bytes(8, "little"),
        head,
        *(t.view(np.uint8).data for t in tails if t.size),
    ]


def unpack_state(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The facts of a state, and what waits."""
    end = 8 + int.from_bytes(data[:8], "little")
    found: dict[str, Any] = msgspec.json.decode(data[8:end])
    return found, memoryview(data)[end:]
