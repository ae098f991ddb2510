"""Dense matrices of AnnData are read by name, from memory, HDF5 and zarr, with the names of observations and variables."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.labels import source_labels
from streamsvd.testing import assert_source

h5py = pytest.importorskip("h5py")
sparse = pytest.importorskip("scipy.sparse")
zarr = pytest.importorskip("zarr")

M, N = 7, 5
X = np.random.default_rng(0).standard_normal((M, N)).astype("f4")
COUNTS = np.arange(M * N, dtype="i4").reshape(M, N)
OBS, VAR = [f"cell{i}" for i in range(M)], [f"gene{j}" for j in range(N)]
MATRICES = {"X": X, "layers/counts": COUNTS, "obsm/X_pca": X[:, :2], "raw/X": X[:, ::-1] * 2}


def put(parent, name, values, **attributes):
    """An array or a group, in a file of either kind, as AnnData writes it."""
    is_hdf5 = isinstance(parent, h5py.Group)
    if values is None:
        node = parent.create_group(name)
    elif is_hdf5:
        text = isinstance(values, list)
        node = parent.create_dataset(name, data=values, dtype=h5py.string_dtype() if text else None)
    elif isinstance(values, list):
        node = parent.create_array(name, shape=(len(values),), dtype=str)
        node[:] = np.array(values)
    else:
        node = parent.create_array(name, data=values)
    node.attrs.update(attributes)
    return node


def table(parent, name, index):
    put(parent, name, None, **{"encoding-type": "dataframe", "_index": "index"})
    put(parent[name], "index", index, **{"encoding-type": "string-array"})


def csr(parent, name, values):
    group = put(parent, name, None, **{"encoding-type": "csr_matrix", "shape": list(values.shape)})
    for part in ("data", "indices", "indptr"):
        put(group, part, getattr(sparse.csr_matrix(values), part))


def fill(root, sparse_x):
    root.attrs["encoding-type"] = "anndata"
    for name in ("layers", "obsm", "raw"):
        put(root, name, None, **{"encoding-type": "dict"})
    table(root, "obs", OBS)
    table(root, "var", VAR)
    table(root["raw"], "var", VAR[::-1])
    for name, values in MATRICES.items():
        home, _, key = name.rpartition("/")
        if not (sparse_x and name == "X"):
            put(
                root[home] if home else root,
                key,
                np.ascontiguousarray(values),
                **{"encoding-type": "array"},
            )
    csr(root["layers"], "thin", X)
    if sparse_x:
        csr(root, "X", X)


def write(folder, kind, sparse_x=False):
    if kind == "zarr":
        fill(zarr.create_group(folder / "a.zarr"), sparse_x)
        return folder / "a.zarr"
    with h5py.File(folder / "a.h5ad", "w") as file:
        fill(file, sparse_x)
    return folder / "a.h5ad"


def check_labels(source, variable):
    labels = source_labels(source)
    assert [d.name for d in labels.rows] == ["obs"]
    assert labels.coordinate("obs").array.tolist() == OBS
    if variable == "obsm/X_pca":
        assert labels.column_names is None
    else:
        assert labels.column_names.tolist() == (VAR[::-1] if variable == "raw/X" else VAR)


@pytest.mark.filterwarnings("ignore:.*:zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
@pytest.mark.parametrize("variable", MATRICES)
def test_a_matrix_is_read_by_its_name_with_names(tmp_path, kind, variable):
    path = write(tmp_path, kind)
    found = open_source(path, variable)
    assert_source(found, like=MATRICES[variable])
    check_labels(found, variable)
    assert_source(open_source(path), like=X)


@pytest.mark.filterwarnings("ignore:.*:zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
def test_what_is_sparse_or_absent_is_said(tmp_path, kind):
    path = write(tmp_path, kind, sparse_x=True)
    reader = {"zarr": "read_zarr", "h5ad": "read_h5ad"}[kind]
    with pytest.raises(
        SpecError,
        match=rf"X is sparse \(csr_matrix of AnnData\).*anndata\.{reader}\('.*'\)\.X\.toarray",
    ):
        open_source(path)
    with pytest.raises(SpecError, match=r"layers/thin is sparse.*\.layers\['thin'\]\.toarray"):
        open_source(path, "layers/thin")
    with pytest.raises(SpecError, match="a table of AnnData"):
        open_source(path, "obs")
    with pytest.raises(SpecError, match=r"'layers/none'.*layers/counts"):
        open_source(path, "layers/none")


def test_a_file_that_is_not_whole_is_named(tmp_path):
    path = write(tmp_path, "h5ad")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(StoreError, match=r"a\.h5ad is cut short"):
        open_source(path)


@pytest.fixture
def adata():
    anndata = pytest.importorskip("anndata")
    pd = pytest.importorskip("pandas")
    made = anndata.AnnData(
        X[:, ::-1] * 2, obs=pd.DataFrame(index=OBS), var=pd.DataFrame(index=VAR[::-1])
    )
    found = anndata.AnnData(X.copy(), obs=pd.DataFrame(index=OBS), var=pd.DataFrame(index=VAR))
    found.raw = made
    found.layers["counts"] = COUNTS
    found.layers["thin"] = sparse.csr_matrix(X)
    found.obsm["X_pca"] = X[:, :2].copy()
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variable", MATRICES)
def test_what_anndata_holds_and_writes_is_read(tmp_path, adata, variable):
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    import anndata

    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    for source, more in (
        (adata, {}),
        (tmp_path / "a.h5ad", {}),
        (tmp_path / "a.zarr", {"missing": "fill"}),
        (backed, {}),
    ):
        found = open_source(source, variable, **more)
        assert_source(found, like=np.ascontiguousarray(MATRICES[variable]))
        check_labels(found, variable)
    backed.file.close()


@pytest.mark.filterwarnings("ignore")
def test_an_object_of_anndata_says_what_it_has(tmp_path, adata):
    with pytest.raises(
        SpecError, match="no 'layers/none'; it has X, layers/counts, layers/thin, obsm/X_pca"
    ):
        open_source(adata, "layers/none")
    with pytest.raises(SpecError, match="layers/thin of the AnnData is sparse"):
        open_source(adata, "layers/thin")
    adata.write_h5ad(tmp_path / "a.h5ad")
    import anndata

    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(SpecError, match="a part of a file"):
        open_source(backed[:3])
    backed.file.close()
    p = streamsvd.pca(adata, 2)
    assert p.labels.column_names.tolist() == VAR
