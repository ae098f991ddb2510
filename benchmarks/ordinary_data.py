"""Ordinary data in ordinary shapes, on disk, with the truth of what is factorised.

The truth is that of the construction where it is exact, else LAPACK's of the Gram matrix of the narrow side in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import zarr
from scipy import linalg

from streamsvd.testing.spectra import KnownMatrix

Array = npt.NDArray[Any]
Size = Literal["tiny", "short", "quick", "full"]

EPS = float(np.finfo(np.float64).eps)
PANEL_BYTES = 2**26  # of a panel in float64
HELD_BYTES = 2**28  # up to here the matrix as factorised stays in memory
LAPACK_SIDE = 3_000
"""Narrow sides up to here have a truth where the construction does not say it."""


class Rows(Protocol):
    """Anything that makes rows of a matrix."""

    def rows(self, start: int, stop: int) -> Array: ...


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A matrix in memory; its singular values and right vectors where the construction says them."""

    A: Array
    s: Array | None = None
    V: Array | None = None

    def rows(self, start: int, stop: int) -> Array:
        return self.A[start:stop]


def known(spectrum: str, m: int, n: int, dtype: str = "float64") -> Rows:
    """A matrix of a named spectrum."""
    return KnownMatrix(spectrum, m, n, dtype, seed=12)


def noise(m: int, n: int, spikes: int) -> Rows:
    """So many components over Gaussian noise, whose values have the law of Marchenko and Pastur."""
    if min(m, n) > LAPACK_SIDE:
        return known(f"bulk{spikes}", m, n, "float32")
    rng = np.random.default_rng([12, m, n, spikes])
    U, V = (np.linalg.qr(rng.standard_normal((side, spikes)))[0] for side in (m, n))
    A = rng.standard_normal((m, n)) / np.sqrt(max(m, n))
    return Dense((A + (U * np.linspace(6, 3, spikes)) @ V.T).astype(np.float32))


def identity(m: int, n: int) -> Rows:
    """All singular values 1: the identity itself where it is square."""
    if m != n:
        return known("flat", m, n)
    return Dense(np.eye(n, dtype=np.int8), np.ones(n), np.eye(n))


def one_hot(m: int, n: int) -> Rows:
    """A category of each row: singular values are the roots of how often each occurs."""
    chosen = np.random.default_rng([12, m, n]).integers(0, n, m)
    counts = np.bincount(chosen, minlength=n)
    order = np.argsort(-counts, kind="stable")
    A = np.zeros((m, n), np.int8)
    A[np.arange(m), chosen] = 1
    return Dense(A, np.sqrt(counts[order]), np.eye(n)[:, order[:100]])


def genotypes(m: int, n: int, differentiation: float = 0.02) -> Rows:
    """Three populations (Balding, Nichols 1995): two components of structure, then noise."""
    rng, F = np.random.default_rng([12, m, n]), differentiation
    ancestral = rng.uniform(0.05, 0.95, n)
    shape = ancestral * (1 - F) / F, (1 - ancestral) * (1 - F) / F
    frequencies = np.clip(rng.beta(*shape, (3, n)), 0.01, 0.99)
    return Dense(rng.binomial(2, frequencies[rng.integers(0, 3, m)]).astype(np.int8))


def hardy_weinberg(A: Array) -> dict[str, Any]:
    """Columns over their standard deviation by the law of Hardy and Weinberg."""
    frequencies = A.mean(axis=0) / 2
    variance = np.maximum(2 * frequencies * (1 - frequencies), 1e-6)
    return {"column_weights": 1 / np.sqrt(variance)}


