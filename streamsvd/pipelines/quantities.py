"""Quantities of a result that a check may ask for: numbers that the verb has proved, measured or counted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from streamsvd.numerics.intervals import relative_widths
from streamsvd.typing import Real


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What a step found, as checks see it.

    Attributes
    ----------
    result
        Of the verb; of an update, the factors of the model's newest version.
    previous
        What is published now; None where nothing is.
    seconds
        Wall seconds that it took.
    modified
        When what it read was last written, in seconds since the epoch; None where nobody knows.
    targets
        What least squares fitted; None of other verbs.
    """

    result: Any
    previous: Any
    seconds: float
    modified: float | None
    targets: Any = None


def quantity_of(finding: Finding, quantity: str, leading: int | None = None) -> float | None:
    """A quantity of what a step found; None where the result has it not.

    Parameters
    ----------
    finding
        What it found.
    quantity
        One of `streamsvd.pipelines.vocabulary.Quantity`, but for the schema, which is of the source.
    leading
        How many of the leading directions count; all if left out.
    """
    if quantity in _OF_DIRECTIONS:
        return _OF_DIRECTIONS[quantity](finding, leading)
    return _QUANTITIES[quantity](finding)


def _certificate(finding: Finding) -> Any:
    return getattr(finding.result, "certificate", None)


def _width(finding: Finding, leading: int | None) -> float | None:
    """Largest relative width of the intervals: of singular values, or of a stream's eigenvalues."""
    certificate = _certificate(finding)
    for low, high in (("sigma_lower", "sigma_upper"), ("values_lower", "values_upper")):
        if hasattr(certificate, low):
            lower, upper = getattr(certificate, low)[:leading], getattr(certificate, high)[:leading]
            if leading is not None and len(lower) < leading:
                return None
            widths = relative_widths(lower, upper, getattr(certificate, "zero", 0.0))
            return float(np.max(widths, initial=0.0))
    return None


def _error(finding: Finding) -> float | None:
    """Relative error that is proved; what it is of depends on the verb, see docs/pipelines.md."""
    result, certificate = finding.result, _certificate(finding)
    if hasattr(certificate, "frobenius_error"):  # of a factorisation, of what it leaves out
        error, norm = certificate.frobenius_error, certificate.frobenius_norm
        return float(error) / float(norm) if norm else 0.0
    if hasattr(certificate, "trace_error"):  # of a kernel, by its trace
        return _ratio(certificate.trace_error, certificate.trace)
    if hasattr(certificate, "lower") and hasattr(certificate, "upper"):  # of norms in a sample
        return float(max(certificate.lower, certificate.upper, 0.0))
    if hasattr(result, "trace_error"):  # of the kernel of a regression
        nystrom = result.nystrom
        return None if nystrom is None else _ratio(result.trace_error, nystrom.certificate.trace)
    if hasattr(result, "forward_error"):  # of the solution of least squares
        x = np.atleast_2d(np.nan_to_num(np.asarray(result.x)).T)
        norms = np.linalg.norm(x, axis=1)
        errors = [_ratio(e, n) for e, n in zip(result.forward_error, norms, strict=True)]
        return max(errors)
    if hasattr(result, "block_errors"):  # of the matrices of a collection
        return float(max(result.block_errors.values(), default=0.0))
    if hasattr(result, "rates"):
        return float(max((rate.block_error for rate in result.rates), default=0.0))
    return None


def _ratio(part: Any, whole: Any) -> float:
    """A part of a whole; of nothing none."""
    if whole:
        return float(part) / float(whole)
    return 0.0 if part == 0 else math.inf


def _captured_share(finding: Finding) -> float | None:
    """Share of the energy that is held, at least."""
    certificate = _certificate(finding)
    return _number(getattr(certificate, "captured", getattr(certificate, "captured_lower", None)))


def _angle(finding: Finding) -> float | None:
    """Bound in degrees of the angle from the true leading directions; 90 where nothing is proved."""
    certificate = _certificate(finding)
    sine = getattr(certificate, "subspace_angle_bound", getattr(certificate, "sine", None))
    return None if sine is None else math.degrees(math.asin(min(max(float(sine), 0.0), 1.0)))


