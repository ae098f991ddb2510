"""Numbers that lie uncompressed in a file at a URL: a ``.npy`` file, or one without a header, read by ranges."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.objects import object_store
from streamsvd.store.objects.faults import is_absent, store_error
from streamsvd.store.objects.ranges import (
    WINDOW_BYTES,
    Answer,
    ObjectStamp,
    Order,
    Span,
    fetch_ahead,
    fetch_now,
    remote_bytes,
)
from streamsvd.store.sight import LOOK_BYTES, Address, Sight, digest
from streamsvd.store.sources.border import check_dtype, check_rectangle, row_block
from streamsvd.store.sources.flatten import Flattening, flattening
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.urls.runs import byte_runs

HEAD_BYTES = 64 << 10


@dataclass(frozen=True)
class NumbersAtUrl:
    """Address of an array in a file at a URL.

    Attributes
    ----------
    name
        The URL.
    offset
        Of its first byte.
    stored_dtype, fortran, layout
        What it is.
    stamp
        Of the file when it was opened.
    """

    __repr__ = matrix_text

    name: str
    offset: int
    stored_dtype: np.dtype[Any]
    fortran: bool
    layout: Flattening
    stamp: ObjectStamp

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.stored_dtype.newbyteorder("=")

    @property
    def chunks(self) -> tuple[int, int]:
        order = tuple(range(len(self.layout.extents)))
        stored = order[::-1] if self.fortran else order
        if stored[-len(self.layout.row_axes) :] == self.layout.row_axes:  # columns lie whole
            return row_block(self.shape[::-1], self.dtype.itemsize)[::-1]
        return row_block(self.shape, self.dtype.itemsize)

    @property
    def has_no_chunks(self) -> bool:
        """Its chunks are only a way to read it."""
        return True

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        return remote_bytes(min(WINDOW_BYTES, self.nbytes))

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        orders = self._orders(rows, columns, out)
        with closing(fetch_ahead(orders, WINDOW_BYTES, self._explain)) as answers:
            for order, answer in answers:
                data = self._checked(order, answer)
                order.purpose.put(data, self.stored_dtype)

    def _orders(self, rows: slice, columns: slice, out: npt.NDArray[Any]) -> Iterator[Order]:
        store, item = object_store(self.name), self.stored_dtype.itemsize
        extents = self.layout.extents
        for box, place in self.layout.views(rows, columns, out):
            if self.fortran:  # the same bytes are the transpose in C order
                runs = byte_runs(self.offset, extents[::-1], item, box[::-1], place.T)
            else:
                runs = byte_runs(self.offset, extents, item, box, place)
            for run in runs:
                span = Span(run.start, run.length)
                yield Order(store, "", span, run.length, purpose=run)

    def _checked(self, order: Order, answer: Answer | None) -> npt.NDArray[np.uint8]:
        if answer is None:
            raise StoreError(f"{self.name} is not there any more. Restore it and run again.")
        if self.stamp.differs(answer.stamp):
            raise StoreError(
                f"{self.name} has changed since it was opened. What was read of it before and after belongs to two matrices. "
                "Run again once nobody writes there."
            )
        if len(answer.data) < order.most:
            lacking = order.most - len(answer.data)
            raise StoreError(
                f"{self.name} ends {lacking:,} bytes too early for what its header says. Write it again."
            )
        return answer.data

    def _explain(self, order: Order, error: Exception) -> Exception:
        del order
        return explain_file(self.name, error)

    def locate(self, row: int, column: int, /) -> str:
        return self.name

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [UrlAddress(self.name, self.offset)]


@dataclass(frozen=True, slots=True)
class UrlAddress:
    """A file at a URL that holds an array from some byte on."""

    name: str
    offset: int

    @property
    def metadata_name(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def chunk_name(self) -> str:
        return f"bytes from {self.offset:,} on"

    def look(self) -> Sight:
        try:
            found = fetch_part(self.name, Span(self.offset, LOOK_BYTES))
        except Exception as error:  # whatever the way there trips over
            return Sight(error=str(error))
        if found is None:
            return Sight()
        return Sight(digest(str(found.stamp.size).encode()), digest(found.data.tobytes()))


def explain_file(url: str, error: Exception) -> Exception:
    """What is raised for an error of a request for a file."""
    return error if isinstance(error, StoreError) else store_error(error, "read", url)


def fetch_part(url: str, span: Span) -> Answer | None:
    """Some bytes of a file; None where there is no file."""
    order = Order(object_store(url), "", span, span.length)
    return fetch_now([order], lambda _, error: explain_file(url, error))[0]


def open_npy_url(url: str, request: OpenRequest) -> NumbersAtUrl:
    """A ``.npy`` file at a URL as a source; only its header is read.

    Raises
    ------
    StoreError
        If it is not there, or is no whole file of numbers.
    ShapeError
        If it is empty, or has no dimensions.
    """
    head = fetch_part(url, Span(0, HEAD_BYTES))
    if head is None:
        raise StoreError(f"{url} does not exist. Check the address.")
    file = io.BytesIO(head.data.tobytes())
    try:
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read_header(file)
    except (ValueError, EOFError) as error:
        raise StoreError(
            f"{url} is not a complete .npy file of numbers: {error}. Write it again with numpy.save."
        ) from error
    if not shape or math.prod(shape) == 0:
        raise ShapeError(f"{url} is empty or has no dimensions: shape {shape}.")
    check_dtype(dtype, url)
    offset, size = file.tell(), head.stamp.size
    needed = offset + math.prod(shape) * dtype.itemsize
    if size is not None and size < needed:
        raise StoreError(
            f"{url} is not a complete .npy file of numbers: it has {size:,} bytes of {needed:,}. Write it again with numpy.save."
        )
    layout = flattening(shape, None, request.rows, url)
    return NumbersAtUrl(url, offset, dtype, fortran and len(shape) > 1, layout, head.stamp)


def open_binary_url(url: str, request: OpenRequest) -> NumbersAtUrl:
    """A file of numbers without a header at a URL, in C order; nothing of it is read.

    Raises
    ------
    SpecError
        If type or extents are not given.
    StoreError
        If it is not there, or has another number of bytes than they take.
    """
    dtype, shape = request.dtype, request.shape
    if dtype is None or shape is None:
        raise SpecError(
            f"{url} has no header, and nobody knows what its bytes are: pass dtype= and shape=, such as dtype='float32', "
            "shape=(1000, 50), and offset= where the numbers do not begin with the first byte."
        )
    check_dtype(dtype, url)
    try:
        seen = object_store(url).head("")
    except Exception as error:
        if is_absent(error):
            raise StoreError(f"{url} does not exist. Check the address.") from error
        raise explain_file(url, error) from error
    layout = flattening(shape, None, request.rows, url)
    wanted, there = math.prod(shape) * dtype.itemsize, int(seen["size"]) - request.offset
    if wanted != there:
        raise StoreError(
            f"{url} has {max(there, 0):,} bytes from byte {request.offset:,} on, and {dtype.name} values of shape {shape} take "
            f"{wanted:,}. Correct the type, the shape, or with which byte the numbers begin."
        )
    stamp = ObjectStamp(int(seen["size"]), seen["e_tag"])
    return NumbersAtUrl(url, request.offset, dtype, False, layout, stamp)
