"""The trend of the variance of a gene with its mean, and variances of counts about it: flavour ``seurat_v3``.

``log10 variance = f(log10 mean)``, ``f`` by local regression of degree 2 (Cleveland, Devlin 1988); a count is clipped at
``mean + sd sqrt(m)``, ``sd`` the one that the trend expects, and its variance is divided by ``sd^2`` (Stuart et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.errors import SpecError
from streamsvd.single_cell.mathematics.counts import GeneMoments, GeneSums, Sums

LEAST_GENES = 8
"""Genes that vary, fewer than which have no trend."""


LEAST_POINTS = 6
"""Genes that a local fit takes in: a parabola has three numbers, and the library fails where there are hardly more points."""


@dataclass(frozen=True, slots=True, eq=False)
class VarianceTrend:
    """What the trend expects.

    Attributes
    ----------
    deviation
        Standard deviation of each gene, ``(n,)``; 1 of genes that do not vary.
    most
        Above it a count is clipped, ``(n,)``.
    """

    deviation: Sums
    most: Sums


def trend_of(moments: GeneMoments, span: float, loess: Any) -> VarianceTrend:
    """The trend over the genes that vary.

    Parameters
    ----------
    moments
        Of all genes.
    span
        Share of the genes that a local fit takes in.
    loess
        ``skmisc.loess.loess``.

    Raises
    ------
    SpecError
        If too few genes vary, or there is no fit.
    """
    varies = moments.variance > 0
    count = int(varies.sum())
    if count < LEAST_GENES:
        raise SpecError(
            f"{count} genes vary, of which there is no trend of variances. Pass counts of at least {LEAST_GENES} genes that vary, "
            'or flavor="seurat".'
        )
    if span * count < LEAST_POINTS:
        raise SpecError(
            f"a local fit of span={span} takes in {span * count:.3g} of the {count:,} genes that vary, and needs {LEAST_POINTS}. Pass span= of "
            f'at least {LEAST_POINTS / count:.3g}, or flavor="seurat".'
        )
    x, y = np.log10(moments.mean[varies]), np.log10(moments.variance[varies])
    fitted = np.zeros(varies.size)
    try:
        model = loess(x, y, span=span, degree=2)
        model.fit()
        fitted[varies] = model.outputs.fitted_values
    except ValueError as error:
        said = error.args[0] if error.args else ""
        words = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise SpecError(
            f"the trend of the variances of {count:,} genes has no fit with span={span} ({words.strip()}). Pass a larger "
            'span=, such as 0.5, or flavor="seurat".'
        ) from error
    deviation = np.sqrt(10.0**fitted)
    return VarianceTrend(deviation, deviation * np.sqrt(moments.n_cells) + moments.mean)


def normalised_variances(moments: GeneMoments, trend: VarianceTrend, clipped: GeneSums) -> Sums:
    """Variances of clipped counts about the mean, in units of what the trend expects, ``(n,)``."""
    m, mean = moments.n_cells, moments.mean
    about = m * mean**2 + clipped.second - 2 * clipped.first * mean
    return np.asarray(about / (max(m - 1, 1) * trend.deviation**2))
