"""Matrices of AnnData, dense and sparse, are read by name, from memory, HDF5 and zarr, with names of observations and variables."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import SpecError, StoreError
from streamsvd.protocols import is_sparse
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
THIN = np.where(X > 0, X, 0)
SPARSE = {"X": THIN, "layers/thin": THIN, "layers/columns": THIN, "raw/X": 2 * THIN[:, ::-1]}


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


def stored(parent, name, values, form="csr"):
    """A sparse matrix, as AnnData writes it."""
    said = {"encoding-type": f"{form}_matrix", "encoding-version": "0.1.0"}
    group = put(parent, name, None, **said, shape=list(values.shape))
    for part in ("data", "indices", "indptr"):
        put(group, part, getattr(getattr(sparse, f"{form}_matrix")(values), part))


def fill(root, sparse_x):
    root.attrs["encoding-type"] = "anndata"
    for name in ("layers", "obsm"):
        put(root, name, None, **{"encoding-type": "dict"})
    put(root, "raw", None, **{"encoding-type": "raw"})
    table(root, "obs", OBS)
    table(root, "var", VAR)
    table(root["raw"], "var", VAR[::-1])
    for name, values in MATRICES.items():
        home, _, key = name.rpartition("/")
        node = root[home] if home else root
        if sparse_x and name in SPARSE:
            stored(node, key, SPARSE[name])
        else:
            put(node, key, np.ascontiguousarray(values), **{"encoding-type": "array"})
    stored(root["layers"], "thin", THIN)
    stored(root["layers"], "columns", THIN, "csc")


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
@pytest.mark.parametrize("variable", [None, "raw", *SPARSE])
def test_a_sparse_matrix_is_read_by_its_name_with_names(tmp_path, kind, variable):
    path = write(tmp_path, kind, sparse_x=True)
    found, name = open_source(path, variable), {None: "X", "raw": "raw/X"}.get(variable, variable)
    assert is_sparse(found)
    assert found.sparse_axis == ("columns" if variable == "layers/columns" else "rows")
    assert_source(found, like=SPARSE[name])
    check_labels(found, name)


@pytest.mark.filterwarnings("ignore:.*:zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
def test_what_is_no_matrix_or_absent_is_said(tmp_path, kind):
    path = write(tmp_path, kind, sparse_x=True)
    with pytest.raises(SpecError, match="a table of AnnData"):
        open_source(path, "obs")
    with pytest.raises(SpecError, match=r"'layers/none'.*layers/counts.*layers/thin"):
        open_source(path, "layers/none")


def test_a_group_of_a_file_is_read_as_the_file_is(tmp_path):
    path = write(tmp_path, "h5ad", sparse_x=True)
    with h5py.File(path) as file:
        for given, variable in (
            (file, None),
            (file["layers/columns"], None),
            (file["layers"], "thin"),
        ):
            assert_source(open_source(given, variable), like=THIN)
    other = path.rename(tmp_path / "a.h5")
    found = open_source(other)
    assert_source(found, like=THIN)
    check_labels(found, "X")


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_files_of_old_versions_are_read(tmp_path, form):
    """Before 0.7: other attributes, tables of records, and dots in the names of what is raw."""
    text = h5py.string_dtype()
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        for name, values, names in (("X", THIN, VAR), ("raw.X", 2 * THIN, VAR[::-1])):
            group = file.create_group(name)
            group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = form, values.shape
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(getattr(sparse, f"{form}_matrix")(values), part)
            table = np.array([(v, 0) for v in names], [("index", text), ("n", "i4")])
            file[name.replace("X", "var")] = table
        file["obs"] = np.array([(v, 0) for v in OBS], [("index", text), ("n", "i4")])
    for variable, wanted in ((None, THIN), ("raw/X", 2 * THIN), ("raw.X", 2 * THIN)):
        found = open_source(tmp_path / "a.h5ad", variable)
        assert_source(found, like=wanted)
        check_labels(found, "X" if variable is None else "raw/X")


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
    found.layers["thin"] = sparse.csr_matrix(THIN)
    found.layers["columns"] = sparse.csc_matrix(THIN)
    found.obsm["X_pca"] = X[:, :2].copy()
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variable", [*MATRICES, "layers/thin", "layers/columns"])
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
        assert_source(found, like=np.ascontiguousarray((SPARSE | MATRICES)[variable]))
        assert is_sparse(found) == (variable not in MATRICES)
        check_labels(found, variable)
    backed.file.close()


@pytest.mark.filterwarnings("ignore")
def test_an_object_of_anndata_says_what_it_has(tmp_path, adata):
    has = "X, layers/counts, layers/thin, layers/columns, obsm/X_pca"
    with pytest.raises(SpecError, match=f"no 'layers/none'; it has {has}"):
        open_source(adata, "layers/none")
    adata.write_h5ad(tmp_path / "a.h5ad")
    import anndata

    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(SpecError, match="a part of a file"):
        open_source(backed[:3])
    backed.file.close()
    p = streamsvd.pca(adata, 2)
    assert p.labels.column_names.tolist() == VAR


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_sparse_data_of_an_object_are_those_of_its_file(tmp_path, form):
    anndata = pytest.importorskip("anndata")
    made = getattr(sparse, f"{form}_matrix")(THIN)
    adata = anndata.AnnData(made if form != "coo" else made.tocsr())
    adata.raw = adata.copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    for source in (adata, backed, tmp_path / "a.h5ad"):
        for variable in (None, "raw/X"):
            found = open_source(source, variable)
            assert is_sparse(found)
            assert_source(found, like=THIN)
    backed.file.close()
    s = np.linalg.svd(THIN - THIN.mean(axis=0), compute_uv=False)[:2]
    np.testing.assert_allclose(streamsvd.pca(adata, 2).s, s, rtol=1e-3)
