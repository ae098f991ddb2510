r"""A feature map on a device: blocks of ``K(X, C)`` are made there, and multiplied by the whitening, ``z(X) = K(X, C) W``.

Centres, whitening and what the kernel subtracts and divides by are sent once. Of a block of rows one number comes back, by which
distances are taken as `Kernel` takes them on the host; sums stay where they are until their caller brings them home.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from streamsvd.blocks import Backend
from streamsvd.kernels.moments import row_squares
from streamsvd.leverage.centres import FeatureMap
from streamsvd.leverage.dictionary import check_definite
from streamsvd.leverage.kernels import Kernel
from streamsvd.typing import Matrix

Array = Any
BLOCK_BYTES = 64 << 20
"""Of a block of the kernel matrix on a device; some six of them are there at once for each thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A `FeatureMap` of rows that lie on a device.

    Attributes
    ----------
    backend
        The doors of the thread that uses it.
    kernel, centres, whitening
        Of the map, on the device.
    reach
        Of the centres.
    """

    backend: Backend
    kernel: Kernel
    centres: Array
    whitening: Array
    reach: float

    @classmethod
    def of(cls, map_: FeatureMap, backend: Backend) -> Placed:
        """A map, sent to the device of a backend; its kernel must not be a function."""

        def there(a: Matrix) -> Array:
            return backend.to_device(a, "float64")

        kernel = map_.kernel.placed(there)
        reach = 0.0 if map_.centres.shape[0] == 0 else float(map_.kernel.reach(map_.centres))
        return cls(backend, kernel, there(map_.centres), there(map_.whitening), reach)

    def by(self, backend: Backend) -> Placed:
        """The same through the doors of another thread."""
        return replace(self, backend=backend)

    @property
    def rows_at_once(self) -> int:
        """Rows of a block."""
        return max(1, BLOCK_BYTES // (8 * max(1, int(self.centres.shape[0]))))

    def __call__(self, X: Array) -> Array:
        """Features of rows ``(p, d)`` in float64, finite: ``(p, r)``."""
        if self.centres.shape[0] == 0:
            return self.backend.zeros((X.shape[0], 0), "float64")
        termwise = None
        if self.kernel.by_squares:
            found = float(self.backend.to_host(self.kernel.reach(X)))
            termwise = self.kernel.cancels(max(found, self.reach))
        return self.kernel(X, self.centres, termwise=termwise) @ self.whitening

    def remaining(self, X: Array) -> tuple[float, float]:
        """As of a `FeatureMap`."""
        xp = self.backend.xp
        whole = self.kernel.diagonal(X)
        left = whole - row_squares(self(X))
        sums = (xp.sum(xp.maximum(left, 0.0)), xp.sum(whole), xp.min(left), xp.max(whole))
        total, trace, least, largest = self.backend.to_host(xp.stack(sums)).tolist()
        check_definite(least, 100 * largest)
        return total, trace
