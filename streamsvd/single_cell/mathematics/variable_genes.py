"""The genes that vary most, by any score: the first of equal ones is the one that comes first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamsvd.single_cell.mathematics.counts import Sums


@dataclass(frozen=True, slots=True, eq=False)
class GeneRanks:
    """The choice.

    Attributes
    ----------
    chosen
        Which genes, ``(n,)``.
    rank
        Place of each that is chosen, from 0; NaN of the others, ``(n,)``.
    """

    chosen: npt.NDArray[np.bool_]
    rank: Sums


def ranks_of(scores: Sums, count: int) -> GeneRanks:
    """The ``count`` genes of the largest scores; NaN is less than any."""
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    rank = np.full(scores.size, np.nan)
    rank[order[:count]] = np.arange(min(count, scores.size))
    return GeneRanks(~np.isnan(rank), rank)
