"""What is masked is missing, at every door: the outcome is that of NaN in its place, or a refusal in words."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray

import streamsvd as ss
from streamsvd.checks import masks

pytestmark = pytest.mark.filterwarnings(
    "ignore:overflow encountered in cast"
)  # of numpy's fill value of float16

TRAP = 99
"""What lies under the mask: it must be seen nowhere."""
HOLES = [(5, 1), (17, 3), (18, 0)]


def values(dtype="f8", m=24, n=4, seed=0):
    rng = np.random.default_rng(seed)
    A = 100 * rng.uniform(0, 60, (m, n))
    return (A + 1j * A[::-1] if np.dtype(dtype).kind == "c" else A).astype(dtype)


def masked(dtype="f8", **of):
    A = np.ma.masked_array(values(dtype, **of))
    for hole in HOLES:
        A.data[hole], A[hole] = TRAP, np.ma.masked
    assert A.data[HOLES[0]] == TRAP
    return A


def with_nan(dtype="f8", **of):
    A = values(dtype, **of)
    A = A.astype(np.result_type(dtype, "f4") if A.dtype.kind in "iu" else dtype)
    for hole in HOLES:
        A[hole] = np.nan
    return A


@dataclass
class Reader:
    """A user's own storage."""

    A: Any
    chunks: tuple[int, int] = (8, 4)

    @property
    def shape(self):
        return self.A.shape

    @property
    def dtype(self):
        return self.A.dtype

    def read(self, rows):
        return self.A[rows]


def array(A):
    return A


def dask(A):
    return da.from_array(A, chunks=(7, 3))


def untold(A):
    """A dask array whose chunks are masked, and whose meta does not say so."""
    return dask(np.asarray(A)).map_blocks(
        lambda _, block_info: A[tuple(slice(*s) for s in block_info[0]["array-location"])],
        dtype=A.dtype, meta=np.empty((0, 0), A.dtype),
    )  # fmt: skip


def partly(A):
    """A dask array of which one chunk is masked."""
    return untold(A) if not isinstance(A, np.ma.MaskedArray) else da.concatenate(
        [da.from_array(A[:4].filled(0), chunks=(4, 4)), untold(A[4:])]
    )  # fmt: skip


FORMS = [array, dask, untold, partly, Reader]


# Doors of matrices: each takes one and gives what was found ------------------------------------------------------------


def factors(result):
    return np.concatenate([result.s, np.abs(result.Vh).ravel(), [result.info.missing]])


def svd(X, _, policy="raise"):
    return factors(ss.svd(X, 2, nonfinite=policy, tol=1e-6))


def along_columns(X, _, policy="raise"):
    plan = ss.plan_svd(X, 2, nonfinite=policy, tol=1e-6, axis="columns")
    return factors(ss.svd(X, 2, nonfinite=policy, tol=1e-6, plan=plan))


def pca(X, _, policy="raise"):
    return factors(ss.pca(X, 2, nonfinite=policy, tol=1e-6).svd)


def model(X, folder, policy="raise"):
    m = ss.Model.create(folder / "m", rank=2, center=True)
    m.update(values(seed=1), "first")
    m.update(X, "second", nonfinite=policy)
    return m.s


def columns_of_model(X, folder, policy="raise"):
    m = ss.Model.create(folder / "m", rank=2, axis="columns")
    m.update(values(seed=1).T, "first")
    m.update(
        X.T if not isinstance(X, Reader) else Reader(X.A.T, (4, 8)), "second", nonfinite=policy
    )
    return m.s


def verify(X, folder):
    ss.svd(values(), 2, out=folder / "r")
    return np.array(ss.verify(folder / "r", X).certificate.sigma_upper)


def top(X, _):
    return ss.top_eigenvectors(X, k=1).values


def shuffle(X, folder):
    import zarr

    return np.sort(zarr.open(ss.shuffle(X, folder / "z"))[...], axis=0)


def sample(X, _, method="two-pass"):
    return ss.sample_rows(X, 10, method=method).indices


