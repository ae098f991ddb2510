"""What AnnData writes into a group of zarr or HDF5: a sparse matrix or a table is a group, which says so in its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from streamsvd.checks.masks import as_array
from streamsvd.errors import ShapeError, SpecError, StoreError

SPARSE = ("csr_matrix", "csc_matrix", "csr_array", "csc_array")
TABLES = ("dataframe",)
ROOT, RAW = "anndata", "raw"
CONTAINERS = ("", ROOT, RAW, "dict")
"""Groups that hold matrices."""
PARTS = ("data", "indices", "indptr")
"""Arrays of a sparse matrix: values, indices, and where rows begin."""
WHOLE = "X"
"""What AnnData calls the data."""


def encoding_of(group: Any) -> str:
    """What a group stands for; empty where it says nothing of it."""
    said = group.attrs.get("encoding-type", "")
    if not said and "h5sparse_format" in group.attrs:  # of AnnData before 0.7
        said = f"{_text(group.attrs['h5sparse_format'])}_matrix"
    if said or not all(name in group for name in PARTS):
        return _text(said)
    return "csr_matrix"  # of others, who say nothing


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def is_sparse_group(node: Any) -> bool:
    """Whether a node is a group that stands for a sparse matrix."""
    return hasattr(node, "keys") and encoding_of(node) in SPARSE


def check_group(group: Any, where: str, name: str = "") -> None:
    """Refuse a group of AnnData that is no matrix.

    Parameters
    ----------
    group
        A zarr group.
    where
        How messages call it.
    name
        Its path within the file; empty for the whole.

    Raises
    ------
    SpecError
        It says what may be chosen.
    """
    kind = encoding_of(group)
    refuse_table(kind, where)
    if kind == ROOT and name == "" and WHOLE in set(group.group_keys()):
        check_group(group[WHOLE], f"{where}/{WHOLE}", WHOLE)


def refuse_table(kind: str, where: str) -> None:
    """Refuse a table of AnnData, and what else is stored in groups.

    Raises
    ------
    SpecError
        It says what may be chosen.
    """
    if kind in TABLES:
        raise SpecError(
            f"{where} is a table of AnnData, not a matrix of numbers. Choose a matrix, such as X or a layer."
        )
    if kind not in (*SPARSE, *CONTAINERS):
        raise SpecError(
            f"{where} has the encoding-type {kind!r}: csr_matrix, csc_matrix and array can be read. Choose a matrix, such as X or a "
            "layer."
        )


def sparse_form(
    kind: str, attributes: Mapping[str, Any], where: str
) -> tuple[tuple[int, int], Literal["rows", "columns"]]:
    """Extents of a sparse matrix of AnnData, and along which axis it is compressed.

    Raises
    ------
    StoreError
        If its attributes do not say so.
    """
    given = attributes.get("shape", attributes.get("h5sparse_shape"))
    shape = None if given is None else _extents(given)
    if shape is None or len(shape) != 2 or any(extent < 0 for extent in shape):
        raise StoreError(
            f"{where} has data, indices and indptr, but {'no shape' if given is None else f'the shape {given!r}'}. Add the attribute "
            "shape, the numbers of its rows and columns."
        )
    if 0 in shape:
        raise ShapeError(f"{where} is empty: shape {shape}. A matrix needs at least one entry.")
    return (shape[0], shape[1]), "columns" if kind.startswith("csc") else "rows"


def _extents(given: Any) -> tuple[int, ...] | None:
    """Whole numbers; None for anything else."""
    try:
        values = np.atleast_1d(as_array(given))
        whole = values.astype(np.int64)
    except (TypeError, ValueError, OverflowError):
        return None
    is_whole = values.ndim == 1 and values.dtype.kind in "iuf" and bool((whole == values).all())
    return tuple(whole.tolist()) if is_whole else None