def counts(m: int, n: int, programmes: int = 6) -> Rows:
    """Cells of a few kinds: overdispersed counts of genes, to equal totals, ``log(1 + x)``."""
    rng = np.random.default_rng([12, m, n])
    genes = rng.lognormal(0, 1.5, n)
    kinds = genes * np.exp(
        (rng.random((programmes, n)) < 0.1) * rng.normal(0, 1.5, (programmes, n))
    )
    kinds *= 2 * n / kinds.sum(axis=1, keepdims=True)
    means = kinds[rng.integers(0, programmes, m)] * rng.lognormal(0, 0.3, (m, 1))
    found = rng.poisson(means * rng.gamma(2, 0.5, (m, n)))
    totals = np.maximum(found.sum(axis=1, keepdims=True), 1)
    return Dense(np.log1p(found * (np.median(totals) / totals)).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Data:
    """A kind of data, and the number of triplets asked of it.

    Attributes
    ----------
    make
        The matrix, of so many rows and columns.
    pca
        Whether columns are centred.
    weigh
        Options that the entries decide.
    """

    name: str
    rank: int
    make: Callable[[int, int], Rows]
    pca: bool = False
    weigh: Callable[[Array], dict[str, Any]] | None = None


DATA = (
    Data("3 spikes over noise", 10, partial(noise, spikes=3)),
    Data("12 spikes over noise", 50, partial(noise, spikes=12)),
    Data("1/log(i+1)", 10, partial(known, "log")),
    Data("i^-1/2", 50, partial(known, "slow")),
    Data("identity", 10, identity),
    Data("one-hot", 10, one_hot),
    Data("30 equal, cliff 1e-3", 10, partial(known, "cliff")),
    Data("floor .9 at k + 1", 10, partial(known, "floor")),
    Data("repeated before the rank", 10, partial(known, "before")),
    Data("repeated at the rank", 10, partial(known, "at")),
    Data("repeated across the rank", 10, partial(known, "across")),
    Data("graded to 1e-12", 50, partial(known, "graded12")),
    Data("genotypes", 10, genotypes, pca=True, weigh=hardy_weinberg),
    Data("single-cell counts", 10, counts, pca=True),
)

LARGE = (
    Data("3 spikes over noise", 10, partial(noise, spikes=3)),
    Data("1/log(i+1)", 10, partial(known, "log", dtype="float32")),
    Data("i^-1/2", 50, partial(known, "slow", dtype="float32")),
    Data("floor .9 at k + 1", 10, partial(known, "floor", dtype="float32")),
)
"""In single precision: what is asked of those sizes that no Gram matrix fits."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows, columns, and the chunks where they are not a ``.npy`` file."""

    name: str
    m: int
    n: int
    chunks: tuple[int, int] | None = None


SHAPES: dict[Size, tuple[Shape, ...]] = {
    "tiny": (
        Shape("tall", 1_200, 300),
        Shape("wide", 300, 1_200),
        Shape("square", 400, 400, (100, 100)),
    ),
    "short": (
        Shape("tall", 3_000, 500),
        Shape("wide", 500, 3_000),
        Shape("square", 800, 800, (200, 200)),
    ),
    "quick": (
        Shape("tall", 6_000, 1_000),
        Shape("wide", 1_000, 6_000),
        Shape("square", 1_500, 1_500, (250, 250)),
    ),
    "full": (
        Shape("tall", 12_000, 1_000),
        Shape("taller", 20_000, 3_000, (1_000, 3_000)),
        Shape("wide", 1_000, 12_000),
        Shape("wider", 2_000, 20_000),
        Shape("square", 2_500, 2_500, (500, 500)),
    ),
}
LARGE_SHAPES = (
    Shape("large", 8_000, 8_000, (1_000, 1_000)),
    Shape("largest", 20_000, 20_000, (2_000, 2_000)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is known of a matrix as factorised.

    Attributes
    ----------
    s
        Leading singular values, more than were asked for.
    V
        Leading right singular vectors, ``(n, k)``.
    slack
        How far off each of ``s`` may be, by the rounding of the reference.
    energy
        ``||X||_F^2``.
    """

    s: Array
    V: Array
    slack: Array
    energy: float


@dataclass(slots=True, eq=False)
class Held:
    """A matrix on disk, the options that go with it, and the truth of what they make of it."""

    data: Data
    shape: Shape
    path: Path
    options: dict[str, Any]
    dtype: np.dtype[Any]
    mean: Array | float = 0.0
    weights: Array | float = 1.0
    truth: Truth = field(init=False)
    dense: Array | None = None

    def panels(self) -> Iterator[Array]:
        """Runs of rows of the matrix as factorised, in float64."""
        if self.dense is not None:
            yield self.dense
            return
        stored = (
            np.load(self.path, mmap_mode="r")
            if self.shape.chunks is None
            else zarr.open_array(self.path, mode="r")
        )
        height = self._height()
        for start in range(0, self.shape.m, height):
            panel = np.asarray(stored[start : start + height], dtype=np.float64)
            yield (panel - self.mean) * self.weights

    def product(self, V: Array) -> Array:
        """``X* X V``."""
        return sum((panel.T @ (panel @ V) for panel in self.panels()), np.zeros(V.shape))

    def _height(self) -> int:
        rows = max(1, PANEL_BYTES // (8 * self.shape.n))
        step = 1 if self.shape.chunks is None else self.shape.chunks[0]
        return max(1, rows // step) * step


def hold(data: Data, shape: Shape, folder: Path) -> Held:
    """The matrix of some data in some shape, written, with its truth."""
    made = data.make(shape.m, shape.n)
    first = made.rows(0, 1)
    path = folder / f"matrix.{'npy' if shape.chunks is None else 'zarr'}"
    if shape.chunks is None:
        out: Any = np.lib.format.open_memmap(path, "w+", first.dtype, (shape.m, shape.n))
    else:
        out = zarr.create_array(
            path,
            shape=(shape.m, shape.n),
            dtype=first.dtype,
            chunks=shape.chunks,
            compressors=None,  # noise does not compress
            config={"write_empty_chunks": True},
        )
    held = Held(data, shape, path, {}, first.dtype)
    height = held._height()
    for start in range(0, shape.m, height):
        out[start : start + height] = made.rows(start, start + height)
    del out
    if data.pca:
        whole = made.rows(0, shape.m).astype(np.float64)
        held.options = data.weigh(whole) if data.weigh is not None else {}
        held.mean = whole.mean(axis=0)
        held.weights = held.options.get("column_weights", 1.0)
    if 8 * shape.m * shape.n <= HELD_BYTES:
        held.dense = np.concatenate(list(held.panels()))
    held.truth = _truth(held, made)
    return held


def _truth(held: Held, made: Rows) -> Truth:
    k = held.data.rank
    energy = float(sum(np.vdot(panel, panel) for panel in held.panels()))
    single = held.dtype == np.float32
    if isinstance(made, KnownMatrix) and not (single and min(made.shape) <= LAPACK_SIDE):
        s, V = made.s, made.Vh(k).T
        rounding = float(np.finfo(held.dtype).eps)  # of the entries
        return Truth(s, V, np.full(s.size, 4 * rounding * s[0]), energy)
    if isinstance(made, Dense) and made.s is not None and made.V is not None:
        return Truth(made.s, made.V[:, :k], np.full(made.s.size, 4 * EPS * made.s[0]), energy)
    return _lapack(held, energy)


def _lapack(held: Held, energy: float) -> Truth:
    """Of the Gram matrix of the narrow side; squares lose what `slack` says."""
    m, n = held.shape.m, held.shape.n
    k, tall = held.data.rank, m >= n
    assert min(m, n) <= LAPACK_SIDE
    if tall:
        gram = sum((panel.T @ panel for panel in held.panels()), np.zeros((n, n)))
    else:
        X = np.concatenate(list(held.panels()))
        gram = X @ X.T
    last = min(m, n) - 1
    values, W = linalg.eigh(gram, subset_by_index=(max(0, last - k), last), check_finite=False)
    values, W = np.maximum(values[::-1], 0.0), W[:, ::-1][:, :k]
    s = np.sqrt(values)
    slack = 64 * EPS * values[0]
    V = W if tall else np.linalg.qr(X.T @ W)[0]
    return Truth(s, V, np.minimum(np.sqrt(slack), slack / np.maximum(s, 1e-300)), energy)