def online(X, _):
    return ss.sample_rows(X, method="online", gamma=1.0).indices


def lstsq(X, _):
    return ss.lstsq(X, np.ones(24)).x


def nystrom(X, _):
    return ss.nystrom(X, n_centres=3).centres


def updated_nystrom(X, _):
    return ss.nystrom(values(), n_centres=3).update(X).centres


def kernel_ridge(X, _):
    return ss.kernel_ridge(X, np.arange(24.0), n_centres=3).coefficients


def predict_to(X, folder):
    import zarr

    fit = ss.kernel_ridge(values(), np.arange(24.0), n_centres=3)
    return zarr.open(fit.predict_to(X, folder / "p"))[...]


def input_factor(X, _):
    return ss.second_moment_factor(X)


def inputs(X, _):
    return np.array([ss.cluster({"a": values()}, 0.5, inputs=X).info.rate_lower])


def fitted(name):
    def fit(X, _):
        return getattr(ss, name)(n_components=2).fit(X).n_features_in_

    fit.__name__ = name
    return fit


def regressor(X, _):
    return ss.KernelRidge(n_components=3).fit(X, np.arange(24.0)).alpha_


POLICIES = {
    svd: ["raise", "zero", "mean", "drop_columns"],
    along_columns: ["raise", "zero", "mean", "drop_columns"],
    pca: ["raise", "zero", "mean", "drop_columns"],
    model: ["raise", "zero", "skip_block", "mean"],
    columns_of_model: ["raise", "zero", "skip_block"],
}
MATRIX_DOORS = [
    verify, top, shuffle, sample, online, lstsq, nystrom, updated_nystrom, kernel_ridge, predict_to, input_factor, inputs,
    fitted("TruncatedSVD"), fitted("IncrementalPCA"), fitted("Nystroem"), regressor,
]  # fmt: skip
CASES = [(door, {"policy": p}) for door, policies in POLICIES.items() for p in policies] + [
    (door, {}) for door in MATRIX_DOORS
]


def outcome(door, X, folder, options):
    """What came of it, or that NaN was refused: which one is found first is for threads to say."""
    try:
        return np.asarray(door(X, folder, **options))
    except ValueError as error:  # scikit-learn has its own words
        assert "NaN" in str(error)
        if isinstance(error, ss.NonFiniteError):
            assert {(error.row, error.column), (error.column, error.row)} & set(HOLES)
        return "refused"


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """The outcome of each door for NaN in memory."""
    known = {}

    def of(door, options):
        key = door, tuple(options.values())
        if key not in known:
            known[key] = outcome(door, with_nan(), tmp_path_factory.mktemp("right"), options)
        return known[key]

    return of


@pytest.mark.filterwarnings("ignore::streamsvd.OrderWarning")
@pytest.mark.parametrize("form", [array, dask, partly, Reader], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("door", "options"), CASES, ids=lambda x: getattr(x, "__name__", None))
def test_what_is_masked_is_nan_to_every_verb(door, options, form, right, tmp_path):
    found, wanted = outcome(door, form(masked()), tmp_path, options), right(door, options)
    assert type(found) is type(wanted)
    if isinstance(found, str):
        assert found == wanted
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
    assert options.get("policy") != "raise" or found == "refused"


@pytest.mark.parametrize("dtype", ["f4", "f2", "i2", "u1", "i4", "i8", "c8", "c16", ">f8", ">i2"])
@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_every_type_become_nan_or_are_refused_in_words(form, dtype, tmp_path):
    A = masked(dtype)
    integer = A.dtype.kind in "iu"
    if integer and form in (untold, partly, Reader):
        with pytest.raises(
            ss.SpecError, match=r"row \d+, column \d of .* is masked, and its u?int.* no NaN"
        ):
            svd(form(A), tmp_path, policy="zero")
        return
    found = ss.svd(form(A), 2, nonfinite="zero", tol=1e-4)
    right = np.linalg.svd(
        A.filled(0).astype("c16" if A.dtype.kind == "c" else "f8"), compute_uv=False
    )
    assert np.all(found.certificate.sigma_lower <= right[:2] * (1 + 1e-6))
    assert np.all(right[:2] <= found.certificate.sigma_upper * (1 + 1e-6))
    assert found.info.missing == len(HOLES)


