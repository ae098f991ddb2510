"""What is not read is named, with the line that gets it in, and that line is true."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.checks.foreign import FOREIGN_SUFFIXES, FOREIGN_TYPES, check_object
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.sources.kinds import KINDS
from streamsvd.testing import assert_source

h5py = pytest.importorskip("h5py")
pd = pytest.importorskip("pandas")
sparse = pytest.importorskip("scipy.sparse")
xr = pytest.importorskip("xarray")

A = np.arange(24.0).reshape(6, 4) % 7
S = np.linalg.svd(A, compute_uv=False)[:2]


def refused(source, *words, door=streamsvd.open) -> str:
    with pytest.raises((SpecError, StoreError)) as caught:
        door(source)
    text = str(caught.value)
    assert not [word for word in words if word not in text], text
    return text


def got_in(x, text: str, begins: str = "Pass ") -> None:
    """The line of a message, done as it stands."""
    line = text.partition(begins)[2].partition(", ")[0].rstrip(".")
    found = eval(line, {"x": x, "numpy": np, "dask": __import__("dask.array")})
    np.testing.assert_allclose(streamsvd.svd(found, 2).s, S, rtol=1e-3)


@pytest.mark.parametrize("kind", ["list", "tuple", "frame"])
def test_objects_in_memory_are_named_with_a_line_that_is_true(kind):
    x = {"list": A.tolist(), "tuple": tuple(map(tuple, A)), "frame": pd.DataFrame(A)}[kind]
    door = check_object if kind == "frame" else streamsvd.open  # which reads tables
    got_in(x, refused(x, "is not read yet", door=door))


def test_where_only_arrays_are_taken_one_with_labels_is_by_its_data():
    x, door = xr.DataArray(A, dims=("time", "x")), check_object
    text = refused(x, "an array with labels", "zarr store behind it", "pass x.data", door=door)
    assert np.array_equal(x.data, A)
    assert "xarray.DataArray" in text
    refused(x.to_dataset(name="t"), "several arrays", "x['NAME'].values", door=door)


def test_where_only_arrays_are_taken_hdf5_is_by_dask(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = A
        door = check_object
        got_in(file["a"], refused(file["a"], "an HDF5 array", door=door))
        refused(file, "an HDF5 group", "x['NAME']", door=door)


FORMS = ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_objects_of_scipy_are_read_and_refused_where_dense_ones_are_needed(form, kind):
    x = getattr(sparse, f"{form}_{kind}")(A)
    np.testing.assert_allclose(streamsvd.svd(x, 2).s, S, rtol=1e-3)
    for door in (streamsvd.open_collection, lambda y: streamsvd.open_collection({"a": y})):
        refused(x, "is sparse", "dense factors", f"({A.nbytes:,} bytes)", "with svd", door=door)
    text = refused(
        x, "b is sparse", "where a dense array is needed", door=lambda y: check_object(y, "b")
    )
    got_in(x, text, "pass ")


class Pydata:
    """A sparse array of another library."""

    shape, dtype = A.shape, A.dtype

    def to_scipy_sparse(self):
        return sparse.csr_array(A)


Pydata.__module__ = "sparse.numba_backend"


def test_sparse_objects_of_other_libraries_are_named_with_the_one_that_is_read():
    text = refused(Pydata(), "is sparse (sparse.Pydata)", "not read yet")
    line = text.partition("read as it is: ")[2].rstrip(".")
    np.testing.assert_allclose(streamsvd.svd(eval(line, {"x": Pydata()}), 2).s, S, rtol=1e-3)
    device = type("csr_matrix", (), {"__module__": "cupyx.scipy.sparse._csr"})()
    refused(device, "is sparse (cupyx.csr_matrix)", "x.get()")


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_chunks_of_whole_rows_that_are_sparse_are_read(form):
    made = getattr(sparse, f"{form}_matrix")
    x = da.from_array(A, chunks=(2, 4)).map_blocks(made, dtype="f8", meta=made((0, 0)))
    assert_source(x, A)
    assert_source(x.astype("f4"), A.astype("f4"))
    dense = streamsvd.open(da.from_array(A, chunks=(2, 4)))
    assert streamsvd.open(x).read_bytes > dense.read_bytes
    cut = da.from_array(A, chunks=2).map_blocks(made, dtype="f8", meta=made((0, 0)))
    text = refused(cut, f"chunks of the dask array are sparse ({form}_matrix)", "cut along columns")
    assert_source(eval(text.partition("whole rows: ")[2].rstrip("."), {"x": cut}), A)


def test_lazy_matrices_of_anndata_are_read(tmp_path):
    lazy = pytest.importorskip("anndata.experimental").read_elem_lazy
    root = _anndata(tmp_path / "s.zarr", sparse_x=True)
    assert_source(lazy(root["X"], chunks=(2, 4)), A)


def test_chunks_and_blocks_that_are_sparse_and_promised_to_be_dense_are_called_so():
    hidden = da.from_array(A, chunks=2).map_blocks(
        sparse.csr_matrix, dtype="f8", meta=np.empty((0, 0))
    )
    refused(hidden, "is sparse (csr_matrix)", "block.toarray()", door=lambda y: streamsvd.svd(y, 2))
    foreign = da.from_array(A, chunks=2).map_blocks(lambda block: block, dtype="f8")
    foreign._meta = Pydata()
    refused(foreign, "chunks of the dask array are sparse (Pydata)", "not read yet")

    class Rows:
        shape, dtype, chunks = A.shape, A.dtype, (2, 4)

        def read(self, rows):
            return sparse.csr_matrix(A[rows])

    refused(Rows(), "Rows.read(slice(", "is sparse", door=lambda y: streamsvd.svd(y, 2))


def _class(module: str, name: str) -> type:
    return type(name, (), {"__module__": f"{module}.inner.part"})


@pytest.mark.parametrize(("module", "name"), [key for key in FOREIGN_TYPES if key[0] != "builtins"])
def test_objects_are_known_by_name_and_so_are_those_made_of_them(module, name):
    base = _class(module, name)
    words = FOREIGN_TYPES[module, name]
    for kind in (base, type("Mine", (base,), {"__module__": "somewhere"})):
        with pytest.raises(SpecError, match="not read yet") as caught:
            check_object(kind())
        assert all(part in str(caught.value) for part in words)


def test_what_is_not_known_is_not_refused():
    for value in (A, object(), "a.npy", 3, None, np.float64(1)):
        check_object(value)


READ_BY = {
    streamsvd.open: {suffix for kind in KINDS for suffix in kind.suffixes},
    streamsvd.open_collection: {".safetensors"},
}
"""What each door does not refuse by its name."""


@pytest.mark.parametrize("door", [streamsvd.open, streamsvd.open_collection])
@pytest.mark.parametrize("suffix", FOREIGN_SUFFIXES)
def test_files_are_named_by_the_end_of_their_name(tmp_path, suffix, door):
    if suffix in READ_BY[door]:
        return
    for name in (f"a.b{suffix}", f"a{suffix.upper()}"):
        (tmp_path / name).write_bytes(b"1 2")
        text = refused(tmp_path / name, "is not read yet", str(tmp_path / name), door=door)
        assert FOREIGN_SUFFIXES[suffix][0] in text


@pytest.mark.parametrize("kind", ["npz", "bin"])
def test_the_line_for_a_file_makes_one_that_is_read(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = Path(f"a.{kind}")
    if kind == "npz":
        np.savez(path, NAME=A)
    elif kind == "bin":
        A.astype("f4").tofile(path)
    text = refused(path, door=streamsvd.open_collection)
    line = text.partition("Make one of it that is: ")[2].replace("ROWS, COLUMNS", "6, 4")
    eval(line, {"numpy": np})
    np.testing.assert_allclose(streamsvd.svd("a.npy", 2).s, S, rtol=1e-3)


@pytest.mark.parametrize("name", ["a.csv", "a b.tsv", "a.csv.gz", "a.txt", "a.mtx", "a.mtx.gz"])
def test_text_is_refused_with_the_command_that_converts_it(tmp_path, name):
    path = tmp_path / name
    path.write_text("1,2\n")
    said = "a sparse matrix as text" if ".mtx" in name else "no known places"
    line = refused(path, said).partition("Make one of it that is: ")[2]
    command = shlex.split(line)
    assert command[:3] == ["streamsvd", "convert", str(path)]
    assert command[3] == name.split(".")[0] + ".zarr"


def _anndata(place: Path, sparse_x: bool) -> zarr.Group:
    """A group as AnnData writes it."""
    root = zarr.create_group(place, attributes={"encoding-type": "anndata"})
    obs = root.create_group("obs", attributes={"encoding-type": "dataframe"})
    obs["_index"] = np.arange(6)
    layers = root.create_group("layers", attributes={"encoding-type": "dict"})
    for group, name in ((root, "X"), (layers, "counts")):
        if not sparse_x:
            group.create_array(name, data=A, attributes={"encoding-type": "array"})
            continue
        x, said = (
            sparse.csr_matrix(A),
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(A.shape)},
        )
        held = group.create_group(name, attributes=said)
        for part in ("data", "indices", "indptr"):
            held.create_array(part, data=getattr(x, part))
    return root


def test_a_store_of_anndata_is_read_and_refused_as_a_collection(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _anndata(Path("d.zarr"), sparse_x=False)
    np.testing.assert_allclose(streamsvd.svd("d.zarr", 2).s, S, rtol=1e-3)
    root = _anndata(Path("s.zarr"), sparse_x=True)
    for given in ("s.zarr", root, root["X"], streamsvd.open("s.zarr", variable="layers/counts")):
        np.testing.assert_allclose(streamsvd.svd(given, 2).s, S, rtol=1e-3)
    refused("s.zarr", "a table of AnnData", door=lambda p: streamsvd.open(p, variable="obs"))
    words = "s.zarr/X is sparse (csr_matrix of AnnData)", f"({A.nbytes:,} bytes)", "with svd"
    select = partial(streamsvd.open_collection, select="X/*")
    refused("s.zarr", *words, door=select)
    del root["X"].attrs["shape"]
    refused("s.zarr", "s.zarr/X is sparse", "no shape", door=select)


def test_blocks_and_right_hand_sides_are_named_too(tmp_path):
    x = xr.Dataset({"a": (("y", "x"), A)})
    refused({"a": x}, "block 'a'", "several arrays", "xarray.Dataset", door=streamsvd.cluster)
    refused(x, "b is several arrays", door=partial(streamsvd.lstsq, A))
    refused(x, "y is several arrays", door=partial(streamsvd.kernel_ridge, A))
    lazy = da.from_array(A, chunks=(3, 4)).map_blocks(
        sparse.csr_matrix, meta=sparse.csr_matrix((0, 0))
    )
    refused({"a": lazy}, "block 'a' is sparse", "with svd", door=streamsvd.cluster)
    hidden = da.from_array(A, chunks=(6, 4)).map_blocks(sparse.csr_matrix, meta=np.empty((0, 0)))
    refused({"a": hidden}, "sparse", door=streamsvd.cluster)


def test_a_url_of_an_unknown_kind_is_none_of_damaged_metadata():
    for door in (streamsvd.open, streamsvd.open_collection):
        text = refused("s3x://bucket/a", "s3x://", "unknown kind", door=door)
        assert "metadata" not in text
