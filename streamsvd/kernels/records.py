"""What is said of a dictionary: how good it is."""

from __future__ import annotations

from dataclasses import dataclass


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
