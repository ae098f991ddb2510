"""What the verbs of kernels may be asked: one record a verb, checked when it is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from streamsvd.checks.numbers import check_integer, check_numbers, check_seed
from streamsvd.errors import SpecError
from streamsvd.options import option

KernelName = Literal["linear", "polynomial", "rbf", "laplacian", "matern", "cosine"]
Mode = Literal["poisson", "squeak", "ink", "kors", "uniform"]
Solver = Literal["auto", "direct", "onepass", "pcg"]
DEFAULT_CENTRES = 256
TOL, MAX_PASSES = 1e-3, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelOptions(ABC):
    """What both verbs may be asked: a kernel, and how rows are sampled."""

    kernel: KernelName | Callable[..., Any] = option("rbf", "Of two rows.")
    n_centres: int = option(DEFAULT_CENTRES, "Rows of the feature map.")
    length: float | None = option(None, "Length scale [median distance of random rows].")
    degree: int = option(3, "Of the polynomial.")
    offset: float = option(1.0, "Of the polynomial.")
    smoothness: float = option(1.5, "Of the Matérn kernel: 0.5, 1.5 or 2.5.")
    scale: bool = option(False, "Divide each column by its standard deviation.")
    budget: int | None = option(None, "Rows of the dictionary [4 a centre].")
    mode: Mode = option("poisson", "How rows are sampled.")
    seed: int = option(0, "Of the random numbers.")

    def __post_init__(self) -> None:
        from streamsvd.kernels.choice import sampling_of  # half a second of imports

        check_seed(self.seed)
        n_centres, budget = check_integer("n_centres", self.n_centres, least=1), self.budget
        if budget is not None:
            budget = check_integer("budget", budget, least=1)
            if budget < n_centres:
                raise SpecError(
                    f"budget={budget} is less than n_centres={n_centres}. Pass at least as many."
                )
        object.__setattr__(
            self, "n_centres", n_centres
        )  # plain: a product of small integers has no room
        object.__setattr__(self, "budget", budget)
        name, gamma = self.resolution
        if gamma is None and self.mode == "kors":
            raise SpecError(f"mode='kors' decides for ever and needs a ridge. Pass {name}=.")
        sampling_of(self)

    @property
    @abstractmethod
    def resolution(self) -> tuple[str, float | None]:
        """Name and value of the option that says how fine the approximation is to be; None where it is left open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NystromOptions(KernelOptions):
    """What `nystrom` may be asked."""

    gamma: float | None = option(None, "Ridge [the smallest the budget allows].")
    certify: bool = option(True, "A second pass sums the exact trace of the error.")

    def __post_init__(self) -> None:
        check_numbers(gamma=self.gamma)
        KernelOptions.__post_init__(self)

    @property
    def resolution(self) -> tuple[str, float | None]:
        """The ridge."""
        return "gamma", self.gamma


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRidgeOptions(KernelOptions):
    """What `kernel_ridge` may be asked."""

    ridge: float | None = option(None, "Of the regression [least error on the rows held out].")
    held_out: float = option(0.1, "Share of the rows that judge.")
    solver: Solver = option("auto", "One more pass, none, or one for each iteration.")
    tol: float = option(TOL, "Relative residual, with pcg.")
    max_passes: int = option(MAX_PASSES, "Most iterations, with pcg.")

    def __post_init__(self) -> None:
        ridge, held_out, tol = self.ridge, self.held_out, self.tol
        check_numbers(ridge=ridge, held_out=held_out, tol=tol)
        check_integer("max_passes", self.max_passes, least=1)
        if ridge is not None and not 0 < ridge < float("inf"):
            raise SpecError(f"ridge={ridge} is no ridge. Pass a positive number, or leave it out.")
        if not 0 <= held_out < 1 or (ridge is None and held_out == 0):
            raise SpecError(
                f"held_out={held_out} leaves nothing to choose a ridge by, or to train on. Pass a share in (0, 1)."
            )
        if self.solver not in get_args(Solver):
            raise SpecError(
                f"solver={self.solver!r} is unknown. Pass one of {', '.join(get_args(Solver))}."
            )
        if not 0 < tol < 1:
            raise SpecError(f"tol={tol} is out of range. Pass a relative residual in (0, 1).")
        KernelOptions.__post_init__(self)

    @property
    def resolution(self) -> tuple[str, float | None]:
        """The ridge of the regression."""
        return "ridge", self.ridge

    @property
    def dictionary(self) -> NystromOptions:
        """What is asked of the dictionary."""
        shared = {f.name: getattr(self, f.name) for f in fields(KernelOptions)}
        return NystromOptions(**shared, gamma=self.ridge, certify=False)
