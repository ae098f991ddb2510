from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

import streamsvd
from streamsvd.errors import ShapeError, SpecError
from tests.anndata.annotated import cells

HIGH = np.arange(24) % 3 > 0


def difference(A: Any, B: Any) -> float:
    """Largest difference of columns up to their sign, relative to the largest entry."""
    A, B = np.asarray(A, float), np.asarray(B, float)
    signs = np.sign((A * B).sum(axis=0))
    return float(np.abs(A * signs - B).max() / np.abs(B).max())


@pytest.mark.parametrize("dtype", ["f8", "i4"])
def test_what_is_filled_in_is_that_of_scikit_learn(dtype) -> None:
    adata = cells(dtype=dtype)
    streamsvd.anndata.pca(adata, 5, tol=1e-9)
    peer = PCA(5, svd_solver="full").fit(adata.X)
    assert difference(adata.varm["PCs"], peer.components_.T) < 1e-6
    assert difference(adata.obsm["X_pca"], peer.transform(adata.X)) < 1e-6
    np.testing.assert_allclose(adata.uns["pca"]["variance"], peer.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(
        adata.uns["pca"]["variance_ratio"], peer.explained_variance_ratio_, rtol=1e-6
    )
    assert adata.uns["pca"]["params"] == {
        "zero_center": True, "use_highly_variable": False, "mask_var": None
    }  # fmt: skip


@pytest.mark.parametrize(("dtype", "components"), [("f4", "f4"), ("f8", "f8"), ("i4", "f8")])
def test_types_are_those_of_scanpy(dtype, components) -> None:
    adata = cells(dtype=dtype)
    streamsvd.anndata.pca(adata, 3)
    assert adata.obsm["X_pca"].dtype == np.float32
    assert adata.varm["PCs"].dtype == np.dtype(components)


@pytest.mark.parametrize("way", ["default", "name", "array", "deprecated"])
def test_variables_that_do_not_take_part_have_no_loadings(way) -> None:
    adata = cells(highly_variable=HIGH, other=HIGH)
    options = {
        "default": {}, "name": {"mask_var": "other"}, "array": {"mask_var": HIGH}, "deprecated": {"use_highly_variable": True}
    }[way]  # fmt: skip
    streamsvd.anndata.pca(adata, 4, tol=1e-9, **options)
    peer = PCA(4, svd_solver="full").fit(adata.X[:, HIGH])
    assert difference(adata.varm["PCs"][HIGH], peer.components_.T) < 1e-6
    assert (adata.varm["PCs"][~HIGH] == 0).all()
    assert difference(adata.obsm["X_pca"], peer.transform(adata.X[:, HIGH])) < 1e-6
    assert adata.uns["pca"]["params"]["use_highly_variable"] is (way in ("default", "deprecated"))


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array"])
def test_what_is_sparse_is_filled_in_as_what_is_dense(form) -> None:
    adata, other = cells(highly_variable=HIGH), cells()
    adata.X = np.where(adata.X > 6, adata.X, 0)
    other.X = getattr(sparse, form)(adata.X)
    other.var["highly_variable"] = HIGH
    streamsvd.anndata.pca(adata, 4, tol=1e-9)
    streamsvd.anndata.pca(other, 4, tol=1e-9)
    assert difference(other.varm["PCs"][HIGH], adata.varm["PCs"][HIGH]) < 1e-6
    assert difference(other.obsm["X_pca"], adata.obsm["X_pca"]) < 1e-5


@pytest.mark.parametrize("options", [{"mask_var": None}, {"use_highly_variable": False}])
def test_all_variables_take_part_where_that_is_said(options) -> None:
    adata = cells(highly_variable=HIGH)
    streamsvd.anndata.pca(adata, 4, tol=1e-9, **options)
    assert (
        difference(adata.varm["PCs"], PCA(4, svd_solver="full").fit(adata.X).components_.T) < 1e-6
    )


def test_a_layer_a_key_and_a_copy() -> None:
    adata = cells()
    adata.layers["scaled"] = adata.X * np.linspace(1, 3, 24)
    out = streamsvd.anndata.pca(adata, 3, layer="scaled", key_added="pcs", copy=True, tol=1e-9)
    assert not adata.obsm
    assert out.obsm.keys() == out.varm.keys() == out.uns.keys() == {"pcs"}
    assert out.uns["pcs"]["params"]["layer"] == "scaled"
    peer = PCA(3, svd_solver="full").fit(adata.layers["scaled"])
    assert difference(out.varm["pcs"], peer.components_.T) < 1e-6


def test_without_centring_it_is_the_svd() -> None:
    adata = cells()
    streamsvd.anndata.pca(adata, 3, zero_center=False, tol=1e-9)
    U, s, Vh = np.linalg.svd(adata.X, full_matrices=False)
    assert difference(adata.varm["PCs"], Vh[:3].T) < 1e-6
    assert difference(adata.obsm["X_pca"], U[:, :3] * s[:3]) < 1e-6
    assert adata.uns["pca"]["params"]["zero_center"] is False


@pytest.mark.parametrize(("shape", "count"), [((60, 24), 23), ((9, 24), 8), ((70, 60), 50)])
def test_as_many_components_as_scanpy_makes(shape, count) -> None:
    adata = cells(*shape)
    streamsvd.anndata.pca(adata)
    assert adata.obsm["X_pca"].shape == (shape[0], count)


def test_what_cannot_be_meant_is_refused() -> None:
    adata = cells(highly_variable=HIGH, score=np.arange(24.0))
    pca = streamsvd.anndata.pca
    with pytest.raises(
        ShapeError, match=r"n_comps=40 is asked of 60 observations of 16 variables .* n_comps <= 16"
    ):
        pca(adata, 40)
    with pytest.raises(SpecError, match=r"this AnnData has no 'layers/raw'; it has X"):
        pca(adata, 3, layer="raw")
    with pytest.raises(
        SpecError,
        match=r"mask_var='hvg' is no column of adata.var, which has highly_variable, score",
    ):
        pca(adata, 3, mask_var="hvg")
    with pytest.raises(SpecError, match=r"adata.var\['score'\] holds float64, no truth values"):
        pca(adata, 3, mask_var="score")
    with pytest.raises(ShapeError, match=r"mask_var has shape \(3,\), and adata 24 variables"):
        pca(adata, 3, mask_var=[True, False, True])
    with pytest.raises(SpecError, match="exclude each other"):
        pca(adata, 3, mask_var=None, use_highly_variable=True)
    with pytest.raises(SpecError, match=r"numpy.ndarray is no AnnData object"):
        pca(adata.X, 3)
    adata.X = None
    with pytest.raises(SpecError, match=r"this AnnData has no 'X'; it has no matrix"):
        pca(adata, 3)
    assert not adata.obsm


def test_a_path_gives_the_result(tmp_path) -> None:
    from streamsvd.testing.writing import write_grid

    adata = cells()
    write_grid(tmp_path / "a.zarr", "X", adata.X, ("obs", "var"), {}, chunk=20)
    found = streamsvd.anndata.pca(tmp_path / "a.zarr", 4, mask_var=HIGH, tol=1e-9)
    found.to_anndata(adata)
    assert (
        difference(
            adata.varm["PCs"][HIGH], PCA(4, svd_solver="full").fit(adata.X[:, HIGH]).components_.T
        )
        < 1e-6
    )


@pytest.mark.skipif(find_spec("h5py") is None, reason="h5py is not installed")
def test_an_object_of_anndata_is_filled_written_and_read_again(tmp_path) -> None:
    import anndata

    adata = anndata.AnnData(cells(dtype="f4").X)
    adata.var["highly_variable"] = HIGH
    adata.layers["raw"] = adata.X * 2
    streamsvd.anndata.pca(adata, 4)
    streamsvd.anndata.pca(adata, 4, layer="raw", mask_var=HIGH, key_added="again")
    np.testing.assert_allclose(2 * adata.obsm["X_pca"], adata.obsm["again"], rtol=1e-4, atol=1e-4)
    adata.write_h5ad(tmp_path / "a.h5ad")
    kept = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    streamsvd.anndata.pca(kept, 4, key_added="backed", memory="64MiB")
    np.testing.assert_allclose(kept.obsm["backed"], adata.obsm["X_pca"], atol=1e-3)
    kept.file.close()
    for place in (tmp_path / "a.h5ad", str(tmp_path / "a.h5ad")):
        found = streamsvd.anndata.pca(place, 4)
        np.testing.assert_allclose(found.U * found.s, adata.obsm["X_pca"], atol=1e-3)
        assert list(found.to_dataframe().index) == list(adata.var_names)
        np.testing.assert_array_equal(found.to_dataframe().isna().any(axis=1), ~HIGH)
    assert not streamsvd.anndata.pca(place, 4, mask_var=None).info.dropped_columns
    assert streamsvd.anndata.pca(
        place, 4, layer="raw", mask_var="highly_variable"
    ).info.dropped_columns
    assert streamsvd.anndata.pca(place).rank == 15
    with pytest.raises(SpecError, match="'var/other'"):
        streamsvd.anndata.pca(place, 4, mask_var="other")
    found.to_anndata(adata, key_added="of_file")
    with pytest.raises(SpecError, match="They are the same in another order"):
        found.to_anndata(adata[:, ::-1].copy())
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(back.varm["PCs"], adata.varm["PCs"])
    np.testing.assert_array_equal(back.uns["pca"]["variance"], adata.uns["pca"]["variance"])
    np.testing.assert_array_equal(back.uns["again"]["params"]["mask_var"], HIGH)


@pytest.mark.skipif(find_spec("scanpy") is None, reason="scanpy is not installed")
@pytest.mark.filterwarnings("ignore::FutureWarning")  # an argument that it will lose
@pytest.mark.parametrize(
    "options", [{}, {"mask_var": None, "key_added": "k"}, {"use_highly_variable": False}]
)
def test_cells_of_scanpy_agree_with_scanpy(options) -> None:  # pragma: no cover
    import scanpy

    adata = scanpy.datasets.pbmc68k_reduced()
    adata.X = adata.X.astype("f8")
    ours, theirs = adata.copy(), adata.copy()
    streamsvd.anndata.pca(ours, 20, tol=1e-9, **options)
    scanpy.pp.pca(theirs, 20, svd_solver="full", **options)
    names = [options["key_added"]] * 3 if "key_added" in options else ["X_pca", "PCs", "pca"]
    obsm, varm, uns = names
    assert difference(ours.obsm[obsm], theirs.obsm[obsm]) < 1e-6
    assert difference(ours.varm[varm], theirs.varm[varm]) < 1e-6
    for name in ("variance", "variance_ratio"):
        np.testing.assert_allclose(ours.uns[uns][name], theirs.uns[uns][name], rtol=1e-6)
    assert ours.uns[uns]["params"] == theirs.uns[uns]["params"]
    assert ours.obsm[obsm].dtype == theirs.obsm[obsm].dtype
    assert ours.varm[varm].dtype == theirs.varm[varm].dtype
