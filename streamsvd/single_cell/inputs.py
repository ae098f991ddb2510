"""The counts that `cells` is given, and which of their genes are mitochondrial."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import is_url, local_path
from streamsvd.engine.opening import as_source
from streamsvd.engine.opening import open as open_matrix
from streamsvd.errors import ShapeError, SpecError
from streamsvd.protocols import Source, is_sparse
from streamsvd.single_cell.options import CellsOptions
from streamsvd.store.sources.kinds import find_kind
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.request import source_text

LAYERS = "layers/"
FEATURE_KIND = "feature_type"
"""What 10x Genomics calls the coordinate that tells genes from antibodies and guides."""


def take_counts(A: Any, layer: str | None, options: CellsOptions) -> Source:
    """The matrix, opened if it is not one yet.

    Raises
    ------
    SpecError
        If it is compressed along its columns, or complex, or has no layers and one is asked for.
    ShapeError
        If it has fewer genes or cells than are asked for.
    """
    source = as_source(A) if layer is None else _open_layer(A, layer)
    m, n = source.shape
    stored: Any = source
    if is_sparse(source) and stored.sparse_axis == "columns":
        raise SpecError(
            f"{source.name} is stored by genes (csc), and cells reads whole cells. Write it by cells first: streamsvd convert; or, where it "
            "fits in memory, adata.X = adata.X.tocsr()."
        )
    _check_features(source)
    if source.dtype.kind == "c":
        raise SpecError(f"{source.name} is complex: counts are real numbers.")
    if options.genes > n:
        raise ShapeError(
            f"genes={options.genes} is more than the {n:,} genes of {source.name}. Pass genes <= {n}."
        )
    if options.rank > min(m, options.genes):
        raise ShapeError(
            f"rank={options.rank} is more than the {m:,} cells of {source.name} have components. Pass rank <= {m}."
        )
    return source


def _open_layer(A: Any, layer: str) -> Source:
    """A layer of what has some.

    Raises
    ------
    SpecError
        If it is a matrix alone.
    """
    is_path = isinstance(A, str | os.PathLike) and not is_url(A)
    kind = find_kind(local_path(A, "A") if is_path else A)
    if kind is not None and "variable" not in kind.takes:
        raise SpecError(
            f"layer={layer!r} was asked of {source_text(A)}, which is {kind.title} and has no layers. Leave it out, or pass an AnnData "
            "or its file."
        )
    return open_matrix(A, variable=f"{LAYERS}{layer}")


def _check_features(source: Source) -> None:
    """Refuse features of several kinds, of which genes alone are counted.

    Raises
    ------
    SpecError
        It names the kinds.
    """
    kinds = [c for c in source_labels(source).coordinates if c.name == FEATURE_KIND]
    values: Any = kinds[0].values if kinds else ()
    found = sorted({str(values[i]) for i in range(len(values))})
    if len(found) > 1:
        raise SpecError(
            f"{source.name} has features of several kinds ({', '.join(found)}), and cells counts genes. Pass an AnnData of the genes alone: "
            "scanpy.read_10x_h5 leaves the others out."
        )


def gene_names(source: Source) -> npt.NDArray[np.object_] | None:
    """Names of the genes; None where the matrix has none."""
    return source_labels(source).column_names


def named_genes(source: Source, prefix: str) -> npt.NDArray[np.bool_]:
    """Which genes have names that begin so, in either case; none if the prefix is empty, or there are no names."""
    names = gene_names(source)
    found = np.zeros(source.shape[1], bool)
    if names is None or not prefix:
        return found
    begins = prefix.lower()
    return np.array([str(name).lower().startswith(begins) for name in names], bool)
