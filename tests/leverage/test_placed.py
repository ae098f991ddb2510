"""A feature map on a device is the map: its features, what they leave, and one number back for a block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsvd.engine.device import backend
from streamsvd.errors import SpecError
from streamsvd.leverage import FeatureMap, Kernel, Placed, placed

KERNELS = {
    "linear": Kernel("linear"),
    "polynomial": Kernel("polynomial", length=2.0, offset=0.5),
    "cosine": Kernel("cosine"),
    "laplacian": Kernel("laplacian", length=3.0),
    "rbf": Kernel("rbf", length=1.5, centre=np.ones(3), scale=np.array([1.0, 2.0, 0.5])),
    "matern": Kernel("matern", length=1.5, smoothness=2.5),
    "short": Kernel("rbf", length=1e-3),
}


@pytest.fixture(params=["strict", pytest.param("cuda", marks=pytest.mark.gpu)])
def engine(request: pytest.FixtureRequest) -> Any:
    """A device other than the host."""
    if request.param == "cuda":
        pytest.importorskip("cupy")
    else:
        request.getfixturevalue("no_hidden_sync")
    return backend(request.param)


@pytest.mark.parametrize("name", KERNELS)
def test_features_and_what_they_leave_are_those_of_the_map(engine, name):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    X[7] = 0.0
    map_ = FeatureMap.of(KERNELS[name], X[:12])
    there = Placed.of(map_, engine)
    with engine.computing():
        rows = engine.to_device(X)
        Z, left = engine.to_host(there(rows)), there.remaining(rows)
    scale = np.abs(map_.whitening).max() * np.abs(map_.kernel(X, map_.centres)).max()
    np.testing.assert_allclose(Z, map_(X), rtol=0, atol=1e-14 * scale)
    truth = map_.remaining(X)
    np.testing.assert_allclose(left, truth, rtol=1e-9, atol=1e-13 * scale * max(1, truth[1]))


def test_a_map_of_no_centre_has_no_features(engine):
    there = Placed.of(FeatureMap.of(KERNELS["rbf"], np.zeros((0, 3))), engine)
    with engine.computing():
        rows = engine.to_device(np.ones((5, 3)))
        assert engine.to_host(there(rows)).shape == (5, 0)
        assert there.remaining(rows) == (5.0, 5.0)


def test_a_kernel_that_is_not_definite_is_told(engine):
    map_ = FeatureMap(KERNELS["linear"], np.eye(3), 2 * np.eye(3))  # |z|^2 is four times k(x, x)
    with engine.computing(), pytest.raises(SpecError, match="not positive definite: -9"):
        Placed.of(map_, engine).remaining(engine.to_device(np.ones((1, 3))))


def test_a_block_takes_what_is_said(engine):
    there = Placed.of(
        FeatureMap.of(KERNELS["rbf"], np.random.default_rng(0).random((20, 3))), engine
    )
    assert 8 * 20 * there.rows_at_once <= placed.BLOCK_BYTES < 8 * 20 * (there.rows_at_once + 1)
