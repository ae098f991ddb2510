"""Positive definite kernels of rows, in float64, on whatever device the rows lie.

Distances are taken about a fixed centre, so that data far from zero keep their digits; the diagonal is what it is by
definition, never what rounding makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from array_api_compat import array_namespace, is_numpy_namespace
from array_api_compat import device as device_of
from scipy.spatial.distance import cdist

from streamsvd.checks.masks import as_array
from streamsvd.errors import SpecError
from streamsvd.kernels.options import KernelName
from streamsvd.numerics.moments import row_squares
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix, Real

Array = Any
LENGTH_KERNELS = ("rbf", "laplacian", "matern")
"""Kernels of a distance over a length."""
UNBOUNDED_KERNELS = ("linear", "polynomial")
"""Kernels of which ``k(x, x)`` is as large as the rows are; of the others that have a name it is 1, or 0."""
SMOOTHNESS = (0.5, 1.5, 2.5)
SHORTEST = 1e-140
"""Lengths whose squares float64 holds; and their inverses."""
FAR = 1e3
"""Distances over the length beyond which every kernel is 0."""
CANCELLATION_LIMIT = 1e-10
"""Error of a squared distance over the squared length from which on it is taken term by term."""


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

    name: KernelName | Callable[[Matrix, Matrix], Matrix] = "rbf"
    length: float = 1.0
    degree: int = 3
    offset: float = 1.0
    smoothness: float = 1.5
    centre: Real | None = None
    scale: Real | None = None

    def __post_init__(self) -> None:
        if not callable(self.name) and self.name not in get_args(KernelName):
            known = ", ".join(get_args(KernelName))
            raise SpecError(
                f"kernel={self.name!r} is unknown. Pass one of {known}, or a function of two blocks."
            )
        if not in_range(self.length):
            raise SpecError(
                f"length={self.length} is no length scale whose square float64 holds. Pass one between {SHORTEST:g} and "
                f"{1 / SHORTEST:g}, of data of that size."
            )
        if self.degree < 1 or self.degree != int(self.degree) or not 0 <= self.offset < np.inf:
            raise SpecError(
                f"degree={self.degree}, offset={self.offset} make no positive definite kernel. Pass an integer degree >= 1, offset >= 0."
            )
        if self.smoothness not in SMOOTHNESS:
            raise SpecError(f"smoothness={self.smoothness} is unknown. Pass 0.5, 1.5 or 2.5.")

    def __call__(self, X: Array, Y: Array, *, termwise: bool | None = None) -> Array:
        """``k(x_i, y_j)`` for rows of X ``(p, d)`` and Y ``(q, d)``: ``(p, q)``.

        Parameters
        ----------
        X, Y
            Rows, of one namespace and device; `centre` and `scale` lie there too (`placed`).
        termwise
            What `cancels` says of `reach`; left out it is found out, which elsewhere than on the host is a hidden copy.
        """
        X, Y = self._scale_rows(X), self._scale_rows(Y)
        if callable(self.name):
            return self._function(X, Y)
        xp = array_namespace(X, Y)
        if self.name == "linear":
            return X @ Y.T
        if self.name == "polynomial":
            return (X @ Y.T / self.length**2 + self.offset) ** self.degree
        if self.name == "cosine":
            return _unit(X) @ _unit(Y).T
        if self.name == "laplacian":
            return xp.exp(-_apart(X, Y, "cityblock") / self.length)
        square = self._squares(X, Y, termwise) / self.length**2
        if self.name == "rbf":
            return xp.exp(-square / 2)
        scaled = xp.minimum(xp.sqrt(2 * self.smoothness * square), FAR)
        if self.smoothness == 0.5:
            return xp.exp(-scaled)
        if self.smoothness == 1.5:
            return (1 + scaled) * xp.exp(-scaled)
        return (1 + scaled + scaled**2 / 3) * xp.exp(-scaled)

    def _function(self, X: Matrix, Y: Matrix) -> Matrix:
        assert callable(self.name)
        K = as_array(self.name(X, Y))
        if K.dtype != np.float64:
            raise SpecError(
                f"the kernel gave values of type {K.dtype}; what is proved of the error needs real ones in float64."
            )
        if not np.isfinite(K).all():
            raise SpecError("the kernel gave NaN or Inf. It must give numbers for any rows.")
        if K.shape != (X.shape[0], Y.shape[0]):
            raise SpecError(
                f"the kernel gave shape {K.shape} for blocks of {X.shape[0]} and {Y.shape[0]} rows. It must give "
                "(rows of the first, rows of the second)."
            )
        return K

    def diagonal(self, X: Array) -> Array:
        """``k(x_i, x_i)``, ``(p,)``."""
        if callable(self.name):
            ones = (float(self(X[i : i + 1], X[i : i + 1])[0, 0]) for i in range(X.shape[0]))
            return np.fromiter(ones, dtype=np.float64, count=X.shape[0])
        X = self._scale_rows(X)
        xp = array_namespace(X)
        if self.name == "linear":
            return row_squares(X)
        if self.name == "polynomial":
            return (row_squares(X) / self.length**2 + self.offset) ** self.degree
        if self.name == "cosine":
            return xp.astype(xp.any(X != 0, axis=1), xp.float64)
        return xp.ones(X.shape[0], dtype=xp.float64, device=device_of(X))

    def gram(self, X: Matrix) -> Matrix:
        """``k(x_i, x_j)``, symmetric to the bit, its diagonal exact; on the host."""
        K = self(X, X)
        K = (K + K.T) / 2
        np.fill_diagonal(K, self.diagonal(X))
        return np.asarray(K)

    def on_device(self, to_device: Callable[[Matrix], Array]) -> Kernel:
        """The same kernel of rows on a device; not of a function, which is of rows of the host."""
        assert not callable(self.name)
        centre, scale = (
            None if x is None else to_device(np.asarray(x, dtype=np.float64))
            for x in (self.centre, self.scale)
        )
        return replace(self, centre=centre, scale=scale)

    @property
    def by_squares(self) -> bool:
        """Whether it is a function of squared distances."""
        return self.name in ("rbf", "matern")

    def reach(self, X: Array) -> Array:
        """Largest squared distance of a row from the centre, a number where the rows lie."""
        return array_namespace(X).max(row_squares(self._centre_rows(self._scale_rows(X))))

    def bound(self, columns: int) -> Callable[[float], float]:
        """What `reach` of rows on the host is at most, by the size of their largest entry."""
        scale, centre = (
            np.full(columns, other) if x is None else np.asarray(x)
            for x, other in ((self.scale, 1.0), (self.centre, 0.0))
        )
        return lambda size: float(np.sum((size / np.abs(scale) + np.abs(centre)) ** 2))

    def cancels(self, reach: float) -> bool:
        """Whether squared distances of rows that reach so far are to be taken term by term."""
        return 8 * UNIT_ROUNDOFF * reach > CANCELLATION_LIMIT * self.length**2

    def _scale_rows(self, X: Array) -> Array:
        return X if self.scale is None else X / self.scale

    def _centre_rows(self, X: Array) -> Array:
        return X if self.centre is None else X - self.centre

    def _squares(self, X: Array, Y: Array, termwise: bool | None) -> Array:
        X, Y = self._centre_rows(X), self._centre_rows(Y)
        sizes = row_squares(X), row_squares(Y)
        if termwise is None:
            termwise = self.cancels(max(float(size.max(initial=0.0)) for size in sizes))
        if termwise:
            return _apart(X, Y, "sqeuclidean")
        square = sizes[0][:, None] + sizes[1][None, :]
        square -= 2 * (X @ Y.T)
        return array_namespace(square).maximum(square, 0.0)

    @property
    def record(self) -> dict[str, Any]:
        """What two blocks must agree in to be compared."""
        return {
            "name": self.name if isinstance(self.name, str) else getattr(self.name, "__qualname__", "function"),
            "length": self.length, "degree": self.degree, "offset": self.offset, "smoothness": self.smoothness,
            "scaled": self.scale is not None,
        }  # fmt: skip


def _unit(X: Array) -> Array:
    xp = array_namespace(X)
    size = xp.sqrt(xp.sum(X * X, axis=1, keepdims=True))
    safe = xp.where(size > 0, size, xp.ones_like(size))
    return xp.where(size > 0, X / safe, xp.zeros_like(X))


def _apart(X: Array, Y: Array, metric: Literal["cityblock", "sqeuclidean"]) -> Array:
    """Distances of rows, summed term by term, ``(p, q)``; a column at a time where there is no scipy."""
    xp = array_namespace(X, Y)
    if is_numpy_namespace(xp):
        return cdist(X, Y, metric)
    total = xp.zeros_like(X[:, :1] - Y[:, :1].T)
    for j in range(X.shape[1]):
        apart = X[:, j : j + 1] - Y[:, j : j + 1].T
        total += xp.abs(apart) if metric == "cityblock" else apart * apart
    return total


def in_range(length: float) -> bool:
    """Whether it is a length scale whose square float64 holds."""
    return SHORTEST < length < 1 / SHORTEST


def typical_length(X: Matrix, name: str, *, pairs: int = 4096, seed: int = 0) -> float:
    """Median distance between random rows of a sample: the length scale where none is given; 1 where all are equal."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(X.shape[0], size=(2, pairs))
    size = np.empty(pairs)
    for i in range(pairs):  # one pair at a time: rows may be long
        apart = X[a[i]] - X[b[i]]
        size[i] = np.abs(apart).sum() if name == "laplacian" else np.linalg.norm(apart)
    size = size[size > 0]
    return float(np.median(size)) if size.size else 1.0
