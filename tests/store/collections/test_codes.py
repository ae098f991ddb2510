"""Whole numbers as bytes: they come back, take about their entropy, and damage is told."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.errors import StoreError
from streamsvd.store.collections.codes import pack_codes, unpack_codes


@pytest.mark.parametrize("top", [0, 1, 3, 127, 128, 300, 32767])
@pytest.mark.parametrize("shape", [(37, 11), (1, 1), (0, 4)])
def test_codes_come_back(top, shape):
    codes = np.random.default_rng(top).integers(-top, top + 1, shape).astype(np.int16)
    np.testing.assert_array_equal(unpack_codes(pack_codes(codes), shape, "x"), codes)


@pytest.mark.parametrize("spread", [0.5, 2.0, 8.0])
def test_they_take_about_their_entropy(spread):
    codes = np.rint(spread * np.random.default_rng(0).standard_normal((300, 400))).astype(np.int8)
    counts = np.unique(codes, return_counts=True)[1] / codes.size
    entropy = -float(np.sum(counts * np.log2(counts)))
    assert 8 * pack_codes(codes).nbytes / codes.size <= 1.25 * entropy + 0.05


def test_few_large_codes_do_not_double_the_rest():
    codes = np.rint(4 * np.random.default_rng(0).standard_normal((300, 400))).astype(np.int16)
    small = pack_codes(codes).nbytes
    codes[7, 9] = 900
    assert pack_codes(codes).nbytes < 1.02 * small


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:5],
        lambda d: d[:0],
        lambda d: np.concatenate([[7], d[1:]]).astype(np.uint8),
        lambda d: np.concatenate([d[:1], d[2:]]),
        lambda d: pack_codes(np.ones((9, 9), np.int8)),
    ],
)
def test_damage_is_told(damage):
    data = pack_codes(np.arange(12, dtype=np.int8).reshape(3, 4))
    with pytest.raises(StoreError, match="place/q0 cannot be decoded: .* Restore it from a copy"):
        unpack_codes(damage(data), (3, 4), "place/q0")
