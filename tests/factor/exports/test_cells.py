from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import ShapeError, SpecError
from streamsvd.labels import NO_LABELS, Coordinate
from tests.anndata.annotated import cells
from tests.factor.exports.conftest import grid_labels


def cell_labels(adata):
    return grid_labels(
        {"obs": adata.n_obs}, {"var": adata.n_vars},
        Coordinate.of("obs", ["obs"], list(adata.obs_names)), Coordinate.of("var", ["var"], list(adata.var_names)),
    )  # fmt: skip


def test_a_result_of_the_same_cells_fills_them() -> None:
    adata = cells()
    found = replace(streamsvd.pca(adata.X, 3, u=True), labels=cell_labels(adata))
    found.to_anndata(adata, layer="counts")
    np.testing.assert_allclose(adata.obsm["X_pca"], found.U * found.s, rtol=1e-6)
    np.testing.assert_array_equal(adata.varm["PCs"], found.Vh.T)
    assert adata.uns["pca"]["params"]["layer"] == "counts"


def test_scores_may_be_passed() -> None:
    adata = cells()
    found = streamsvd.pca(adata.X, 3)
    with pytest.raises(SpecError, match=r"has no U.*or pass the scores"):
        found.to_anndata(adata)
    found.to_anndata(adata, scores=found.transform(adata.X))
    assert adata.obsm["X_pca"].shape == (60, 3)
    with pytest.raises(
        ShapeError, match=r"scores have shape \(60, 2\), and 60 observations with 3 components"
    ):
        found.to_anndata(adata, scores=np.ones((60, 2)))


def test_other_names_are_refused_with_the_first_that_differs() -> None:
    adata = cells()
    found = replace(streamsvd.pca(adata.X, 3, u=True), labels=cell_labels(adata))
    turned = cells()
    turned.var = turned.var.iloc[[0, 2, 1, *range(3, 24)]]
    with pytest.raises(
        SpecError,
        match=r"variable 1 of adata is 'gene2', and that of the result is 'gene1' \(2 of 24 differ\)\. .*another order",
    ):
        found.to_anndata(turned)
    strange = cells()
    strange.obs = strange.obs.rename(index={"cell7": "doublet"})
    with pytest.raises(
        SpecError,
        match=r"observation 7 of adata is 'doublet', and that of the result is 'cell7'.*that was factorised",
    ):
        found.to_anndata(strange)
    with pytest.raises(
        ShapeError, match=r"the result is of 60 x 24, and adata has 59 observations of 24 variables"
    ):
        found.to_anndata(cells(59))
    assert not turned.obsm
    assert not turned.varm


def test_names_are_not_asked_of_a_result_that_has_none() -> None:
    adata = cells()
    replace(streamsvd.pca(adata.X, 3, u=True), labels=NO_LABELS).to_anndata(adata)
    assert "X_pca" in adata.obsm
