"""Graphs with communities, from a seed, and what embeddings of them are in memory, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from streamsvd.graphs.mathematics import projected_rows


def communities(
    n: int, groups: int, within: float, between: float, seed: int = 0
) -> tuple[Any, Any]:
    """A symmetric graph with so many edges a node within its group and to others, and the group of each node."""
    rng = np.random.default_rng(seed)
    group, size = np.arange(n) * groups // n, n // groups
    i, k = rng.integers(n, size=int(n * within / 2)), rng.integers(n, size=int(n * between / 2))
    j, other = group[i] * size + rng.integers(size, size=i.size), rng.integers(n, size=k.size)
    ends = np.concatenate([i, k]), np.concatenate([j, other])
    keep = ends[0] != ends[1]
    weights = rng.uniform(0.5, 2, ends[0].size)
    there = sparse.coo_array((weights[keep], (ends[0][keep], ends[1][keep])), shape=(n, n)).tocsr()
    return (there + there.T).tocsr(), group


def embedding(A: Any, found: Any) -> Any:
    """The same embedding by dense products in float64."""
    o, n = found.options, A.shape[0]
    degrees = np.asarray(A.sum(axis=1)).ravel()
    safe = np.where(degrees > 0, degrees, 1)
    factors = np.where(degrees > 0, (safe / degrees.sum()) ** o.beta, 0)
    X = projected_rows(factors, 0, slice(0, o.dim), seed=o.seed, sparsity=o.sparsity)
    step = sparse.diags_array(1 / safe) @ A if o.step == "transition" else A
    total = np.zeros((n, o.dim))
    for weight in o.step_weights:
        X = step @ X
        norms = np.linalg.norm(X, axis=1, keepdims=True)
        part = X / np.where(norms > 0, norms, 1) if o.normalize else X
        total += weight * part
    return total
