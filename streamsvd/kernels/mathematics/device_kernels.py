r"""Kernels on a device: features ``z(X) = K(X, C) W`` of rows, and ridge leverage scores of a dictionary.

Centres, whitening and what the kernel subtracts and divides by are sent once; features stay there until their caller brings home
what it sums. Of a dictionary its rows go there and its scores come back: ``[(B + gamma I)^{-1}]_ii = sum_j [L^{-1}]_ji^2`` from the
Cholesky factor ``L``. All in float64.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from array_api_compat import device as device_of

from streamsvd.kernels.mathematics.centres import FeatureMap
from streamsvd.kernels.mathematics.kernel import Kernel
from streamsvd.kernels.mathematics.resolution import Resolution, check_definite
from streamsvd.numerics.blocks import Backend
from streamsvd.numerics.moments import row_squares
from streamsvd.typing import Matrix, Real

Array = Any
_at_work = threading.Lock()
"""Cubic work is done one matrix after another: each fills the device, and some five of its size are there meanwhile."""
BLOCK_BYTES = 64 << 20
"""Of a block of the kernel matrix on a device; some six of them are there at once for each thread."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceFeatureMap:
    """A `FeatureMap` of rows that lie on a device.

    Attributes
    ----------
    backend
        The doors of the thread that uses it.
    kernel, centres, whitening
        Of the map, on the device.
    reach, bound
        Of the centres; and of any row, by the size of its entries.
    size
        Largest entry of the rows, if it is known.
    """

    backend: Backend
    kernel: Kernel
    centres: Array
    whitening: Array
    reach: float
    bound: Callable[[float], float]
    size: float = float("inf")

    @classmethod
    def of(cls, map_: FeatureMap, backend: Backend) -> DeviceFeatureMap:
        """A map, sent to the device of a backend; its kernel must not be a function."""

        def there(a: Matrix) -> Array:
            return backend.to_device(a, "float64")

        kernel = map_.kernel.on_device(there)
        reach = 0.0 if map_.centres.shape[0] == 0 else float(map_.kernel.reach(map_.centres))
        bound = map_.kernel.bound(map_.centres.shape[1])
        return cls(backend, kernel, there(map_.centres), there(map_.whitening), reach, bound)

    def by(self, backend: Backend) -> DeviceFeatureMap:
        """The same through the doors of another thread."""
        return replace(self, backend=backend)

    def of_entries(self, size: float) -> DeviceFeatureMap:
        """The same for rows whose entries are no larger than ``size``."""
        return replace(self, size=size)

    @property
    def rows_at_once(self) -> int:
        """Rows of a block."""
        return max(1, BLOCK_BYTES // (8 * max(1, int(self.centres.shape[0]))))

    def __call__(self, X: Array) -> Array:
        """Features of rows ``(p, d)`` in float64, finite: ``(p, r)``."""
        if self.centres.shape[0] == 0:
            return self.backend.zeros((X.shape[0], 0), "float64")
        termwise = self._termwise(X) if self.kernel.by_squares else None
        return self.kernel(X, self.centres, termwise=termwise) @ self.whitening

    def _termwise(self, X: Array) -> bool:
        """What the host would decide; only where a bound does not tell does a number come back."""
        if not self.kernel.cancels(max(self.bound(self.size), self.reach)):
            return False
        found = float(self.backend.to_host(self.kernel.reach(X)))
        return self.kernel.cancels(max(found, self.reach))

    def remaining(self, X: Array) -> tuple[float, float]:
        """As of a `FeatureMap`."""
        xp = self.backend.xp
        whole = self.kernel.diagonal(X)
        left = whole - row_squares(self(X))
        sums = (xp.sum(xp.maximum(left, 0.0)), xp.sum(whole), xp.min(left), xp.max(whole))
        total, trace, least, largest = self.backend.to_host(xp.stack(sums)).tolist()
        check_definite(least, 100 * largest)
        return total, trace


@dataclass(frozen=True, slots=True, eq=False)
class DeviceGram:
    """``B`` of a dictionary on a device: `Dense` there.

    Attributes
    ----------
    backend
        The doors of the thread that uses it.
    B
        On the device.
    """

    backend: Backend
    B: Array

    @classmethod
    def of(cls, backend: Backend, kernel: Kernel, rows: Matrix, root: Real) -> DeviceGram:
        """Of rows and roots of their weights, on the host."""
        xp, there = backend.xp, backend.to_device
        termwise = kernel.cancels(float(kernel.reach(rows))) if kernel.by_squares else None
        X, w = there(rows, "float64"), there(root, "float64")
        placed = kernel.on_device(there)
        K = placed(X, X, termwise=termwise)
        K = (K + K.T) / 2
        own = xp.eye(rows.shape[0], dtype=xp.bool, device=device_of(K))
        K = xp.where(own, placed.diagonal(X)[:, None], K)
        return cls(backend, K * w[:, None] * w[None, :])

    def resolve(self, w: Real, gamma: float) -> Resolution:
        """What it resolves at a ridge, for its weights.

        Raises
        ------
        SpecError
            If the kernel is not positive definite on these rows.
        """
        with _at_work:
            M, diagonal = self._factor_inverse(gamma)
            if np.isfinite(diagonal).all():
                tau = (1 - gamma * diagonal) / w
                return Resolution.of(w, tau, gamma, partial(self._inverse, M))
            return Resolution.of(w, self._by_eigenvalues(gamma) / w, gamma, None)

    def eigenvalues(self) -> Real:
        """All of them."""
        with _at_work:
            return np.asarray(self.backend.to_host(self.backend.xp.linalg.eigvalsh(self.B)))

    def _factor_inverse(self, gamma: float) -> tuple[Array, Real]:
        """``M = L^{-1}`` and the diagonal of ``M* M``: not finite where there is no factor; some namespaces say so, others give NaN."""
        xp, m = self.backend.xp, self.B.shape[0]
        ridge = gamma * xp.eye(m, dtype=xp.float64, device=device_of(self.B))
        try:
            M = xp.linalg.inv(xp.linalg.cholesky(self.B + ridge))
        except np.linalg.LinAlgError:
            return self.B, np.full(m, np.nan)
        return M, np.asarray(self.backend.to_host(xp.sum(M * M, axis=0)))

    def _inverse(self, M: Array) -> tuple[float, float]:
        """Trace and squared Frobenius norm of ``M* M``."""
        xp = self.backend.xp
        with _at_work:
            G = M.T @ M
            found = self.backend.to_host(xp.stack((xp.sum(M * M), xp.sum(G * G)))).tolist()
        return found[0], found[1]

    def _by_eigenvalues(self, gamma: float) -> Real:
        xp = self.backend.xp
        values, Q = xp.linalg.eigh(self.B)
        known = np.asarray(self.backend.to_host(values))
        check_definite(float(known[0]), float(np.sum(known)))
        known = np.maximum(known, 0.0)
        share = self.backend.to_device(known / (known + gamma))
        return np.asarray(self.backend.to_host((Q * Q) @ share))
