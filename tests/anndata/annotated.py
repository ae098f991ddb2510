"""What `AnnData` has of itself, as far as it is used: the library need not be there to test what is written into it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd


class Annotated:
    """Observations in rows, variables in columns, and what is said of either.

    Objects of AnnData are known by the name of their class, which this one has too.
    """

    isbacked, is_view, raw = False, False, None

    def __init__(self, X: Any, var: dict[str, Any] | None = None) -> None:
        m, n = X.shape
        self.X, self.layers = X, {}
        self.obs = pd.DataFrame(index=[f"cell{i}" for i in range(m)])
        self.var = pd.DataFrame(var or {}, index=[f"gene{j}" for j in range(n)])
        self.obsm, self.varm, self.uns = {}, {}, {}

    @property
    def obs_names(self) -> Any:
        return self.obs.index

    @property
    def var_names(self) -> Any:
        return self.var.index

    @property
    def n_obs(self) -> int:
        return len(self.obs)

    @property
    def n_vars(self) -> int:
        return len(self.var)

    def copy(self) -> Any:
        return deepcopy(self)


Annotated.__module__, Annotated.__qualname__ = "anndata", "AnnData"


def cells(m: int = 60, n: int = 24, dtype: str = "f8", **var: Any) -> Annotated:
    """Counts of cells, made of three programs and noise."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal((m, 3)) * [5, 3, 2] @ rng.standard_normal((3, n))
    return Annotated((values + 0.3 * rng.standard_normal((m, n)) + 4).astype(dtype), var)