@pytest.mark.parametrize("form", [array, dask])
def test_a_mask_without_a_masked_cell_costs_nothing(form):
    A = np.ma.masked_array(values("i2"), mask=np.zeros((24, 4), bool))
    assert ss.open(array(A)).dtype == np.int16
    np.testing.assert_array_equal(ss.svd(form(A), 2).s, ss.svd(form(A.data), 2).s)


def test_an_array_in_memory_is_not_copied_for_its_mask():
    A = masked()
    assert ss.open(A).array is A
    assert np.shares_memory(ss.open(np.ma.masked_array(A.data)).array, A.data)


@pytest.mark.parametrize("rows", [0, (0, 2), (2,)])
def test_masks_of_more_dimensions_lie_where_their_cells_do(rows):
    A = np.ma.masked_array(np.arange(24.0).reshape(2, 3, 4), mask=False)
    A[1, 2, 3] = np.ma.masked
    plain = A.filled(np.nan)
    a, b = (ss.open(x, rows=rows) for x in (A, plain))
    out = [np.empty(a.shape) for _ in range(2)]
    for source, place in zip((a, b), out, strict=True):
        source.read(slice(None), slice(None), place)
    np.testing.assert_array_equal(*out)


def test_complex_numbers_are_not_cut_to_what_a_dask_array_promises():
    A = da.ones((8, 3), chunks=4).map_blocks(lambda x: x * 1j, dtype="f8", meta=np.empty((0, 0)))
    with pytest.raises(ss.SpecError, match="complex128 values came of .*promises float64"):
        ss.svd(A, 1)


# Rows that come in blocks ------------------------------------------------------------------------------------------------


def stream(block):
    return ss.top_eigenvectors([values(seed=1), block], k=1).values


def pushed(block):
    return ss.TopEigenvectorStream(k=1).partial_fit(block).finalize().values


def absorbed(name):
    def partial_fit(block):
        return (
            getattr(ss, name)(n_components=2)
            .partial_fit(values(seed=1))
            .partial_fit(block)
            .n_samples_seen_
        )

    partial_fit.__name__ = f"{name}.partial_fit"
    return partial_fit


def ready(name, method, *, rows=slice(None)):
    def call(block):
        X = values(seed=1)
        made = getattr(ss, name)(n_components=2)
        made = made.fit(X, np.arange(24.0)) if name == "KernelRidge" else made.fit(X)
        return getattr(made, method)(block[..., rows] if not isinstance(block, list) else block)

    call.__name__ = f"{name}.{method}"
    return call


def fit_transform(name):
    def call(block):
        return getattr(ss, name)(n_components=2).fit_transform(block)

    call.__name__ = f"{name}.fit_transform"
    return call


def state(block):
    method = ss.IncrementalSVD(rank=2)
    return method.finalize(method.update(method.init(4, like=values()), block)).s


def predictions(block):
    return ss.kernel_ridge(values(), np.arange(24.0), n_centres=3).predict(block)


def features(block):
    return ss.nystrom(values(), n_centres=3).feature_map(block)


def member(block):
    return ss.cluster({"a": values(seed=1), "b": block}, 0.5).info.rate_lower


