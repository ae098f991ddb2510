"""What is asked of a clustering, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from streamsvd.checks.numbers import check_seed
from streamsvd.collections.encoding import margin
from streamsvd.collections.mathematics import ClusterOptions, Method, Mode
from streamsvd.collections.mathematics.options import Order
from streamsvd.collections.weights import NO_WEIGHTS, Weights
from streamsvd.errors import SpecError
from streamsvd.store.collections import Collection

Principal = float | Literal["auto"] | None


@dataclass(frozen=True, slots=True)
class ClusteringRequest:
    """What is asked of a clustering.

    Attributes
    ----------
    options
        For the error less what is left to rounding.
    error, spare
        What was asked, and that part.
    seed
        Of projections.
    weights
        Where errors matter.
    principal, target
        Error of what blocks share, where residuals make up for the rest, and the error that they are to meet; None
        where there are none.
    """

    options: ClusterOptions
    error: float
    spare: float
    seed: int
    weights: Weights
    principal: Principal = None
    target: float | None = None

    @classmethod
    def of(
        cls,
        source: Collection,
        *,
        error: float,
        rank: int | None,
        mode: Mode,
        method: Method,
        order: Order = "norm",
        patience: int | None = None,
        seed: int,
        weights: Weights = NO_WEIGHTS,
        principal: Principal = None,
    ) -> ClusteringRequest:
        """Checked.

        Raises
        ------
        SpecError
            If an option is out of range.
        """
        options = ClusterOptions(
            error=error, rank=rank, mode=mode, method=method, order=order, patience=patience
        )
        if method == "certified" and (order != "norm" or patience is not None):
            raise SpecError(
                f'order={order!r} and patience={patience} are of the published methods. Leave them out, or pass method="residual".'
            )
        if rank is not None:
            options = replace(options, rank=int(rank))
        check_seed(seed)
        target = None
        if principal is not None:
            target = float(error)
            error = check_principal(principal, target)
            options = replace(options, error=error)
        spare = margin(list({m.dtype for m in source.members}), float(error))
        options = replace(options, error=float(error) - spare)
        return cls(options, float(error), spare, int(seed), weights, principal, target)


def check_principal(principal: float | Literal["auto"], target: float) -> float:
    """The error for which blocks are sketched.

    Raises
    ------
    SpecError
        If the principal part would meet the error by itself, or is no number.
    """
    if target <= 0:
        raise SpecError(
            "error=0 leaves no room for residuals in whole numbers. Pass an error, or leave principal out."
        )
    if principal == "auto":
        return target
    number = isinstance(principal, int | float | np.number) and not isinstance(principal, bool)
    if not number or not target < float(principal) <= 1:
        raise SpecError(
            f"principal={principal!r} is no error of a principal part beside error={target:g}. Pass a larger error, at most 1 for no "
            'shared bases, or "auto".'
        )
    return float(principal) if principal < 1 else target
