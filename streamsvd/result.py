"""What a factorisation returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamsvd.info import Info
from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.sentences import describe_briefly, round_down, round_up
from streamsvd.typing import Matrix, Real


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
