"""Counts as cells have them: groups of cells with programs of their own, depths that differ, negative binomial noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

GROUPS = 6


def counts(m: int, n: int, seed: int = 0, dtype: str = "f4") -> Any:
    """Cells by genes, as CSR; about a quarter is not 0."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(-1.5, 1.2, n)
    programs = 1 + rng.lognormal(0.5, 0.6, (GROUPS, n)) * (rng.random((GROUPS, n)) < 0.2)
    rows = []
    for start in range(0, m, 500):
        count = min(500, m - start)
        rates = (
            base * programs[rng.integers(GROUPS, size=count)] * rng.lognormal(0, 0.4, (count, 1))
        )
        rows.append(sparse.csr_array(rng.poisson(rng.gamma(2.0, rates / 2.0)).astype(dtype)))
    return sparse.csr_array(sparse.vstack(rows))


def gene_names(n: int, mitochondrial: int = 13) -> list[str]:
    """Names of genes, some of which are mitochondrial."""
    return [f"{'MT-' if j < mitochondrial else 'gene-'}{j}" for j in range(n)]


def annotated(X: Any) -> Any:
    """An object of AnnData with these counts."""
    import anndata
    import pandas as pd

    obs = pd.DataFrame(index=[f"cell-{i}" for i in range(X.shape[0])])
    return anndata.AnnData(
        sparse.csr_matrix(X), obs=obs, var=pd.DataFrame(index=gene_names(X.shape[1]))
    )
