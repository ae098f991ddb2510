"""A sketch for a larger error from one for a smaller: what a read for the larger would have left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamsvd.collections.mathematics.sketches import SHARE, BlockSketch, count_kept


def coarser(found: BlockSketch, *, error: float, share: float = SHARE) -> BlockSketch:
    """The same directions, fewer of them.

    Parameters
    ----------
    found
        By `sketch`, for an error no larger.
    error, share
        As of `sketch`.

    Notes
    -----
    All that is dropped are directions of one decomposition, so the norm of it is that of the first.
    """
    allowed = min(share * error, 1.0)
    keep = count_kept(found.squares, allowed * allowed * found.energy, spent=found.tail)
    if keep == found.squares.size:
        return found
    dropped = found.squares[keep:]
    ledger = replace(
        found.ledger,
        discarded=found.tail + float(np.sum(dropped[::-1])),
        discarded_norm=max(found.tail_norm, float(dropped[0])),
    )
    return replace(
        found,
        L=found.L[:, :keep],
        squares=found.squares[:keep],
        Vh=found.Vh[:keep],
        ledger=ledger,
    )
