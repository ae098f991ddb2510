"""What is asked of a factorisation, checked against the matrix before anything is read."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsvd.errors import ShapeError, SpecError
from streamsvd.factor.candidates import Request
from streamsvd.numerics.certificate import TOL
from streamsvd.protocols import Source

SEARCH_RANK = 1000
"""Most triplets where the rank is to be found from an energy."""


def check_request(
    source: Source,
    *,
    rank: int | None,
    energy: float | None,
    tol: float | None,
    center: bool,
    scale: bool,
    masked: bool,
    blanked: bool,
    u: bool,
    out: Any,
    max_passes: int,
    certify: str,
    precision: str,
    target: str,
    excess_tol: float,
) -> Request:
    """The request of a caller, with its defaults.

    Raises
    ------
    ShapeError
        If the rank does not fit the matrix.
    SpecError
        If an option cannot be meant, or two exclude each other.
    """
    check_amount(source, rank, energy, tol)
    if max_passes < 1:
        raise SpecError(f"max_passes={max_passes} leaves nothing to do. Pass at least 1.")
    if certify not in ("bounds", "estimate"):
        raise SpecError(f'certify={certify!r} is unknown. Pass "bounds" or "estimate".')
    if precision not in ("auto", "single", "double"):
        raise SpecError(f'precision={precision!r} is unknown. Pass "auto", "single" or "double".')
    if target not in ("auto", "values", "error"):
        raise SpecError(f'target={target!r} is unknown. Pass "auto", "values" or "error".')
    if isinstance(excess_tol, bool) or not isinstance(excess_tol, int | float | np.number):
        raise SpecError(f"excess_tol={excess_tol!r} is not a number. Pass one, such as 1e-2.")
    if not 0 <= excess_tol < np.inf:
        raise SpecError(
            f"excess_tol={excess_tol} is no excess of an error. Pass one from 0, such as 1e-2; 0 asks for values alone."
        )
    if target == "error" and excess_tol == 0:
        raise SpecError(
            'target="error" with excess_tol=0 can never be proved. Pass a positive excess_tol, such as 1e-2.'
        )
    share = energy
    if rank is None and energy is None and tol is not None:
        # ||A - A_r||_F <= tol ||A||_F; below 1, the share that allows for rounding
        share = min(1 - tol * tol, float(np.nextafter(1.0, 0.0)))
    return Request(
        rank=int(rank) if rank is not None else min(*source.shape, SEARCH_RANK),
        energy=share,
        tol=TOL if tol is None else float(tol),
        center=center,
        scale=scale,
        fills_or_weights=masked,
        has_zero_weights=blanked,
        u=u,
        u_in_memory=out is None,
        bounds=certify == "bounds",
        max_passes=max_passes,
        precision=precision,
        target=target,
        excess_tol=float(excess_tol),
    )


def check_amount(source: Source, rank: int | None, energy: float | None, tol: float | None) -> None:
    """Refuse what cannot be wanted of a matrix.

    Raises
    ------
    ShapeError
        If the rank does not fit the matrix.
    SpecError
        If nothing is wanted, or what is wanted is none of its kind.
    """
    for name, value in (("energy", energy), ("tol", tol)):
        if value is not None and not isinstance(value, int | float | np.number):
            raise SpecError(f"{name}={value!r} is not a number. Pass one, such as 1e-3.")
    smallest = min(source.shape)
    if rank is None and energy is None and tol is None:
        raise SpecError("nothing says how much is wanted. Pass rank=, energy= or tol=.")
    if rank is not None and energy is not None:
        raise SpecError(f"rank={rank} and energy={energy} exclude each other. Pass one of them.")
    if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int | np.integer)):
        raise SpecError(f"rank={rank!r} is not an integer. Pass the number of triplets wanted.")
    if rank is not None and not 1 <= rank <= smallest:
        what = "below 1" if rank < 1 else f"more than the {smallest} singular values of A"
        raise ShapeError(
            f"rank={rank} is {what}, of shape {source.shape[0]:,} x {source.shape[1]:,}. "
            f"Pass 1 <= rank <= {smallest}."
        )
    if energy is not None and not 0 < energy <= 1:
        raise SpecError(
            f"energy={energy} is no share of the energy. Pass one in (0, 1], such as 0.99."
        )
    if tol is not None and not 1e-12 <= tol < 1:
        raise SpecError(
            f"tol={tol} is out of range. Pass a relative width in [1e-12, 1), such as 1e-3."
        )
