"""Collections whose clusters are known, and the error that a dense SVD finds."""

from __future__ import annotations

import numpy as np

from streamsvd.concat import ClusterOptions, clustered, sketch


def orthonormal(rng, m, k):
    return np.linalg.qr(rng.standard_normal((m, k)))[0]


def noisy(rng, A, size):
    return A + size * np.linalg.norm(A) / np.sqrt(A.size) * rng.standard_normal(A.shape)


def subspaces(seed, *, m, count, dim, blocks, width, noise, decades=0.0):
    """Blocks of ``count`` hidden subspaces in turn; norms over so many decades."""
    rng = np.random.default_rng(seed)
    B = [orthonormal(rng, m, dim) for _ in range(count)]
    A = [B[i % count] @ rng.standard_normal((dim, width)) for i in range(blocks)]
    A = [noisy(rng, a, noise) for a in A]
    return [10 ** (-decades * rng.random()) * a for a in A]


def d1(seed=11):
    return subspaces(seed, m=80, count=6, dim=8, blocks=60, width=10, noise=0.01)


def d2(seed=11):
    return subspaces(seed, m=80, count=6, dim=8, blocks=60, width=10, noise=0.01, decades=3.0)


def d3(seed=11):
    """A subspace that turns slowly."""
    rng = np.random.default_rng(seed)
    start, end = orthonormal(rng, 80, 8), orthonormal(rng, 80, 8)
    out = []
    for i in range(60):
        Q = np.linalg.qr((1 - i / 60) * start + (i / 60) * end)[0]
        out.append(noisy(rng, Q @ rng.standard_normal((8, 10)), 0.01))
    return out


def d6():
    rng = np.random.default_rng(11)
    B = [rng.standard_normal((80, 3)) for _ in range(5)]
    return [1e8 * B[i % 5] @ rng.standard_normal((3, 10)) for i in range(40)]


def d7():
    return subspaces(11, m=80, count=12, dim=4, blocks=72, width=10, noise=0.02)


def d8():
    return subspaces(0, m=128, count=20, dim=10, blocks=200, width=4, noise=0.01)


def named(blocks):
    return {f"{i:05d}": A for i, A in enumerate(blocks)}


def sketches(blocks, error, share=0.1):
    return [sketch(k, A, error=error, share=share) for k, A in named(blocks).items()]


def found(blocks, error, **options):
    return clustered(sketches(blocks, error), ClusterOptions(error=error, **options))


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
