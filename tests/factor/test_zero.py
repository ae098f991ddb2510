"""Zero is relative: what is no more than the rounding of the data is zero, in every verb that takes a mean out."""

import numpy as np
import pytest

import streamsvd as S

RNG = np.random.default_rng(14)
ROW = RNG.standard_normal((1, 40))
EQUAL_ROWS = {
    "a constant": np.full((500, 20), 0.1),
    "a constant, wide": np.full((20, 500), 1 / 3),
    "equal rows": np.repeat(ROW, 300, 0),
    "equal rows, wide": np.repeat(RNG.standard_normal((1, 700)), 30, 0),
    "equal rows of many sizes": np.repeat(ROW * 10.0 ** np.linspace(-6, 6, 40), 300, 0),
    "far from zero": np.full((300, 9), 1e7 / 3),
    "near the end of float64": np.full((30, 9), 1e150 / 3),
    "two rows": np.full((2, 3), 1 / 3),
    "zeros": np.zeros((50, 7)),
}
LAST_BIT = np.nextafter(np.full((500, 9), 1 / 3), RNG.choice([-1.0, 2.0], (500, 9)))
"""A constant up to its last bit."""


def _assert_zero(result: S.SVD | S.PCA) -> None:
    c = result.certificate
    assert result.info.status is S.Status.CONVERGED
    assert c.vanishes
    assert not c.sigma_lower.any()
    assert (c.sigma_upper <= c.zero).all()
    assert c.relative_width == 0
    assert c.error_vanishes
    assert (c.captured, c.captured_of_best, c.numerical_rank) == (1, 1, 0)


@pytest.mark.parametrize("route", ["krylov", "gram"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "complex64"])
@pytest.mark.parametrize("kind", EQUAL_ROWS)
def test_equal_rows_have_no_variance(kind: str, dtype: str, route: str) -> None:
    """PCA of equal rows has converged, with every interval from 0 to next to nothing."""
    X = EQUAL_ROWS[kind]
    if X.max() > 1e30 and dtype in ("float32", "complex64"):
        pytest.skip("beyond the type")
    X = X.astype(dtype)
    if np.iscomplexobj(X):
        X = X * (1 - 0.7j)
    found = S.pca(X, 1, route=route)
    _assert_zero(found)
    assert not found.explained_variance_ratio.any()


@pytest.mark.parametrize(
    "options",
    [
        {"rank": 2},
        {"energy": 0.9},
        {"rank": 1, "target": "error"},
        {"rank": 1, "target": "values"},
        {"rank": 1, "nonfinite": "mean"},
        {"rank": 1, "precision": "double"},
        {"rank": 1, "column_weights": np.arange(20.0)},
    ],
    ids=lambda options: " ".join(options),
)
@pytest.mark.parametrize("X", [EQUAL_ROWS["a constant"], LAST_BIT], ids=["constant", "last bit"])
def test_whatever_is_asked(X: np.ndarray, options: dict) -> None:
    """So it is whatever else is asked, and where the last bits of the data differ."""
    if "column_weights" in options:
        options = options | {"column_weights": np.arange(1.0, X.shape[1] + 1)}
    _assert_zero(S.pca(X, **options))


@pytest.mark.parametrize("route", ["krylov", "gram"])
@pytest.mark.parametrize("shape", [(300, 12), (12, 300)])
def test_one_row_left_by_weights(shape: tuple[int, int], route: str) -> None:
    """Where weights leave one row, it is its own mean."""
    weights = np.zeros(shape[0])
    weights[shape[0] // 2] = 2.5
    found = S.pca(RNG.standard_normal(shape), 1, row_weights=weights, route=route)
    _assert_zero(found)


@pytest.mark.parametrize("route", ["krylov", "gram"])
@pytest.mark.parametrize("spread", [1e-9, 1e-12])
def test_small_variance_is_not_zero(spread: float, route: str) -> None:
    """Variance above the rounding of the data is found, whatever the offset."""
    X = 1 + spread * RNG.standard_normal((400, 6))
    found = S.pca(X, 2, route=route)
    exact = np.linalg.svd(X - np.mean(X - 1, axis=0) - 1, compute_uv=False)[:2]
    assert not found.certificate.vanishes
    assert (found.certificate.sigma_lower <= exact * (1 + 1e-3)).all()
    assert (exact <= found.certificate.sigma_upper * (1 + 1e-3)).all()
    assert found.svd.s == pytest.approx(exact, rel=1e-2)


def test_a_pilot_far_from_rows_that_count() -> None:
    """Rows that count little in the sample but all in the mean: equal ones still have no variance."""
    X = RNG.standard_normal((4000, 5)) * 1e3
    X[7] = X[11]
    weights = np.zeros(4000)
    weights[[7, 11]] = 1.0
    _assert_zero(S.pca(X, 1, row_weights=weights))


@pytest.mark.parametrize("kind", ["a constant", "zeros", "equal rows, wide", "two rows"])
def test_results_are_stored_and_verified(kind: str, tmp_path) -> None:
    """U of a zero value is written whole, read back, and agrees with its source."""
    X, out = EQUAL_ROWS[kind], tmp_path / "r.zarr"
    S.pca(X, 1, u=True, out=out)
    stored = S.load(out)
    _assert_zero(stored)
    assert stored.U.shape == (X.shape[0], 1)
    check = S.verify(out, X)
    assert check.agrees, check.findings
    other = S.verify(out, np.arange(float(X.size)).reshape(X.shape))
    assert not other.agrees


@pytest.mark.parametrize("kind", [k for k in EQUAL_ROWS if "float64" not in k])
def test_models_of_equal_rows(kind: str, tmp_path) -> None:
    """A model of equal rows says zero after every block, and agrees with the rows."""
    X, path = EQUAL_ROWS[kind], tmp_path / "model"
    model = S.Model.create(path, rank=1, center=True)
    half = X.shape[0] // 2
    for block in (X[:half], X[half:]):
        model.update(block)
        _assert_zero(model.as_svd())
    check = S.verify(path, X)
    assert check.agrees, check.findings
    assert not S.verify(path, np.arange(float(X.size)).reshape(X.shape)).agrees


@pytest.mark.parametrize("tol", [None, 0.01])
def test_models_of_the_last_bit(tol: float | None, tmp_path) -> None:
    """So does one whose rows differ in their last bit."""
    asked = {"rank": 1} if tol is None else {"tol": tol}
    model = S.Model.create(tmp_path / "model", center=True, **asked)
    model.update(LAST_BIT)
    c = model.as_svd().certificate
    assert c.vanishes
    assert c.relative_width == 0


@pytest.mark.parametrize("kernel", ["linear", "polynomial", "rbf", "cosine"])
def test_kernels_of_equal_rows(kernel: str) -> None:
    """Kernels are of rows less their mean: equal ones leave nothing, and a constant answer is found."""
    X = EQUAL_ROWS["a constant"]
    S.nystrom(X, kernel, n_centres=4)
    fit = S.kernel_ridge(X, np.ones(X.shape[0]), kernel, n_centres=4)
    assert fit.predict(X[:3]) == pytest.approx(1)
