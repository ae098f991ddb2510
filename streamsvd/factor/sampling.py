"""Sampling errors of the values of a factorisation: North's rule of thumb, and how many independent rows there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.factor.tables import plain_table
from streamsvd.numerics.sampling import effective_size, lag_one_sums, standard_errors
from streamsvd.typing import Matrix, Real

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD

ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class SamplingErrors:
    """How far each variance may be from that of an unlimited sample, beside how far it may be from that of this matrix.

    These are two things. The *certified* ends, `variance_lower` and `variance_upper`, are about the matrix that was factorised: its own value is between
    them, proved. The *sampling* error is about the rows as a sample of others that might have come: a standard error, by North's rule of
    thumb, for rows that are independent and normal. A longer run narrows the first, and more rows alone the second.

    Attributes
    ----------
    variance
        ``s**2 / info.freedom``, ``(k,)``.
    sampling_error
        ``variance * sqrt(2 / N)``, one standard error, ``(k,)``.
    variance_lower, variance_upper
        Certified ends of the variance in this matrix, ``(k,)``.
    lower, upper
        Both together: the certified lower end less its sampling error, the upper one and its own, ``(k,)``.
    separated
        Whether each component is apart from the next: its `lower` is above the next one's `upper`, ``(k,)``; the last is held against what is
        proved of all that follow. Components that are not are mixed: their span has a meaning, single ones have none.
    effective_size
        N, ``(k,)``.
    """

    variance: Real
    sampling_error: Real
    variance_lower: Real
    variance_upper: Real
    lower: Real
    upper: Real
    separated: npt.NDArray[np.bool_]
    effective_size: Real

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of components, from 0, in runs that are not separated within."""
        runs: list[list[int]] = []
        for i in range(self.variance.size):
            if i and not self.separated[i - 1]:
                runs[-1].append(i)
            else:
                runs.append([i])
        return tuple(tuple(run) for run in runs)

    def __str__(self) -> str:
        rows = [
            (
                str(i + 1), f"{self.variance[i]:.6g}", f"{self.sampling_error[i]:.2g}", f"{self.variance_lower[i]:.6g}",
                f"{self.variance_upper[i]:.6g}", f"{self.effective_size[i]:.4g}", "yes" if self.separated[i] else "no",
            )
            for i in range(self.variance.size)
        ]  # fmt: skip
        heads = (
            "component",
            "variance",
            "sampling error",
            "certified from",
            "to",
            "N",
            "apart from the next",
        )
        return plain_table(heads, rows)

    __repr__ = __str__


def north_errors(result: SVD, effective_size: Any = None) -> SamplingErrors:
    """North's rule of thumb of a result; see `SVD.north_errors`."""
    k, freedom, c = result.rank, result.info.freedom, result.certificate
    size = _check_size(independent_rows(result) if effective_size is None else effective_size, k)
    values = (result.s, c.sigma_lower, c.sigma_upper)
    with np.errstate(over="ignore"):
        variance, low, high = (np.asarray(x**2 / freedom) for x in values)
        following = float(c.spectral_error**2 / freedom)
    lower = np.maximum(low - standard_errors(low, size), 0.0)
    upper = high + standard_errors(high, size)
    last = following + float(standard_errors(np.array([following]), size[-1:])[0]) if k else 0.0
    return SamplingErrors(
        variance=variance,
        sampling_error=standard_errors(variance, size),
        variance_lower=low,
        variance_upper=high,
        lower=lower,
        upper=upper,
        separated=lower > np.append(upper[1:], last)[:k],
        effective_size=size,
    )


def independent_rows(result: SVD) -> float:
    """Rows of a result, as if independent; of weighted ones ``sum(w)^2 / sum(w^2)``, which is their number where weights are equal (Kish 1965)."""
    weights = result.preparation.get("row_weights")
    if weights is None:
        return float(max(result.info.n_rows, 1))
    w = np.asarray(weights, np.float64) / float(np.max(weights))
    return float(np.sum(w) ** 2 / np.sum(w**2))


def _check_size(given: Any, k: int) -> Real:
    """Independent rows of each component."""
    size = as_array(given)
    if size.dtype.kind not in "iuf" or size.ndim > 1:
        raise SpecError(
            f"effective_size={given!r} is no number of rows. Pass one, or one for each component, as streamsvd.effective_sample_size gives."
        )
    if size.ndim == 1 and size.size < k:
        raise ShapeError(
            f"effective_size has {size.size} numbers, the result has {k} components. Pass one for each, or one number."
        )
    size = np.array(np.broadcast_to(size[:k] if size.ndim else size, k), dtype=np.float64)
    if not (np.isfinite(size) & (size >= 1)).all():
        raise SpecError("effective_size must be finite and at least 1 everywhere.")
    return size


def effective_sample_size(scores: Any, of: Literal["variance", "mean"] = "variance") -> Any:
    """How many independent rows tell as much as these, which follow one another in time.

    Parameters
    ----------
    scores
        Scores, one column for each component, ``(m, k)``, such as ``result.U`` or what `SVD.transform` gives; or one series ``(m,)``. In the
        order of time, at equal steps. An array on disk is read twice, in runs of rows.
    of
        What is to be told: ``"variance"``, as of the values of components, ``m (1 - r^2) / (1 + r^2)``; or ``"mean"``, ``m (1 - r) / (1 + r)``.

    Returns
    -------
    size
        ``(k,)``, or a number of one series. At least 1; where scores follow one another at random, about m.

    Raises
    ------
    ShapeError
        If there are not at least 3 rows, or more than two dimensions.
    NonFiniteError
        If scores are NaN or infinite.
    SpecError
        If ``of`` is neither.

    Notes
    -----
    ``r`` is the autocorrelation at lag one; of complex scores its modulus. Of a long-lasting memory, as no autoregression of first order
    has, this is too large a number.

    References
    ----------
    .. [1] Bretherton, Widmann, Dymnikov, Wallace, Blade, Journal of Climate 12 (1999), equation 31.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> x = np.zeros(2000)
    >>> for t in range(1, 2000):
    ...     x[t] = 0.8 * x[t - 1] + rng.standard_normal()
    >>> round(streamsvd.effective_sample_size(x), -1)
    460.0
    """
    if of not in ("variance", "mean"):
        raise SpecError(f'of={of!r} is unknown. Pass "variance" or "mean".')
    series = scores if hasattr(scores, "shape") else as_array(scores)
    shape = tuple(series.shape)
    if len(shape) not in (1, 2) or shape[0] < 3:
        raise ShapeError(
            f"scores have the shape {shape}. Pass one column for each component, (m, k), or one series (m,), of at least 3 rows."
        )

    def blocks() -> Iterator[Matrix]:
        for start in range(0, shape[0], ROWS_AT_ONCE):
            rows = as_array(series[start : start + ROWS_AT_ONCE])
            rows = rows.reshape(rows.shape[0], -1)
            finite = np.isfinite(rows)
            if not finite.all():
                row, column = (int(i) for i in np.argwhere(~finite)[0])
                value = "NaN" if np.isnan(rows[row, column]) else "Inf"
                raise NonFiniteError(
                    value,
                    start + row,
                    column,
                    "scores",
                    "Pass scores of rows without missing values.",
                )
            yield rows

    sums = lag_one_sums(blocks)
    found = effective_size(sums.n_rows, sums.autocorrelation, of_mean=of == "mean")
    return float(found[0]) if len(shape) == 1 else found
