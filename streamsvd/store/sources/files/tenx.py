"""Counts of single cells as 10x Genomics writes them: columns of features x barcodes, which are rows of barcodes x features.

A file of version 3 has one group, ``matrix``; one of version 2 has a group for each genome.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.store.sources.beside import names_text
from streamsvd.store.sources.hdf5.files import reading_hdf5
from streamsvd.store.sources.hdf5.sparse_groups import open_sparse_hdf5
from streamsvd.store.sources.views.sparse_view import EntriesView
from streamsvd.store.sources.zarr_store.anndata import PARTS

BARCODES, FEATURES = "barcodes", "features"
CURRENT = "matrix"
"""The group of version 3."""
MEMBERS = (BARCODES, "shape", *PARTS)
NAMES = ((FEATURES, "name"), ("", "gene_names"))
"""Where the names of features are, by version; then what else is known of each."""
OTHERS = (
    (FEATURES, "id"), (FEATURES, "feature_type"), (FEATURES, "genome"), ("", "genes"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class BarcodeMatrix(EntriesView):
    """Barcodes in rows, features in columns, with their names.

    Attributes
    ----------
    whole
        The matrix.
    path, group
        The file, and where in it the matrix is.
    """

    path: Path
    group: str

    @property
    def labels(self) -> Labels:
        """Barcodes, names of features, and what else is known of these."""
        m, n = self.shape
        rows, columns = Dimension("barcode", m), Dimension("feature", n)
        found: list[Coordinate] = []
        with reading_hdf5(self.path) as file:
            node = file[self.group]
            _add(found, node, "", BARCODES, "barcode", rows)
            for home, name in NAMES:
                _add(found, node, home, name, "feature", columns)
            for home, name in OTHERS:
                _add(found, node, home, name, "id" if name == "genes" else name, columns)
        return Labels(self.group, {}, (rows,), (columns,), tuple(found))


def _add(
    found: list[Coordinate], node: Any, home: str, name: str, called: str, along: Dimension
) -> None:
    """With the texts of a name, where they are there."""
    parent = node.get(home) if home else node
    values: Any = parent.get(name) if hasattr(parent, "keys") else None
    if getattr(values, "shape", None) == (along.length,):
        found.append(Coordinate.of(called, [along.name], np.asarray(values[...], object)))


def tenx_groups(file: Any) -> list[str]:
    """The groups of a file that are such matrices; links that lead nowhere are passed over."""
    found = []
    for name in file:
        with suppress(OSError, RuntimeError, ValueError, KeyError):
            if is_tenx(file.get(name)):
                found.append(name)
    return found


def is_tenx(node: Any) -> bool:
    """Whether a node of a file is such a matrix, or one that lacks a single part: `open_tenx` says which."""
    if not hasattr(node, "keys"):
        return False
    lacking = [name for name in MEMBERS if name not in node]
    if not lacking:
        return True
    signs = (BARCODES, FEATURES, "genes")
    is_of_others = "shape" in node.attrs or "encoding-type" in node.attrs
    return len(lacking) == 1 and not is_of_others and any(name in node for name in signs)


def open_tenx(path: Path, groups: list[str], variable: str | None) -> BarcodeMatrix:
    """A matrix of barcodes by features; the offsets of its rows are read once.

    Parameters
    ----------
    path
        The file.
    groups
        Its groups that are matrices.
    variable
        Which is meant; the only one if left out.

    Raises
    ------
    SpecError
        If there are several and none was named.
    StoreError
        If it is not whole.
    """
    if variable is None and len(groups) > 1:
        raise SpecError(
            f"{path} holds one matrix for each genome: {names_text(groups)}. Choose one with variable=."
        )
    group = (variable or groups[0]).strip("/")
    with reading_hdf5(path) as file:
        node = file[group]
        lacking = [name for name in MEMBERS if name not in node]
        if lacking:
            raise StoreError(
                f"{path}:{group} has no {lacking[0]}: a matrix of 10x Genomics has {', '.join(MEMBERS[:-1])} and {MEMBERS[-1]}. The file is "
                "damaged, or was not made by 10x Genomics: write it again with all of them."
            )
        given = np.asarray(node["shape"][...]) if getattr(node["shape"], "ndim", 0) == 1 else None
        barcodes = node[BARCODES].shape
    where = f"{path}:{group}"
    if given is None or given.size != 2 or given.dtype.kind not in "iu":
        raise StoreError(
            f"{where}/shape is no pair of whole numbers: features and barcodes. The file is damaged."
        )
    features, count = (int(n) for n in given)
    if min(features, count) < 1:
        raise ShapeError(
            f"{where} is empty: {count:,} barcodes of {features:,} features. A matrix needs at least one entry."
        )
    if barcodes != (count,):
        raise StoreError(
            f"{where}/barcodes has {barcodes[0]:,} names, but shape promises {count:,} barcodes. The file is damaged."
        )
    return BarcodeMatrix(open_sparse_hdf5(path, group, (count, features), "rows"), path, group)
