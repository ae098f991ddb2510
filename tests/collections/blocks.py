"""Clusters of collections that are known, and the error that a dense SVD finds."""

from __future__ import annotations

import numpy as np

from streamsvd.collections.mathematics import ClusterCriteria, cluster_sketches, sketch
from streamsvd.testing.collections import (
    add_noise,
    d1,
    d2,
    d3,
    d6,
    d7,
    d8,
    name_blocks,
    orthonormal,
    subspaces,
)

__all__ = [
    "add_noise",
    "best_error",
    "d1",
    "d2",
    "d3",
    "d6",
    "d7",
    "d8",
    "found",
    "groups",
    "name_blocks",
    "orthonormal",
    "own_error",
    "sketches",
    "stacked",
    "subspaces",
]


def sketches(blocks, error, share=0.1):
    return [sketch(k, A, error=error, share=share) for k, A in name_blocks(blocks).items()]


def found(blocks, error, **options):
    return cluster_sketches(sketches(blocks, error), ClusterCriteria(error=error, **options))


def best_error(A, r):
    """Relative error of the best rank r, by a dense SVD."""
    s = np.linalg.svd(np.asarray(A, dtype=np.float64), compute_uv=False)
    return float(np.sqrt(np.sum(s[r:][::-1] ** 2) / np.sum(s[::-1] ** 2)))


def stacked(cluster, blocks):
    return np.concatenate([np.asarray(blocks[int(k)], dtype=np.float64) for k in cluster.keys], 1)


def own_error(cluster, blocks):
    """Relative error of the factors that a cluster holds."""
    A = stacked(cluster, blocks)
    C = np.concatenate(cluster.coefficients, axis=1)
    return float(
        np.linalg.norm(A - np.ldexp(cluster.basis @ C, cluster.exponent)) / np.linalg.norm(A)
    )


def groups(clusters):
    return {tuple(int(k) for k in c.keys) for c in clusters}
