"""What a factorisation returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.sentences import describe_briefly, round_down, round_up
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
    Status.CONVERGED: "What was asked is proved.",
    Status.NOT_CONVERGED: "What was asked is not proved; the certificate says what is, and the error what to do.",
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
        ``"krylov"``, ``"gram"``, or ``"krylov, then gram"``; the axis that was streamed; precision of the products.
    missing
        Number of missing entries that the policy replaced, or left out with their columns.
    dropped_columns
        Columns left out: without any value or by the mask, where factors are NaN; with missing values under that policy,
        constant ones under scaling, or those of weight 0, where they are zero.
    widths
        Largest relative width of the intervals after each look.
    seed
        Of the random blocks.
    freedom
        Degrees of freedom of a variance: ``n_rows - 1``; under row weights ``(n - 1)`` times their mean over the
        n rows of positive weight, so that a weight of 0 is the row left out and a common factor changes nothing.
    criterion
        What is proved of what was asked: ``"values"``, every interval within the tolerance; ``"error"``, an error close
        enough to the best of the rank; empty where neither is.
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
    freedom: float
    criterion: str = ""


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
        What was subtracted from each column and what it was divided by, ``(n,)``; None if neither. 0 of columns of weight 0.
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
        first, last = (self._format_value(j) for j in (0, self.rank - 1))
        return (
            f"<SVD rank {self.rank} of {m:,} x {n:,}: s = {first} .. {last}, "
            f"{i.status.value}, {describe_briefly(c)} ({c.kind.value}), "
            f"{i.passes:.3g} passes, {i.elapsed_s:.3g} s>"
        )

    def _format_value(self, j: int) -> str:
        """A value; its interval where it is not resolved."""
        c = self.certificate
        if c.resolved[j]:
            return f"{self.s[j]:.6g}"
        return f"[{round_down(float(c.sigma_lower[j]))}, {round_up(float(c.sigma_upper[j]))}]"


@dataclass(frozen=True, slots=True, eq=False)
class PCA:
    """Principal components: the SVD of the centred matrix, in the words of statistics.

    Attributes
    ----------
    components
        ``(k, n)``, the rows of ``Vh``.
    explained_variance, explained_variance_ratio
        ``s**2 / info.freedom``, which is ``m - 1`` where rows have no weights, and its share of the total variance, ``(k,)``.
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
