"""Whether entries of a matrix may be missing, as far as its kind and its attributes tell before any is read."""

from __future__ import annotations

from typing import Any

from streamsvd.protocols import Source
from streamsvd.store.sources.border import innermost_source

NULLABLE = ("plink", "parquet", "arrow_file", "frames")
"""Modules of sources whose kind has a way to say that a value is missing."""


def may_lack(source: Source) -> bool:
    """Whether entries are declared to be missing, or may be in a source of this kind.

    Notes
    -----
    A fill value of integers, NaN as the fill value of floats, a number that the caller named, or a kind that knows gaps. Of sources that
    are stacked the first one speaks for all.
    """
    layer: Any = source
    while layer is not None:
        if _declares(layer) or type(layer).__module__.rpartition(".")[2] in NULLABLE:
            return True
        layer = getattr(layer, "whole", None)
    stored: Any = innermost_source(source)
    return hasattr(stored, "part") and may_lack(stored.part(0))


def _declares(layer: Any) -> bool:
    packing = getattr(getattr(layer, "array", layer), "packing", None)
    if packing is not None:
        return bool(packing.fills) or bool(
            packing.record.marks_missing and layer.dtype.kind in "fc"
        )
    variable = getattr(getattr(layer, "context", None), "variable", None)
    marks = {} if variable is None else {**variable.encoding, **variable.attrs}
    return layer.dtype.kind in "fc" and any(
        marks.get(name) is not None for name in ("_FillValue", "missing_value")
    )
