"""A DataArray whose values are a dask array: its chunks feed the spans, and its coordinates are labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.dask_source import DaskSource, dask_source
from streamsvd.labels import Labels
from streamsvd.numerics.blocks import Axis
from streamsvd.store.sources.beside import StoredVariable
from streamsvd.store.sources.flatten import Flattening
from streamsvd.store.sources.neighbours import NeighbourArray
from streamsvd.store.sources.objects.xarray_arrays import matrix_of
from streamsvd.store.sources.objects.xarray_variables import XarrayContext, xarray_context
from streamsvd.store.sources.packing import Packing
from streamsvd.store.sources.request import OpenRequest


@dataclass(frozen=True, slots=True, eq=False)
class LabelledDaskSource(DaskSource):
    """A dask array of any number of dimensions as the matrix that it was made.

    Attributes
    ----------
    array
        Two-dimensional.
    layout
        How it became so.
    context
        What lies beside it.
    copies
        Of a span, beside what is assembled, while it is put together.
    """

    layout: Flattening
    context: XarrayContext
    copies: int

    def span_bytes(self, axis: Axis) -> int:
        along, across = (0, 1) if axis == "rows" else (1, 0)
        extra = self.copies * self.chunks[along] * self.shape[across] * self.dtype.itemsize
        return DaskSource.span_bytes(self, axis) + extra

    @property
    def name(self) -> str:
        return self.context.place

    @property
    def labels(self) -> Labels:
        """What the data set says of its rows and columns."""
        return self.context.labels(self.layout)

    def neighbour(self, name: str) -> NeighbourArray:
        """An array of the data set; KeyError where there is none."""
        return self.context.neighbour(name)

    def beside(self) -> list[StoredVariable]:
        """All arrays of the data set."""
        return self.context.variables()


def dask_variable(source: Any, request: OpenRequest) -> LabelledDaskSource | None:
    """A variable whose values are a dask array as a source; None where they are something else.

    Raises
    ------
    SpecError, ShapeError
        If there is no such variable, or it is no matrix of numbers.
    """
    context = xarray_context(source, request.variable)
    if context.variable.chunks is None:
        return None
    packing, layout = matrix_of(context, request)
    array, copies = _flat(context.variable.data, layout)
    if not packing.is_plain:
        array = array.map_blocks(
            _unpack_chunk, packing, dtype=packing.dtype, meta=np.empty((0, 0), packing.dtype)
        )
        copies += 1
    return LabelledDaskSource(dask_source(array).array, layout, context, copies)


def _flat(array: Any, layout: Flattening) -> tuple[Any, int]:
    """A dask array as the matrix of a layout, and how many copies of a span that takes, with one for what xarray does before.

    Chunks are cut along the first of the dimensions that make a side, and whole along the others: then each is read once, and a run
    of them is a run of rows, or columns.
    """
    order, copies = (*layout.row_axes, *layout.column_axes), 1
    whole = {
        axis: -1
        for axes in (layout.row_axes, layout.column_axes)
        for axis in axes[1:]
        if array.numblocks[axis] > 1
    }
    if whole:
        array, copies = array.rechunk(whole), 3
    if order != tuple(range(array.ndim)):
        array, copies = array.transpose(order), max(2, copies)
    return (array if array.ndim == 2 else array.reshape(layout.shape)), copies


def _unpack_chunk(block: npt.NDArray[Any], packing: Packing) -> npt.NDArray[Any]:
    """A chunk as it is meant."""
    out = np.empty(block.shape, packing.dtype)
    packing.unpack(np.ascontiguousarray(block).view(packing.stored_dtype), out)
    return out
