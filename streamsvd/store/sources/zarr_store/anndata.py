"""What AnnData writes into a zarr group: a sparse matrix or a table is a group, which says so in its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from streamsvd.errors import SpecError, StoreError

SPARSE = ("csr_matrix", "csc_matrix", "csr_array", "csc_array")
TABLES = ("dataframe",)
ROOT = "anndata"
WHOLE = "X"
"""What AnnData calls the data."""


def encoding_of(group: Any) -> str:
    """What a zarr group stands for; empty where it says nothing of it."""
    said = dict(group.attrs).get("encoding-type", "")
    if said or not all(name in group for name in ("data", "indices", "indptr")):
        return said.decode() if isinstance(said, bytes) else str(said)
    return "csr_matrix"  # older files, and those of others


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
    """Refuse a table of AnnData.

    Raises
    ------
    SpecError
        It says what may be chosen.
    """
    if kind in TABLES:
        raise SpecError(
            f"{where} is a table of AnnData, not a matrix of numbers. Choose a matrix, such as X or a layer."
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
    shape = () if given is None else tuple(int(extent) for extent in given)
    if len(shape) != 2 or any(extent < 1 for extent in shape):
        raise StoreError(
            f"{where} has data, indices and indptr, but {'no shape' if given is None else f'the shape {shape}'}. Add the attribute "
            "shape, the numbers of its rows and columns."
        )
    return (shape[0], shape[1]), "columns" if kind.startswith("csc") else "rows"
