"""What is wrong with a stored sparse matrix is said by its name and place before anything is multiplied."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import (
    MissingChunkError,
    MissingEntriesError,
    NonFiniteError,
    ShapeError,
    SpecError,
    StoreError,
)
from streamsvd.store.sources import open_source
from streamsvd.testing import assert_source
from tests.store.sources.sparse_stores import PARTS, SHAPE, counts, put_matrix, put_parts

pytestmark = pytest.mark.filterwarnings("ignore:.*:zarr.errors.UnstableSpecificationWarning")
M, N = SHAPE
KINDS = ("zarr", "h5ad")


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    return tmp_path / f"a.{request.param}"


def parts_of(form="csr", dtype="f4"):
    made = counts(form, dtype)
    return {name: getattr(made, name).copy() for name in PARTS}


def broken(place, form="csr", shape=SHAPE, **changed):
    """A matrix whose arrays are others."""
    parts = parts_of(form)
    for name, change in changed.items():
        parts[name] = change(parts[name]) if callable(change) else change
    return put_parts(place, parts, form, shape)


def fall(at):
    def change(indptr):
        indptr[at] = indptr[at - 1] - 1
        return indptr

    return change


def set_entry(at, value):
    def change(values):
        values[at] = value
        return values

    return change


INDPTR = counts().indptr
DAMAGES = {
    "indptr too short": ({"indptr": lambda x: x[:-1]}, r"X.indptr has 60 entries, but the shape \(60, 40\) in csr needs 61"),
    "indptr too long": ({"indptr": lambda x: np.append(x, x[-1])}, r"X.indptr has 62 entries"),
    "indptr of columns": ({"form": "csc", "indptr": lambda x: x[:-1]}, r"X.indptr has 40 entries, but .* in csc needs 41"),
    "indptr falls": ({"indptr": fall(5)}, rf"X.indptr falls from {INDPTR[4]} to {INDPTR[4] - 1} at row 4. It is damaged"),
    "indptr of columns falls": ({"form": "csc", "indptr": fall(5)}, r"X.indptr falls from \d+ to \d+ at column 4"),
    "indptr overflows": (
        {"indptr": lambda x: np.r_[x[:30], 2**31 - 9, -(2**31) + 9, x[32:]].astype("i4")},
        r"falls from 2147483639 to -2147483639 at row 30: it was written in 32 bits and has overflowed",
    ),
    "indptr not from 0": ({"indptr": lambda x: x + 1}, r"X.indptr starts at 1, not 0"),
    "indptr of floats": ({"indptr": lambda x: x.astype("f8")}, r"X.indptr is float64, not integers"),
    "indptr beyond 2^63": ({"indptr": lambda x: np.r_[x[:-1], 2.0**63].astype("u8")}, r"X.indptr has offsets beyond 2\^63"),
    "data too short": ({"data": lambda x: x[:-3]}, r"X: data holds \d+ entries, indices \d+, and indptr ends at \d+. .*interrupted"),
    "indices too long": ({"indices": lambda x: np.append(x, 0)}, r"X: data holds \d+ entries, indices"),
    "indices of floats": ({"indices": lambda x: x.astype("f4")}, r"X.indices is float32, not integers"),
    "data absent": ({"data": None}, r"X has no array 'data' of one dimension"),
    "data of two dimensions": ({"data": lambda x: x[:, None]}, r"X has no array 'data' of one dimension"),
    "shape absent": ({"shape": None}, r"X has data, indices and indptr, but no shape. Add the attribute shape"),
    "shape of one number": ({"shape": (60,)}, r"X has data, indices and indptr, but the shape"),
    "shape of a text": ({"shape": "60 x 40"}, r"X has data, indices and indptr, but the shape '60 x 40'"),
    "shape of fractions": ({"shape": (60.5, 40.0)}, r"but the shape"),
    "shape below 0": ({"shape": (60, -1)}, r"but the shape"),
    "shape of other rows": ({"shape": (61, 40)}, r"X.indptr has 61 entries, but .* needs 62. .* attribute shape is wrong"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_arrays_that_do_not_belong_together_are_refused_as_it_is_opened(place, name):
    changed, words = DAMAGES[name]
    with pytest.raises(StoreError, match=words) as caught:
        open_source(broken(place, **changed))
    assert not isinstance(caught.value, MissingChunkError)
    assert str(place) in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 40), (60, 0)])
def test_an_empty_matrix_is_refused(place, shape):
    with pytest.raises(ShapeError, match="X is empty"):
        open_source(broken(place, shape=shape))


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("value", [-1, 1000])
def test_an_index_outside_is_an_error_that_names_its_row(place, read, form, value):
    """Also where the attribute of the shape says fewer columns than there are."""
    side, other, width = ("row", "column", N) if form == "csr" else ("column", "row", M)
    path = broken(place, form, indices=set_entry(int(counts(form).indptr[7]), value))
    words = rf"X: {side} 7 names {other} {value}, but there are {width} \(0\.\.{width - 1}\)"
    source = open_source(path)
    with pytest.raises(StoreError, match=words):
        read(source)
    with pytest.raises(StoreError, match=words):
        source.read_sparse(slice(5, 9))
    with pytest.raises(StoreError, match=words):
        streamsvd.svd(path, 2)


def test_a_shape_of_fewer_columns_is_seen_by_its_indices(place):
    with pytest.raises(StoreError, match=r"names column \d+, but there are 20 \(0\.\.19\)"):
        streamsvd.svd(broken(place, shape=(M, 20)), 2)


def test_of_unsigned_indices_none_wraps_around(place, read):
    parts = parts_of()
    parts["indices"] = parts["indices"].astype("u8")
    parts["indices"][0] = 2**64 - 1
    with pytest.raises(StoreError, match="row 0 names column 18446744073709551615"):
        read(open_source(put_parts(place, parts, "csr", SHAPE)))


@pytest.mark.parametrize("kind", ["awkward-array", "coo_matrix"])
def test_another_encoding_is_named(place, kind):
    path = put_matrix(place, counts())
    node = zarr.open_group(path)["X"] if path.suffix == ".zarr" else h5py.File(path, "a")["X"]
    node.attrs["encoding-type"] = kind
    getattr(getattr(node, "file", None), "close", int)()
    words = rf"X has the encoding-type '{kind}': csr_matrix, csc_matrix and array can be read"
    with pytest.raises(SpecError, match=words):
        open_source(path)
    with pytest.raises(SpecError, match=words):
        open_source(path, "X")


def test_a_newer_version_and_no_encoding_are_read_where_the_arrays_fit(place):
    path = put_matrix(place, counts())
    for change in ("version", "none"):
        node = zarr.open_group(path)["X"] if path.suffix == ".zarr" else h5py.File(path, "a")["X"]
        node.attrs["encoding-version"] = "0.9.0"
        if change == "none":
            del node.attrs["encoding-type"]
        getattr(getattr(node, "file", None), "close", int)()
        assert_source(open_source(path, "X"), counts().toarray())


def test_true_and_false_are_1_and_0_and_objects_are_refused(place):
    parts = parts_of()
    parts["data"] = np.arange(parts["data"].size) % 3 > 0
    found = open_source(put_parts(place, parts, "csr", SHAPE))
    wanted = counts().copy()
    wanted.data = parts["data"].astype("u1")
    assert_source(found, wanted.toarray())
    texts = parts | {"data": [str(x) for x in parts["data"]]}
    if place.suffix == ".zarr":
        texts["data"] = np.array(texts["data"], "U5")
    else:
        texts["data"] = np.array(texts["data"], h5py.string_dtype())
    with pytest.raises(SpecError, match=r"X.data holds"):
        open_source(put_parts(place.with_name(f"b{place.suffix}"), texts, "csr", SHAPE))


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_duplicates_are_summed_unsorted_ones_sorted_and_zeros_kept(place, form):
    made = counts(form)
    rng = np.random.default_rng(0)
    ends, order = made.indptr, np.arange(made.nnz)
    for a, b in zip(ends[:-1], ends[1:], strict=True):
        order[a:b] = rng.permutation(order[a:b])
    twice = np.repeat(order, 2)
    values = made.data[twice] / 2
    values[:2] = 0  # stored zeros
    parts = {"data": values, "indices": made.indices[twice], "indptr": 2 * ends}
    like = made.copy()
    like.data[order[0]] = 0
    found = open_source(put_parts(place, parts, form, SHAPE))
    assert found.entries == 2 * made.nnz
    assert_source(found, like.toarray())
    whole = found.read_sparse(slice(0, ends.size - 1))
    assert whole.nnz == made.nnz  # with the zero


def test_a_matrix_without_an_entry_and_rows_without_any_are_read(place):
    none = counts() * 0
    none.eliminate_zeros()
    found = open_source(put_matrix(place, none))
    assert (found.entries, found.stored_bytes, found.most_entries(9)) == (0, 0, 0)
    assert_source(found, np.zeros(SHAPE, "f4"))
    s = streamsvd.svd(place, 2).s
    assert not s.any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named_with_its_entry(place, value):
    made = counts()
    entry = int(made.indptr[3]) + 2
    path = broken(place, data=set_entry(entry, value))
    where = rf"row 3, column {made.indices[entry]} \(entry {entry} of .*X.data"
    with pytest.raises(NonFiniteError, match=where):
        streamsvd.svd(path, 2)
    if np.isnan(value):
        made.data[entry] = 0
        s = np.linalg.svd(made.toarray(), compute_uv=False)[:2]
        np.testing.assert_allclose(streamsvd.svd(path, 2, nonfinite="zero").s, s, rtol=1e-3)


CHUNK = 50


def rows_of(chunk, form="csr"):
    """The first and the last row of a chunk of entries."""
    ends = counts(form).indptr
    first, last = chunk * CHUNK, min((chunk + 1) * CHUNK, int(ends[-1])) - 1
    return tuple(int(np.searchsorted(ends, entry, side="right")) - 1 for entry in (first, last))


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("part", ["data", "indices"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_absent_chunk_of_zarr_is_named_with_the_rows_that_it_holds(
    tmp_path, form, part, zarr_format
):
    path = put_matrix(tmp_path / "a.zarr", counts(form), chunk=CHUNK)
    if zarr_format == 2:
        zarr.config.set({"default_zarr_format": 2})
        try:
            path = put_matrix(tmp_path / "b.zarr", counts(form), chunk=CHUNK)
        finally:
            zarr.config.set({"default_zarr_format": 3})
    key = "c/4" if zarr_format == 3 else "4"
    (path / "X" / part / key).unlink()
    first, last = rows_of(4, form)
    side = "row" if form == "csr" else "column"
    words = rf"chunk 'X/{part}/{key}' of .*X/{part} is missing, which holds entries of {side}s {first} to {last}"
    source = open_source(path)
    with pytest.raises(MissingEntriesError, match=words) as caught:
        source.read_sparse(slice(0, source.shape[0 if form == "csr" else 1]))
    assert ('pass missing="fill"' in str(caught.value)) == (part == "data")
    with pytest.raises(MissingEntriesError, match=words):
        streamsvd.svd(path, 2)
    filled = open_source(path, missing="fill")
    if part == "data":
        like = counts(form)
        like.data[4 * CHUNK : 5 * CHUNK] = 0
        assert_source(filled, like.toarray())
    else:  # a fill value would be column 0
        with pytest.raises(MissingEntriesError, match=words):
            filled.read_sparse(slice(0, 1 + last))


def test_an_absent_chunk_of_a_shard_is_named_too(tmp_path):
    path = put_matrix(tmp_path / "a.zarr", counts(), chunk=CHUNK, shards=(4 * CHUNK,))
    (path / "X" / "indices" / "c" / "1").unlink()
    first, last = rows_of(4)[0], rows_of(7)[1]
    with pytest.raises(MissingEntriesError, match=f"rows {first} to {last}"):
        open_source(path).read_sparse(slice(0, M))


@pytest.mark.parametrize("missing", ["error", "fill"])
def test_absent_offsets_are_never_filled(tmp_path, missing):
    path = put_matrix(tmp_path / "a.zarr", counts(), chunk=20)
    (path / "X" / "indptr" / "c" / "1").unlink()
    with pytest.raises(MissingEntriesError, match=r"X/indptr/c/1.*rows 20 to 39.*another matrix"):
        open_source(path, missing=missing)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("chunk", [CHUNK, None])
def test_what_was_never_written_of_hdf5_is_not_filled(tmp_path, part, chunk):
    path = put_matrix(tmp_path / "a.h5ad", counts(), chunk=20 if part == "indptr" else CHUNK)
    with h5py.File(path, "a") as file:
        values = file["X"][part][...]
        del file["X"][part]
        size = 20 if part == "indptr" else CHUNK
        made = file["X"].create_dataset(part, values.shape, values.dtype, chunks=chunk and (size,))
        if chunk is not None:
            made[: 2 * size], made[3 * size :] = values[: 2 * size], values[3 * size :]
    first, last = rows_of(2) if part != "indptr" else (40, 59)
    if chunk is None:
        first, last = 0, M - 1
    with pytest.raises(
        MissingEntriesError, match=rf"of .*X/{part} is missing.*rows {first} to {last}"
    ) as caught:
        open_source(path)
    assert "another matrix" in str(caught.value)


def test_a_missing_number_may_not_be_the_zeros(place):
    path = put_matrix(place, counts())
    with pytest.raises(SpecError, match="missing_value=0 of .*X, which is sparse: absent entries"):
        streamsvd.open(path, missing_value=0)
    like = counts().toarray()
    like[like == 3] = np.nan
    assert_source(streamsvd.open(path, missing_value=3), like)


def test_the_errors_survive_the_way_from_a_worker():
    import pickle

    error = MissingEntriesError("X/data/c/1", "a.zarr/X/data", "row", 3, 9, may_be_filled=True)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.first, again.last, again.may_be_filled) == (3, 9, True)
