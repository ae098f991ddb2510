"""Rows with known difficulties, the stream over them, and exact answers to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsvd.streams.mathematics import StreamAnswer, StreamState
from streamsvd.streams.options import StreamOptions


def fed(A: Any, *, block: int = 512, n_rows: int | None = None, **options: Any) -> StreamState:
    """A stream that has taken in all rows, in blocks."""
    stream = StreamState(StreamOptions(**options), A.shape[1], n_rows)
    for at in range(0, len(A), block):
        stream.partial_fit(A[at : at + block])
    return stream


def found(A: Any, *, block: int = 512, known: bool = True, **options: Any) -> StreamAnswer:
    """The answer of one pass; the length is announced unless ``known`` is False."""
    return fed(A, block=block, n_rows=len(A) if known else None, **options).finalize()


def exact(A: Any) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors (columns) of the Gram matrix, descending."""
    A = np.asarray(A, dtype=float)
    _, s, Vh = np.linalg.svd(A, full_matrices=A.shape[0] < A.shape[1])
    return np.pad(s**2, (0, Vh.shape[0] - s.size)), Vh.T


def leading(A: Any, k: int) -> tuple[Any, Any]:
    """Eigenvalues and the k leading eigenvectors, by the Gram matrix: fast, to eight digits."""
    w, V = np.linalg.eigh(A.T @ A)
    return w[::-1], V[:, ::-1][:, :k]


def sine(components: Any, V: Any) -> float:
    """Of the largest angle between two spans."""
    return float(np.linalg.norm(components.T - V @ (V.T @ components.T), 2))


def squared_sine(A: Any, **options: Any) -> float:
    return sine(found(A, **options).components, leading(A, 1)[1]) ** 2


def energy_loss(A: Any, components: Any) -> float:
    k = components.shape[0]
    return float(1 - np.linalg.norm(A @ components.T) ** 2 / leading(A, k)[0][:k].sum())


def lost_correlation(components: Any, V: Any) -> float:
    """1 - MEV."""
    return float(1 - np.linalg.norm(components @ V, axis=0).mean())


def orthonormal(rng: Any, d: int, k: int) -> Any:
    return np.linalg.qr(rng.standard_normal((d, k)))[0]


def spiked(rng: Any, ratio: float, n: int, d: int, k: int = 1) -> Any:
    """Gaussian rows of unit variance, but ``ratio`` along k axes."""
    A = rng.standard_normal((n, d))
    A[:, :k] *= np.sqrt(ratio)
    return A


def scaled(rng: Any, deviations: Any, n: int) -> Any:
    """Gaussian rows with these standard deviations along the axes."""
    return rng.standard_normal((n, len(deviations))) * deviations


def hard(rng: Any, ratio: int, d: int = 500, split: int = 24) -> Any:
    """``ratio`` copies of the first axis among tiny rows along all others (no learning rate solves it)."""
    A = np.repeat(np.eye(d)[1:] / np.sqrt(split), split, axis=0)
    A = np.concatenate([A, np.eye(d)[:1].repeat(ratio, axis=0)])
    return A[rng.permutation(len(A))]


def decoys(rng: Any, count: int, ratio: float = 4.0, n: int = 12000, d: int = 400) -> Any:
    """A spike in light rows, and single rows of half its energy elsewhere."""
    A = spiked(rng, ratio, n, d)
    where = rng.choice(n, count, replace=False)
    half = leading(A, 1)[0][0] / 2
    A[where] = np.sqrt(half) * np.eye(d)[1 + rng.choice(d - 1, count, replace=False)]
    return A


def clusters(rng: Any, count: int = 3, n: int = 6000, d: int = 300, size: float = 12.0) -> Any:
    """Rows about ``count`` centres, sorted by the centre."""
    centres = size * orthonormal(rng, d, count).T
    return centres[np.arange(n) * count // n] + rng.standard_normal((n, d))


def rotating(rng: Any, count: int = 5, n: int = 6000, d: int = 300, size: float = 8.0) -> Any:
    """A strong direction that turns through ``count`` orthogonal ones along the stream."""
    V = orthonormal(rng, d, count)
    angle = np.arange(n) / n * (count - 1)
    i = np.minimum(angle.astype(int), count - 2)
    part = np.pi / 2 * (angle - i)
    along = V.T[i] * np.cos(part)[:, None] + V.T[i + 1] * np.sin(part)[:, None]
    return size * rng.standard_normal((n, 1)) * along + rng.standard_normal((n, d))


def in_chunks(rng: Any, A: Any, rows: int = 94) -> Any:
    """The same rows, runs of them in another order."""
    chunks = [A[i : i + rows] for i in range(0, len(A), rows)]
    return np.concatenate([chunks[i] for i in rng.permutation(len(chunks))])
