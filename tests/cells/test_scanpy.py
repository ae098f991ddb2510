"""The whole job agrees with scanpy's, step by step: sums, genes, components, and the places where they are put."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles

import streamsvd
from streamsvd.single_cell.mathematics import (
    count_entries,
    moments_of,
    normalised_variances,
    ranks_of,
    sum_clipped,
    trend_of,
)
from tests.cells.counts import GROUPS, annotated, counts

pytest.importorskip("skmisc")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    scanpy: Any = pytest.importorskip("scanpy")

pytestmark = pytest.mark.filterwarnings("ignore")  # scanpy's, of what will change in it

SIZES = [
    pytest.param((3000, 1500, 500), id="small"),
    pytest.param((20_000, 5000, 2000), id="large", marks=pytest.mark.slow),
]


def in_double(adata: Any, genes: int, flavor: str) -> Any:
    """What scanpy makes of counts, in double precision."""
    adata = adata.copy()
    adata.X = adata.X.astype(np.float64)
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    scanpy.pp.calculate_qc_metrics(
        adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True
    )
    if flavor == "seurat_v3":
        scanpy.pp.highly_variable_genes(adata, n_top_genes=genes, flavor=flavor)
    scanpy.pp.normalize_total(adata, target_sum=1e4)
    scanpy.pp.log1p(adata)
    if flavor == "seurat":
        scanpy.pp.highly_variable_genes(adata, n_top_genes=genes, flavor=flavor)
    return adata


@pytest.mark.parametrize("size", SIZES)
def test_the_job_is_that_of_scanpy(size) -> None:
    m, n, genes = size
    adata = annotated(counts(m, n))
    theirs = in_double(adata, genes, "seurat_v3")
    scanpy.pp.pca(
        theirs, n_comps=30, mask_var="highly_variable", svd_solver="full" if m < 5000 else "arpack"
    )
    found = streamsvd.cells(adata, genes=genes, rank=30, memory="1GiB")
    assert found.info.passes < 4.1
    found.to_anndata(adata)
    for name in ("total_counts", "n_genes_by_counts", "total_counts_mt"):
        np.testing.assert_array_equal(adata.obs[name], theirs.obs[name])
    np.testing.assert_allclose(adata.obs.pct_counts_mt, theirs.obs.pct_counts_mt, rtol=1e-6)
    for name in ("total_counts", "n_cells_by_counts", "highly_variable"):
        np.testing.assert_array_equal(adata.var[name], theirs.var[name])
    mine, its = (np.asarray(a.var.highly_variable_rank, float) for a in (adata, theirs))
    np.testing.assert_array_equal(np.isnan(mine), np.isnan(its))
    for gene in np.flatnonzero(
        ~np.isnan(mine) & (mine != its)
    ):  # where two scores are the same but for rounding
        (other,) = np.flatnonzero(mine == its[gene])
        scores = theirs.var.variances_norm.to_numpy()[[gene, other]]
        assert np.ptp(scores) <= 1e-12 * scores[0]
    for name in ("means", "variances", "variances_norm"):
        np.testing.assert_allclose(adata.var[name], theirs.var[name], rtol=1e-12, atol=0)
    assert adata.var.highly_variable.sum() == genes
    assert adata.uns["hvg"] == theirs.uns["hvg"]
    assert adata.uns["pca"].keys() == theirs.uns["pca"].keys()
    assert adata.uns["pca"]["params"] == theirs.uns["pca"]["params"]
    for name in ("variance", "variance_ratio"):
        np.testing.assert_allclose(adata.uns["pca"][name], theirs.uns["pca"][name], rtol=1e-6)
    assert adata.varm["PCs"].dtype == theirs.varm["PCs"].dtype
    assert adata.obsm["X_pca"].dtype == np.float32
    lead = GROUPS - 1  # there the gap is
    values = adata.uns["pca"]["variance"]
    assert values[lead - 1] > 1.2 * values[lead]
    for side, name in (("varm", "PCs"), ("obsm", "X_pca")):
        mine, its = (np.asarray(getattr(a, side)[name], float)[:, :lead] for a in (adata, theirs))
        assert subspace_angles(mine, its).max() < 1e-4 if side == "obsm" else 1e-6
    assert (adata.varm["PCs"][~adata.var.highly_variable] == 0).all()


@pytest.mark.parametrize("size", SIZES[:1])
def test_dispersions_are_those_of_scanpy(size) -> None:
    m, n, genes = size
    adata = annotated(counts(m, n, seed=3))
    theirs = in_double(adata, genes, "seurat")
    found = streamsvd.cells(adata, genes=genes, rank=10, flavor="seurat")
    assert found.info.passes < 3.1
    np.testing.assert_array_equal(found.genes.highly_variable, theirs.var.highly_variable)
    for name in ("means", "dispersions", "dispersions_norm"):
        rounding = 2e-6 if theirs.var[name].dtype == np.float32 else 1e-9
        its = theirs.var[name]
        np.testing.assert_allclose(getattr(found.genes, name), its, rtol=rounding, atol=1e-6)


def small_cells() -> Any:
    """Cells that scanpy ships, whose values are logarithms: a matrix of fractions."""
    found = scanpy.datasets.pbmc68k_reduced()
    adata = found.raw.to_adata()
    adata.X = adata.X.astype(np.float64)
    return adata


def test_variances_of_fractions_are_those_of_scanpy_too() -> None:
    """The verb refuses them under this flavour; the arithmetic is the same."""
    from skmisc.loess import loess

    adata = small_cells()
    X = sparse.csr_array(adata.X)
    m, n = X.shape
    cells, sums = count_entries(X, np.zeros(n, bool))
    moments = moments_of(sums, m)
    trend = trend_of(moments, 0.3, loess)
    scores = normalised_variances(moments, trend, sum_clipped(X, trend.most))
    scanpy.pp.calculate_qc_metrics(adata, percent_top=None, log1p=False, inplace=True)
    scanpy.pp.highly_variable_genes(adata, n_top_genes=200, flavor="seurat_v3")
    np.testing.assert_allclose(scores, adata.var.variances_norm, rtol=1e-9)
    np.testing.assert_array_equal(ranks_of(scores, 200).chosen, adata.var.highly_variable)
    np.testing.assert_array_equal(cells.genes, adata.obs.n_genes_by_counts)
    np.testing.assert_allclose(cells.total, adata.obs.total_counts, rtol=1e-6)
    with pytest.raises(streamsvd.SpecError, match="not fractions"):
        streamsvd.cells(adata, genes=200, rank=10)


def test_components_of_the_cells_that_scanpy_ships() -> None:
    """Of fractions as they are, by the other flavour; scanpy in double precision is the truth."""
    adata = small_cells()
    theirs = in_double(adata, 300, "seurat")
    scanpy.pp.pca(theirs, n_comps=50, mask_var="highly_variable", svd_solver="full")
    found = streamsvd.cells(adata, genes=300, rank=50, flavor="seurat")
    np.testing.assert_array_equal(found.genes.highly_variable, theirs.var.highly_variable)
    np.testing.assert_allclose(found.explained_variance, theirs.uns["pca"]["variance"], rtol=1e-6)
    c, truth = found.certificate, np.sqrt(theirs.uns["pca"]["variance"] * found.info.freedom)
    assert (c.sigma_lower * (1 - 1e-9) <= truth).all()
    assert (truth <= c.sigma_upper * (1 + 1e-9)).all()


def test_the_way_goes_on_with_neighbours_in_scanpy(tmp_path) -> None:
    adata = annotated(counts(600, 400, seed=5))
    adata.layers["counts"] = adata.X.copy()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    found = streamsvd.cells(
        tmp_path / "cells.h5ad", genes=150, rank=20, layer="counts", out=tmp_path / "pca.zarr"
    )
    streamsvd.load(tmp_path / "pca.zarr").to_anndata(adata)
    np.testing.assert_allclose(adata.obsm["X_pca"], found.U[:] * found.s, rtol=1e-5, atol=1e-5)
    scanpy.pp.neighbors(adata, n_neighbors=10)
    assert adata.obsp["connectivities"].shape == (600, 600)
    adata.write_h5ad(tmp_path / "done.h5ad")  # all of it is what a file can hold
