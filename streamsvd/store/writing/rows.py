"""A new zarr array whose rows come from tasks, whole chunks from each, by way of what they leave beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.errors import StoreError
from streamsvd.labels import Dimension
from streamsvd.store.explanations import explain_errors
from streamsvd.store.places import Location, PartialWork, Scratch, location_of
from streamsvd.store.results.belongings import check_outside
from streamsvd.store.sight import Address
from streamsvd.store.writing.array_labels import ArrayLabels, create_labelled, is_labelled
from streamsvd.store.writing.shield import defer_interrupts

INTACT = "nothing was replaced."
CHECKSUM_CODECS: dict[str, Any] = {"serializer": BytesCodec(), "compressors": [Crc32cCodec()]}
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RowsSink:
    """Writes runs of rows of a zarr array; each run is whole chunks that one task owns."""

    path: str
    name: str
    """Of the array, in messages."""
    beside: tuple[int, ...] = ()
    """Extents of its dimensions beside the first, where they are more than one."""
    place: str = ""
    """What it is to become, in messages."""

    def addresses(self) -> list[Address]:
        """Where other processes write."""
        return location_of(place_of(self.path)).output_addresses(
            "zarr.json", self.place or self.name
        )

    def write(self, start: int, rows: Array, /) -> None:
        """Write rows from ``start`` on.

        Raises
        ------
        StoreError
            If the disk is full or the store cannot be written.
        """
        with explain_errors(f"rows {start} on of {self.name}"), defer_interrupts():
            # A row of zeros is written too: a chunk that is not there means damage.
            store = location_of(place_of(self.path)).store()
            array = zarr.open_array(store, mode="r+", zarr_format=3).with_config(
                {"write_empty_chunks": True}
            )
            count = rows.shape[0]
            array[start : start + count] = (
                rows.reshape(count, *self.beside) if self.beside else rows
            )


class RowsWriter:
    """Rows of a matrix on their way to a zarr array beside its place, which they take when all are there.

    Parameters
    ----------
    path
        Where the array is to be.
    shape, chunks, dtype
        Of the array.
    overwrite
        Replace what is there, if that is a zarr array.
    has_checksums
        Whether each chunk has one (crc32c) and is not compressed: numbers that were computed hardly shrink.
    labels
        Dimensions and coordinates that it is written with, of as many rows and columns; columns then come from one dimension or
        several. With coordinates the place is a group that holds the array and these.

    Raises
    ------
    StoreError
        If there is something at the path that may not be replaced, or the place is in a result.
    """

    def __init__(
        self,
        path: PathOrUrl,
        shape: tuple[int, int],
        chunks: tuple[int, int],
        dtype: np.dtype[Any],
        *,
        overwrite: bool,
        has_checksums: bool = False,
        labels: ArrayLabels | None = None,
    ) -> None:
        place = location_of(path)
        place.settle()
        taken = place.exists("write")
        if taken and not overwrite:
            raise StoreError(
                f"{path} exists already. Pass overwrite=True (--overwrite) to replace it."
            )
        if taken and not (_is_array(place) or is_labelled(path)):
            raise StoreError(
                f"{path} exists and is no zarr array; it will not be replaced. Choose another place."
            )
        check_outside(path)
        self.path, self.shape, self.dtype, self.overwrite = path, shape, dtype, overwrite
        self.band = min(chunks[0], shape[0])
        begun: list[PartialWork] = []
        try:
            # An interrupt waits: zarr writes in a thread of its own, and would go on in a folder that is removed.
            with explain_errors(path, INTACT), defer_interrupts():
                begun.append(place.begin())
                self.partial = begun[0]
                self._array, self.inside = create_labelled(
                    self.partial.location,
                    ArrayLabels("", (Dimension("", shape[0]), Dimension("", shape[1])))
                    if labels is None
                    else labels,
                    chunks=chunks,
                    dtype=dtype,
                    codecs=CHECKSUM_CODECS if has_checksums else {},
                )
        except BaseException:
            for partial in begun:
                partial.remove()
            raise
        self._written = 0

    @property
    def scratch(self) -> Scratch:
        """Rows on their way, which tasks put and take; gone when the array takes its place."""
        return self.partial.scratch

    def sink(self) -> RowsSink:
        """Takes rows of the array from several tasks; how many they wrote is to be told to `count`."""
        path = str((self.partial.folder / self.inside).absolute())
        extents = tuple(int(n) for n in self._array.shape[1:])
        return RowsSink(path, path, extents if len(extents) > 1 else (), str(self.path))

    def count(self, n_rows: int) -> None:
        """So many rows were written by way of the sink."""
        self._written += n_rows

    def commit(self) -> PathOrUrl:
        """The array takes its place.

        Raises
        ------
        StoreError
            If rows are missing, or it cannot be written.
        """
        if self._written != self.shape[0]:
            raise StoreError(
                f"{self._written:,} of {self.shape[0]:,} rows were written to {self.path}; nothing was kept."
            )
        with explain_errors(self.path, INTACT), defer_interrupts():
            self.partial.publish(overwrite=self.overwrite)
        return self.path

    def discard(self) -> None:
        """Remove what was written so far; what was at the path before is untouched."""
        self.partial.remove()


def _is_array(place: Location) -> bool:
    if place.size(".zarray") is not None:
        return True
    try:
        return bool(msgspec.json.decode(place.read("zarr.json"))["node_type"] == "array")
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return False
