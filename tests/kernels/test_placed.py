"""A feature map on a device is the map: its features, what they leave, and one number back for a block."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from streamsvd.engine.device import thread_backend
from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics import (
    DeviceFeatureMap,
    DeviceGram,
    DictionaryOptions,
    FeatureMap,
    Kernel,
)
from streamsvd.kernels.mathematics import device_kernels as placed
from streamsvd.kernels.mathematics.resolution import Dense, raise_ridge

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
    return thread_backend(request.param)


@pytest.mark.parametrize("name", KERNELS)
def test_features_and_what_they_leave_are_those_of_the_map(engine, name):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    X[7] = 0.0
    map_ = FeatureMap.of(KERNELS[name], X[:12])
    there = DeviceFeatureMap.of(map_, engine)
    with engine.computing():
        rows = engine.to_device(X)
        Z, left = engine.to_host(there(rows)), there.remaining(rows)
    scale = np.abs(map_.whitening).max() * np.abs(map_.kernel(X, map_.centres)).max()
    np.testing.assert_allclose(Z, map_(X), rtol=0, atol=1e-14 * scale)
    truth = map_.remaining(X)
    np.testing.assert_allclose(left, truth, rtol=1e-9, atol=1e-13 * scale * max(1, truth[1]))


def test_a_map_of_no_centre_has_no_features(engine):
    there = DeviceFeatureMap.of(FeatureMap.of(KERNELS["rbf"], np.zeros((0, 3))), engine)
    with engine.computing():
        rows = engine.to_device(np.ones((5, 3)))
        assert engine.to_host(there(rows)).shape == (5, 0)
        assert there.remaining(rows) == (5.0, 5.0)


def test_a_kernel_that_is_not_definite_is_told(engine):
    map_ = FeatureMap(KERNELS["linear"], np.eye(3), 2 * np.eye(3))  # |z|^2 is four times k(x, x)
    with engine.computing(), pytest.raises(SpecError, match="not positive definite: -9"):
        DeviceFeatureMap.of(map_, engine).remaining(engine.to_device(np.ones((1, 3))))


def test_a_block_takes_what_is_said(engine):
    there = DeviceFeatureMap.of(
        FeatureMap.of(KERNELS["rbf"], np.random.default_rng(0).random((20, 3))), engine
    )
    assert 8 * 20 * there.rows_at_once <= placed.BLOCK_BYTES < 8 * 20 * (there.rows_at_once + 1)


@pytest.mark.parametrize("size", [None, 10.0])
def test_a_bound_of_the_entries_spares_the_number_that_comes_back(engine, size):
    X = np.random.default_rng(0).uniform(-1, 1, (30, 3))
    map_ = FeatureMap.of(KERNELS["rbf"], X[:8])
    there = DeviceFeatureMap.of(map_, engine)
    there = there if size is None else there.of_entries(size)
    with engine.computing():
        before = engine.traffic.to_host_bytes
        Z = there(engine.to_device(X))
        assert engine.traffic.to_host_bytes - before == (8 if size is None else 0)
        np.testing.assert_allclose(engine.to_host(Z), map_(X), atol=1e-10)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("gamma", [1e-6, 1.0, 1e3])
def test_scores_are_those_of_the_host(engine, name, gamma):
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((60, 3)), rng.uniform(1, 20, 60)
    here = Dense.of(KERNELS[name], X, np.sqrt(w))
    with engine.computing():
        there = DeviceGram.of(engine, KERNELS[name], X, np.sqrt(w))
        B, found = engine.to_host(there.B), there.resolve(w, gamma)
        slope, values = found.slope, there.eigenvalues()
        further = raise_ridge(there, w, found, found.dimension / 2)
    known = here.resolve(w, gamma)
    top = np.abs(here.B).max()
    np.testing.assert_allclose(B, here.B, rtol=0, atol=1e-13 * top)
    condition = 60 * top / gamma
    np.testing.assert_allclose(found.tau, known.tau, rtol=1e-12 * condition, atol=1e-14)
    np.testing.assert_allclose(values, here.eigenvalues(), rtol=0, atol=1e-12 * 60 * top)
    assert slope == pytest.approx(known.slope, abs=1e-9 + 1e-13 * condition)
    assert further.dimension <= found.dimension / 2 * (1 + 1e-9)
    assert further.gamma == pytest.approx(
        raise_ridge(here, w, known, known.dimension / 2).gamma, rel=1e-6 + 1e-11 * condition
    )


def test_scores_of_what_has_no_factor_are_those_of_its_eigenvalues(engine):
    """Twenty copies of one row, a little below definite: the factor breaks off, scores are still 1/20."""
    B = np.ones((20, 20)) - 1e-10 * np.eye(20)
    with engine.computing():
        there = DeviceGram(engine, engine.to_device(B))
        np.testing.assert_allclose(there.resolve(np.ones(20), 1e-12).tau, 1 / 20, rtol=1e-6)


def test_scores_of_what_is_not_definite_are_refused(engine):
    with engine.computing(), pytest.raises(SpecError, match="not positive definite: -1 "):
        DeviceGram(engine, engine.to_device(np.diag([1.0, 2.0, -1.0]))).resolve(np.ones(3), 0.5)


def test_where_scores_are_found_is_no_part_of_the_sampling():
    """Two of them print alike, and are saved alike."""
    spec = DictionaryOptions(kernel=KERNELS["rbf"], gamma=1.0)
    assert "weighted" not in repr(spec)
    assert pickle.loads(pickle.dumps(spec)).make_gram is spec.make_gram
