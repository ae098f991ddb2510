from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.labels import Coordinate, Dimension, Labels


def grid_labels(rows: dict[str, int], columns: dict[str, int], *coordinates: Coordinate) -> Labels:
    """Labels of a field in kelvin."""
    made = (tuple(Dimension(name, size) for name, size in side.items()) for side in (rows, columns))
    return Labels("t2m", {"units": "K", "long_name": "temperature"}, *made, coordinates)


@pytest.fixture
def labelled() -> Callable[..., Any]:
    """A factorisation of noise, under the labels that a test gives."""

    def make(labels: Labels, rank: int = 3, *, A: Any = None, **options: Any) -> Any:
        noise = np.random.default_rng(3).standard_normal(labels.shape) if A is None else A
        options = {"u": True, **options}
        return replace(streamsvd.pca(noise, rank, **options), labels=labels)

    return make
