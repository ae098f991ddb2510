"""Dispersions of genes against those of genes of about the same mean: flavour ``seurat``.

The mean and variance are those of normalised counts; the logarithm of their ratio is standardised within 20 bins of the mean (Satija
et al. 2015), each of the same width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamsvd.single_cell.mathematics.counts import GeneMoments, Sums

BINS = 20
LEAST_MEAN = 1e-12
"""In place of a mean of 0."""


@dataclass(frozen=True, slots=True, eq=False)
class GeneDispersions:
    """Of each gene, ``(n,)``.

    Attributes
    ----------
    mean
        ``log(1 + mean)``.
    dispersion
        Logarithm of variance over mean; NaN of genes that do not vary.
    normalised
        The same in standard deviations from the mean of its bin; NaN where that is not known.
    """

    mean: Sums
    dispersion: Sums
    normalised: Sums


def dispersions_of(moments: GeneMoments, bins: int = BINS) -> GeneDispersions:
    """Dispersions of all genes; one that is alone in its bin has 1."""
    mean = np.where(moments.mean == 0, LEAST_MEAN, moments.mean)
    ratio = moments.variance / mean
    dispersion = np.full(ratio.size, np.nan)
    np.log(ratio, out=dispersion, where=ratio > 0)
    size = np.log1p(mean)
    bin_ = _bin_numbers(size, bins)
    normalised = np.full(ratio.size, np.nan)
    for number in np.unique(bin_):
        mine = bin_ == number
        known = dispersion[mine & ~np.isnan(dispersion)]
        if not known.size:
            continue
        if known.size == 1:  # as if its bin had no mean, and it were its deviation
            centre, spread = 0.0, float(known[0])
        else:
            centre, spread = float(known.mean()), float(known.std(ddof=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            normalised[mine] = (dispersion[mine] - centre) / spread
    return GeneDispersions(size, dispersion, normalised)


def _bin_numbers(values: Sums, bins: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The bin of each value; of the same width from the least to the largest, each with its upper end."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(values.size, np.intp)
    edges = np.linspace(low, high, bins + 1)
    return np.clip(np.searchsorted(edges, values, side="left"), 1, bins)
