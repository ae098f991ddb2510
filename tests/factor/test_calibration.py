from __future__ import annotations

import time

import numpy as np
import pytest

from streamsvd.engine.opening import open as open_matrix
from streamsvd.factor.calibration import measure_speeds
from streamsvd.factor.svd import plan_svd


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int16", "float16"])
@pytest.mark.parametrize("shape", [(3000, 80), (80, 3000), (1, 1)])
def test_rates_are_positive_for_every_kind_of_matrix(dtype: str, shape: tuple[int, int]) -> None:
    A = open_matrix(np.ones(shape, dtype=dtype))
    plan = plan_svd(A, 1, memory="256MiB")
    rates = measure_speeds(A, plan)
    for rate in (rates.read, rates.single, rates.double, rates.syrk, rates.dense):
        assert 0 < rate < np.inf
    assert plan_svd(A, 1, memory="256MiB", rates=rates).seconds > 0


def test_calibration_takes_about_two_seconds() -> None:
    A = open_matrix(np.ones((20_000, 1000), dtype=np.float32))
    plan = plan_svd(A, 20, memory="512MiB", center=True)
    began = time.perf_counter()
    measure_speeds(A, plan)
    assert time.perf_counter() - began < 8  # on a busy machine
