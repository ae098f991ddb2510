from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.gaussian_process.kernels import Matern
from sklearn.metrics import pairwise

from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics import Kernel, typical_length

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((30, 4)), rng.standard_normal((20, 4))
REFERENCE = {
    "linear": (Kernel("linear"), pairwise.linear_kernel),
    "polynomial": (
        Kernel("polynomial", length=2.0, degree=3, offset=0.5),
        lambda a, b: pairwise.polynomial_kernel(a, b, degree=3, gamma=0.25, coef0=0.5),
    ),
    "rbf": (Kernel("rbf", length=1.7), lambda a, b: pairwise.rbf_kernel(a, b, gamma=0.5 / 1.7**2)),
    "laplacian": (
        Kernel("laplacian", length=3.0),
        lambda a, b: pairwise.laplacian_kernel(a, b, gamma=1 / 3.0),
    ),
    "cosine": (Kernel("cosine"), pairwise.cosine_similarity),
    **{
        f"matern {nu}": (
            Kernel("matern", length=1.3, smoothness=nu),
            lambda a, b, nu=nu: Matern(length_scale=1.3, nu=nu)(a, b),
        )
        for nu in (0.5, 1.5, 2.5)
    },
}


@pytest.mark.parametrize("name", REFERENCE)
def test_kernels_are_those_of_scikit_learn(name):
    ours, theirs = REFERENCE[name]
    np.testing.assert_allclose(ours(X, Y), theirs(X, Y), rtol=1e-10, atol=1e-12)
    gram = ours.gram(X)
    np.testing.assert_array_equal(gram, gram.T)
    np.testing.assert_array_equal(np.diagonal(gram), ours.diagonal(X))
    np.testing.assert_allclose(ours.diagonal(X), np.diagonal(theirs(X, X)), rtol=1e-10)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("away", [0.0, 1e3])
@pytest.mark.parametrize("scaled", [False, True])
def test_kernels_are_the_same_wherever_rows_lie(xp, name, away, scaled):
    ours = REFERENCE[name][0]
    rows, others = X + away, Y + away
    rows[3] = 0.0
    ours = replace(ours, centre=np.full(4, away), scale=np.linspace(0.5, 2, 4) if scaled else None)
    there = ours.on_device(xp.array)
    A, B = xp.array(rows), xp.array(others)
    reach = max(float(xp.host(there.reach(x))) for x in (A, B))
    for termwise in (ours.cancels(reach), True):
        K = there(A, B, termwise=termwise)
        np.testing.assert_allclose(xp.host(K), ours(rows, others), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        xp.host(there.diagonal(A)), ours.diagonal(rows), rtol=1e-13, atol=1e-300
    )


@given(
    hnp.arrays(np.float64, (6, 3), elements=st.floats(-1e6, 1e6)),
    hnp.arrays(np.float64, 3, elements=st.floats(-1e6, 1e6)),
    hnp.arrays(np.float64, 3, elements=st.floats(1e-3, 1e3)),
)
def test_no_row_reaches_farther_than_the_bound(rows, centre, scale):
    for kernel in (
        Kernel(),
        Kernel(centre=centre),
        Kernel(scale=scale),
        Kernel("matern", centre=centre, scale=scale),
    ):
        bound = kernel.bound(3)(float(np.abs(rows).max()))
        assert float(kernel.reach(rows)) <= bound * (1 + 1e-12)


@pytest.mark.parametrize("name", ["rbf", "matern"])
def test_distances_that_would_cancel_are_taken_term_by_term_everywhere(xp, name):
    """Two rows a length apart, a million lengths from the centre: the product of squares holds no digit of it."""
    rows = np.array([[1e6, 0.0], [1e6 + 1e-3, 0.0], [-1e6, 0.0]])
    ours = Kernel(name, length=1e-3, centre=np.zeros(2))
    there = ours.on_device(xp.array)
    A = xp.array(rows)
    assert ours.cancels(float(xp.host(there.reach(A))))
    K = xp.host(there(A, A, termwise=True))
    np.testing.assert_allclose(K, ours(rows, rows), rtol=1e-9)
    wrong = xp.host(there(A, A, termwise=False))
    assert abs(wrong[0, 1] - K[0, 1]) > 0.1


def test_data_far_from_zero_keep_their_digits():
    near = Kernel("rbf", length=1.0)(X, Y)
    far = Kernel("rbf", length=1.0, centre=X.mean(axis=0) + 1e6)(X + 1e6, Y + 1e6)
    np.testing.assert_allclose(far, near, atol=1e-8)


def test_a_function_is_a_kernel_if_its_shape_is_right():
    kernel = Kernel(lambda a, b: 1 + a @ b.T)
    np.testing.assert_allclose(kernel(X, Y), 1 + X @ Y.T)
    np.testing.assert_allclose(kernel.diagonal(X), 1 + (X**2).sum(axis=1))
    with pytest.raises(SpecError, match=r"gave shape \(4, 4\)"):
        Kernel(lambda a, b: a.T @ a)(X, Y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "sigmoid"}, "kernel='sigmoid' is unknown"),
        ({"length": 0.0}, "length=0"),
        ({"name": "polynomial", "degree": 0}, "degree=0"),
        ({"name": "polynomial", "offset": -1.0}, "offset=-1"),
        ({"name": "matern", "smoothness": 2.0}, "smoothness=2"),
    ],
)
def test_parameters_that_make_no_kernel_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        Kernel(**options)


def test_the_typical_length_is_a_median_distance():
    assert 2.0 < typical_length(X, "rbf") < 3.5
    assert typical_length(X, "laplacian") > typical_length(X, "rbf")
    assert typical_length(np.ones((5, 3)), "rbf") == 1.0
