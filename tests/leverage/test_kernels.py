from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern
from sklearn.metrics import pairwise

from streamsvd.errors import SpecError
from streamsvd.leverage import Kernel, typical_length

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
