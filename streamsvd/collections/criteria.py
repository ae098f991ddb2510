"""What a clustering must meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from streamsvd.checks.numbers import check_integer, is_number
from streamsvd.errors import SpecError

Mode = Literal["cluster", "global", "block"]
Method = Literal["certified", "maxnorm", "residual", "incremental"]
Order = Literal["norm", "residual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCriteria:
    """What a clustering must meet, and how far it looks.

    Parameters
    ----------
    error
        Relative Frobenius error allowed, in [0, 1); at 0 what is rounding counts as none.
    rank
        Rank of every cluster; None chooses ranks and clusters that take the least storage.
    mode
        ``"cluster"``: the error is that of each cluster, which may hide small blocks: norms over three decades
        left one with an error of 0.94 where 0.05 was asked. ``"global"``: of all clusters
        together. ``"block"``: of every single block.
    method
        ``"certified"``, or one of the published ``"maxnorm"``, ``"residual"``, ``"incremental"``, which need a rank.
    share
        Part of the error that truncation on the way may spend.
    max_fail
        Candidates refused in a row before a cluster stops growing; of sketches with more than half as many columns as
        rows, of 128 or more, never above 8.
    order
        Of candidates, published methods only: ``"norm"`` or ``"residual"``, ascending.
    patience
        Published methods only: clusters that gain nothing, in a row, before the rest stay alone; None goes on.
    allow_trivial
        Allow an error of 1 or more, which keeping nothing meets.

    Raises
    ------
    SpecError
        If an option is out of range.
    """

    error: float
    rank: int | None = None
    mode: Mode = "cluster"
    method: Method = "certified"
    share: float = 0.1
    max_fail: int = 32
    order: Order = "norm"
    patience: int | None = None
    allow_trivial: bool = False

    def __post_init__(self) -> None:
        self._check_numbers()
        for name, allowed in (("mode", Mode), ("method", Method), ("order", Order)):
            value = getattr(self, name)
            if value not in get_args(allowed):
                known = ", ".join(get_args(allowed))
                raise SpecError(f"{name}={value!r} is unknown. Pass one of {known}.")
        if self.method != "certified" and self.rank is None:
            raise SpecError(f"method={self.method!r} needs a rank. Pass rank=.")
        if self.method != "certified" and self.mode != "cluster":
            raise SpecError(
                f"method={self.method!r} knows the error of a cluster only, mode={self.mode!r} was asked. "
                'Pass mode="cluster", or method="certified".'
            )

    def _check_numbers(self) -> None:
        """Refuse errors, ranks and shares out of range."""
        check_error(self.error, allow_trivial=self.allow_trivial)
        if self.rank is not None and check_integer("rank", self.rank) < 0:
            raise SpecError(f"rank={self.rank} is no rank. Pass 0 or more.")
        if not 0 <= self.share < 1:
            raise SpecError(f"share={self.share} is outside [0, 1). Pass a share such as 0.1.")
        if self.max_fail < 1:
            raise SpecError(f"max_fail={self.max_fail} tries nothing. Pass 1 or more.")
        if self.patience is not None and check_integer("patience", self.patience) < 1:
            raise SpecError(f"patience={self.patience} stops at once. Pass 1 or more, or None.")


def check_error(error: float, *, allow_trivial: bool = False) -> None:
    """Refuse what is no relative error.

    Raises
    ------
    SpecError
        If ``error`` is outside [0, 1), or not a number.
    """
    if not is_number(error):
        raise SpecError(f"error={error!r} is not a number. Pass one in [0, 1), such as 0.05.")
    if not 0 <= error < float("inf"):
        raise SpecError(f"error={error} is no relative error. Pass one in [0, 1), such as 0.05.")
    if error >= 1 and not allow_trivial:
        raise SpecError(f"error={error} is met by keeping nothing. Pass one below 1.")
