"""What a pass sums is the dense formula, however the rows are cut, in tiles or not, on any device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.engine.device import ArrayApiBackend, NumpyBackend, thread_backend
from streamsvd.engine.passes import Block
from streamsvd.factor.passes import GramPass, NormalPass, PassSums, ProjectPass, ThinBlock
from streamsvd.numerics.blocks import BadEntry, OutOfScale, Preparation

M, N, K = 37, 11, 4
REAL = [
    "float16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
]
DTYPES = [*REAL, "complex64", "complex128"]


def stored(dtype: str, seed: int = 0, holes: float = 0.0) -> Any:
    rng = np.random.default_rng(seed)
    A = 20 * rng.standard_normal((M, N)) + 5
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal((M, N))
    A = (np.abs(A) if np.dtype(dtype).kind == "u" else A).astype(dtype)
    if holes:
        A[rng.random((M, N)) < holes] = np.nan
    A.flags.writeable = False  # a fold that writes into the data fails here
    return A


@dataclass(frozen=True)
class Case:
    """Options along an axis, and the matrix they make of the stored one."""

    axis: str
    dtype: str
    weighted: bool
    center: bool
    scale: bool
    policy: str
    holes: float = 0.0

    @property
    def complex_(self) -> bool:
        return np.dtype(self.dtype).kind == "c"

    @property
    def A(self) -> Any:
        return stored(self.dtype, holes=self.holes)

    @property
    def alpha(self) -> float:
        return 0.25 if self.weighted else 1.0

    def preparation(self, *, single: bool = False) -> Preparation:
        w = np.linspace(0.1, 2, M) if self.weighted else None
        wide = "complex128" if self.complex_ else "float64"
        common = {
            "axis": self.axis,
            "alpha": self.alpha,
            "weights": w,
            "policy": self.policy,
            "single": single,
            "complex_": self.complex_,
        }
        if self.axis == "columns":
            cw = np.linspace(0.5, 1.5, N) if self.weighted else None
            return Preparation(**common, center=self.center, scale=self.scale, column_weights=cw)
        pilot = np.linspace(4, 6, N).astype(wide) if self.center else None
        fill = None if self.policy == "raise" else np.linspace(-1, 1, N).astype(wide)
        return Preparation(**common, pilot=pilot, fill=fill)

    def dense(self) -> tuple[Any, Any]:
        """The matrix whose normal products are summed, rows weighted by their roots; and its own scale."""
        prep = self.preparation()
        A = self.A.astype("complex128" if self.complex_ else "float64")
        gone = np.isnan(A)
        w = np.ones(M) if prep.weights is None else prep.weights
        if self.axis == "rows":
            X = A if prep.pilot is None else A - prep.pilot
            X = prep.alpha * X
            if prep.fill is not None:
                X = np.where(gone, prep.fill, X)
            return np.sqrt(w)[:, None] * X, np.ones(N)
        X = np.where(gone, 0, A) * prep.alpha
        counts = (w[:, None] * ~gone).sum(axis=0) if self.policy == "mean" else np.full(N, w.sum())
        mean = (w[:, None] * X).sum(axis=0) / np.where(counts > 0, counts, 1)
        if self.policy == "mean":
            X = np.where(gone, mean, X)
        about = X - (w[:, None] * X).sum(axis=0) / w.sum()
        spread = np.sqrt((w[:, None] * np.abs(about) ** 2).sum(axis=0) / w.sum())
        X = X - mean if self.center else X
        d = 1 / spread if self.scale else np.ones(N)
        if prep.column_weights is not None:
            d = d * prep.column_weights
        if self.policy == "drop_columns":
            d = np.where(gone.any(axis=0), 0, d)
        return X * d, spread  # row weights are in the thin blocks of this axis


CASES = [
    *(Case("rows", dtype, False, False, False, "raise") for dtype in DTYPES),
    *(Case("columns", dtype, False, False, False, "raise") for dtype in DTYPES),
    *(
        Case("rows", dtype, True, True, False, "raise")
        for dtype in ("float32", "int16", "complex64")
    ),
    *(
        Case("columns", dtype, True, True, True, "raise")
        for dtype in ("float32", "int16", "complex64")
    ),
    *(Case("columns", "float64", True, False, True, "raise") for _ in range(1)),
    *(
        Case(axis, dtype, weighted, center, scale, policy, 0.1)
        for axis, scale in (("rows", False), ("columns", True), ("columns", False))
        for dtype in ("float64", "complex64")
        for weighted, center in ((False, False), (True, True))
        for policy in ("zero", "mean", "drop_columns")
    ),
]


def name(case: Case) -> str:
    marks = [case.axis, case.dtype, case.policy]
    marks += [word for word in ("weighted", "center", "scale") if getattr(case, word)]
    return "-".join(marks)


@pytest.fixture(params=["cpu", "strict", pytest.param("cuda", marks=pytest.mark.gpu)])
def engine(request: pytest.FixtureRequest) -> Any:
    if request.param == "strict":
        request.getfixturevalue("no_hidden_sync")
    if request.param == "cuda":
        pytest.importorskip("cupy")
    return thread_backend(request.param)


def parts(axis: str, A: Any, cuts: list[int], engine: Any) -> list[Block]:
    along, other = (0, 1) if axis == "rows" else (1, 0)
    extent, whole = A.shape[along], slice(0, A.shape[other])
    edges = [0, *sorted({c for c in cuts if 0 < c < extent}), extent]
    return [
        Block(a, whole, engine.to_device(A[a:b] if axis == "rows" else A[:, a:b]))
        for a, b in zip(edges, edges[1:], strict=False)
    ]


def folded(fold: Any, engine: Any, A: Any, cuts: list[int]) -> PassSums:
    state = fold.init(engine)
    for block in parts(fold.prep.axis, A, cuts, engine):
        state = fold.update(state, block)
    return fold.close(state)


def tiled(fold: Any, engine: Any, A: Any, cuts: list[int], tile: int) -> PassSums:
    """As the engine does where whole rows do not fit."""
    state = fold.init(engine)
    tiles = [slice(c, min(c + tile, A.shape[1])) for c in range(0, A.shape[1], tile)]
    for rows in parts("rows", A, cuts, NumpyBackend()):
        pieces = [Block(rows.first, c, engine.to_device(rows.data[:, c])) for c in tiles]
        Y = None
        for piece in pieces:
            product = fold.forward(state, piece)
            Y = product if Y is None else [a + b for a, b in zip(Y, product, strict=True)]
        assert Y is not None
        if fold.two_sided:
            for piece in pieces:
                fold.backward(state, piece, Y)
        else:
            fold.backward(state, Block(rows.first, tiles[0], None), Y)
    return fold.close(state)


def thin(case: Case, k: int = K, seed: int = 1) -> Any:
    n = N if case.axis == "rows" else M
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, k))
    return X + 1j * rng.standard_normal((n, k)) if case.complex_ else X


def operator(case: Case) -> Any:
    """The matrix of the fold: that of the case, or along columns its adjoint."""
    X, _ = case.dense()
    return X if case.axis == "rows" else X.conj().T


def close(found: Any, truth: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(found, truth, rtol=0, atol=rtol * max(np.abs(truth).max(), 1e-300))


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_normal_pass_is_the_dense_normal_product(engine, case):
    X, Q = operator(case), thin(case)
    fold = NormalPass(case.preparation(), (ThinBlock(Q, False),), moments=True)
    sums = folded(fold, engine, case.A, [5, 16])
    close(sums.products[0], X.conj().T @ (X @ Q))
    assert sums.moments is not None
    energy = np.linalg.norm(X) ** 2
    if case.axis == "columns" and case.weighted:
        energy = np.linalg.norm(np.sqrt(case.preparation().weights) * X) ** 2
    assert sums.moments.energy == pytest.approx(energy, rel=1e-12)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.dtype in ("float32", "complex64", "int16")], ids=name
)
def test_single_products_are_right_to_single_and_the_double_ones_beside_them_to_double(
    engine, case
):
    X, Q = operator(case), thin(case)
    fold = NormalPass(
        case.preparation(single=True),
        (ThinBlock(Q, True), ThinBlock(Q[:, :2], False)),
        moments=True,
    )
    first, second = folded(fold, engine, case.A, [9]).products
    close(first, X.conj().T @ (X @ Q), 1e-5)
    close(second, X.conj().T @ (X @ Q[:, :2]), 1e-12)
    assert first.dtype == second.dtype == np.result_type(Q)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_gram_pass_is_the_dense_gram_matrix(engine, case):
    X = operator(case)
    fold = GramPass(case.preparation(), X.shape[1])
    close(folded(fold, engine, case.A, [13]).products[0], X.conj().T @ X)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_projection_hands_over_every_row_once_in_order(engine, case):
    X, Z = operator(case), thin(case)
    shift, divide = np.linspace(0, 1, K), np.array([1.0, 2.0, 0.5, 0.0])
    prep = case.preparation()
    root = np.ones(X.shape[0])
    if case.axis == "rows" and prep.weights is not None:
        root = np.sqrt(prep.weights)
    elif case.axis == "columns":
        shift = 0 * shift
    truth = X @ Z - root[:, None] * shift
    fold = ProjectPass(prep, ThinBlock(Z, False), shift.astype(prep.wide), divide, prep.wide)
    sums = folded(fold, engine, case.A, [4, 9])
    starts = [start for start, _ in sums.pieces]
    assert starts == sorted(starts)
    close(np.concatenate([rows for _, rows in sums.pieces]), truth * divide)
    close(sums.products[0], truth.conj().T @ truth)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.axis == "rows" and c.dtype != "float16"], ids=name
)
@pytest.mark.parametrize("tile", [1, 4, 11])
def test_tiles_of_columns_add_up_to_whole_rows(engine, case, tile):
    fold = NormalPass(case.preparation(), (ThinBlock(thin(case), False),), moments=True)
    whole, parted = folded(fold, engine, case.A, [20]), tiled(fold, engine, case.A, [20], tile)
    close(parted.products[0], whole.products[0])
    a, b = whole.moments, parted.moments
    assert a is not None
    assert b is not None
    for field in ("total", "squares", "missing"):
        close(getattr(b, field), getattr(a, field))
    assert (a.weight, a.energy) == pytest.approx((b.weight, b.energy))
    project = ProjectPass(
        case.preparation(), ThinBlock(thin(case), False), np.zeros(K), np.ones(K), fold.prep.wide
    )
    rows = [folded(project, engine, case.A, [20]), tiled(project, engine, case.A, [20], tile)]
    close(*(np.concatenate([r for _, r in s.pieces]) for s in rows))


def test_sums_are_absorbed_in_their_place_and_are_those_of_a_merge():
    case = Case("rows", "float64", False, False, False, "raise")
    fold = NormalPass(case.preparation(), (ThinBlock(thin(case), False),), moments=True)
    one, other = (
        folded(fold, thread_backend("cpu"), case.A[part], []) for part in (slice(20), slice(20, M))
    )
    merged = one.merge(other)
    place, untouched = one.products[0], other.products[0].copy()
    absorbed = one.absorb(other)
    assert absorbed.products[0] is place
    np.testing.assert_array_equal(absorbed.products[0], merged.products[0])
    np.testing.assert_array_equal(other.products[0], untouched)
    assert absorbed.moments is not None
    assert merged.moments is not None
    assert absorbed.moments.energy == merged.moments.energy
    place.flags.writeable = False  # as a cluster sends it
    assert absorbed.absorb(other).products[0] is not place


@given(
    st.lists(st.integers(1, M - 1), max_size=12),
    st.lists(st.integers(1, M - 1), max_size=12),
    st.sampled_from(["rows", "columns"]),
    st.booleans(),
)
def test_sums_do_not_depend_on_the_cuts(first, second, axis, complex_):
    case = Case(
        axis, "complex128" if complex_ else "float64", True, True, axis == "columns", "raise"
    )
    fold = NormalPass(case.preparation(), (ThinBlock(thin(case), False),), moments=True)
    a, b = (folded(fold, NumpyBackend(), case.A, cuts) for cuts in (first, second))
    close(a.products[0], b.products[0], 1e-13)
    assert a.moments is not None
    assert b.moments is not None
    assert a.moments.energy == pytest.approx(b.moments.energy, rel=1e-13)
    for x, y in ((a.moments.total, b.moments.total), (a.moments.squares, b.moments.squares)):
        np.testing.assert_allclose(x, y, atol=1e-12 * (1 + np.abs(x).max()))


@given(st.lists(st.integers(1, M - 1), min_size=1, max_size=6))
def test_merging_spans_is_folding_them_in_one(cuts):
    case = Case("rows", "float64", True, True, False, "mean", 0.1)
    fold = NormalPass(case.preparation(), (ThinBlock(thin(case), False),), moments=True)
    merged: PassSums | None = None
    for block in parts("rows", case.A, cuts, NumpyBackend()):
        own = fold.close(fold.update(fold.init(NumpyBackend()), block))
        merged = own if merged is None else merged.merge(own)
    whole = folded(fold, NumpyBackend(), case.A, [])
    assert merged is not None
    assert merged.moments is not None
    assert whole.moments is not None
    close(merged.products[0], whole.products[0], 1e-13)
    close(merged.moments.total, whole.moments.total, 1e-13)
    assert merged.moments.weight == pytest.approx(whole.moments.weight)
    np.testing.assert_array_equal(merged.moments.missing, whole.moments.missing)
    close(merged.moments.missing_weight, whole.moments.missing_weight, 1e-13)


def test_moments_along_rows_are_weighted_sums_about_the_pilot():
    case = Case("rows", "float64", True, True, False, "mean", 0.1)
    prep, A = case.preparation(), case.A
    sums = folded(
        NormalPass(prep, (ThinBlock(thin(case), False),), moments=True), NumpyBackend(), A, [7]
    )
    tally = sums.moments
    assert tally is not None
    w, gone = prep.weights, np.isnan(A)
    X = np.where(gone, prep.fill, prep.alpha * (A - prep.pilot))
    close(tally.total, w @ X)
    close(tally.squares, w @ X**2)
    np.testing.assert_array_equal(tally.missing, gone.sum(axis=0))
    close(tally.missing_weight, w @ gone)
    assert tally.weight == pytest.approx(w.sum())


def test_features_along_columns_are_means_and_deviations_in_the_units_of_the_data():
    case = Case("columns", "float64", True, False, True, "mean", 0.1)
    prep = case.preparation()
    sums = folded(
        NormalPass(prep, (ThinBlock(thin(case), False),), moments=True),
        NumpyBackend(),
        case.A,
        [3, 7],
    )
    assert sums.moments is not None
    features = sorted(sums.moments.features, key=lambda f: f[0])
    assert [f[0] for f in features] == [0, 3, 7]
    gone = np.isnan(case.A)
    w = prep.weights[:, None]
    mean = np.where(gone, 0, case.A * w).sum(axis=0) / (w * ~gone).sum(axis=0)
    close(np.concatenate([f[1] for f in features]), mean)
    close(np.concatenate([f[2] for f in features]), case.dense()[1] / prep.alpha)
    assert sums.moments.missing[0] == gone.sum()


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("policy", ["raise", "zero", "mean", "drop_columns"])
def test_the_first_bad_entry_is_named_by_row_and_column(engine, axis, value, policy):
    A = stored("float64").copy()
    A[30, 8] = A[33, 9] = value
    case = Case(axis, "float64", False, False, False, policy)
    fold = NormalPass(case.preparation(), (ThinBlock(thin(case), False),), moments=True)
    if np.isnan(value) and policy != "raise":
        assert np.isfinite(folded(fold, engine, A, [5, 8]).products[0]).all()
        return
    with pytest.raises(BadEntry) as caught:
        folded(fold, engine, A, [5, 8])
    error = caught.value
    assert (error.row, error.column) == (30, 8)
    assert error.value == ("NaN" if np.isnan(value) else "Inf")


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize(("single", "size"), [(True, 1e19), (False, 1e100), (False, 1e200)])
def test_entries_too_large_to_square_tell_their_size_for_another_try(axis, single, size):
    A = stored("float32" if single else "float64").copy()
    A[20, 3] = size
    case = Case(axis, str(A.dtype), False, False, False, "raise")
    fold = NormalPass(
        case.preparation(single=single), (ThinBlock(thin(case), single),), moments=True
    )
    with np.errstate(over="ignore"), pytest.raises(OutOfScale) as caught:
        folded(fold, NumpyBackend(), A, [5, 8])
    np.testing.assert_allclose(caught.value.size, size, rtol=1e-6)


def test_the_rounding_of_centring_is_in_the_single_products_and_not_in_the_double_ones():
    """Both multiply the same pilot; only then do the probes see what float32 has lost."""
    A = stored("float32")
    case = Case("rows", "float32", False, True, False, "raise")
    prep = replace(
        case.preparation(single=True),
        alpha=1.0,
        pilot=np.full(N, np.float32(1234.567), dtype=np.float64),
    )
    Q = thin(case)
    fold = NormalPass(prep, (ThinBlock(Q, True), ThinBlock(Q, False)), moments=True)
    X = A.astype(np.float64) - prep.pilot
    first, second = folded(fold, NumpyBackend(), A, [9]).products
    close(second, X.T @ (X @ Q), 1e-14)
    assert np.abs(first - second).max() > 1e-9 * np.abs(second).max()


@pytest.mark.parametrize("fold_kind", ["normal", "gram", "project"])
def test_transfers_of_a_pass_are_the_matrix_and_the_factors(fold_kind, no_hidden_sync):
    """Both doors counted: each block goes in once, sums come out once, constants once a span."""
    strict = thread_backend("strict")
    assert isinstance(strict, ArrayApiBackend)
    case = Case("rows", "float32", False, True, False, "raise")
    rng = np.random.default_rng(0)
    A = rng.standard_normal((400, N)).astype(np.float32)
    prep = case.preparation(single=True)
    fold: Any = NormalPass(
        prep, (ThinBlock(thin(case), True), ThinBlock(thin(case), False)), moments=True
    )
    out = 2 * N * K * 8 + 4 * N * 8
    if fold_kind == "gram":
        fold, out = GramPass(prep, N), N * N * 8 + 4 * N * 8
    if fold_kind == "project":
        fold = ProjectPass(prep, ThinBlock(thin(case), True), np.zeros(K), np.ones(K), "float64")
        out = 400 * K * 8 + K * K * 8
    before = (strict.traffic.to_device_bytes, strict.traffic.to_host_bytes)
    folded(fold, strict, A, list(range(50, 400, 50)))
    sent = strict.traffic.to_device_bytes - before[0]
    brought = strict.traffic.to_host_bytes - before[1]
    constants = 3 * N * 8 + 2 * N * K * 8 + 8 * K * 8
    assert A.nbytes <= sent <= A.nbytes + constants
    assert brought <= out + 8 * 8  # and one scalar of each block
