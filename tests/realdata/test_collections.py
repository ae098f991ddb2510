"""Weights that exist: every matrix is within its certified error, and read once."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from tools.realdata import RealDataUnavailable, fetch

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize(
    ("error", "rank", "mode"), [(0.5, 160, "block"), (0.4, 192, "cluster"), (0.05, 64, "block")]
)
def test_the_layers_of_minilm(error, rank, mode, tmp_path):
    try:
        path = fetch("minilm-layers")
    except RealDataUnavailable as reason:
        pytest.skip(str(reason))
    source = streamsvd.open_collection(path, transpose="*intermediate*")
    done = streamsvd.compress(source, tmp_path / "c.zarr", error, rank, mode)
    assert done.reads == 1.0
    assert done.info.peak_bytes <= done.info.projected_bytes
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert len(held) == 36
    for name, array in zarr.open_group(str(path), mode="r").arrays():
        A, B = np.asarray(array[...], dtype=np.float64), held[name]
        assert (B.shape, B.dtype) == (array.shape, np.float32)
        assert np.linalg.norm(A - B) <= held.block_errors[name] * np.linalg.norm(A)
        if mode == "block":
            assert held.block_errors[name] <= error
    for cluster in held.clusters:
        assert cluster.error_upper <= error
    if error < 0.1:  # nearly full rank: kept as they are, exactly
        assert all(c.raw for c in held.clusters)
    else:
        assert done.bytes_after < done.bytes_before
