"""Sets of rows on which dictionaries are held to figures, streams and trees over them, and what dense algebra says of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from streamsvd.kernels.mathematics import (
    Dictionary,
    FeatureMap,
    Kernel,
    leaf,
    merge_dictionaries,
    push_rows,
)

RBF = Kernel("rbf", length=1.5)
LINEAR = Kernel("linear")


def clusters(n, seed=1):
    """Three large clusters, and eight of 3 to 10 rows far from them."""
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(11, 5))
    big = np.full(3, (n - 52) // 3)
    big[0] += n - 52 - big.sum()
    parts = [centres[j] + 0.5 * rng.normal(size=(big[j], 5)) for j in range(3)]
    parts += [1.8 * centres[3 + j] + 0.3 * rng.normal(size=(3 + j, 5)) for j in range(8)]
    return np.concatenate(parts)


def dups(n, seed=1):
    """300 rows, repeated as often as words are."""
    rng = np.random.default_rng(seed)
    U = rng.normal(size=(300, 4))
    share = 1 / np.arange(1, 301)
    counts = np.maximum(1, np.floor(n * share / share.sum())).astype(int)
    more = rng.integers(0, 300, size=n - counts.sum())
    return U[np.concatenate([np.repeat(np.arange(300), counts), more])]


def sorted1d(n, seed=1):
    """A curve, run through once."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.random(n) ** 2)
    return np.stack([10 * t, np.sin(6 * t), np.cos(6 * t)], axis=1) + 0.02 * rng.normal(size=(n, 3))


