"""A source whose rows have lost what components give back of them: ``x - ((x - mu) Z) Q - mu``.

That is computed in double precision, and delivered in it. Each read is of whole rows, whatever columns are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import NonFiniteError, remedy_of
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.adjusted import wide_dtype
from streamsvd.store.sources.views.view import SourceView
from streamsvd.typing import Matrix

REMEDY = 'Pass nonfinite="zero" or "mean" to treat NaN as missing.'
BYTES_AT_ONCE = 1 << 20
"""Bytes of rows in double precision that are projected at once, about."""


@dataclass(frozen=True, eq=False)
class ResidualRows(SourceView):
    """A matrix without what components hold of its rows.

    Attributes
    ----------
    whole
        The matrix.
    forward, backward
        ``Z (n, k)`` and ``Q (k, n)``, 0 where a column takes no part.
    takes_part
        Which do, ``(n,)``.
    level
        ``mu``, ``(n,)``; NaN in columns of which nothing is known, and 0 where nothing was subtracted.
    fill
        What a NaN is while its row is projected, ``(n,)``; None where it is an error.
    """

    __repr__ = matrix_text

    forward: Matrix
    backward: Matrix
    takes_part: npt.NDArray[np.bool_]
    level: Matrix
    fill: Matrix | None

    @property
    def dtype(self) -> np.dtype[Any]:
        return wide_dtype(np.result_type(self.whole.dtype, self.forward.dtype))

    @property
    def chunks(self) -> tuple[int, int]:
        return self.whole.chunks[0], self.shape[1]

    @property
    def _height(self) -> int:
        """Rows that are projected at once: whole chunks."""
        chunk, row = self.chunks[0], self.shape[1] * self.dtype.itemsize
        height = chunk * max(1, BYTES_AT_ONCE // (chunk * row))
        found: int = min(self.shape[0], height)
        return found

    @property
    def read_bytes(self) -> int:
        """Rows as stored, about the mean, and what is given back of them; a mask and products."""
        wide, k = self.dtype.itemsize, self.forward.shape[1]
        entry = self.whole.dtype.itemsize + 3 * wide + 1
        total: int = self._height * (self.shape[1] * entry + 2 * k * wide)
        return self.whole.read_bytes + total

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        start, height = rows.start, self._height
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            stored = np.empty((stop - start, self.shape[1]), dtype=self.whole.dtype)
            self.whole.read(slice(start, stop), slice(0, self.shape[1]), stored)
            self._subtract(stored, start, columns, out[start - rows.start : stop - rows.start])
            start = stop

    def _subtract(
        self, stored: npt.NDArray[Any], first: int, columns: slice, out: npt.NDArray[Any]
    ) -> None:
        X = stored - self.level
        out[...] = X[:, columns]
        X[:, ~self.takes_part] = 0
        if self.fill is not None:
            np.copyto(X, self.fill - np.nan_to_num(self.level), where=np.isnan(X))
        with np.errstate(over="ignore", invalid="ignore"):
            T = X @ self.forward
            is_finite = bool(np.isfinite(T.sum()))
        if not is_finite:
            self._refuse(X, first)
        out -= T @ self.backward[:, columns]

    def _refuse(self, X: Matrix, first: int) -> None:
        """Raise for the first entry that is not finite; where all are, products were too large and are left as they are."""
        bad = ~np.isfinite(X)
        if bad.any():
            i, j = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
            value = "NaN" if np.isnan(X[i, j]) else "Inf"
            raise NonFiniteError(
                value, first + i, j, self.locate(first + i, j), remedy_of(value, REMEDY)
            )
