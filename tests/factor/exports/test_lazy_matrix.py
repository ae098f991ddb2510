from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.factor.exports.lazy_matrix import lazy_variable


@dataclass
class Rectangles:
    """A matrix that is read by slices or numbers alone."""

    values: Any

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    def read(self, rows: Any, columns: Any, /) -> Any:
        return self.values[rows][:, columns]


@st.composite
def selections(draw) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Extents of rows and columns, and what is chosen along some of them."""
    rows = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    columns = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=2)))
    key: dict[str, Any] = {}
    for axis, extent in enumerate((*rows, *columns)):
        kind = draw(st.sampled_from(("all", "one", "slice", "back", "list", "mask")))
        if kind == "one":
            key[f"d{axis}"] = draw(st.integers(-extent, extent - 1))
        elif kind == "slice":
            a, b = sorted(draw(st.tuples(st.integers(0, extent), st.integers(0, extent))))
            key[f"d{axis}"] = slice(a, b, draw(st.sampled_from((1, 2))))
        elif kind == "back":
            key[f"d{axis}"] = slice(None, None, -1)
        elif kind == "list":
            key[f"d{axis}"] = draw(st.lists(st.integers(0, extent - 1), max_size=4))
        elif kind == "mask":
            key[f"d{axis}"] = np.array(
                draw(st.lists(st.booleans(), min_size=extent, max_size=extent))
            )
    return rows, columns, key


@given(selections())
def test_every_selection_is_that_of_the_array(case) -> None:
    rows, columns, key = case
    whole = np.arange(np.prod(rows) * np.prod(columns), dtype=float)
    dims = [f"d{axis}" for axis in range(len(rows) + len(columns))]
    plain = xr.DataArray(whole.reshape(*rows, *columns), dims=dims)
    matrix = Rectangles(whole.reshape(np.prod(rows), np.prod(columns)))
    lazy = xr.DataArray(xr.Variable(dims, lazy_variable(matrix, rows, columns)))
    xr.testing.assert_identical(lazy.isel(key).load(), plain.isel(key))
