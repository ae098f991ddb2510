"""Collections of matrices whose clusters are known: D1 to D8 hold blocks of a few hidden subspaces, with noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamsvd.typing import Matrix as Array


def orthonormal(rng: np.random.Generator, m: int, k: int) -> Array:
    """Orthonormal columns, at random."""
    return np.asarray(np.linalg.qr(rng.standard_normal((m, k)))[0])


def add_noise(rng: np.random.Generator, A: Array, size: float) -> Array:
    """A matrix with noise of so much of its norm."""
    return np.asarray(A + size * np.linalg.norm(A) / np.sqrt(A.size) * rng.standard_normal(A.shape))


def subspaces(
    seed: int,
    *,
    m: int,
    count: int,
    dim: int,
    blocks: int,
    width: int,
    noise: float,
    decades: float = 0.0,
) -> list[Array]:
    """Blocks of ``count`` hidden subspaces in turn; norms over so many decades."""
    rng = np.random.default_rng(seed)
    B = [orthonormal(rng, m, dim) for _ in range(count)]
    A = [B[i % count] @ rng.standard_normal((dim, width)) for i in range(blocks)]
    A = [add_noise(rng, a, noise) for a in A]
    return [10 ** (-decades * rng.random()) * a for a in A]


def d1(seed: int = 11) -> list[Array]:
    """Six subspaces of 8 dimensions."""
    return subspaces(seed, m=80, count=6, dim=8, blocks=60, width=10, noise=0.01)


def d2(seed: int = 11) -> list[Array]:
    """The same with norms over three decades."""
    return subspaces(seed, m=80, count=6, dim=8, blocks=60, width=10, noise=0.01, decades=3.0)


def d3(seed: int = 11) -> list[Array]:
    """A subspace that turns slowly."""
    rng = np.random.default_rng(seed)
    start, end = orthonormal(rng, 80, 8), orthonormal(rng, 80, 8)
    out = []
    for i in range(60):
        Q = np.linalg.qr((1 - i / 60) * start + (i / 60) * end)[0]
        out.append(add_noise(rng, Q @ rng.standard_normal((8, 10)), 0.01))
    return out


def d6() -> list[Array]:
    """Five exact subspaces of 3 dimensions, numbers of 1e8."""
    rng = np.random.default_rng(11)
    B = [rng.standard_normal((80, 3)) for _ in range(5)]
    return [1e8 * B[i % 5] @ rng.standard_normal((3, 10)) for i in range(40)]


def d7() -> list[Array]:
    """Twelve subspaces of 4 dimensions, 2 % noise."""
    return subspaces(11, m=80, count=12, dim=4, blocks=72, width=10, noise=0.02)


def d8() -> list[Array]:
    """Twenty subspaces of 10 dimensions, of which every matrix shows 4."""
    return subspaces(0, m=128, count=20, dim=10, blocks=200, width=4, noise=0.01)


def name_blocks(blocks: Sequence[Array]) -> dict[str, Array]:
    """Keys in the order of the blocks."""
    return {f"{i:05d}": A for i, A in enumerate(blocks)}
