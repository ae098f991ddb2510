from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamsvd.protocols import Source


@pytest.fixture(scope="session")
def read() -> Callable[..., Any]:
    """The rectangle of a source as a new array; a part not read would stay NaN (or 99)."""

    def read_rectangle(
        source: Source, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Any:
        shape = [
            len(range(extent)[part])
            for extent, part in zip(source.shape, (rows, columns), strict=True)
        ]
        out = np.full(shape, np.nan if source.dtype.kind in "fc" else 99, source.dtype)
        source.read(rows, columns, out)
        return out

    return read_rectangle
