"""What AnnData writes into a zarr group: a sparse matrix or a table is a group, which says so in its attributes."""

from __future__ import annotations

from typing import Any

from streamsvd.errors import SpecError

SPARSE = ("csr_matrix", "csc_matrix", "csr_array", "csc_array")
TABLES = ("dataframe",)
ROOT = "anndata"


def encoding_of(group: Any) -> str:
    """What a zarr group stands for; empty where it says nothing of it."""
    said = dict(group.attrs).get("encoding-type", "")
    if said or not {"data", "indices", "indptr"} <= set(group.array_keys()):
        return str(said)
    return "csr_matrix"  # older files, and those of others


def check_group(group: Any, where: str, name: str = "") -> None:
    """Refuse a group that stands for one matrix which is not read yet.

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
        What it is, and the line that gets it in.
    """
    kind = encoding_of(group)
    if kind in SPARSE:
        raise SpecError(
            f"{where} is sparse ({kind} of AnnData), which is not read yet. Where it fits in memory as a dense array, make one: "
            f"{densify_code(where, name)}"
        )
    if kind in TABLES:
        raise SpecError(
            f"{where} is a table of AnnData, not a matrix of numbers. Choose a matrix, such as X or a layer."
        )
    if kind == ROOT and name == "" and "X" in set(group.group_keys()):
        check_group(group["X"], f"{where}/X", "X")


def densify_code(where: str, name: str) -> str:
    """Python that makes a dense array of a sparse one of AnnData."""
    root = where.removesuffix(name).rstrip("/") or where
    key = {"": "", "X": ".X"}.get(name)
    if key is None and name.startswith("layers/"):
        key = f".layers[{name.removeprefix('layers/')!r}]"
    stem = name.rpartition("/")[2] or "A"
    if key:
        return f"numpy.save('{stem}.npy', anndata.read_zarr('{root}'){key}.toarray())"
    return f"numpy.save('{stem}.npy', anndata.io.read_elem(zarr.open_group('{where}')).toarray())"
