"""Arrays of ``.npz`` files: read where they lie, or refused with the line that unpacks them."""

from __future__ import annotations

import os
import pickle
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.files.npz import NpzSource
from streamsvd.store.sources.files.sparse_npz import UnpackedVector
from streamsvd.testing import assert_source

A = np.arange(13 * 7.0).reshape(13, 7)


@pytest.mark.parametrize("dtype", ["f2", ">f4", "c8", "i1", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_rectangle_is_the_one_of_the_array(tmp_path, dtype, order):
    array = np.asarray(A, dtype=dtype, order=order)
    np.savez(tmp_path / "a.npz", first=np.zeros(3), x=array, last=np.eye(2, 2)[0])
    source = open_source(tmp_path / "a.npz")
    assert isinstance(source, NpzSource)
    assert source.name == f"{tmp_path}/a.npz:x"
    assert_source(source, array.astype(array.dtype.newbyteorder("=")))


def test_one_of_several_is_chosen_by_its_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=A, y=A.reshape(13, 7, 1) * 2, z=A[0])
    with pytest.raises(SpecError, match="several matrices: 'x', 'y'"):
        open_source(tmp_path / "a.npz")
    for source in (open_source(tmp_path / "a.npz", "x"), open_source(f"{tmp_path}/a.npz:/x.npy")):
        assert_source(source, A)
    assert_source(open_source(tmp_path / "a.npz", "y", rows=(0, 1)), A.reshape(91, 1) * 2)
    with pytest.raises(SpecError, match="no array 'w'; it holds 'x', 'y', 'z'"):
        open_source(tmp_path / "a.npz", "w")
    with pytest.raises(ShapeError, match="1 dimension"):
        open_source(tmp_path / "a.npz", "z")


def test_the_line_for_a_compressed_one_makes_what_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez_compressed("a.npz", x=A)
    with pytest.raises(StoreError, match="is compressed") as caught:
        open_source("a.npz")
    line = str(caught.value).partition("block: ")[2].partition(", and open")[0]
    words = shlex.split(line)
    assert words[0] == "python"
    subprocess.run([sys.executable, *words[1:]], check=True)
    assert_source(Path("a") / "x.npy", A)


THIN = np.where(A % 3 == 0, A, 0)


@pytest.mark.parametrize("dtype", ["f4", "?", "i8", "c16"])
@pytest.mark.parametrize("form", ["csr_array", "csc_matrix"])
@pytest.mark.parametrize("compressed", [False, True])
def test_sparse_ones_are_read_compressed_or_not(tmp_path, dtype, form, compressed):
    made = getattr(sparse, form)(THIN.astype(dtype))
    sparse.save_npz(tmp_path / "a.npz", made, compressed=compressed)
    source = open_source(tmp_path / "a.npz")
    assert (source.sparse_axis, source.entries) == (
        "rows" if form[:3] == "csr" else "columns",
        made.nnz,
    )
    assert_source(source, THIN.astype(dtype).astype("u1" if dtype == "?" else dtype))
    assert all(isinstance(part, UnpackedVector) == compressed for part in source.originals[1:])
    assert len(pickle.dumps(source)) < 10_000


def test_what_is_unpacked_is_counted_and_what_is_large_refused(tmp_path, monkeypatch):
    made = sparse.random_array((400, 300), density=0.2, format="csr", rng=np.random.default_rng(0))
    sparse.save_npz(tmp_path / "a.npz", made)
    sparse.save_npz(tmp_path / "b.npz", made, compressed=False)
    unpacked = made.data.nbytes + made.indices.nbytes + made.indptr.nbytes
    more = open_source(tmp_path / "a.npz").read_bytes - open_source(tmp_path / "b.npz").read_bytes
    assert more >= unpacked
    monkeypatch.setattr("streamsvd.store.sources.files.sparse_npz.MOST_UNPACKED", 1000)
    with pytest.raises(
        StoreError, match=r"a.npz is deflated: its .* must be unpacked whole"
    ) as caught:
        open_source(tmp_path / "a.npz")
    assert open_source(tmp_path / "b.npz").entries == made.nnz
    monkeypatch.chdir(tmp_path)
    eval(str(caught.value).partition("as zarr: ")[2], {"scipy": sys.modules["scipy"]})
    assert open_source("a-plain.npz").entries == made.nnz


def test_other_forms_are_refused_with_a_line_that_is_true(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for form in ("coo", "bsr", "dia"):
        sparse.save_npz("a.npz", getattr(sparse, f"{form}_array")(A))
        with pytest.raises(SpecError, match=f"in the format '{form}'") as caught:
            open_source("a.npz")
    eval(str(caught.value).partition("as csr: ")[2], {"scipy": sys.modules["scipy"]})
    assert_source(open_source("a-csr.npz"), A)


@pytest.mark.parametrize("wrong", ["lengths", "dimensions", "objects", "shape", "absent", "stump"])
def test_sparse_ones_that_are_damaged_are_refused(tmp_path, wrong):
    path, made = tmp_path / "a.npz", sparse.csr_array(THIN)
    parts = {"format": b"csr", "shape": made.shape, "data": made.data, "indices": made.indices}
    parts["indptr"] = made.indptr
    error, words = {
        "lengths": (StoreError, "data holds"), "dimensions": (StoreError, "one dimension is needed"),
        "objects": (SpecError, "object"), "shape": (StoreError, "the shape"),
        "absent": (StoreError, "no array 'indices'"), "stump": (StoreError, "no whole"),
    }[wrong]  # fmt: skip
    parts |= {
        "lengths": {"data": made.data[:-1]}, "dimensions": {"data": made.data[:, None]},
        "objects": {"data": made.data.astype(object)}, "shape": {"shape": (1, 2, 3)}, "absent": {}, "stump": {},
    }[wrong]  # fmt: skip
    if wrong == "absent":
        del parts["indices"]
    np.savez(path, **parts)
    if wrong == "stump":
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(error, match=words):
        open_source(path)


def test_what_is_no_whole_file_of_numbers_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=A)
    whole = path.read_bytes()
    for data in (b"PK", whole[:200], whole[:-30]):
        path.write_bytes(data)
        with pytest.raises(StoreError, match=r"a.npz is no whole \.npz file"):
            open_source(path)
    np.savez(path, x=np.array([["a", "b"]]), y=np.array([[None]], dtype=object), z=A[:0])
    with pytest.raises(SpecError, match="no numeric array|<U1 values"):
        open_source(path, "x")
    with pytest.raises(SpecError, match="object values"):
        open_source(path, "y")
    with pytest.raises(ShapeError, match="is empty"):
        open_source(path, "z")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", "no array")
    with pytest.raises(StoreError, match="no whole"):
        open_source(path, "x")


def test_one_that_is_protected_by_a_password_is_called_so(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=A)
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="protected by a password"):
        open_source(path)


def test_a_file_that_changes_while_it_is_read_is_an_error_that_names_it(tmp_path, read):
    path = tmp_path / "a.npz"
    np.savez(path, x=A)
    source = open_source(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(StoreError, match=f"{path} has changed since it was opened"):
        read(source)
