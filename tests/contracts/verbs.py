"""Every verb as the laws of this folder run it: one entry a verb and way of running it, and why it lacks what it lacks."""

from __future__ import annotations

import atexit
import inspect
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from scipy import sparse
from zarr.storage import MemoryStore

import streamsvd
from streamsvd.store.sources.sparse.in_memory import ScipySource
from streamsvd.verbs import RESULT_VERBS, VERBS, Verb
from tests.matrices import Rows

Matrix = np.ndarray
ALL = VERBS | RESULT_VERBS
"""Every verb that reads or writes something large."""
M, N, CHUNK = 6000, 8, 250
PART, WIDER = 300, 16
CAPABILITIES = {
    "plan": "what a run costs, before anything is read",
    "scheduler": "threads, or a cluster, to the same bits",
    "memory": "a budget that is kept",
    "callback": "progress, and Ctrl-C that leaves nothing behind",
    "checkpoint": "a run that was killed goes on, to the same bits",
    "mask": "columns that are left out",
    "nonfinite": "what a NaN means",
    "seed": "of all random numbers",
    "device": "where it computes",
    "row_weights": "weights of rows",
    "column_weights": "weights of columns",
    "record": "what was asked, and how it came about, in the result",
    "sparse": "a matrix of which only some entries are stored, never made dense but for a block",
}
"""What a verb may be able to do: an argument of the same name, but for those in `OF_ALL`, and `plan`."""
OF_ALL = ("scheduler", "record", "sparse")


class Unreadable:
    """The matrix as far as it may be known without reading."""

    shape, dtype, chunks = (M, N), np.dtype("f8"), (CHUNK, N)

    def read(self, rows):
        raise AssertionError(f"rows {rows} were read")


def parts(A: Matrix) -> dict[str, Matrix]:
    """A collection of the same numbers: some rows of each, as columns, several times over."""
    times = np.arange(1.0, WIDER + 1)
    return {
        f"p{i:02d}": np.kron(times, A[a : a + PART].T)
        for i, a in enumerate(range(0, A.shape[0], PART))
    }


