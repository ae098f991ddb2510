r"""Errors measured where they matter: ``||D (A - B) S||_F`` in place of ``||A - B||_F``.

D is diagonal and positive, the same for all blocks that may share a basis; S has as many rows as the block has columns and
may be anything: with rows x of inputs on which a block acts, ``S = X*`` makes it the error of ``A x`` over all of them. For
any U of orthonormal columns ``B = D^-1 U (U* D A)`` has the weighted error ``||(I - U U*) D A S||``, so the best U are the
left vectors of ``D A S`` and S is never inverted: inputs that do not span all directions are no harm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """The norm of the error of one block.

    Attributes
    ----------
    rows
        The diagonal of D, ``(m,)``; None for ones.
    columns
        S as the diagonal of a matrix, ``(n,)``, or the same for all, ``(1,)``; None if it is none.
    inputs
        ``S*``, ``(q, n)``; None if S is diagonal.
    """

    rows: Real | None = None
    columns: Real | None = None
    inputs: Matrix | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing is weighted."""
        return self.rows is None and self.columns is None and self.inputs is None

    def zero_ignored(self, A: Matrix) -> Matrix:
        """A block with 0 in columns of weight 0, which are never looked at; itself where there are none, or no others."""
        if self.columns is None or self.columns.size == 1 or self.columns.all():
            return A
        if not self.columns.any():  # refused where nothing is left
            return A
        return np.where(self.columns != 0, A, A.dtype.type(0))

    def left(self, X: Matrix, start: int = 0) -> Matrix:
        """``D X``, X rows of a block from number ``start`` on."""
        return X if self.rows is None else self.rows[start : start + X.shape[0], None] * X

    def of(self, X: Matrix, start: int = 0) -> Matrix:
        """``D X S``, the same."""
        X = self.left(X, start)
        if self.columns is not None:
            X = X * self.columns
        return X if self.inputs is None else X @ self.inputs.T

    def in_unit(self, exponent: int) -> Metric:
        """The same in a unit that is larger by a power of two; rows keep their weights."""
        if self.inputs is not None:
            return replace(self, inputs=np.ldexp(self.inputs, -exponent))
        if self.columns is not None:
            return replace(self, columns=np.ldexp(self.columns, -exponent))
        return replace(self, columns=np.ldexp(np.ones(1), -exponent)) if exponent else self

    def strain(self, A: Matrix, norm: float) -> float:
        """How much larger rounding of the products may be, relative to ``norm = ||D A S||``, than without them."""
        if self.inputs is None or not norm:
            return 1.0
        return float(np.linalg.norm(self.left(A)) * np.linalg.norm(self.inputs)) / norm

    @property
    def importance(self) -> Real | None:
        """What an error in each column counts, ``(n,)`` or ``(1,)``; None if all count as they are."""
        if self.inputs is not None:
            return np.asarray(np.linalg.norm(self.inputs, axis=0))
        return self.columns


PLAIN = Metric()
"""Of blocks without weights."""
