"""What the verbs of collections may be asked: one record a verb, checked when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from streamsvd.checks.numbers import check_numbers, check_seed, is_number
from streamsvd.collections.criteria import ClusterCriteria, Method, Mode, Order, check_error
from streamsvd.errors import SpecError
from streamsvd.options import option

Principal = float | Literal["auto"] | None
Backend = Literal["auto", "primal", "gram", "propose"]
ERRORS = (0.02, 0.05, 0.1, 0.2, 0.5)
MOST_DAMPING = 1e6
"""Of more nothing is left of the inputs."""
RANK, MODE = "Of every basis; none for what takes the least storage.", "Whose error it is: of each cluster, of all together, of every block."  # fmt: skip
METHOD, DAMPING = "Ours, or one of the published, which need a rank.", "Part of the mean square of inputs that every direction has at least."  # fmt: skip
BACKEND, SEED = "What is in memory: sketches, a Gram matrix, or projections.", "Of the projections."


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """What `cluster` may be asked."""

    error: float = option(0.05, "Relative Frobenius error allowed, in [0, 1).")
    rank: int | None = option(None, RANK)
    mode: Mode = option("cluster", MODE)
    method: Method = option("certified", METHOD)
    order: Order = option("norm", "In which the published methods try matrices.")
    patience: int | None = option(
        None, "Clusters that gain nothing, in a row, before the published methods end."
    )
    backend: Backend = option("auto", BACKEND)
    damping: float = option(0.0, DAMPING)
    seed: int = option(0, SEED)

    def __post_init__(self) -> None:
        check_backend_name(self.backend)
        criteria = self.criteria
        if self.method == "certified" and (self.order != "norm" or self.patience is not None):
            raise SpecError(
                f"order={self.order!r} and patience={self.patience} are of the published methods. Leave them out, or pass "
                'method="residual".'
            )
        check_seed(self.seed)
        check_damping(self.damping)
        _make_plain(self, criteria)

    @property
    def criteria(self) -> ClusterCriteria:
        """For the whole error."""
        return ClusterCriteria(
            error=self.error, rank=self.rank, mode=self.mode, method=self.method, order=self.order, patience=self.patience
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionOptions:
    """What `compress` may be asked."""

    error: float = option(0.05, "Relative Frobenius error allowed, in [0, 1).")
    rank: int | None = option(None, RANK)
    mode: Mode = option("cluster", MODE)
    method: Method = option("certified", METHOD)
    backend: Backend = option("auto", BACKEND)
    principal: Principal = option(
        None, "Share bases within this larger error, and store what they leave in whole numbers."
    )
    damping: float = option(0.0, DAMPING)
    seed: int = option(0, SEED)

    def __post_init__(self) -> None:
        check_backend_name(self.backend)
        criteria = self.criteria
        check_seed(self.seed)
        check_damping(self.damping)
        if self.principal is not None:
            check_principal(self.principal, float(self.error))
            if self.backend not in ("auto", "primal"):
                raise SpecError(
                    f"backend={self.backend!r} was passed, but residuals need sketches in memory. Leave it out, or leave principal out."
                )
            if self.principal != "auto":
                object.__setattr__(self, "principal", float(self.principal))
        _make_plain(self, criteria)

    @property
    def criteria(self) -> ClusterCriteria:
        """For the whole error."""
        return ClusterCriteria(error=self.error, rank=self.rank, mode=self.mode, method=self.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateOptions:
    """What `rate_curve` may be asked."""

    errors: tuple[float, ...] = option(ERRORS, "Relative Frobenius errors tried, in [0, 1).")
    mode: Mode = option("cluster", MODE)
    rank: int | None = option(None, RANK)
    method: Method = option("certified", METHOD)
    damping: float = option(0.0, DAMPING)

    def __post_init__(self) -> None:
        object.__setattr__(self, "errors", tuple(ascending(self.errors)))
        check_damping(self.damping)
        object.__setattr__(self, "damping", float(self.damping))
        object.__setattr__(self, "rank", self.at(self.errors[0]).rank)

    def at(self, error: float) -> ClusterOptions:
        """The same of one error."""
        return ClusterOptions(
            error=error, rank=self.rank, mode=self.mode, method=self.method, backend="primal", damping=self.damping
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondMomentOptions:
    """What `second_moment_factor` may be asked."""

    damping: float = option(0.0, DAMPING)

    def __post_init__(self) -> None:
        check_damping(self.damping)
        object.__setattr__(self, "damping", float(self.damping))


def _make_plain(options: ClusterOptions | CompressionOptions, criteria: ClusterCriteria) -> None:
    """Numbers of numpy as those of Python, which a store can keep."""
    object.__setattr__(options, "error", float(criteria.error))
    object.__setattr__(options, "damping", float(options.damping))
    object.__setattr__(options, "seed", int(options.seed))
    if criteria.rank is not None:
        object.__setattr__(options, "rank", int(criteria.rank))


def ascending(errors: Iterable[float]) -> list[float]:
    """Errors once each, the smallest first.

    Raises
    ------
    SpecError
        If there are none, or one is no relative error.
    """
    if not isinstance(errors, Iterable):
        raise SpecError(f"errors={errors!r} are no errors. Pass several, such as (0.05, 0.1).")
    found = list(errors)
    if not found:
        raise SpecError("errors=() asks for nothing. Pass several, such as (0.05, 0.1).")
    for error in found:
        check_error(error)
    return sorted({float(error) for error in found})


def check_backend_name(backend: str) -> None:
    """Refuse a backend that is none.

    Raises
    ------
    SpecError
        It names those that are.
    """
    if backend not in get_args(Backend):
        raise SpecError(
            f"backend={backend!r} is unknown. Pass one of {', '.join(get_args(Backend))}."
        )


def check_principal(principal: float | Literal["auto"], target: float) -> None:
    """Refuse a principal part that would meet the error by itself, or is no number.

    Raises
    ------
    SpecError
        It names both errors.
    """
    if target <= 0:
        raise SpecError(
            "error=0 leaves no room for residuals in whole numbers. Pass an error, or leave principal out."
        )
    if principal == "auto":
        return
    if not is_number(principal) or not target < float(principal) <= 1:
        raise SpecError(
            f"principal={principal!r} is no error of a principal part beside error={target:g}. Pass a larger error, at most 1 for no "
            'shared bases, or "auto".'
        )


def check_damping(damping: float) -> None:
    """Refuse what is no damping.

    Raises
    ------
    SpecError
        If it is negative, too large or no number.
    """
    check_numbers(damping=damping)
    if damping is None or not 0 <= damping <= MOST_DAMPING:
        raise SpecError(
            f"damping={damping} is out of range. Pass 0 to {MOST_DAMPING:g}, such as 0.01."
        )
