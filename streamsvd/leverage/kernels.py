"""Positive definite kernels of rows, in float64.

Distances are taken about a fixed centre, so that data far from zero keep their digits; the diagonal is what it is by
definition, never what rounding makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.spatial.distance import cdist

from streamsvd.errors import SpecError
from streamsvd.typing import Matrix, Real

Name = Literal["linear", "polynomial", "rbf", "laplacian", "matern", "cosine"]
SCALED = ("rbf", "laplacian", "matern")
"""Kernels of a distance over a length."""
SMOOTHNESS = (0.5, 1.5, 2.5)


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A kernel and its parameters.

    Parameters
    ----------
    name
        ``"linear"`` ``x.y``; ``"polynomial"`` ``(x.y / length^2 + offset)^degree``; ``"rbf"``
        ``exp(-|x - y|^2 / (2 length^2))``; ``"laplacian"`` ``exp(-|x - y|_1 / length)``; ``"matern"`` of smoothness
        0.5, 1.5 or 2.5; ``"cosine"`` ``x.y / (|x| |y|)``. Or a function of two blocks of rows.
    length
        Length scale; of no meaning to ``"linear"`` and ``"cosine"``.
    degree, offset
        Of ``"polynomial"``.
    smoothness
        Of ``"matern"``.
    centre
        Subtracted before distances are taken, ``(d,)``, after the division; it changes nothing but rounding.
    scale
        What columns are divided by, ``(d,)``; None for nothing.

    Raises
    ------
    SpecError
        If a parameter is out of range.
    """

    name: Name | Callable[[Matrix, Matrix], Matrix] = "rbf"
    length: float = 1.0
    degree: int = 3
    offset: float = 1.0
    smoothness: float = 1.5
    centre: Real | None = None
    scale: Real | None = None

    def __post_init__(self) -> None:
        if not callable(self.name) and self.name not in get_args(Name):
            known = ", ".join(get_args(Name))
            raise SpecError(
                f"kernel={self.name!r} is unknown. Pass one of {known}, or a function of two blocks."
            )
        if not 0 < self.length < float("inf"):
            raise SpecError(f"length={self.length} is no length scale. Pass a positive number.")
        if self.degree < 1 or self.offset < 0:
            raise SpecError(
                f"degree={self.degree}, offset={self.offset} make no positive definite kernel. Pass degree >= 1, offset >= 0."
            )
        if self.smoothness not in SMOOTHNESS:
            raise SpecError(f"smoothness={self.smoothness} is unknown. Pass 0.5, 1.5 or 2.5.")

    def __call__(self, X: Matrix, Y: Matrix) -> Matrix:
        """``k(x_i, y_j)`` for rows of X ``(p, d)`` and Y ``(q, d)``: ``(p, q)``."""
        X, Y = self._scaled(X), self._scaled(Y)
        if callable(self.name):
            K = np.asarray(self.name(X, Y), dtype=np.float64)
            if K.shape != (X.shape[0], Y.shape[0]):
                raise SpecError(
                    f"the kernel gave shape {K.shape} for blocks of {X.shape[0]} and {Y.shape[0]} rows. It must give "
                    "(rows of the first, rows of the second)."
                )
            return K
        if self.name == "linear":
            return np.asarray(X @ Y.T)
        if self.name == "polynomial":
            return np.asarray((X @ Y.T / self.length**2 + self.offset) ** self.degree)
        if self.name == "cosine":
            return np.asarray(_unit(X) @ _unit(Y).T)
        if self.name == "laplacian":
            return np.exp(-cdist(X, Y, "cityblock") / self.length)
        square = self._squares(X, Y) / self.length**2
        if self.name == "rbf":
            return np.exp(-square / 2)
        scaled = np.sqrt(2 * self.smoothness * square)
        if self.smoothness == 0.5:
            return np.exp(-scaled)
        if self.smoothness == 1.5:
            return np.asarray((1 + scaled) * np.exp(-scaled))
        return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))

    def diagonal(self, X: Matrix) -> Real:
        """``k(x_i, x_i)``, ``(p,)``."""
        if callable(self.name):
            ones = (float(self(X[i : i + 1], X[i : i + 1])[0, 0]) for i in range(X.shape[0]))
            return np.fromiter(ones, dtype=np.float64, count=X.shape[0])
        X = self._scaled(X)
        if self.name == "linear":
            return np.asarray(np.einsum("ij,ij->i", X, X))
        if self.name == "polynomial":
            return np.asarray(
                (np.einsum("ij,ij->i", X, X) / self.length**2 + self.offset) ** self.degree
            )
        if self.name == "cosine":
            return np.asarray(np.any(X != 0, axis=1), dtype=np.float64)
        return np.ones(X.shape[0])

    def gram(self, X: Matrix) -> Matrix:
        """``k(x_i, x_j)``, symmetric to the bit, its diagonal exact."""
        K = self(X, X)
        K = (K + K.T) / 2
        np.fill_diagonal(K, self.diagonal(X))
        return K

    def _scaled(self, X: Matrix) -> Matrix:
        return X if self.scale is None else X / self.scale

    def _squares(self, X: Matrix, Y: Matrix) -> Matrix:
        if self.centre is not None:
            X, Y = X - self.centre, Y - self.centre
        square = np.einsum("ij,ij->i", X, X)[:, None] + np.einsum("ij,ij->i", Y, Y)[None, :]
        square -= 2 * (X @ Y.T)
        return np.asarray(np.maximum(square, 0.0))

    @property
    def record(self) -> dict[str, Any]:
        """What two blocks must agree in to be compared."""
        return {
            "name": self.name if isinstance(self.name, str) else getattr(self.name, "__qualname__", "function"),
            "length": self.length, "degree": self.degree, "offset": self.offset, "smoothness": self.smoothness,
            "scaled": self.scale is not None,
        }  # fmt: skip


def _unit(X: Matrix) -> Matrix:
    size = np.linalg.norm(X, axis=1, keepdims=True)
    return np.asarray(np.divide(X, size, out=np.zeros_like(X), where=size > 0))


def typical_length(X: Matrix, name: str, *, pairs: int = 4096, seed: int = 0) -> float:
    """Median distance between random rows of a sample: the length scale where none is given; 1 where all are equal."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(X.shape[0], size=(2, pairs))
    apart = X[a] - X[b]
    size = np.abs(apart).sum(axis=1) if name == "laplacian" else np.linalg.norm(apart, axis=1)
    size = size[size > 0]
    return float(np.median(size)) if size.size else 1.0
