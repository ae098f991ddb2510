"""What is asked of a factorisation, held against the matrix before anything is read."""

from __future__ import annotations

import numpy as np

from streamsvd.errors import ShapeError
from streamsvd.factor.candidates import Request
from streamsvd.factor.options import SVDOptions
from streamsvd.numerics.certificate import TOL
from streamsvd.protocols import Source

SEARCH_RANK = 1000
"""Most triplets where the rank is to be found from an energy."""


def request_of(options: SVDOptions, source: Source, *, blanked: bool) -> Request:
    """What the options ask of a matrix, with its defaults; ``blanked`` where rows or columns have weight 0.

    Raises
    ------
    ShapeError
        If the rank does not fit the matrix.
    """
    check_rank(options.rank, source)
    o, share = options, options.energy
    if o.rank is None and o.energy is None and o.tol is not None:
        # ||A - A_r||_F <= tol ||A||_F; below 1, the share that allows for rounding
        share = min(1 - o.tol * o.tol, float(np.nextafter(1.0, 0.0)))
    return Request(
        rank=int(o.rank) if o.rank is not None else min(*source.shape, SEARCH_RANK),
        energy=share,
        tol=TOL if o.tol is None else float(o.tol),
        center=bool(o.center),
        scale=bool(o.scale),
        fills_or_weights=o.nonfinite != "raise" or o.row_weights is not None,
        has_zero_weights=blanked,
        u=o.u,
        u_in_memory=o.out is None,
        bounds=o.certify == "bounds",
        max_passes=o.max_passes,
        precision=o.precision,
        target=o.target,
        excess_tol=float(o.excess_tol),
        has_saves=o.checkpoint is not None,
    )


def check_rank(rank: int | None, source: Source) -> None:
    """Refuse a rank that the matrix cannot have.

    Raises
    ------
    ShapeError
        It names how many singular values there are.
    """
    smallest = min(source.shape)
    if rank is not None and not 1 <= rank <= smallest:
        what = "below 1" if rank < 1 else f"more than the {smallest} singular values of A"
        raise ShapeError(
            f"rank={rank} is {what}, of shape {source.shape[0]:,} x {source.shape[1]:,}. "
            f"Pass 1 <= rank <= {smallest}."
        )
