"""A result on its way to disk: one zarr group, whole or not there at all.

Arrays are written with checksums into a folder beside the final one, which is renamed when everything is in it. The group's
attributes hold one record: the kind of the result, its format, the release that wrote it, and all that is no array.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from streamsvd import __version__
from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.places import Location, location_of
from streamsvd.store.results.belongings import check_outside, check_own
from streamsvd.store.results.kinds import kind_of
from streamsvd.store.results.lazy import lazy_array
from streamsvd.store.results.reader import (
    DIGESTS,
    FORMAT,
    METADATA,
    NAME,
    checksum,
    digest,
    is_result,
)
from streamsvd.store.results.values import ResultEncoder
from streamsvd.store.writing.rows import RowsSink
from streamsvd.store.writing.shield import defer_interrupts

INTACT = "nothing was replaced."
MODEL = "model.json"
"""What a result has that has absorbed blocks since."""
BYTES_AT_ONCE = 16 << 20
"""Of an array that is read a run of rows at a time."""


class ResultWriter:
    """One result on its way to disk.

    Parameters
    ----------
    path
        Where the result will be.
    overwrite
        Whether a result may be there already; it is replaced when the new one is whole.

    Raises
    ------
    StoreError
        At once, if something is there and may not be replaced, or lies in the folder of what is replaced; if the place is in
        a result; or if the folder cannot be written.
    """

    def __init__(self, path: PathOrUrl, *, overwrite: bool) -> None:
        self.path, self.overwrite = path, overwrite
        self.has_u = self.committed = False
        self._filled: list[str] = []
        self._place = place = location_of(path)
        place.settle()
        taken = place.exists("write")
        if taken and not overwrite:
            raise StoreError(
                f"{path} exists already. Pass overwrite=True (--overwrite) to replace it."
            )
        if taken and not is_result(path):
            raise StoreError(
                f"{path} exists and is not a result of streamsvd; it will not be replaced. Choose another place."
            )
        if taken and location_of(path / MODEL).is_file():
            raise StoreError(
                f"{path} is a model by now; it will not be replaced. Choose another place, or remove it first."
            )
        check_outside(path)
        self._check_replaceable()
        with explain_errors(path, INTACT):
            self.partial = place.begin()

    def sink(self, m: int, rank: int, reader: Any, prep: Any) -> RowsSink:
        """Make the array of ``U``, in chunks of which each lies in one of the reader's spans, and the sink that fills it."""
        layout = reader.layout
        rows = m
        if layout.axis == "rows":
            edges = [stop for _, stop in reader.spans[:-1]]
            rows = min(layout.grain, m)
            if any(edge % rows for edge in edges):
                rows = math.gcd(*edges)
        dtype = prep.narrow if layout.axis == "rows" else prep.wide
        target = self.partial.folder / "U"
        with explain_errors(self.path, INTACT):
            _create(self.partial.location, "U", (m, rank), (max(rows, 1), rank), dtype)
        self.has_u = True
        return RowsSink(str(target.absolute()), "U", place=str(self.path))

    def array(self, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: Any) -> Any:
        """An array of the result, under the name of its field, that is filled before the rest is written."""
        with explain_errors(self.path, INTACT):
            found = _create(self.partial.location, name, shape, chunks, dtype)
        self._filled.append(name)
        return found

    def fill(self, array: Any, columns: slice, values: Any, rows: int) -> None:
        """Write some columns of such an array, so many rows at a time."""
        for start in range(0, values.shape[0], rows):
            with explain_errors(self.path, INTACT), defer_interrupts():
                array[start : start + rows, columns] = values[start : start + rows]

    def drop_u(self) -> None:
        """Leave ``U`` out after all: it is not whole."""
        self.partial.location.clear("U")
        self.has_u = False

    def commit(self, result: Any, *, source: str = "") -> PathOrUrl:
        """Write the arrays, but for a ``U`` that a sink has filled, and the record; then all of it takes its place.

        Parameters
        ----------
        result
            Of a kind that `streamsvd.store.results.kinds` lists.
        source
            What it was made of, for a reader of the record.
        """
        try:
            there = [*self._filled, *(["U"] if self.has_u else [])]
            for name in there:
                result = replace(result, **{name: lazy_array(self.partial.folder, name)})
            encoder = ResultEncoder()
            record = {"kind": kind_of(result), "format": FORMAT, "streamsvd": __version__}
            record |= {"source": source} if source else {}
            record |= encoder.fields(result)
            self._check_replaceable()  # something may have come there meanwhile
            here = self.partial.location
            with explain_errors(self.path, INTACT), defer_interrupts():
                for name, array in encoder.arrays.items():
                    if name not in there:
                        _write_array(here, name, array)
                record[DIGESTS] = {
                    name: digest(here.read(f"{name}/{METADATA}")) for name in encoder.arrays
                }
                record["checksum"] = checksum(record)
                _write_record(here, record)
                self.partial.publish(overwrite=self.overwrite)
                self.committed = True
        except BaseException:
            self.discard()
            raise
        return self.path

    def _check_replaceable(self) -> None:
        """Refuse to remove what is no part of the result that is replaced."""
        if self.overwrite and self._place.exists("write"):
            check_own(self.path)

    def discard(self) -> None:
        """Remove what was written so far; what was at the path before is untouched."""
        self.partial.remove()


def _create(
    place: Location, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: Any
) -> Any:
    return zarr.create_array(
        place.store(name),
        shape=shape,
        chunks=tuple(max(1, c) for c in chunks),
        dtype=dtype,
        serializer=BytesCodec(),
        compressors=[Crc32cCodec()],
        fill_value=0,
        config={"write_empty_chunks": True},
    )


def _write_array(place: Location, name: str, values: Any) -> None:
    """An array in one chunk; one that is read where it is used in runs of rows."""
    shape, dtype = tuple(values.shape), np.dtype(values.dtype)
    if isinstance(values, np.ndarray):
        _create(place, name, shape, shape, dtype)[...] = values
        return
    m = shape[0]
    row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    rows = max(1, min(m, BYTES_AT_ONCE // max(row_bytes, 1)))
    array = _create(place, name, shape, (rows, *shape[1:]), dtype)
    for start in range(0, m, rows):
        array[start : start + rows] = np.asarray(values[start : start + rows])


def _write_record(place: Location, record: dict[str, Any]) -> None:
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": {NAME: record}}
    place.write(METADATA, json.dumps(metadata, indent=2, allow_nan=False).encode())
