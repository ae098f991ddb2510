"""What is said of a dictionary: how good it is, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamsvd.engine.runs import Info


@dataclass(frozen=True, slots=True)
class NystromCertificate:
    """What is known of ``K - K_C``, the error of the Nyström approximation by the centres.

    Attributes
    ----------
    trace_error
        ``trace(K - K_C)``, summed over all rows in a second pass, and so an upper bound of its spectral norm, as
        ``K - K_C`` is positive semidefinite whatever the centres; infinite where no second pass was made.
    spectral_estimate
        Likely spectral norm, from the dictionary alone; nothing is proved of it.
    trace
        ``trace(K)``.
    """

    trace_error: float
    spectral_estimate: float
    trace: float


@dataclass(frozen=True, slots=True)
class NystromInfo(Info):
    """How a result came about.

    Attributes
    ----------
    n_rows, passes, bytes_read, elapsed_s, peak_bytes, projected_bytes, seed, warnings
        As of every verb of rows.
    n_centres
        Asked for; there are fewer where rows, or directions, are.
    kernel
        Name and parameters, those that were chosen included.
    chosen
        Which of ``length`` and ``gamma`` were not given, but chosen on the data.
    oversampling
        Rows kept for each unit of effective dimension that the budget left.
    """

    n_centres: int
    kernel: dict[str, Any]
    chosen: tuple[str, ...]
    oversampling: float
