"""What every test shares: one BLAS thread for small matrices, and profiles of hypothesis."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

settings.register_profile(
    "quick", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "long", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("STREAMSVD_HYPOTHESIS", "quick"))


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread() -> Iterator[None]:
    """Two threads for matrices of 40 columns wait for each other; runs of the product set their own number."""
    with threadpool_limits(1, user_api="blas"):
        yield
