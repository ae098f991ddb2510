"""What `cells` hands back: principal components, with what was counted of each gene and each cell."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.factor.result import PCA
from streamsvd.single_cell.options import CellsOptions
from streamsvd.typing import Real

HIGHLY_VARIABLE = "highly_variable"
"""The column of ``var`` that says which genes were kept."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GeneTable:
    """What is known of each gene, ``(n,)`` each.

    Attributes
    ----------
    n_cells_by_counts, total_counts
        Cells in which it was counted, and the sum of its counts.
    means, variances
        Of its counts; under ``"seurat"`` the mean is ``log(1 + mean)`` of normalised counts, and the variance that of these.
    variances_norm
        Variance of its clipped counts in units of the trend, ``"seurat_v3"`` alone.
    dispersions, dispersions_norm
        Logarithm of variance over mean, and the same against genes of about the same mean, ``"seurat"`` alone.
    highly_variable, highly_variable_rank
        Whether it was kept; its place among those that were, from 0, NaN of the others.
    mt
        Whether it is mitochondrial by its name.
    """

    n_cells_by_counts: npt.NDArray[np.int64]
    total_counts: Real
    means: Real
    variances: Real
    variances_norm: Real | None = None
    dispersions: Real | None = None
    dispersions_norm: Real | None = None
    highly_variable: npt.NDArray[np.bool_]
    highly_variable_rank: Real
    mt: npt.NDArray[np.bool_]

    def columns(self) -> dict[str, Any]:
        """The columns of ``var``, by their names."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: values for name, values in found.items() if values is not None}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CellTable:
    """What was counted of each cell, ``(m,)`` each.

    Attributes
    ----------
    total_counts, n_genes_by_counts
        Sum of its counts, and genes that were counted in it.
    total_counts_mt
        Sum of the counts of mitochondrial genes.
    """

    total_counts: Real
    n_genes_by_counts: npt.NDArray[np.int32]
    total_counts_mt: Real

    @property
    def pct_counts_mt(self) -> Real:
        """Their share in percent; NaN of a cell without counts, as of scanpy."""
        share = np.full_like(self.total_counts, np.nan)
        np.divide(self.total_counts_mt, self.total_counts, out=share, where=self.total_counts > 0)
        return np.asarray(100.0 * share)

    def columns(self) -> dict[str, Any]:
        """The columns of ``obs``, by their names."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return found | {"pct_counts_mt": self.pct_counts_mt}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CellsResult(PCA):
    """Principal components of cells: a `PCA` of the logarithms of normalised counts of the genes that vary most.

    Attributes
    ----------
    s, Vh, U, mean, scale, certificate, info, preparation, labels, climatology
        As of `PCA`; genes that were not kept are NaN in ``Vh`` and ``mean``.
    genes, cells
        What is known of each gene, and of each cell.
    options
        What was asked.
    """

    genes: GeneTable
    cells: CellTable
    options: CellsOptions  # type: ignore[assignment]  # what was asked of this verb, not of svd

    def __repr__(self) -> str:
        m, n = self.cells.total_counts.size, self.genes.means.size
        kept = int(self.genes.highly_variable.sum())
        share = float(self.explained_variance_ratio.sum())
        return (
            f"<CellsResult: {self.rank} components of {m:,} cells, {kept:,} of {n:,} genes, {share:.4%} of the variance, "
            f"{self.info.status.value}, {self.info.cost}>"
        )

    def to_anndata(
        self,
        adata: Any,
        *,
        key_added: str | None = None,
        layer: str | None = None,
        scores: Any = None,
    ) -> None:
        """Write the result into an AnnData object, under the names of scanpy.

        Parameters
        ----------
        adata
            The object, or one with the same cells and genes in the same order. It gets ``obsm["X_pca"]``, ``varm["PCs"]`` and
            ``uns["pca"]``, as `PCA.to_anndata` writes them; the columns of `cells` in ``obs`` and those of `genes` in ``var``;
            ``uns["hvg"]``. ``X`` stays as it is.
        key_added, layer, scores
            As of `PCA.to_anndata`.

        Raises
        ------
        SpecError, ShapeError
            As of `PCA.to_anndata`; nothing is written then.
        """
        from streamsvd.factor.exports.cells import CellKeys, fill_annotations

        fill_annotations(self, adata, CellKeys(key_added, layer, HIGHLY_VARIABLE), scores)
        for name, values in self.cells.columns().items():
            adata.obs[name] = values
        for name, values in self.genes.columns().items():
            adata.var[name] = values
        adata.uns["hvg"] = {"flavor": self.options.flavor}
