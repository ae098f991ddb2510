"""Sparse matrices are read as they are stored: from any layout, each chunk once, and so do views of them."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from itertools import pairwise

import h5py
import numpy as np
import pytest
import zarr
from scipy import sparse
from zarr.storage import LocalStore

import streamsvd
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.labels import Labels
from streamsvd.numerics.columns import Columns
from streamsvd.protocols import is_sparse
from streamsvd.store.sources import open_source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.views.adjusted import RowRange
from streamsvd.store.sources.views.column_choice import ChosenColumns
from streamsvd.store.sources.views.filled import FilledColumns
from streamsvd.store.sources.views.kept_columns import KeptColumns
from streamsvd.store.sources.views.missing_number import mark_missing
from streamsvd.store.sources.views.residual_rows import ResidualRows
from streamsvd.store.sources.views.row_choice import ChosenRows
from streamsvd.store.sources.views.shared import SharedReading
from streamsvd.testing import assert_source
from streamsvd.testing.stores import CountingStore
from tests.store.sources.sparse_stores import SHAPE, counts, put_matrix, put_parts

pytestmark = pytest.mark.filterwarnings("ignore:.*:zarr.errors.UnstableSpecificationWarning")
M, N = SHAPE
FORMS = ("csr", "csc")
LAYOUTS = {
    "zarr 3": ("zarr", {"chunk": 37}),
    "zarr 2": ("zarr", {"chunk": 37, "zarr_format": 2}),
    "zarr, one chunk": ("zarr", {}),
    "zarr, plain": ("zarr", {"chunk": 37, "compressors": None}),
    "zarr, shards": ("zarr", {"chunk": 10, "shards": (50,)}),
    "hdf5": ("h5ad", {}),
    "hdf5, chunks": ("h5ad", {"chunk": 37}),
    "hdf5, gzip": ("h5ad", {"chunk": 37, "compression": "gzip", "shuffle": True}),
    "hdf5, lzf": ("h5ad", {"chunk": 37, "compression": "lzf"}),
}


def written(tmp_path, name, matrix):
    suffix, layout = LAYOUTS[name]
    path = tmp_path / f"a.{suffix}"
    if layout.pop("zarr_format", 3) == 2:
        with zarr.config.set({"default_zarr_format": 2}):
            return put_matrix(path, matrix, **layout)
    return put_matrix(path, matrix, **layout)


@pytest.fixture(autouse=True)
def fresh_layouts(monkeypatch):
    monkeypatch.setattr(
        "tests.store.sources.test_sparse_sources.LAYOUTS",
        {name: (suffix, dict(layout)) for name, (suffix, layout) in LAYOUTS.items()},
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_is_read_as_it_is_stored_and_with_its_zeros(tmp_path, name, form):
    found = open_source(written(tmp_path, name, counts(form)), "X")
    assert (found.sparse_axis, found.entries) == (
        "rows" if form == "csr" else "columns",
        counts().nnz,
    )
    assert found.stored_bytes == 8 * counts().nnz
    assert_source(found, counts().toarray())


@pytest.mark.parametrize(
    ("dtype", "index"),
    [("f2", "i4"), (">f4", ">i8"), ("f8", "u4"), ("u1", "i8"), ("i8", "u8"), ("c16", ">i4")],
)
@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
def test_any_type_of_values_and_indices_is_read(tmp_path, dtype, index, kind):
    made = counts(dtype="f8")
    parts = {"data": made.data.astype(dtype), "indices": made.indices.astype(index)}

    path = put_parts(
        tmp_path / f"a.{kind}", parts | {"indptr": made.indptr.astype(index)}, "csr", SHAPE
    )
    wanted = np.dtype("f4" if dtype == "f2" else dtype).newbyteorder("=")
    assert_source(open_source(path), made.toarray().astype(wanted))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_matrices_of_scipy_are_read_in_place(form, kind):
    made = getattr(sparse, f"{form}_{kind}")(counts())
    found = open_source(made)
    assert found.values is made.data
    assert found.indices is made.indices
    assert_source(found, counts().toarray())
    with pytest.raises(ShapeError, match=r"at least one entry"):
        open_source(getattr(sparse, f"{form}_{kind}")((0, 4)))


@pytest.mark.parametrize("form", ["coo", "bsr", "dia", "lil", "dok"])
def test_other_forms_of_scipy_are_turned_into_rows_once(form):
    found = open_source(getattr(sparse, f"{form}_array")(counts()))
    assert found.sparse_axis == "rows"
    assert_source(found, counts().toarray())
    twice = sparse.coo_array(([1.0, 2, 4], ([0, 0, 1], [1, 1, 0])), (2, 3))
    assert_source(open_source(twice), np.array([[0, 3.0, 0], [4, 0, 0]]))


@pytest.mark.parametrize("form", FORMS)
def test_a_matrix_in_memory_is_never_written_into(form):
    """Entries of one place are added in a copy, each time that they are read."""
    whole = counts().tocoo()
    rows, columns = (np.tile(each, 2) for each in (whole.row, whole.col))
    twice = sparse.coo_array((np.tile(whole.data, 2), (rows, columns)), whole.shape)
    lines, places = (rows, columns) if form == "csr" else (columns, rows)
    order = np.argsort(lines, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(lines, minlength=max(whole.shape)))])
    length = whole.shape[0 if form == "csr" else 1]
    made = getattr(sparse, f"{form}_array")(
        (twice.data[order], places[order], offsets[: length + 1]), shape=whole.shape
    )
    before = made.data.copy(), made.indices.copy()
    made.data.flags.writeable = made.indices.flags.writeable = False
    expected = 2.0 * counts().toarray()
    found = open_source(made)
    assert_source(found, expected.astype(made.dtype))
    for _ in range(2):
        values = streamsvd.svd(made, 3, route="gram").s
        np.testing.assert_allclose(values, np.linalg.svd(expected, compute_uv=False)[:3], rtol=1e-6)
    np.testing.assert_array_equal(made.data, before[0])
    np.testing.assert_array_equal(made.indices, before[1])


def test_truth_values_of_scipy_are_counts_and_damage_is_seen():
    made = counts().astype(bool)
    assert_source(open_source(made), (counts().toarray() > 0).astype("u1"))
    made = counts()
    made.indices[5] = 77
    with pytest.raises(StoreError, match="names column 77, but there are 40"):
        streamsvd.svd(made, 2)
    made = counts()
    made.indptr[7] = 0
    with pytest.raises(
        StoreError, match=r"indptr of scipy.sparse.csr_array falls from \d+ to 0 at row 6"
    ):
        open_source(made)


@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
def test_what_is_read_stays_as_it_is(tmp_path, kind):
    """Nobody may write into rows that were handed out, and they are not overwritten by what is read later."""
    found = open_source(put_matrix(tmp_path / f"a.{kind}", counts(), chunk=5000))
    first = found.read_sparse(slice(0, 9)).toarray()
    kept = found.read_sparse(slice(0, 9))
    found.read_sparse(slice(3, 40))
    np.testing.assert_array_equal(kept.toarray(), first)


ROWS = 4000


def many():
    rng = np.random.default_rng(1)
    return sparse.random_array((ROWS, 300), density=0.05, format="csr", rng=rng, dtype="f4")


@pytest.mark.parametrize("start", [0, 17])
@pytest.mark.parametrize("shards", [None, 20_000])
def test_each_chunk_is_decoded_once_over_ragged_runs(tmp_path, start, shards):
    made, layout = many(), {} if shards is None else {"shards": (shards,)}
    put_matrix(tmp_path / "a.zarr", made, chunk=5000, **layout)
    store = CountingStore(LocalStore(tmp_path / "a.zarr", read_only=True))
    found = open_source(store, "X")
    before = store.chunk_bytes
    ends = [start, *range(start + 77, ROWS, 131), ROWS]
    rows = [found.read_sparse(slice(a, b)) for a, b in pairwise(ends)]
    assert (sparse.vstack(rows) != made[start:]).nnz == 0
    read = store.chunk_bytes - before
    stored = sum(
        path.stat().st_size
        for part in ("data", "indices")
        for path in (tmp_path / "a.zarr" / "X" / part / "c").iterdir()
    )
    offsets = sum(
        path.stat().st_size for path in (tmp_path / "a.zarr" / "X" / "indptr" / "c").iterdir()
    )
    if shards is None:
        assert read - stored in range(offsets * (len(ends) + 1))
        gets = [n for key, n in store.gets.items() if "/c/" in key and "indptr" not in key]
        assert set(gets) == {1}
    else:
        assert read < 1.3 * (stored + offsets * len(ends))


def test_a_thread_keeps_the_chunks_of_one_matrix(tmp_path):
    sources = []
    for i in range(3):
        path = put_matrix(tmp_path / f"{i}.zarr", many(), chunk=50_000)
        sources.append(open_source(path))
    for source in sources:
        source.read_sparse(slice(10, 20))
    kept = [sum(v.nbytes for _, v in s._kept._local.__dict__.values()) for s in sources]
    assert kept[:2] == [0, 0]
    assert kept[2] > 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["zarr", "h5ad", "memory", "npz"])
@pytest.mark.parametrize("read", ["dense", "sparse"])
def test_reading_takes_no_more_than_it_says(tmp_path, form, kind, read):
    rng = np.random.default_rng(2)
    made = sparse.random_array((20_000, 3000), density=0.02, format=form, rng=rng)
    place = made
    if kind == "npz":
        place = tmp_path / "a.npz"
        sparse.save_npz(place, made)
    elif kind != "memory":
        layout = {} if kind == "zarr" else {"compression": "gzip", "compression_opts": 1}
        place = put_matrix(tmp_path / f"a.{kind}", made, chunk=100_000, **layout)
    source = open_source(place)
    length = made.shape[0 if form == "csr" else 1]
    step = length // 5
    run = slice(step, 2 * step)
    whole = slice(0, made.shape[1 if form == "csr" else 0])
    box = (run, whole) if form == "csr" else (whole, run)
    out = np.empty([part.stop - part.start for part in box])
    source.read(box[0], box[1], out)  # so that libraries are there
    source = pickle.loads(pickle.dumps(source)) if kind == "npz" else source
    tracemalloc.start()
    try:
        if read == "dense":
            source.read(*box, out)
            told = source.read_bytes
        else:
            source.read_sparse(run)
            told = source.sparse_bytes(source.most_entries(step))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= told


TALL = {
    "kept columns": lambda s: KeptColumns(s, Columns.of(np.arange(3000) % 7 == 1)),
    "few columns": lambda s: KeptColumns(s, Columns.of(np.arange(3000) % 900 == 1)),
    "a range of rows": lambda s: RowRange(s, 100, 19_000),
    "missing number": lambda s: mark_missing(s, 0.5),
    "filled": lambda s: FilledColumns(mark_missing(s, 0.5), np.arange(3000.0)),
    "rows": lambda s: ChosenRows(s, np.arange(20_000)[::3]),
    "rows, far": lambda s: ChosenRows(s, np.arange(20_000)[::50]),
    "rows, mixed": lambda s: ChosenRows(s, np.random.default_rng(0).permutation(20_000)),
    "stack": lambda s: open_source([s, s, s]),
}
"""Views of a matrix of 20,000 x 3,000."""


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """By rows, and by columns."""
    folder, found = tmp_path_factory.mktemp("tall"), {}
    for form in FORMS:
        rng = np.random.default_rng(2)
        made = sparse.random_array((20_000, 3000), density=0.02, format=form, rng=rng)
        found[form] = put_matrix(folder / f"{form}.zarr", made, chunk=100_000)
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TALL)
def test_views_take_no_more_than_they_say(tall, form, name):
    view = TALL[name](open_source(tall[form]))
    if not is_sparse(view):
        assert (name, form) == ("stack", "csc")
        return
    length = view.shape[0 if form == "csr" else 1]
    step = max(1, length // 5)
    assert view.read_sparse(slice(0, 0)).shape == (0, view.shape[1 if form == "csr" else 0])
    view.read_sparse(slice(0, 1))
    tracemalloc.start()
    try:
        found = view.read_sparse(slice(step, 2 * step))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.nnz <= view.most_entries(step)
    assert peak <= view.sparse_bytes(view.most_entries(step))


def marked(values, number):
    out = (
        values.astype("f8" if values.dtype.itemsize > 2 else "f4")
        if values.dtype.kind in "iu"
        else values.copy()
    )
    out[values == number] = np.nan
    return out


RNG = np.random.default_rng(0)
KEPT = RNG.random(N) < 0.3
ORDER = RNG.permutation(N)[:20]
CHOICES = {
    "some": range(5, 50), "steps": range(3, 60, 7), "backwards": range(58, 2, -3), "few": np.array([1, 59]),
    "ascending": np.sort(RNG.choice(M, 9, replace=False)), "repeated": RNG.integers(0, M, 30),
}  # fmt: skip
VIEWS = {
    "kept columns": lambda s, A: (KeptColumns(s, Columns.of(KEPT)), A[:, KEPT]),
    "kept run of columns": lambda s, A: (KeptColumns(s, Columns.of(np.arange(N) // 10 == 2)), A[:, 20:30]),
    "kept far columns": lambda s, A: (KeptColumns(s, Columns.of(np.arange(N) % 38 == 1)), A[:, [1, 39]]),
    "a range of rows": lambda s, A: (RowRange(s, 10, 47), A[10:47]),
    "missing number": lambda s, A: (mark_missing(s, 3), marked(A, 3)),
    "filled": lambda s, A: (
        FilledColumns(mark_missing(s, 3), np.arange(float(N))),
        np.where(A == 3, np.arange(float(N)), A.astype("f8")),
    ),
    "filled by zeros": lambda s, A: (FilledColumns(mark_missing(s, 3), np.zeros(N)), np.nan_to_num(marked(A, 3))),
    "shared": lambda s, A: (SharedReading(s, 2, 1 << 20).source(0), A),
} | {
    f"rows {name}": lambda s, A, numbers=numbers: (ChosenRows(s, numbers), A[np.asarray(numbers)])
    for name, numbers in CHOICES.items()
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["f4", "i2"])
@pytest.mark.parametrize("name", VIEWS)
def test_views_stay_sparse(name, form, dtype):
    made = counts(form, dtype)
    view, wanted = VIEWS[name](open_source(made), made.toarray())
    assert is_sparse(view)
    assert view.sparse_axis == ("rows" if form == "csr" else "columns")
    assert view.sparse_bytes(100) >= 800
    assert_source(view, np.ascontiguousarray(wanted))


def test_columns_in_another_order_stay_sparse_along_rows():
    labels = Labels.plain((M, ORDER.size))
    view = ChosenColumns(open_source(counts()), ORDER, labels)
    assert is_sparse(view)
    assert_source(view, np.ascontiguousarray(counts().toarray()[:, ORDER]))
    other = ChosenColumns(open_source(counts("csc")), ORDER, labels)
    assert not is_sparse(other)
    assert_source(other, np.ascontiguousarray(counts().toarray()[:, ORDER]))


def test_views_whose_entries_are_others_are_not_sparse():
    source, dense = open_source(counts()), open_source(counts().toarray())
    Z = np.ones((N, 1), "f4")
    takes, level = np.ones(N, bool), np.zeros(N)
    assert not is_sparse(ResidualRows(source, Z, Z.T, takes, level, None))
    assert not is_sparse(KeptColumns(source, Columns.of(KEPT), refuses_values=True))
    for view, _ in (VIEWS[name](dense, counts().toarray()) for name in VIEWS):
        assert not is_sparse(view)


def test_matrices_that_are_stacked_stay_sparse_where_all_are_rows(tmp_path):
    paths = [put_matrix(tmp_path / f"{i}.h5ad", counts()[10 * i :], chunk=40) for i in range(3)]
    wide = counts(dtype="f8")[:7]
    empty = sparse.csr_array((4, N), dtype="f4")
    found = open_source([*paths, wide, empty, counts()[:1]])
    wanted = [*(counts()[10 * i :].toarray() for i in range(3)), wide.toarray(), empty.toarray()]
    assert is_sparse(found)
    assert_source(found, np.vstack([*wanted, counts()[:1].toarray()]).astype("f8"))
    folder = open_source(tmp_path)
    assert is_sparse(folder)
    assert_source(folder, np.vstack(wanted[:3]))
    for other in (counts("csc"), counts().toarray()):
        mixed = open_source([counts(), other])
        assert not is_sparse(mixed)
        assert_source(mixed, np.vstack([counts().toarray()] * 2))


def test_the_bound_of_a_stack_is_close():
    parts = [
        sparse.random_array(
            (50, N),
            density=0.1 * (1 + i % 3),
            format="csr",
            rng=np.random.default_rng(i),
            dtype="f4",
        )
        for i in range(8)
    ]
    found, whole = open_source(parts), sparse.vstack(parts).tocsr()
    for length in (1, 2, 7, 50, 51, 130, 399, 400, 999):
        rows = min(length, 400)
        true = int((whole.indptr[rows:] - whole.indptr[:-rows]).max())
        assert true <= found.most_entries(length) <= 4 * true + 50
    assert found.most_entries(400) == whole.nnz


def test_readers_side_by_side_read_a_sparse_matrix_once(tmp_path):
    source = open_source(put_matrix(tmp_path / "a.zarr", many(), chunk=5000))
    reading = SharedReading(source, 2, 1 << 20)
    runs = [slice(a, a + 500) for a in range(0, ROWS, 500)]
    both = [reading.source(0), reading.source(1)]
    for run in runs:
        found = [view.read_sparse(run) for view in both]
        assert found[0] is found[1]
    assert reading.bytes_read == source.stored_bytes
    assert not reading._strips
    assert both[0].read_sparse(slice(3, 9)).shape == (6, 300)  # what does not follow is its own
    reading.cancel()
    with pytest.raises(KeyboardInterrupt):
        both[0].read_sparse(slice(0, 500))


def test_readers_of_other_runs_do_not_wait_for_ever(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    source = open_source(many())
    reading = SharedReading(source, 2, source.stored_bytes // 3)

    def work(reader, step):
        view = reading.source(reader)
        rows = [view.read_sparse(slice(a, min(a + step, ROWS))) for a in range(0, ROWS, step)]
        reading.leave(reader)
        return sparse.vstack(rows)

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(work, (0, 1), (300, 450), timeout=60):
            assert (found != many()).nnz == 0


def test_text_of_a_matrix_says_what_is_stored(tmp_path):
    path = put_matrix(tmp_path / "a.zarr", counts())
    share = f"{counts().nnz / (M * N):.2%}"
    for source, form in ((open_source(path), "csr"), (open_source(counts("csc")), "csc")):
        text = f"{form} of {counts().nnz:,} entries ({share}), {8 * counts().nnz / 1024:.3g} KiB"
        assert text in repr(source)


def test_a_file_that_changes_is_an_error(tmp_path):
    path = put_matrix(tmp_path / "a.h5ad", counts())
    source = open_source(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(StoreError, match="has changed since it was opened"):
        source.read_sparse(slice(0, 3))


def test_nothing_is_written_over_what_is_read(tmp_path):
    for kind in ("zarr", "h5ad"):
        path = put_matrix(tmp_path / f"a.{kind}", counts())
        with pytest.raises(SpecError, match="are the same, or lie in one another"):
            streamsvd.svd(open_source(path), 2, out=path)


def barcodes(path, groups):
    """A file as 10x Genomics writes it: features x barcodes by columns."""
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        for name, matrix in groups.items():
            group, columns = file.create_group(name), matrix.T.tocsc()
            group["shape"] = np.array(columns.shape, "i4")
            group["data"] = columns.data.astype("i4")
            group["indices"], group["indptr"] = (
                columns.indices.astype("i8"),
                columns.indptr.astype("i8"),
            )
            group["barcodes"] = np.array([f"AC{i}-1" for i in range(columns.shape[1])], "S8")
            names = [f"gene{j}" for j in range(columns.shape[0])]
            if name == "matrix":
                features = group.create_group("features")
                features["id"], features["name"] = [
                    np.array(v, text) for v in ([f"E{x}" for x in names], names)
                ]
                features["feature_type"] = np.array(["Gene Expression"] * len(names), text)
                features["genome"] = np.array(["hg"] * len(names), text)
            else:
                group["genes"], group["gene_names"] = [
                    np.array(v, "S9") for v in ([f"E{x}" for x in names], names)
                ]
    return path


def test_counts_of_10x_are_barcodes_by_features(tmp_path):
    path = barcodes(tmp_path / "a.h5", {"matrix": counts()})
    for source in (open_source(path), open_source(path, "matrix")):
        assert is_sparse(source)
        assert source.sparse_axis == "rows"
        assert_source(source, counts().toarray().astype("i4"))
        labels = source_labels(source)
        assert labels.coordinate("barcode").array.tolist()[:2] == ["AC0-1", "AC1-1"]
        assert labels.column_names.tolist()[:2] == ["gene0", "gene1"]
        assert labels.coordinate("id").array.tolist()[:2] == ["Egene0", "Egene1"]
        assert labels.coordinate("feature_type").array.tolist()[0] == "Gene Expression"
    with h5py.File(path) as file:
        assert_source(open_source(file["matrix"]), counts().toarray().astype("i4"))


def test_of_several_genomes_one_is_chosen(tmp_path):
    other = 2 * counts()[:30]
    path = barcodes(tmp_path / "a.h5", {"hg19": counts(), "mm10": other})
    with pytest.raises(SpecError, match="one matrix for each genome: 'hg19', 'mm10'"):
        open_source(path)
    source = open_source(path, "mm10")
    assert_source(source, other.toarray().astype("i4"))
    labels = source_labels(source)
    assert labels.column_names.tolist()[:2] == ["gene0", "gene1"]
    assert labels.coordinate("id").array.tolist()[:1] == ["Egene0"]


@pytest.mark.parametrize("part", ["barcodes", "shape", "data", "indices", "indptr"])
def test_of_a_file_of_10x_that_lacks_a_part_it_is_named(tmp_path, part):
    path = barcodes(tmp_path / "a.h5", {"matrix": counts()})
    with h5py.File(path, "a") as file:
        del file["matrix"][part]
    for asked in (None, "matrix"):
        with pytest.raises(StoreError, match=rf"a\.h5:matrix has no {part}: .*10x Genomics"):
            open_source(path, asked)


def test_others_name_their_cells_too(tmp_path):
    """A group with its shape in an attribute is no damaged file of 10x Genomics."""
    made, path = sparse.csr_array(counts()), tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group.attrs["shape"] = made.shape
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(made, name)
        group["barcodes"] = np.arange(made.shape[0])
    assert_source(open_source(path, "matrix"), made.toarray())


@pytest.mark.parametrize("wrong", ["shape", "barcodes", "empty"])
def test_files_of_10x_that_are_damaged_are_refused(tmp_path, wrong):
    path = barcodes(tmp_path / "a.h5", {"matrix": counts()})
    with h5py.File(path, "a") as file:
        group, given = file["matrix"], {"shape": [1, 2, 3], "empty": [0, M]}
        name = "barcodes" if wrong == "barcodes" else "shape"
        values = group[name][1:] if wrong == "barcodes" else np.array(given[wrong])
        del group[name]
        group[name] = values
    words = {
        "shape": "no pair of whole numbers",
        "barcodes": "59 names, but shape promises 60",
        "empty": "is empty",
    }
    with pytest.raises((StoreError, ShapeError), match=words[wrong]):
        open_source(path)
