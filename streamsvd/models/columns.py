"""Which columns of its blocks a model keeps: settled with the first block, held to by all others."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np

from streamsvd.checks.masks import as_array
from streamsvd.engine.columns import View, mask_of, select_columns, view_of
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.events import Callback
from streamsvd.errors import ShapeError, SpecError
from streamsvd.models.stored_labels import pack_labels, with_labels
from streamsvd.numerics.columns import Columns, as_mask, describe_columns
from streamsvd.numerics.support import FULL_SUPPORT, Support
from streamsvd.protocols import Source
from streamsvd.store.sources.views.kept_columns import KeptColumns
from streamsvd.store.versions import ModelSpec, StoredMask


def stored_mask(mask: Any, spec: ModelSpec) -> StoredMask | None:
    """A mask as a model without blocks keeps it.

    Raises
    ------
    SpecError
        If it is no mask, or columns are what arrives.
    ShapeError
        If the rank exceeds the columns that it keeps.
    """
    if mask is None:
        return None
    refuse_mask_of_columns(mask, spec)
    if isinstance(mask, str):
        return StoredMask(name=mask)
    values = as_array(mask)
    kept = as_mask(values, values.shape, "the model")
    count = int(np.count_nonzero(kept))
    if spec.rank is not None and spec.rank > count:
        raise ShapeError(
            f"rank={spec.rank} exceeds the {count} columns that mask= keeps. Pass rank <= {count}."
        )
    bits = base64.b64encode(np.packbits(kept).tobytes()).decode("ascii")
    dims, coordinates = pack_labels(mask)
    return StoredMask(shape=values.shape, bits=bits, dims=dims, coordinates=coordinates)


def restore_mask(stored: StoredMask | None) -> Any:
    """The mask again, as the caller wrote it."""
    if stored is None or stored.name:
        return None if stored is None else stored.name
    packed = np.frombuffer(base64.b64decode(stored.bits), dtype=np.uint8)
    count = int(np.prod(stored.shape, dtype=np.int64))
    values = np.unpackbits(packed, count=count).astype(bool).reshape(stored.shape)
    return with_labels(values, stored.dims, stored.coordinates)


def first_mask(source: Source, stored: StoredMask | None, mask: Any) -> Any:
    """The mask of the first block: the model's, or that of the call.

    Raises
    ------
    SpecError
        If both were passed and differ.
    """
    known = restore_mask(stored)
    if known is None or mask is None:
        return mask if known is None else known
    mine, its = mask_of(source, known), mask_of(source, mask)
    same = mine is its if mine is None or its is None else np.array_equal(mine, its)
    if not same:
        raise SpecError(
            "mask differs from the one that the model was created with. Leave mask= out: the model remembers it; or begin "
            "another model."
        )
    return known


def refuse_mask_of_columns(mask: Any, spec: ModelSpec) -> None:
    """Refuse a mask where columns are what arrives.

    Raises
    ------
    SpecError
        It says what to do.
    """
    if spec.axis == "columns" and mask is not None:
        raise SpecError(
            "mask= chooses among columns that stay, and here columns arrive. Leave mask= out, and pass the columns "
            "that count."
        )


def known_view(source: Source, spec: ModelSpec, columns: Columns | None, mask: Any) -> View:
    """The source as a model that has absorbed something sees it."""
    check_width(source, spec.width if columns is None else columns.count)
    check_same_mask(source, mask, columns)
    return view_of(source, columns)


def first_view(
    source: Source,
    mask: Any,
    stop: int,
    *,
    tolerant: bool,
    notify: Callback,
    counted: Support = FULL_SUPPORT,
) -> View:
    """The source as the first block makes the model see it, of the rows before ``stop``."""
    view = select_columns(
        source, mask, tolerant=tolerant, notify=notify, counted=counted, stop=stop
    )
    return block_view(view)


def block_view(view: View) -> View:
    """The same for blocks that are read, not computed in a graph of dask."""
    source = view.whole
    if view.columns is not None and isinstance(source, DaskSource):
        view = replace(view, source=KeptColumns(source, view.columns))
    return view


def check_width(source: Source, width: int | None) -> None:
    """Refuse a block of another width before its columns are chosen.

    Raises
    ------
    ShapeError
        It names both.
    """
    if width is not None and source.shape[1] != width:
        raise ShapeError(
            f"the block has {source.shape[1]:,} columns, the model has {width:,}. Pass a block of {width:,} columns, or "
            "begin another model."
        )


def check_same_mask(source: Source, mask: Any, columns: Columns | None) -> None:
    """Refuse a mask that differs from what the model keeps.

    Raises
    ------
    SpecError
        Naming the columns.
    """
    kept = mask_of(source, mask)
    if kept is None:
        return
    mine = np.ones(kept.size, bool) if columns is None else columns.marks != Columns.MARK_MASKED
    if columns is not None and np.array_equal(kept, columns.keep_mask):
        return  # also where the model found by itself what the mask says
    other = np.flatnonzero(kept != mine)
    if other.size:
        raise SpecError(
            f"mask differs from the one that the model was begun with, at {describe_columns(other)}. Leave mask= out: the model "
            "remembers it; or begin another model."
        )
