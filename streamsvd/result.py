"""What a factorisation returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from streamsvd.certificate import Certificate
from streamsvd.typing import Matrix, Real


class Status(Enum):
    """How a run ended; `advice` says what to do about it."""

    CONVERGED = "converged"
    NOT_CONVERGED = "not converged"
    INTERRUPTED = "interrupted"

    @property
    def advice(self) -> str:
        """One sentence for the user."""
        return _ADVICE[self]


_ADVICE = {
    Status.CONVERGED: "Every interval is as narrow as was asked.",
    Status.NOT_CONVERGED: (
        "The intervals are wider than asked; allow more passes or more memory, loosen tol, or ask for another "
        "rank if singular values repeat at this one."
    ),
    Status.INTERRUPTED: "The run was stopped; the result is that of the last whole pass.",
}


@dataclass(frozen=True, slots=True)
class Info:
    """How a result was made.

    Attributes
    ----------
    status
        Whether the certificate met the tolerance.
    passes
        Bytes asked of the source over the bytes of the matrix; the sample counts as the fraction it is.
    bytes_read
        Decoded bytes asked of the source.
    peak_bytes
        Measured peak of resident memory of this process above what it was at the start.
    projected_bytes
        What the plan said it would be, at most.
    elapsed_s
        Wall seconds.
    n_rows
        Rows of the matrix.
    route, axis, precision
        ``"krylov"`` or ``"gram"``; the axis that was streamed; precision of the products.
    missing
        Number of missing entries that the policy replaced, or left out with their columns.
    dropped_columns
        Columns left out: missing values under that policy, or constant ones under scaling.
    widths
        Largest relative width of the intervals after each look.
    seed
        Of the random blocks.
    """

    status: Status
    passes: float
    bytes_read: int
    peak_bytes: int
    projected_bytes: int
    elapsed_s: float
    n_rows: int
    route: str
    axis: str
    precision: str
    missing: int
    dropped_columns: tuple[int, ...]
    widths: tuple[float, ...]
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class SVD:
    """The leading singular triplets of a matrix, and what is proved of them.

    Attributes
    ----------
    s
        Singular values, descending, ``(k,)``.
    Vh
        Right singular vectors, ``(k, n)``; the entry of largest modulus of each row is positive.
    U
        Left singular vectors, ``(m, k)``: a zarr array where ``out`` was given, else an array; None if not
        asked for. Columns of singular values that are numerically zero are zero.
    mean, scale
        What was subtracted from each column and what it was divided by, ``(n,)``; None if neither.
    certificate, info
        What is proved, and how it was made.
    """

    s: Real
    Vh: Matrix
    U: Any
    mean: Matrix | None
    scale: Real | None
    certificate: Certificate
    info: Info

    @property
    def rank(self) -> int:
        """Number of triplets."""
        return int(self.s.size)

    def __repr__(self) -> str:
        c, i = self.certificate, self.info
        m, n = i.n_rows, self.Vh.shape[1]
        return (
            f"<SVD rank {self.rank} of {m:,} x {n:,}: s = {self.s[0]:.6g} .. {self.s[-1]:.6g}, "
            f"{i.status.value}, intervals within {c.relative_width:.2g} ({c.kind.value}), "
            f"{i.passes:.3g} passes, {i.elapsed_s:.3g} s>"
        )


@dataclass(frozen=True, slots=True, eq=False)
class PCA:
    """Principal components: the SVD of the centred matrix, in the words of statistics.

    Attributes
    ----------
    components
        ``(k, n)``, the rows of ``Vh``.
    explained_variance, explained_variance_ratio
        ``s**2 / (m - 1)`` and its share of the total variance, ``(k,)``.
    svd
        The factorisation itself.
    """

    components: Matrix
    explained_variance: Real
    explained_variance_ratio: Real
    svd: SVD

    @property
    def mean(self) -> Matrix | None:
        """Mean of each column, ``(n,)``."""
        return self.svd.mean

    @property
    def s(self) -> Real:
        """Singular values of the centred matrix, ``(k,)``."""
        return self.svd.s

    @property
    def Vh(self) -> Matrix:
        """The components again, ``(k, n)``."""
        return self.components

    @property
    def U(self) -> Any:
        """Left singular vectors, ``(m, k)``, if asked for."""
        return self.svd.U

    @property
    def certificate(self) -> Certificate:
        """What is proved of the factorisation."""
        return self.svd.certificate

    @property
    def info(self) -> Info:
        """How it was made."""
        return self.svd.info

    def __repr__(self) -> str:
        share = float(self.explained_variance_ratio.sum())
        return f"<PCA of {self.svd!r}, {share:.4%} of the variance>"
