"""The verb `cells` of annotated matrices: what `streamsvd.cells` finds, filled in."""

from __future__ import annotations

import os
from typing import Any

from streamsvd.factor.exports.cells import check_annotated
from streamsvd.single_cell.options import Flavor
from streamsvd.single_cell.verb import cells as components_of_counts


def cells(
    adata: Any,
    n_top_genes: int = 2000,
    n_comps: int = 50,
    *,
    flavor: Flavor = "seurat_v3",
    target_sum: float = 1e4,
    layer: str | None = None,
    key_added: str | None = None,
    copy: bool = False,
    **options: Any,
) -> Any:
    """From the counts of an AnnData object to sums, variable genes and principal components, filled in under the names of scanpy.

    Parameters
    ----------
    adata
        An AnnData object with counts, sparse or dense, in memory or backed by its file; or the path of an ``.h5ad`` file or a zarr
        store, which is left as it is.
    n_top_genes, n_comps, flavor, target_sum
        Genes that are kept, components wanted, how genes are chosen, and what the counts of a cell are normalised to sum to, as
        scanpy calls them; see `streamsvd.cells`.
    layer
        The layer that has the counts, instead of ``X``.
    key_added
        One name for the components instead of ``X_pca``, ``PCs`` and ``pca``.
    copy
        Fill a copy and return it.
    **options
        Further ones of `streamsvd.cells`, such as ``mito``, ``memory`` or ``seed``.

    Returns
    -------
    filled
        Of an object None, or with ``copy`` the copy. Of a path the result, whose `to_anndata` fills an object that is read later.

    Raises
    ------
    SpecError
        If ``adata`` is nothing of the kind, a layer is absent, or an entry is no count.
    ShapeError, BudgetError, StoreError
        As `streamsvd.cells`; nothing is filled then.

    Notes
    -----
    Cost: that of `streamsvd.cells`. ``X`` stays as it is.
    """
    asked = {"flavor": flavor, "target": target_sum, "layer": layer, **options}
    if isinstance(adata, str | os.PathLike):
        return components_of_counts(adata, n_top_genes, n_comps, **asked)
    check_annotated(adata)
    found = components_of_counts(adata, n_top_genes, n_comps, **asked)
    target = adata.copy() if copy else adata
    found.to_anndata(target, key_added=key_added, layer=layer)
    return target if copy else None