def directions(result: Any) -> Any:
    """Leading directions of a result, one a row; None where it has none."""
    return getattr(result, "Vh", getattr(result, "components", None))


def _drift(finding: Finding, leading: int | None) -> float | None:
    """Largest angle in degrees between what is published now and this; 0 where nothing is."""
    if finding.previous is None:
        return 0.0
    mine, its = directions(finding.result), directions(finding.previous)
    if mine is None or its is None or mine.shape[1] != its.shape[1]:
        return None
    k = min(len(mine), len(its))
    if leading is not None and k < leading:
        return None
    bases = [np.nan_to_num(np.asarray(V)[: leading or k]).conj().T for V in (its, mine)]
    angles: Real = linalg.subspace_angles(*bases)
    return float(np.degrees(angles.max(initial=0.0)))


def _values(result: Any) -> Any:
    """Singular values of a result; None where it has none."""
    if hasattr(result, "s"):
        return np.asarray(result.s, dtype=float)
    squares = getattr(result, "values", None)
    return None if squares is None else np.sqrt(np.maximum(np.asarray(squares, dtype=float), 0))


def _change(finding: Finding, leading: int | None) -> float | None:
    """Largest relative change of a singular value from what is published now; 0 where nothing is."""
    if finding.previous is None:
        return 0.0
    mine, its = _values(finding.result), _values(finding.previous)
    if mine is None or its is None:
        return None
    k = min(len(mine), len(its))
    if leading is not None and k < leading:
        return None
    pairs = zip(mine[: leading or k], its[: leading or k], strict=True)
    return max((_ratio(abs(new - old), old) for new, old in pairs), default=0.0)


def _residual(finding: Finding) -> float | None:
    """What is left of the targets, relative to them; of equations that were iterated, of those."""
    result = finding.result
    if hasattr(result, "residual_norm"):
        if finding.targets is None:
            return None
        b = np.asarray(finding.targets)
        norms = np.atleast_1d(np.linalg.norm(b, axis=0))
        return max(_ratio(r, n) for r, n in zip(result.residual_norm, norms, strict=True))
    steps = getattr(result, "residuals", ())
    return float(steps[-1]) if steps else None


def _rmse(finding: Finding) -> float | None:
    """Root mean squared error on the rows that were held out, of the worst target."""
    errors = getattr(finding.result, "held_out_rmse", None)
    return None if errors is None else float(np.max(errors))


def _compression_ratio(finding: Finding) -> float | None:
    """Bytes before over bytes after; of several errors the largest."""
    rates = getattr(finding.result, "rates", None)
    if rates is not None:
        return max((float(rate.compression_ratio) for rate in rates), default=1.0)
    return _number(getattr(finding.result, "compression_ratio", None))


def _missing(finding: Finding) -> float | None:
    """Share of the entries that were missing."""
    info, columns = (getattr(finding.result, name, None) for name in ("info", "Vh"))
    if info is None or columns is None or not info.n_rows:
        return None
    return float(info.missing / (info.n_rows * columns.shape[1]))


def _rows(finding: Finding) -> float | None:
    """Rows that were read; of a stored collection, those of its matrices."""
    info = getattr(finding.result, "info", None)
    return _number(getattr(finding.result, "rows", None) if info is None else info.n_rows)


def _age(finding: Finding) -> float | None:
    """Hours since what it read was last written."""
    return None if finding.modified is None else (time.time() - finding.modified) / 3600


def _of_info(name: str) -> Callable[[Finding], float | None]:
    return lambda finding: _number(getattr(getattr(finding.result, "info", None), name, None))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


_OF_DIRECTIONS: Mapping[str, Callable[[Finding, int | None], float | None]] = {
    "width": _width,
    "drift": _drift,
    "change": _change,
}
_QUANTITIES: Mapping[str, Callable[[Finding], float | None]] = {
    "error": _error,
    "captured": _captured_share,
    "angle": _angle,
    "residual": _residual,
    "rmse": _rmse,
    "ratio": _compression_ratio,
    "rows": _rows,
    "missing": _missing,
    "passes": _of_info("passes"),
    "bytes": _of_info("bytes_read"),
    "seconds": lambda finding: finding.seconds,
    "age": _age,
}
