"""The kits pass what is right, name what is wrong, and every source and pass of the package keeps their laws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import dask.array as da
import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
from streamsvd.collections.gram import CollectionGramPass
from streamsvd.collections.passes import BlockSketchPass
from streamsvd.collections.readers import MemberBlock, Slab
from streamsvd.engine.columns import select_columns
from streamsvd.engine.missing import CountPass, fill_missing
from streamsvd.engine.opening import as_source
from streamsvd.engine.triangle_pass import TrianglePass
from streamsvd.factor.passes import GramPass, NormalPass, ProjectPass, ThinBlock
from streamsvd.kernels.mathematics import DictionaryOptions, FeatureMap, Kernel
from streamsvd.kernels.passes import (
    DictionaryPass,
    PredictionPass,
    ProductPass,
    RegressionPass,
    RidgeSumPass,
    TraceErrorPass,
)
from streamsvd.kernels.targets import Targets
from streamsvd.numerics.blocks import Preparation
from streamsvd.numerics.triangle import reduce_block
from streamsvd.rows.mathematics import Draw, LeastSquaresDescent, RowSpace
from streamsvd.rows.passes import DescentPass, DrawPass, SparseSignPass
from streamsvd.store.collections import open_collection
from streamsvd.store.sources.objects.arrays import ArraySource
from streamsvd.testing import assert_pass, assert_source
from tests.matrices import Rows

RNG = np.random.default_rng(0)
A = RNG.standard_normal((83, 11))
HOLES = A.copy()
HOLES[RNG.random(A.shape) < 0.1] = np.nan
HOLES[:, 4] = np.nan
KEPT = np.arange(11) % 3 != 1


def in_zarr(at, values, **layout):
    layout = {"chunks": (20, 4)} | layout
    array = zarr.create_array(str(at / "A.zarr"), shape=values.shape, dtype=values.dtype, **layout)
    array[...] = values
    return at / "A.zarr"


CUBE = RNG.standard_normal((7, 9, 5))


def absent(path):
    """Without one of its chunks."""
    (path / "c" / "1" / "2").unlink()
    return path


def packed(at):
    """Small integers that stand for halves, one of them for a missing value."""
    whole = RNG.integers(-99, 99, (30, 7)).astype("i2")
    whole[3, 2] = -100
    attributes = {"scale_factor": 0.5, "add_offset": 8.0, "_FillValue": -100}
    path = in_zarr(at, whole, attributes=attributes)
    source = streamsvd.open(path)
    like = np.where(whole == -100, np.nan, whole * 0.5 + 8)
    return source, like.astype(source.dtype)


def in_npy(at, values):
    np.save(at / "A.npy", values)
    return at / "A.npy"


SOURCES = {
    "numpy": lambda at: (A, A),
    "numpy, by columns": lambda at: (np.asfortranarray(A), A),
    "numpy, masked": lambda at: (
        np.ma.masked_array(np.arange(40).reshape(8, 5), mask=np.eye(8, 5, dtype=bool)),
        np.where(np.eye(8, 5), np.nan, np.arange(40.0).reshape(8, 5)),
    ),
    "numpy, complex": lambda at: (A + 1j, A + 1j),
    "numpy, one entry": lambda at: (np.ones((1, 1)), np.ones((1, 1))),
    "npy": lambda at: (in_npy(at, A), A),
    "npy, by columns": lambda at: (in_npy(at, np.asfortranarray(A)), A),
    "npy, other bytes": lambda at: (in_npy(at, A.astype(">f4")), A.astype("f4")),
    "zarr": lambda at: (in_zarr(at, HOLES), HOLES),
    "zarr, shards": lambda at: (in_zarr(at, A, chunks=(5, 2), shards=(20, 4)), A),
    "zarr, uncompressed": lambda at: (in_zarr(at, A, compressors=None), A),
    "zarr, version 2": lambda at: (in_zarr(at, A, zarr_format=2), A),
    "zarr, absent chunks are filled": lambda at: (
        streamsvd.open(absent(in_zarr(at, A)), missing="fill"),
        np.where(np.outer(np.arange(83) // 20 == 1, np.arange(11) // 4 == 2), 0, A),
    ),
    "zarr, packed": lambda at: packed(at),
    "zarr, three dimensions": lambda at: (
        streamsvd.open(in_zarr(at, CUBE, chunks=(3, 4, 2)), rows=1),
        CUBE.transpose(1, 0, 2).reshape(9, 35),
    ),
    "rows of one's own": lambda at: (Rows(A, 7), A),
    "rows of scipy": lambda at: (THIN, THIN.toarray()),
    "columns of scipy": lambda at: (THIN.tocsc(), THIN.toarray()),
    "dask": lambda at: (da.from_array(HOLES, chunks=(20, 4)), HOLES),
    "dask, masked": lambda at: (
        da.ma.masked_where(da.from_array(A, chunks=(20, 4)) > 1, da.from_array(A, chunks=(20, 4))),
        np.where(A > 1, np.nan, A),
    ),
    "kept columns": lambda at: (view(in_zarr(at, HOLES)).source, HOLES[:, KEPT]),
    "kept columns of rows": lambda at: (view(Rows(A, 7)).source, A[:, KEPT]),
    "kept columns of dask": lambda at: (
        view(da.from_array(HOLES, chunks=(20, 4))).source,
        HOLES[:, KEPT],
    ),
    "filled columns": lambda at: (
        fill_missing(as_source(in_zarr(at, HOLES)), "zero", None),
        np.nan_to_num(HOLES),
    ),
    "filled columns of those kept": lambda at: (
        fill_missing(view(in_zarr(at, HOLES)).source, "zero", None),
        np.nan_to_num(HOLES[:, KEPT]),
    ),
}


def view(A):
    return select_columns(as_source(A), KEPT, tolerant=False)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_keeps_the_laws(tmp_path, kind):
    assert_source(*_both(SOURCES[kind](tmp_path)))


def _both(pair):
    source, like = pair
    return source, np.asarray(like)


@dataclass(frozen=True, eq=False)
class Wrong:
    """A source that breaks one law."""

    law: str
    inner: ArraySource

    @property
    def shape(self):
        return (np.int64(83), 11) if self.law == "ints" else self.inner.shape

    @property
    def dtype(self):
        return np.dtype("f4") if self.law == "type" else self.inner.dtype

    @property
    def chunks(self):
        return (100, 11) if self.law == "chunks" else (20, 4)

    @property
    def nbytes(self):
        return 1 if self.law == "nbytes" else self.inner.nbytes

    @property
    def read_bytes(self):
        return -1 if self.law == "read_bytes" else 0

    @property
    def name(self):
        return "" if self.law == "name" else "wrong"

    def read(self, rows, columns, out, /):
        if self.law == "refuses" and out.dtype == self.dtype:
            part = self.inner.array[rows, columns]
            out[: part.shape[0], : part.shape[1]] = part[: out.shape[0], : out.shape[1]]
            return
        self.inner.read(rows, columns, out)
        if self.law == "entry" and rows.stop - rows.start < 20:
            out[-1, -1] = 0
        if self.law == "beside":
            np.lib.stride_tricks.as_strided(out, (out.shape[0] + 1, out.shape[1]))[-1, 0] = 0

    def locate(self, row, column, /):
        return None if self.law == "locate" else "all"

    def __reduce__(self):
        law = "entry" if self.law == "pickle" else self.law
        return Wrong, (law, self.inner)


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("ints", r"shape of wrong is \(.*83.*not two Python ints"),
        ("type", "wrong delivers dtype\\('float32'\\), the matrix is dtype\\('float64'\\)"),
        ("chunks", r"chunks \(100, 11\) of wrong are not within its shape \(83, 11\)"),
        ("nbytes", "nbytes of wrong is 1, and 7304"),
        ("read_bytes", "read_bytes of wrong is -1"),
        ("name", "name is ''"),
        ("entry", r"reading wrong\[80:83, 0:4\] gave .*0.0.* at row 82, column 3; the matrix has"),
        ("pickle", "reading wrong.* after pickling gave"),
        ("beside", "wrote beside out"),
        ("locate", r"locate\(0, 0\) of wrong is None"),
        ("refuses", "such a rectangle is to be refused by ShapeError"),
    ],
)
def test_a_source_that_breaks_a_law_is_told_which(law, said):
    with pytest.raises(AssertionError, match=said):
        assert_source(Wrong(law, as_source(A)), A)
    assert_source(Wrong("", as_source(A)), A)


THIN = sparse.random_array((83, 11), density=0.3, format="csr", rng=np.random.default_rng(1))


class WrongEntries:
    """A sparse source that breaks one law."""

    def __init__(self, law):
        self.law, self.inner = law, as_source(THIN)

    def __getattr__(self, name):
        if name in ("inner", "law"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def sparse_axis(self):
        return "both" if self.law == "axis" else self.inner.sparse_axis

    @property
    def entries(self):
        return THIN.nnz - 1 if self.law == "entries" else THIN.nnz

    @property
    def stored_bytes(self):
        return 8.5 if self.law == "bytes" else self.inner.stored_bytes

    def most_entries(self, length):
        return 2 if self.law == "bound" else self.inner.most_entries(length)

    def read_sparse(self, run):
        found = self.inner.read_sparse(run).copy()
        if self.law == "value":
            found.data[-1:] = 0
        if self.law == "order" and found.nnz > 1:
            turned = found.indptr.copy()
            found = sparse.csr_array(
                (found.data[::-1], found.indices[::-1], turned[-1] - turned[::-1]), found.shape
            )
            found = found[::-1]
        if self.law == "indices":
            found.indices = found.indices.astype("i8")
        if self.law == "type":
            found = found.astype("f4")
        return sparse.csr_matrix(found) if self.law == "matrix" else found

    def __reduce__(self):
        return WrongEntries, ("value" if self.law == "pickle" else self.law,)


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("axis", "sparse_axis of scipy.sparse.csr_array is 'both'"),
        ("entries", rf"has {THIN.nnz - 1} entries, and {THIN.nnz} were read"),
        ("bytes", "stored_bytes of .* is 8.5, not a count in int"),
        ("bound", r"read_sparse\(.*\) holds \d+ entries, and most_entries promised at most 2"),
        ("value", r"read_sparse\(.*\) is not what the matrix has there"),
        ("order", r"indices of .*read_sparse\(.*\) do not ascend within each row"),
        ("indices", "are int64, not .*int32"),
        ("type", "is csr_array float32 .*, and csr_array float64 .* is meant"),
        ("matrix", "is csr_matrix .* is meant"),
        ("pickle", "after pickling is not what the matrix has there"),
    ],
)
def test_a_sparse_source_that_breaks_a_law_is_told_which(law, said):
    with pytest.raises(AssertionError, match=said):
        assert_source(WrongEntries(law), THIN.toarray())
    assert_source(WrongEntries(""), THIN.toarray())


X = RNG.standard_normal((11, 3))
W = RNG.uniform(0.5, 2, 83)
TRIANGLE = reduce_block(A)
DESCENT = replace(LeastSquaresDescent.start(X[:, :2]), P=X[:, 1:])
ROWS = Preparation("rows")
WEIGHTED = replace(ROWS, weights=W, pilot=A.mean(axis=0), alpha=0.5)
FILLED = replace(ROWS, policy="mean", fill=np.zeros(11))


def gram(triangle):
    return triangle.R.T @ triangle.R


def drawn(draw):
    sample = draw.finalize(11)
    return sample.ids, sample.rows, sample.weights, sample.chances


def whole_rows(sums):
    return sums.products, np.concatenate([rows for _, rows in sums.pieces])


KERNEL = Kernel("rbf", length=3.0)
MAP = FeatureMap.of(KERNEL, A[::9])
TARGETS = Targets.with_means(A[:, :2], 0.2, 1)
COEFFICIENTS = RNG.standard_normal((MAP.n_features, 2))


def no_cut(_):
    """Of a sample that shrinks as it is joined nothing is the same for all cuts."""
    return ()


def slabs(members, height):
    """Rows of some matrices side by side."""
    rows = members[0].shape[0]
    return [
        Slab(tuple(B[a : a + height] for B in members), (0,) * len(members))
        for a in range(0, rows, height)
    ]


MEMBERS = {"a": A[:, :4], "b": A[:, 4:] @ RNG.standard_normal((7, 3)), "c": A[:, 2:7]}
COLLECTION = open_collection(MEMBERS)

PASSES = {
    "dictionary": (
        DictionaryPass(DictionaryOptions(kernel=KERNEL, gamma=0.5, budget=20)),
        A,
        {"device": "strict", "view": no_cut},
    ),
    "regression": (
        RegressionPass(DictionaryOptions(kernel=KERNEL, gamma=0.5, budget=20), TARGETS),
        A,
        {"view": no_cut},
    ),
    "trace": (TraceErrorPass(MAP), A, {"device": "strict"}),
    "ridge sums": (RidgeSumPass(MAP, TARGETS, True), A, {"device": "strict"}),
    "kernel products": (
        ProductPass(MAP, TARGETS, COEFFICIENTS, True),
        A,
        {"device": "strict"},
    ),
    "predictions": (
        PredictionPass(MAP, COEFFICIENTS, np.ones(2), 1, 83),
        A,
        {"device": "strict"},
    ),
    "sketches of matrices": (
        BlockSketchPass(0.1, None, True),
        [MemberBlock(m, MEMBERS[m.name], 0) for m in COLLECTION.members],
        {},
    ),
    "Gram matrix of matrices": (
        CollectionGramPass(COLLECTION.members),
        slabs(list(MEMBERS.values()), 17),
        {},
    ),
    "normal": (NormalPass(ROWS, (ThinBlock(X, False),), moments=True), A, {"device": "strict"}),
    "normal, weighted": (
        NormalPass(WEIGHTED, (ThinBlock(X, False), ThinBlock(X[:, :1], False)), moments=True),
        A,
        {"device": "strict"},
    ),
    "normal, single": (
        NormalPass(replace(ROWS, single=True), (ThinBlock(X, True),)),
        A.astype("f4"),
        {"device": "strict", "rtol": 1e-5},
    ),
    "normal, filled": (NormalPass(FILLED, (ThinBlock(X, False),), moments=True), HOLES, {}),
    "normal, complex": (
        NormalPass(replace(ROWS, complex_=True), (ThinBlock(X + 0j, False),), moments=True),
        A + 1j * A[::-1],
        {"device": "strict"},
    ),
    "gram": (GramPass(ROWS, 11), A, {"device": "strict"}),
    "gram, weighted": (GramPass(WEIGHTED, 11), A, {"device": "strict"}),
    "project": (
        ProjectPass(WEIGHTED, ThinBlock(X, False), np.ones(3), np.ones(3), "f8"),
        A,
        {"device": "strict", "view": whole_rows},
    ),
    "triangle": (TrianglePass(), A, {"device": "strict", "view": gram}),
    "triangle, beside": (TrianglePass(A[:, :2]), A, {"view": gram}),
    "count": (CountPass(11), HOLES, {"device": "strict"}),
    "count, integers": (CountPass(11), (100 * A).astype("i2"), {}),
    "draw": (
        DrawPass(RowSpace.of(TRIANGLE), Draw(3, None, 20), 2.0, 83),
        A,
        {"device": "strict", "view": drawn},
    ),
    "draw, oversampling": (
        DrawPass(RowSpace.of(TRIANGLE), Draw(3, 2.0, None), 3.0, 83),
        A,
        {"view": drawn},
    ),
    "descent": (DescentPass(A[:, :2], DESCENT), A, {"device": "strict"}),
    "sparse signs": (SparseSignPass(11, A[:, :1], 5), A, {"device": "strict"}),
}


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_keeps_the_laws(name):
    pass_, matrix, options = PASSES[name]
    assert_pass(pass_, matrix, **options)


@dataclass(frozen=True)
class Sum:
    """The sum of the columns, with one law broken."""

    law: str = ""

    def init(self, device):
        return np.zeros(11)

    def update(self, state, block):
        if self.law == "keeps":
            return block.data[0] if not state.any() else state
        if self.law == "writes":
            block.data[0, 0] = 1
        if self.law == "cut":
            return state + block.data.max(axis=0)
        if self.law == "first":
            return state + block.first * block.data.sum(axis=0)
        return state + block.data.sum(axis=0)

    def close(self, state):
        return {"sum": state, "of": self} if self.law == "plain" else state

    def merge(self, left, right):
        if self.law == "merge":
            left += right
            return left
        if self.law == "random":
            return left + right + np.random.default_rng().random()
        return left + right

    def absorb(self, left, right):
        left += right
        return left * 2 if self.law == "absorb" else left

    def __reduce__(self):
        return Sum, ("first" if self.law == "pickle" else self.law,)


@pytest.mark.parametrize(
    ("law", "raised", "said"),
    [
        ("keeps", AssertionError, "differ by|other bits"),
        ("writes", ValueError, "read-only"),
        ("cut", AssertionError, "differ by .* where the largest number"),
        ("merge", AssertionError, "merge of Sum changed its left"),
        (
            "random",
            AssertionError,
            "2 spans of 7 blocks: Sum gave other bits when it was run again",
        ),
        ("absorb", AssertionError, "Sum gave other bits by absorb"),
        ("pickle", AssertionError, "Sum gave other bits after pickling"),
    ],
)
def test_a_pass_that_breaks_a_law_is_told_which(law, raised, said):
    assert_pass(Sum(), A)
    with pytest.raises(raised, match=said):
        assert_pass(Sum(law), A)


def test_what_leaves_a_span_is_plain():
    class Opaque(Sum):
        def close(self, state):
            return [object()]

    with pytest.raises(AssertionError, match="holds object: close hands back host arrays"):
        assert_pass(Opaque(), A)


def test_kits_are_names_of_the_package():
    assert streamsvd.testing.assert_pass is assert_pass
    with pytest.raises(AttributeError, match="no attribute 'assert_nothing'"):
        streamsvd.testing.assert_nothing  # noqa: B018