def coherent(n, seed=1):
    """Ten directions that all rows share, and fifteen that one row each has alone: these rows."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n, 40))
    X[:, :10] = rng.normal(size=(n, 10)) * np.geomspace(3, 0.3, 10)
    X[:, 25:] = 0.01 * rng.normal(size=(n, 15))
    spikes = rng.choice(n, 15, replace=False)
    X[spikes] = 0
    X[spikes, 10 + np.arange(15)] = rng.uniform(1, 4, 15)
    return X, set(spikes.tolist())


def heavy(n, seed=1):
    """Rows of heavy tails: many stand for themselves alone."""
    return np.random.default_rng(seed).standard_t(2, (n, 4))


def cube(n, seed=1):
    """Uniform in the unit cube."""
    return np.random.default_rng(seed).random((n, 3))


def cube3(n=19_992):
    """Uniform in the unit cube, then eight tight clumps of 3 to 10 rows far from it."""
    rng = np.random.default_rng(3)
    bulk = rng.random((n - 52, 3))
    clumps = [0.02 * rng.normal(size=(3 + j, 3)) + [2 + 0.7 * j, 2, -1] for j in range(8)]
    return np.concatenate([bulk, *clumps])


SETS = {
    "clusters": (RBF, clusters),
    "dups": (Kernel("rbf", length=1.0), dups),
    "sorted1d": (Kernel("laplacian", length=1.5), sorted1d),
    "coherent": (LINEAR, lambda n: coherent(n)[0]),
    "heavy": (Kernel("laplacian", length=4.0), heavy),
    "cube": (Kernel("rbf", length=0.25), cube),
    "cube3": (Kernel("rbf", length=0.25), cube3),
}


def streamed(spec, X, block):
    """Pushed block after block; None for no rows."""
    state = None
    for state in streaming(spec, X, block):  # noqa: B007 the last is wanted
        pass
    return state


def streaming(spec, X, block) -> Iterator[Dictionary]:
    """After each block."""
    state = None
    for a in range(0, len(X), block):
        state = push_rows(spec, state, X[a : a + block], a)
        yield state


def leaves(spec, X, count):
    """Dictionaries of as many runs of rows."""
    size = -(-len(X) // count)
    return [
        merge_dictionaries(spec, [leaf(spec, X[a : a + size], a)]) for a in range(0, len(X), size)
    ]


def tree(spec, X, count, fan):
    """Leaves merged level by level."""
    parts = leaves(spec, X, count)
    while len(parts) > 1:
        parts = [merge_dictionaries(spec, parts[a : a + fan]) for a in range(0, len(parts), fan)]
    return parts[0]


def random_tree(spec, X, count, seed):
    """Leaves merged two by two, any two."""
    parts, rng = leaves(spec, X, count), np.random.default_rng(seed)
    while len(parts) > 1:
        pair = [parts.pop(int(rng.integers(len(parts)))) for _ in range(2)]
        parts.append(merge_dictionaries(spec, pair))
    return parts[0]


@dataclass(frozen=True, eq=False)
class Whole:
    """All rows as features ``F`` with ``F F* = K`` and ``F* F`` diagonal: against these a dictionary is judged.

    Attributes
    ----------
    features, values
        ``F`` ``(n, r)``, and the eigenvalues of K, ``(r,)``.
    """

    features: np.ndarray
    values: np.ndarray

    @classmethod
    def dense(cls, kernel, X):
        """From the eigenvalues of K."""
        if kernel.name == "linear":
            values, U = linalg.eigh(X.T @ X)
            return cls(X @ U, values)
        values, U = linalg.eigh(kernel.gram(X), driver="evd", check_finite=False)
        keep = values > 1e-13 * values[-1]
        return cls(U[:, keep] * np.sqrt(values[keep]), values[keep])

    @classmethod
    def by_centres(cls, kernel, X, some, tol):
        """From centres among some rows, so many that what they leave of the trace is no more than ``tol``."""
        _, order, rank, _ = linalg.lapack.dpstrf(kernel.gram(X[some]), tol=1e-7, lower=1)
        Z = FeatureMap.of(kernel, X[some][order[:rank] - 1])(X)
        left = float(kernel.diagonal(X).sum() - np.sum(Z * Z))
        assert -tol <= left <= tol
        values, U = linalg.eigh(Z.T @ Z, driver="evd", check_finite=False)
        return cls(Z @ U, np.maximum(values, 0.0))

    def scores(self, gamma):
        """Exact ridge leverage scores."""
        return self.features**2 @ (1 / (self.values + gamma))

    def span(self, rows):
        """Orthonormal basis of what some rows span, ``(r, rank)``."""
        U, s, _ = linalg.svd(self.features[rows].T, full_matrices=False, check_finite=False)
        return U[:, s > 1e-7 * s[0]]

    def left(self, rows):
        """Spectral norm of what projection onto some rows leaves of K."""
        V = self.span(rows)

        def apply(v):
            v = v - V @ (V.T @ v)
            v = self.values * v
            return v - V @ (V.T @ v)

        return _end(apply, self.values.size, "LA")

    def sides(self, spec, state, gamma, order=None):
        """Largest eigenvalue of the weighted error relative to the ridge, and of its negative: under and over."""
        ids = state.ids if order is None else order[state.ids]
        scale = 1 / np.sqrt(self.values + gamma)
        B = self.features[ids] * scale * np.sqrt(state.weights(spec))[:, None]

        def apply(v):
            return self.values * scale**2 * v - B.T @ (B @ v)

        return _end(apply, self.values.size, "LA"), -_end(apply, self.values.size, "SA")

    def risk(self, rows, mu, f, noise):
        """Expected squared error, summed over the rows, of ridge regression on the span of some rows; None for all."""
        if rows is None:
            Z, values, U = self.features, self.values, np.eye(self.values.size)
        else:
            Z = self.features @ self.span(rows)
            values, U = linalg.eigh(Z.T @ Z, driver="evd", check_finite=False)
        fitted = Z @ (U @ ((U.T @ (Z.T @ f)) / (values + mu)))
        return float(np.sum((f - fitted) ** 2) + noise * np.sum((values / (values + mu)) ** 2))

    def target(self, seed, gamma):
        """A function as the kernel has them, and the noise to which the ridge belongs."""
        f = self.features @ np.random.default_rng(seed).normal(size=self.values.size)
        return f, gamma * float(np.var(f))


def _end(apply, size, which):
    """Largest eigenvalue, or smallest."""
    if size <= 300:
        values = np.linalg.eigvalsh(np.stack([apply(e) for e in np.eye(size)]))
        return float(values[-1 if which == "LA" else 0])
    A = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=size)
    found = eigsh(A, k=1, which=which, v0=start, tol=1e-4, maxiter=500, return_eigenvectors=False)
    return float(found[0])


@cache
def known(name, n):
    """Kernel, rows and `Whole` of a set; that of ``cube3`` by centres, as it may be too large for dense algebra."""
    kernel, made = SETS[name]
    X = made(n)
    if name != "cube3":
        return kernel, X, Whole.dense(kernel, X)
    some = np.concatenate([np.arange(min(3_000, n // 3)), np.arange(n - 52, n)])
    return kernel, X, Whole.by_centres(kernel, X, some, 0.01)