ROWS_DOORS = [
    stream, pushed, absorbed("TruncatedSVD"), absorbed("IncrementalPCA"),
    ready("TruncatedSVD", "transform"), ready("IncrementalPCA", "transform"), ready("Nystroem", "transform"),
    ready("TruncatedSVD", "inverse_transform", rows=slice(2)), ready("IncrementalPCA", "inverse_transform", rows=slice(2)),
    ready("KernelRidge", "predict"), fit_transform("TruncatedSVD"), fit_transform("IncrementalPCA"), fit_transform("Nystroem"),
    predictions, features, member, state,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::streamsvd.OrderWarning")
@pytest.mark.parametrize("dtype", ["f8", "i2"])
@pytest.mark.parametrize("door", ROWS_DOORS, ids=lambda d: d.__name__)
def test_what_is_masked_in_a_block_is_refused_as_nan_is(door, dtype):
    with pytest.raises(ValueError, match=r"NaN|nan") as right:
        door(with_nan(dtype))
    with pytest.raises(ValueError, match=r"NaN|nan") as found:
        door(masked(dtype))
    assert str(found.value) == str(right.value)
    assert type(found.value) is type(right.value)


@pytest.mark.parametrize(
    "door", [stream, pushed, ready("KernelRidge", "predict"), predictions], ids=lambda d: d.__name__
)
def test_lists_of_masked_rows_keep_their_masks(door):
    with pytest.raises(ValueError, match="NaN"):
        door(list(masked()))


# Numbers beside the matrix -------------------------------------------------------------------------------------------------


def vector(dtype="f8", n=24):
    x = np.ma.masked_array(np.arange(1, n + 1).astype(dtype))
    x[3] = np.ma.masked
    return x


def in_dask(x):
    return da.from_array(x, chunks=10)


def in_xarray(x):
    return xarray.DataArray(da.from_array(x, chunks=10))


BESIDE = {
    "lstsq b": lambda x: ss.lstsq(values(), x),
    "lstsq several b": lambda x: ss.lstsq(values(), np.ma.stack([x, x], axis=1)),
    "kernel_ridge y": lambda x: ss.kernel_ridge(values(), x, n_centres=3),
    "KernelRidge.fit y": lambda x: ss.KernelRidge(n_components=3).fit(values(), x),
    "KernelRidge.fit y beside a stored X": lambda x: ss.KernelRidge(n_components=3).fit(dask(values()), x),
    "KernelRidge.score y": lambda x: ss.KernelRidge(n_components=3).fit(values(), np.arange(24.0)).score(values(), x),
    "sample_weight": lambda x: ss.KernelRidge(n_components=3).fit(values(), np.arange(24.0)).score(values(), np.arange(24.0), x),
    "svd row_weights": lambda x: ss.svd(values(), 2, row_weights=x),
    "svd column_weights": lambda x: ss.svd(values().T, 2, column_weights=x),
    "plan_svd row_weights": lambda x: ss.plan_svd(values(), 2, row_weights=x),
    "pca row_weights": lambda x: ss.pca(values(), 2, row_weights=x),
    "cluster row_weights": lambda x: ss.cluster({"a": values()}, 0.1, row_weights=x),
    "cluster column_weights": lambda x: ss.cluster({"a": values().T}, 0.1, column_weights=x),
    "rates row_weights": lambda x: ss.rate_curve({"a": values()}, row_weights=x),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f8", "i8"])
@pytest.mark.parametrize("lazy", [array, in_dask, in_xarray, list], ids=lambda f: f.__name__)
@pytest.mark.parametrize("door", BESIDE)
def test_numbers_beside_the_matrix_are_refused_where_they_are_masked(door, lazy, dtype):
    x = vector(dtype)
    if door == "lstsq several b" and lazy is not array:
        pytest.skip("stacked as it is")
    with pytest.raises(ValueError, match=r"masked at 3|(is|contains|gave) (nan|NaN)"):
        BESIDE[door](lazy(x))


@pytest.mark.parametrize("given", [[1j] * 24, np.full(24, 1j), ["a"] * 24, [[1], [2, 3]]])
def test_weights_that_are_no_real_numbers_are_told(given):
    with pytest.raises(ss.SpecError, match="row_weights are no numbers"):
        ss.svd(values(), 2, row_weights=given)


def test_a_kernel_that_masks_is_refused():
    with pytest.raises(ss.SpecError, match="gave NaN"):
        ss.nystrom(values(), lambda X, Y: np.ma.masked_greater(X @ Y.T, 0), n_centres=3)


# Collections --------------------------------------------------------------------------------------------------------------


class Lazy:
    """What netCDF variables are: masked arrays come of plain-looking ones."""

    def __init__(self, A):
        self.A, self.shape, self.dtype = A, A.shape, A.dtype

    def __getitem__(self, box):
        return self.A[box]


@pytest.mark.parametrize("form", [array, dask, untold, Lazy, list], ids=lambda f: f.__name__)
@pytest.mark.parametrize("missing", ["error", "zero"])
def test_masked_members_of_collections_are_missing(form, missing, tmp_path):
    def found(A):
        collection = ss.open_collection({"a": form(A), "b": values(seed=1)}, missing=missing)
        return ss.cluster(collection, 0.1).zeros, ss.rate_curve(collection, [0.1]).rates[
            0
        ].compression_ratio

    if missing == "zero":
        assert found(masked()) == found(with_nan())
        assert found(masked())[0] == {"a": len(HOLES)}
        return
    with pytest.raises(ss.NonFiniteError) as right:
        found(with_nan())
    with pytest.raises(ss.NonFiniteError) as caught:
        found(masked())
    assert str(caught.value) == str(right.value)
    with pytest.raises(ss.NonFiniteError):
        ss.compress({"a": form(masked())}, tmp_path / "c", 0.1)


def test_masked_integers_of_a_member_are_missing_or_refused():
    with pytest.raises(ss.NonFiniteError, match="row 5, column 1"):
        ss.cluster({"a": masked("i2")}, 0.1)
    with pytest.raises(ss.SpecError, match="row 5, column 1 of Lazy is masked"):
        ss.cluster({"a": Lazy(masked("i2"))}, 0.1)


# The guard ------------------------------------------------------------------------------------------------------------------


def test_text_and_objects_have_no_nan():
    A = np.ma.masked_array(np.array([[1.0, 2.0], [3.0, 4.0]], object), mask=[[0, 1], [0, 0]])
    with pytest.raises(ss.SpecError, match="an array of object is masked at 0, 1"):
        masks.masked_to_nan(A)
    with pytest.raises(ss.SpecError, match="is masked at 0, 1"):
        ss.IncrementalPCA(1).fit(A)


ITS_OWN = {
    ("collections/compressed.py", "norms"),
    ("estimators/incremental_pca.py", "panel"),
    ("estimators/rows.py", "X"),  # sparse there, and so without a mask
    ("store/checkpoints/encoding.py", "part"),
    ("store/sources/zarr_store/codecs.py", "data"),
    ("numerics/columns.py", "values"),
    ("store/collections/origin.py", "fill_value"),
    ("store/sources/conventions.py", "value"),
}
"""Numbers that we made, or read of files, though their type is Any."""
MAKERS = {
    f"np.{name}" for name in ("asarray", "array", "asanyarray", "ascontiguousarray", "atleast_2d")
}
CHECKERS = {"validate_data", "check_array"}  # of scikit-learn, which know no masks


def bare_arguments(path):
    """Names of arguments of type Any that become arrays without their masks, and what scikit-learn is given bare."""
    text = path.read_text()
    if not any(name.rpartition(".")[2] + "(" in text for name in MAKERS | CHECKERS):
        return
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef):
            continue
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        anything = {a.arg for a in arguments if ast.unparse(a.annotation or ast.Name("")) == "Any"}
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            given = {a.id for a in call.args if isinstance(a, ast.Name)} - {"self"}
            yield from given & anything if name in MAKERS else given if name in CHECKERS else ()


def test_no_door_makes_an_array_by_itself():
    """What a user gave becomes an array in `streamsvd.checks.masks` alone."""
    home = Path(ss.__file__).parent
    files = {path.relative_to(home).as_posix(): path for path in home.rglob("*.py")}
    found = {
        (name, argument)
        for name, path in files.items()
        if name != "checks/masks.py" and not name.startswith("testing")
        for argument in bare_arguments(path)
    }
    assert found <= ITS_OWN
