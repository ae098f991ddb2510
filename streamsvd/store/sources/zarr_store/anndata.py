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
    if said or not all(name in group for name in ("data", "indices", "indptr")):
        return said.decode() if isinstance(said, bytes) else str(said)
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
    root = where.removesuffix(name).rstrip("/") or where
    refuse_encoding(kind, where, root, name)
    if kind == ROOT and name == "" and "X" in set(group.group_keys()):
        check_group(group["X"], f"{where}/X", "X")


def refuse_encoding(kind: str, where: str, root: str, name: str, reader: str = "read_zarr") -> None:
    """Refuse what stands for one matrix which is not read yet.

    Parameters
    ----------
    kind
        As `encoding_of` tells it.
    where, root
        How messages call it, and the whole file.
    name
        Its path within the file.
    reader
        What of anndata reads the file.

    Raises
    ------
    SpecError
        What it is, and the line that gets it in.
    """
    if kind in SPARSE:
        raise SpecError(
            f"{where} is sparse ({kind} of AnnData), which is not read yet. Where it fits in memory as a dense array, make one: "
            f"{densify_code(where, root, name, reader)}"
        )
    if kind in TABLES:
        raise SpecError(
            f"{where} is a table of AnnData, not a matrix of numbers. Choose a matrix, such as X or a layer."
        )


def densify_code(where: str, root: str, name: str, reader: str) -> str:
    """Python that makes a dense array of a sparse one of AnnData."""
    key = {"": "", "X": ".X"}.get(name)
    if key is None and name.startswith("layers/"):
        key = f".layers[{name.removeprefix('layers/')!r}]"
    stem = name.rpartition("/")[2] or "A"
    if key:
        return f"numpy.save('{stem}.npy', anndata.{reader}('{root}'){key}.toarray())"
    if reader != "read_zarr":
        return f"numpy.save('{stem}.npy', anndata.io.read_elem(h5py.File('{root}')['{name}']).toarray())"
    return f"numpy.save('{stem}.npy', anndata.io.read_elem(zarr.open_group('{where}')).toarray())"
