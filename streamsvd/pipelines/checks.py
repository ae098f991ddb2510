"""Quantities of a result that a check may ask for, and whether what was asked is so."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from streamsvd.pipelines.description import CheckDescription
from streamsvd.pipelines.records import CheckRecord
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
    """

    result: Any
    previous: Any
    seconds: float
    modified: float | None


def check(asked: CheckDescription, finding: Finding) -> CheckRecord:
    """Whether a result is as asked; a quantity that it has not is a check that does not pass."""
    value = _QUANTITIES[asked.quantity](finding)
    passed = value is not None and not math.isnan(value)
    words = []
    if asked.at_least is not None:
        words.append(f"at least {asked.at_least:g}")
        passed = passed and value is not None and value >= asked.at_least
    if asked.at_most is not None:
        words.append(f"at most {asked.at_most:g}")
        passed = passed and value is not None and value <= asked.at_most
    return CheckRecord(
        step=asked.step,
        quantity=asked.quantity,
        value=value,
        asked=" and ".join(words),
        passed=passed,
    )


def _width(finding: Finding) -> float | None:
    """Largest relative width of the intervals; of least squares or a sample, what is proved of the error."""
    certificate = getattr(finding.result, "certificate", None)
    return _number(getattr(certificate, "relative_width", None))


def _error(finding: Finding) -> float | None:
    """Relative error: of a factorisation, of what it keeps; of a compressed collection, as it is proved."""
    certificate = getattr(finding.result, "certificate", None)
    error, norm = (
        getattr(certificate, name, None) for name in ("frobenius_error", "frobenius_norm")
    )
    if error is not None and norm is not None:
        return float(error) / float(norm) if norm else 0.0
    return _number(getattr(finding.result, "error", None))


def _captured_share(finding: Finding) -> float | None:
    """Share of the energy that is held."""
    certificate = getattr(finding.result, "certificate", None)
    return _number(getattr(certificate, "captured", None))


def _drift(finding: Finding) -> float | None:
    """Largest angle in degrees between what is published now and this; 0 where nothing is."""
    if finding.previous is None:
        return 0.0
    mine, its = (getattr(r, "Vh", None) for r in (finding.result, finding.previous))
    if mine is None or its is None or mine.shape[1] != its.shape[1]:
        return None
    k = min(len(mine), len(its))
    bases = [np.nan_to_num(np.asarray(V)[:k]).conj().T for V in (its, mine)]
    angles: Real = linalg.subspace_angles(*bases)
    return float(np.degrees(angles.max(initial=0.0)))


def _missing(finding: Finding) -> float | None:
    """Share of the entries that were missing."""
    info, columns = (getattr(finding.result, name, None) for name in ("info", "Vh"))
    if info is None or columns is None or not info.n_rows:
        return None
    return float(info.missing / (info.n_rows * columns.shape[1]))


def _age(finding: Finding) -> float | None:
    """Hours since what it read was last written."""
    return None if finding.modified is None else (time.time() - finding.modified) / 3600


def _of_info(name: str) -> Callable[[Finding], float | None]:
    return lambda finding: _number(getattr(getattr(finding.result, "info", None), name, None))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


_QUANTITIES: Mapping[str, Callable[[Finding], float | None]] = {
    "width": _width,
    "error": _error,
    "captured": _captured_share,
    "drift": _drift,
    "rows": _of_info("n_rows"),
    "missing": _missing,
    "passes": _of_info("passes"),
    "bytes": _of_info("bytes_read"),
    "seconds": lambda finding: finding.seconds,
    "age": _age,
}