def unreadable_parts() -> Any:
    """The same collection as far as it may be known without reading: none of its chunks is there."""
    group = zarr.create_group(MemoryStore())
    for i in range(M // PART):
        group.create_array(f"p{i:02d}", shape=(N, PART * WIDER), chunks=(N, PART), dtype="f8")
    return group


@dataclass(frozen=True)
class Kind:
    """How a matrix is given to a verb: whole, or as a collection.

    Attributes
    ----------
    stored, unreadable
        From numbers; and one whose values nobody may read.
    where
        How an error names a row and a column.
    rows
        What counts as rows of all that is given.
    """

    stored: Callable[[Matrix], Any]
    unreadable: Callable[[], Any]
    where: Callable[[int, int], str]
    rows: int


@lru_cache
def kept_folder() -> Path:
    """Where things are kept for as long as the tests run."""
    folder = tempfile.mkdtemp(prefix="contracts-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def compressed(A: Matrix) -> Path:
    """The collection of the same numbers, compressed; part of it as it is, part with residuals."""
    place = kept_folder() / f"compressed-{zlib.crc32(A.tobytes())}"
    if not place.exists():
        streamsvd.compress(parts(A), place, error=0.01, principal=0.3)
    return place


def unreadable_compressed() -> Path:
    """The same as far as it may be known without reading: its lists are there, its arrays are not."""
    place = kept_folder() / "unreadable"
    if not place.exists():
        shutil.copytree(compressed(matrix()), place)
        for folder in place.glob("versions/*/*/"):
            shutil.rmtree(folder)
    return place


class UnreadableCounts(Unreadable):
    """The same of counts."""

    shape, chunks = (M, N * WIDER), (CHUNK, N * WIDER)


def counts(A: Matrix) -> Matrix:
    """Counts that are large where the matrix is: the genes of each column are like it, some of them more."""
    times = np.linspace(0.2, 0.5, WIDER)
    return np.floor(4 * np.exp(np.kron(np.abs(A), times))).astype(A.dtype)


NODES = 1500


def graph(A: Matrix) -> sparse.csr_array:
    """A graph of the same numbers: edges between rows that are near one another, and their products as weights."""
    i = np.repeat(np.arange(NODES), 6)
    j = (i + np.tile([1, 2, 3, 40, 400, 777], NODES)) % NODES
    weights = np.abs(np.einsum("ij,ij->i", A[i], A[j]))
    there = sparse.csr_array((weights, (i, j)), shape=(NODES, NODES))
    return (there + there.T).tocsr()


class UnreadableGraph(ScipySource):
    """The same as far as it may be known without reading: where rows begin, and none of its edges."""

    @classmethod
    def of(cls) -> UnreadableGraph:
        """Of the numbers of the laws."""
        known = streamsvd.open(graph(matrix()))
        return cls(*(getattr(known, f.name) for f in fields(known)))

    def read_sparse(self, run: slice, /) -> Any:
        raise AssertionError(f"rows {run} were read")

    read = read_sparse


MATRIX = Kind(lambda A: Rows(A, CHUNK), Unreadable, lambda i, j: f"at row {i}, column {j}", M)
COUNTS = Kind(lambda A: Rows(counts(A), CHUNK), UnreadableCounts, lambda i, j: "", M)
COLLECTION = Kind(
    parts, unreadable_parts, lambda i, j: f"at row {j}, column {i % PART} .*p{i // PART:02d}", N
)
GRAPH = Kind(graph, UnreadableGraph.of, lambda i, j: "", NODES)
COMPRESSED = Kind(compressed, unreadable_compressed, lambda i, j: "", N)


@dataclass(frozen=True, kw_only=True, eq=False)
class Contract:
    """A verb as it is run by the laws.

    Attributes
    ----------
    name
        Of the verb.
    arrays
        Attributes of the result that are compared, each with the axis along which it has one entry for every column of
        the matrix; None where it has no such axis.
    exact
        Further attributes, of the size of rounding: compared where bits are equal.
    find
        Those of both that are no attributes, each found in the result.
    kind
        How the matrix is given.
    policies, further_policies
        For missing values, beside ``"raise"``: those that the laws hold, and those that mean something of one verb alone.
    options
        Asked of every run.
    inputs
        What the verb takes before its options.
    call
        Instead of the verb, where its result does not hold what is compared.
    planned
        What its plan takes before the options, where that is less.
    defaults
        Of the verb, where they are not those of the record: what is chosen then is in it.
    by_memory
        Why with the least memory other bits are found, the same up to rounding.
    looks
        Why more bytes are read than those of passes.
    other
        One option with another value, which a checkpoint refuses.
    as_first
        Capabilities that are tried with the first contract of the verb alone: they are the same code.
    lacks
        What the verb, or this way of running it, cannot do, with the reason.
    left_out
        What stands in `arrays` for columns with missing values, where the policy drops them.
    leaves
        End of the name of the folder in which a run that was stopped leaves what the same call goes on from.
    rtol
        Rounding that two ways to the same answer may differ by.
    """

    name: str
    arrays: Mapping[str, int | None]
    exact: tuple[str, ...] = ()
    find: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    kind: Kind = MATRIX
    policies: tuple[str, ...] = ("zero", "mean", "drop_columns")
    further_policies: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Callable[[Any], tuple[Any, ...]] = lambda A: (A,)
    call: Callable[..., Any] | None = None
    planned: Callable[[Any], tuple[Any, ...]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    by_memory: str = ""
    looks: str = ""
    other: Mapping[str, Any] = field(default_factory=lambda: {"seed": 1})
    as_first: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)
    left_out: float = np.nan
    leaves: str = ""
    rtol: float = 1e-9

    @property
    def verb(self) -> Verb:
        return ALL[self.name]

    @property
    def label(self) -> str:
        """Name of the verb, and what tells this way of running it from others."""
        return " ".join([self.name, *(str(v) for v in self.options.values() if isinstance(v, str))])

    @cached_property
    def arguments(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.verb.resolve("function")).parameters

    def can(self, capability: str) -> bool:
        """Whether the verb has it, and this way of running it too."""
        return capability not in self.lacks and has(self.verb, capability)

    def stored(self, A: Matrix) -> Any:
        """Numbers as the verb is given them."""
        return self.kind.stored(A)

    def run(self, A: Any, **further: Any) -> Any:
        """The verb's result."""
        options = {**self.options, **further}
        if self.call is not None:
            return self.call(A, **options)
        return self.verb.resolve("function")(*self.inputs(A), **options)

    def plan(self, A: Any, **further: Any) -> Any:
        """What it will cost."""
        inputs = (self.planned or self.inputs)(A)
        return self.verb.resolve("plan")(*inputs, **{**self.options, **further})

    def values(self, result: Any) -> dict[str, Any]:
        """What is compared up to rounding."""
        return {name: self._find(name, result) for name in self.arrays}

    def _find(self, name: str, result: Any) -> Any:
        return np.asarray(self.find.get(name, attrgetter(name))(result))

    def bits(self, result: Any) -> dict[str, Any]:
        """What is compared to the last bit."""
        found = {name: self._find(name, result) for name in (*self.arrays, *self.exact)}
        return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in found.items()}

    def assert_close(self, found: Any, expected: Any, kept: Any = None, fill: float = 0) -> None:
        """Raise unless a result is that of the columns that are kept, with ``fill`` in the others."""
        mine, theirs = self.values(found), self.values(expected)
        for name, axis in self.arrays.items():
            x, y = mine[name], theirs[name]
            if kept is not None and axis is not None:
                rest = np.compress(~kept, x, axis=axis)
                np.testing.assert_array_equal(rest, np.full(rest.shape, fill), err_msg=name)
                x = np.compress(kept, x, axis=axis)
            scale = np.abs(y).max(initial=0)
            np.testing.assert_allclose(
                x, y, rtol=self.rtol, atol=self.rtol * scale, err_msg=f"{self.label}: {name}"
            )


def has(verb: Verb, capability: str) -> bool:
    """Whether a verb takes the argument, or has a plan; what is no argument it has unless its first contract lacks it."""
    if capability in OF_ALL:
        return capability not in next(c for c in CONTRACTS if c.name == verb.name).lacks
    if capability == "plan":
        return verb.plan != ""
    return capability in inspect.signature(verb.resolve("function")).parameters


def matrix() -> Matrix:
    """Values of distinct sizes, so that everything that is computed of them is well determined."""
    rng = np.random.default_rng(11)
    Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
    return rng.standard_normal((M, N)) * np.geomspace(3, 0.3, N) @ Q + 0.1


def holed() -> Matrix:
    """The same with missing values in three columns."""
    A = matrix()
    for column, rows in ((1, (7, 3001)), (4, (0,)), (6, (M - 1, 2500, 2501))):
        A[list(rows), column] = np.nan
    return A


def target(A: Any) -> Matrix:
    """Something to fit, of the rows of any matrix alike."""
    t = np.arange(A.shape[0])
    return np.stack([np.sin(t / 50), np.cos(t / 9)], axis=1)


@dataclass(frozen=True, eq=False)
class Reference:
    """A run on threads that nothing disturbed."""

    result: Any
    bits: dict[str, Any]
    events: list[Any]


@lru_cache
def reference(contract: Contract) -> Reference:
    """Made once for all laws."""
    events: list[Any] = []
    result = contract.run(contract.stored(matrix()), callback=events.append)
    return Reference(result, contract.bits(result), events)


def where(*capabilities: str) -> list[Any]:
    """Parameters of a test: every contract whose verb can do all of these."""
    import pytest

    return [
        pytest.param(c, id=c.label)
        for c in CONTRACTS
        if all(c.can(each) and each not in c.as_first for each in capabilities)
    ]


def files_in(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def new_place() -> Path:
    """A path in the current folder where nothing is yet."""
    return Path.cwd() / uuid.uuid4().hex


@lru_cache
def kept_result() -> Path:
    """A factorisation on disk."""
    place = kept_folder() / "svd"
    streamsvd.svd(MATRIX.stored(matrix()), 4, out=place, tol=1e-6)
    return place


@lru_cache
def kept_components() -> Any:
    """Components, with the left factor on disk."""
    place = kept_folder() / "pca"
    return streamsvd.pca(MATRIX.stored(matrix()), 4, u=True, out=place, tol=1e-6)


@lru_cache
def kept_regression() -> Any:
    """A regression."""
    A = MATRIX.stored(matrix())
    return streamsvd.kernel_ridge(A, target(A), n_centres=15, length=3.0, ridge=0.01)


def rows_of(place: Path) -> Matrix:
    """A zarr array that a run has written."""
    return np.asarray(zarr.open_array(place, mode="r")[...])


def chunk_of(place: Path) -> Matrix:
    """The bytes of one of its chunks, and what the folder has."""
    names = "".join(files_in(place)).encode()
    return np.frombuffer(names + (place / "c/1/0").read_bytes(), np.uint8)


def project(A: Any, **options: Any) -> Path:
    """Where scores were written."""
    place = new_place()
    kept_components().transform(A, out=place, **options)
    return place


def reconstruct(A: Any, **options: Any) -> Path:
    """Where rows that are projected and given back were written."""
    place = new_place()
    kept_components().reconstruct(source=A, out=place, **options)
    return place


def predict(A: Any, **options: Any) -> Path:
    """Where predictions were written."""
    return Path(kept_regression().predict_to(A, new_place(), **options))


def decompress(A: Any, **options: Any) -> Path:
    """Where matrices were written."""
    place = new_place()
    streamsvd.decompress(A, place, **options)
    return place


@dataclass(frozen=True)
class Updated:
    """What an update did, and the model that it made."""

    model: Any
    options: Any
    info: Any

    @classmethod
    def by(cls, A: Any, **options: Any) -> Updated:
        """A new model of some rows."""
        path = new_place()
        report = streamsvd.update(path, A, **options)
        return cls(streamsvd.Model.open(path).as_svd(), report.options, report.info)


def written_vectors(A: Any, **options: Any) -> Any:
    """Vectors that were written."""
    return streamsvd.embed(A, out=new_place(), **options)


def bases(result: Any) -> Matrix:
    """All that is shared in a clustering, one after another."""
    return np.concatenate([np.ravel(c.basis) for c in result.clusters])


def read_back(result: Any) -> Matrix:
    """What a compressed collection gives back of two matrices."""
    held = streamsvd.open_compressed(result.path)
    return np.stack([held["p00"], held["p13"]])


WHOLE = "Every matrix comes back whole: leave entries or columns out of what is collected."
SKETCHES = "Sketches and clusters are small eigenvalue problems of LAPACK, on the host."
DENSE_FACTORS = (
    "What is shared is stored as dense factors: factorise the matrices one by one, with svd."
)
IN_COLLECTION = {"mask": WHOLE, "device": SKETCHES, "sparse": DENSE_FACTORS}
PASSED_ON = "It is passed on where samples are: mend or leave out columns of X before."
ONE_AFTER_ANOTHER = "Pieces are absorbed one after another, by narrow steps, at home."
AS_MADE = "As the result was made: another would be of another matrix."
AT_HOME = "What is kept depends on the rows in their order: they are taken in one by one, at home."
COPIED = "Rows are copied as they are: nothing is computed of them."
STREAM_WEIGHTS = "Multiply rows by the roots of their weights, or columns, before."
STREAM = {
    "device": AT_HOME,
    "row_weights": STREAM_WEIGHTS,
    "column_weights": STREAM_WEIGHTS,
}
OF_GRAPHS = {
    "checkpoint": "Columns that are done are in memory, or in what is written: it begins anew.",
    "mask": "A column is a node too: leave nodes out of rows and columns before.",
    "nonfinite": "A weight that is missing is an error that names the edge: leave the edge out.",
    "device": "Sparse rows are multiplied on the host.",
    "row_weights": "Multiply the weights of edges before.",
    "column_weights": "Nodes count less by their degrees, as beta says; multiply the weights of edges before.",
}
KERNEL_WEIGHTS = "A kernel compares rows as they are: multiply the columns before."
POINTS = {
    "row_weights": "Rows are points; how much each matters is found, and said in `weights`.",
    "column_weights": KERNEL_WEIGHTS,
}
ON_THE_WAY = "Sums follow a dictionary that changes from row to row, on the host."
OF_ARRAY = "It writes an array, or hands it back, and nothing beside it."
ONE_PASS = "One pass, whose least memory is named before it."
BEGINS_ANEW = "One pass: it begins anew."
NOT_RANDOM = "Nothing is random."
ROWS_OF_RESULT = {
    "plan": ONE_PASS,
    "checkpoint": BEGINS_ANEW,
    "mask": AS_MADE,
    "row_weights": AS_MADE,
    "column_weights": AS_MADE,
    "seed": NOT_RANDOM,
    "record": OF_ARRAY,
}
CELLS = {
    "mask": "Genes are chosen by how much they vary.",
    "nonfinite": "What was not counted is 0: a missing value is an error that names it.",
    "device": "Counts are summed on the host; components of few genes take no longer there.",
    "row_weights": "Leave cells out before: every one that is there counts.",
    "column_weights": "Genes are chosen, not weighed.",
}
TRIANGLE = "Triangles are reduced by LAPACK, on the host."

CONTRACTS = (
    *(
        Contract(
            name=name,
            arrays={"s": None, "Vh": 1, "U": None},
            exact=("certificate.sigma_upper", "certificate.sigma_lower"),
            options={"rank": 4, "u": True, **options},
            defaults={"center": name == "pca"},
            by_memory="Where whole rows do not fit they are read by tiles of columns.",
            looks="A sample sets the scale before the first pass.",
            left_out=0.0,
            rtol=1e-6,
        )
        for name, options in (
            ("svd", {"route": "krylov", "tol": 1e-9}),
            ("svd", {"route": "gram"}),
            ("pca", {"route": "krylov", "tol": 1e-9, "scale": True}),
            ("pca", {"route": "gram"}),
        )
    ),
    Contract(
        name="cells",
        kind=COUNTS,
        arrays={"s": None, "genes.variances_norm": None, "cells.total_counts": None},
        exact=("certificate.sigma_upper", "Vh", "U", "genes.highly_variable"),
        options={"genes": 60, "rank": 4},
        by_memory="Where the Gram matrix does not fit, components are found by iterations.",
        looks="A sample sets the scale before the pass for the components.",
        lacks=CELLS,
        rtol=1e-6,
    ),
    Contract(
        name="update",
        inputs=lambda A: (new_place(), A),
        call=Updated.by,
        arrays={"model.s": None, "model.Vh": 1},
        exact=("model.certificate.sigma_upper",),
        options={"block_id": "first", "rank": 4},
        policies=("zero",),
        further_policies=("mean", "skip_block"),
        by_memory="Rows are absorbed in pieces that fit.",
        lacks={
            "device": ONE_AFTER_ANOTHER,
            "checkpoint": "The model is one: of a growing array it is committed after every 32 reads.",
            "seed": "Of the model: it is said when it is made, `update(path, A, seed=...)`.",
            "row_weights": "A model weighs rows by their age alone, `forget=`: multiply rows before.",
        },
        rtol=1e-6,
    ),
    Contract(
        name="verify",
        inputs=lambda A: (kept_result(), A),
        arrays={"agrees": None},
        exact=("certificate.sigma_upper", "certificate.sigma_lower"),
        options={"seed": 3},
        lacks={
            "checkpoint": BEGINS_ANEW,
            "mask": AS_MADE,
            "nonfinite": AS_MADE,
            "row_weights": AS_MADE,
            "column_weights": AS_MADE,
            "device": "One pass in double precision, on the host.",
        },
    ),
    *(
        Contract(
            name="top_eigenvectors",
            arrays={"components": 1, "values": None},
            exact=("certificate.values_lower", "certificate.sine", "energy"),
            options={"k": 2, **options},
            lacks=STREAM,
            by_memory="What a stream remembers, and how far rows are mixed, is as much as fits.",
            rtol=rtol,
        )
        for options, rtol in (
            ({"passes": 3}, 1e-6),
            ({"order": "arbitrary"}, 1e-3),
        )  # one pass estimates
    ),
    Contract(
        name="shuffle",
        inputs=lambda A: (A, new_place()),
        planned=lambda A: (A,),
        arrays={"which rows": 1},
        exact=("rows in their order",),
        find={
            "which rows": lambda path: sorted(zarr.open_array(path, mode="r")[...].tolist()),
            "rows in their order": lambda path: zarr.open_array(path, mode="r")[...],
        },
        options={"seed": 5},
        by_memory="Rows are put into as many buckets as fit.",
        lacks={
            "checkpoint": "What is half done are files as large as the matrix, which go with the run.",
            "device": COPIED,
            "mask": COPIED,
            "nonfinite": COPIED,
            "row_weights": COPIED,
            "column_weights": COPIED,
            "record": "It returns the path of what was written.",
        },
    ),
    Contract(
        name="convert",
        inputs=lambda A: (A, new_place()),
        planned=lambda A: (A,),
        arrays={"rows": 1},
        exact=("chunks",),
        find={
            "rows": lambda made: zarr.open_array(made.path, mode="r")[...],
            "chunks": lambda made: np.frombuffer((made.path / "c/1/0").read_bytes(), np.uint8),
        },
        options={"chunk_rows": 300},
        leaves=".unfinished",
        lacks={
            "checkpoint": "It goes on by itself, from the chunks that are written.",
            "seed": "Nothing is random.",
            "device": COPIED,
            "mask": COPIED,
            "nonfinite": COPIED,
            "row_weights": COPIED,
            "column_weights": COPIED,
        },
    ),
    Contract(
        name="nystrom",
        arrays={"indices": None, "rows": 1, "weights": None, "centres": None},
        exact=("certificate.trace_error", "certificate.spectral_estimate", "effective_dimension"),
        options={"n_centres": 20, "gamma": 2.0, "length": 3.0},
        lacks=POINTS,
        rtol=1e-7,
    ),
    *(
        Contract(
            name="kernel_ridge",
            inputs=lambda A: (A, target(A)),
            arrays={"coefficients": None, "mean": None, "held_out_rmse": None},
            exact=("trace_error", "residuals"),
            options={"n_centres": 15, "length": 3.0, "ridge": 0.01, "solver": solver, **more},
            as_first=() if solver == "direct" else ("mask", "nonfinite", "memory"),
            lacks=POINTS | ({"device": ON_THE_WAY} if solver == "onepass" else {}),
            rtol=1e-6,
        )
        for solver, more in (("direct", {}), ("onepass", {}), ("pcg", {"tol": 0.3}))
    ),
    Contract(
        name="sample_rows",
        arrays={"indices": None, "rows": 1, "weights": None, "chances": None, "scores": None},
        exact=("dimension", "certificate.lower", "certificate.upper"),
        options={"size": 150},
        lacks={
            "device": TRIANGLE,
            "row_weights": "A row of more weight is a row that is multiplied by its root: pass such rows.",
            "column_weights": "Leverage does not change with them; under a ridge, multiply the columns before.",
        },
    ),
    Contract(
        name="sample_rows",
        arrays={"indices": None, "rows": 1, "weights": None, "chances": None},
        options={"scores": "ridge", "gamma": 5.0, "oversampling": 3.0},
    ),
    Contract(
        name="sample_rows",
        arrays={"indices": None, "rows": 1, "weights": None, "chances": None},
        options={"scores": "sensitivity", "p": 3.0, "size": 200},
    ),
    Contract(
        name="sample_rows",
        arrays={"indices": None, "rows": 1, "weights": None, "chances": None},
        options={"method": "online", "oversampling": 3.0},
        lacks={
            "checkpoint": "One pass in the order of the rows, every decision final: it begins anew."
        },
    ),
    Contract(
        name="lstsq",
        arrays={"x": 0, "residual_norm": None},
        exact=("forward_error",),
        options={"method": "qr", "ridge": 0.1},
        inputs=lambda A: (A, target(A)),
        other={"ridge": 0.2},
        lacks={
            "device": TRIANGLE,
            "row_weights": "Multiply the rows of A and of b by the roots of their weights.",
            "column_weights": "They would only scale x; under a ridge, divide the columns before.",
        },
    ),
    Contract(
        name="lstsq",
        arrays={"x": 0, "residual_norm": None},
        exact=("forward_error",),
        options={"method": "precondition", "tol": 1e-5},
        inputs=lambda A: (A, target(A)),
    ),
    Contract(
        name="lstsq",
        arrays={"x": 0, "residual_norm": None},
        exact=("forward_error",),
        options={"method": "sketch"},
        inputs=lambda A: (A, target(A)),
    ),
    Contract(
        name="embed",
        kind=GRAPH,
        arrays={"vectors": None},
        options={"dim": 20, "step": "transition"},
        lacks=OF_GRAPHS,
    ),
    Contract(
        name="embed",
        kind=GRAPH,
        call=written_vectors,
        arrays={"vectors": None},
        options={"dim": 20, "normalize": True, "step": "adjacency"},
        lacks={"plan": "It is of what is written."},
    ),
    Contract(
        name="cluster",
        kind=COLLECTION,
        arrays={"labels": None, "errors": None, "compression_ratio": None},
        exact=("bases",),
        find={
            "labels": lambda r: list(r.labels.values()),
            "errors": lambda r: list(r.block_errors.values()),
            "bases": bases,
        },
        options={"error": 0.2, "backend": "primal"},
        other={"error": 0.25},
        policies=("zero",),
        lacks=IN_COLLECTION,
        rtol=1e-6,
    ),
    Contract(
        name="compress",
        kind=COLLECTION,
        inputs=lambda A: (A, new_place()),
        planned=lambda A: (A,),
        defaults={"error": None, "mode": None, "method": None},
        arrays={"labels": None, "errors": None, "entries": None},
        exact=("bytes_after",),
        find={
            "labels": lambda r: list(r.labels.values()),
            "errors": lambda r: list(r.block_errors.values()),
            "entries": read_back,
        },
        options={"error": 0.2},
        other={"error": 0.25},
        policies=("zero",),
        lacks=IN_COLLECTION,
        rtol=1e-6,
    ),
    Contract(
        name="compress",
        kind=COLLECTION,
        inputs=lambda A: (A, new_place()),
        planned=lambda A: (A,),
        arrays={"labels": None, "errors": None, "entries": None},
        exact=("bytes_after",),
        find={
            "labels": lambda r: list(r.labels.values()),
            "errors": lambda r: list(r.block_errors.values()),
            "entries": read_back,
        },
        options={"error": 0.05, "principal": "auto"},
        other={"error": 0.1},
        policies=("zero",),
        lacks=IN_COLLECTION,
        as_first=("plan", "memory", "nonfinite"),
        rtol=1e-6,
    ),
    Contract(
        name="rate_curve",
        kind=COLLECTION,
        arrays={"bytes": None, "errors": None},
        find={
            "bytes": lambda r: [p.bytes_after for p in r.rates],
            "errors": lambda r: [p.block_error for p in r.rates],
        },
        options={"errors": (0.1, 0.3)},
        other={"errors": (0.1, 0.4)},
        policies=("zero",),
        lacks=IN_COLLECTION | {"seed": "Nothing is drawn: sketches of all matrices are exact."},
        rtol=1e-6,
    ),
    Contract(
        name="second_moment_factor",
        arrays={"factor": None},
        find={"factor": lambda F: F.T @ F},
        options={"damping": 0.01},
        other={"damping": 0.02},
        lacks={
            "mask": PASSED_ON,
            "nonfinite": PASSED_ON,
            "seed": "Nothing is drawn.",
            "device": TRIANGLE,
            "row_weights": "Multiply samples by the roots of their weights.",
            "column_weights": "Multiply the columns before.",
            "record": "It returns the rows themselves, to be passed on.",
        },
    ),
    Contract(
        name="project",
        call=project,
        arrays={"scores": None},
        exact=("chunk",),
        find={"scores": rows_of, "chunk": chunk_of},
        options={"rank": 4},
        policies=("zero",),
        further_policies=("mean",),
        by_memory="Where whole rows do not fit they are read by tiles of columns.",
        lacks=ROWS_OF_RESULT | {"device": "Rows are multiplied on the host."},
    ),
    Contract(
        name="reconstruct",
        call=reconstruct,
        arrays={"rows": 1},
        exact=("chunk",),
        find={"rows": rows_of, "chunk": chunk_of},
        options={"rank": 4},
        policies=("zero",),
        further_policies=("mean",),
        lacks=ROWS_OF_RESULT | {"device": "Rows are multiplied on the host."},
    ),
    Contract(
        name="predict",
        call=predict,
        arrays={"predictions": None},
        exact=("chunk",),
        find={"predictions": rows_of, "chunk": chunk_of},
        lacks=ROWS_OF_RESULT
        | {"nonfinite": "Of a missing value there is no prediction: it is an error that names it."},
        rtol=1e-7,
    ),
    Contract(
        name="decompress",
        kind=COMPRESSED,
        call=decompress,
        arrays={"entries": None},
        exact=("files",),
        find={
            "entries": lambda place: np.stack([np.load(p) for p in sorted(place.glob("*.npy"))]),
            "files": lambda place: np.frombuffer("".join(files_in(place)).encode(), np.uint8),
        },
        lacks=ROWS_OF_RESULT
        | {
            "mask": WHOLE,
            "nonfinite": "What is compressed is finite.",
            "row_weights": AS_MADE,
            "column_weights": AS_MADE,
            "device": "Bytes are decoded, on the host.",
            "sparse": DENSE_FACTORS,
        },
    ),
)
