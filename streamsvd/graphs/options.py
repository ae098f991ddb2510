"""What the verbs of graphs may be asked: one record a verb, checked when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from streamsvd.checks.numbers import check_integer, check_numbers, check_seed, is_number
from streamsvd.errors import SpecError
from streamsvd.options import make_plain, option

Step = Literal["transition", "adjacency"]
Precision = Literal["single", "double"]
WEIGHTS = (0.0, 0.0, 1.0, 1.0)
MOST_POWERS = 64
MAX_PASSES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """What `embed` may be asked."""

    dim: int = option(128, "Numbers of each node.")
    step_weights: tuple[float, ...] = option(
        WEIGHTS, "Of one step along the edges, of two, and so on."
    )
    beta: float = option(
        -0.5, "Power of degrees, not above 0, by which nodes of many edges count less."
    )
    step: Step = option("transition", "A step divided by the degree of its node, or as it is.")
    normalize: bool = option(False, "Divide rows by their norms before steps are added up.")
    sparsity: float | None = option(
        None, "One of so many random entries is not 0 [root of the number of nodes]."
    )
    precision: Precision = option("single", "Of the embedding, and of its sums.")
    seed: int = option(0, "Of the random numbers.")

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "dim", check_integer("dim", self.dim, least=1))
        object.__setattr__(self, "seed", check_seed(self.seed))
        object.__setattr__(self, "step_weights", _check_weights(self.step_weights))
        check_numbers(beta=self.beta, sparsity=self.sparsity)
        if not -1 <= self.beta <= 0:
            raise SpecError(f"beta={self.beta} is out of range. Pass a number from -1 to 0.")
        if self.sparsity is not None and not 1 <= self.sparsity < float("inf"):
            raise SpecError(
                f"sparsity={self.sparsity} is out of range: one of so many entries is not 0. Pass a number of 1 or more."
            )
        for name, known in (("step", Step), ("precision", Precision)):
            value = getattr(self, name)
            if value not in get_args(known):
                raise SpecError(
                    f"{name}={value!r} is unknown. Pass one of {', '.join(get_args(known))}."
                )

    @property
    def dtype(self) -> str:
        """Type of the embedding."""
        return "float32" if self.precision == "single" else "float64"

    @property
    def itemsize(self) -> int:
        """Bytes of one of its numbers."""
        return 4 if self.precision == "single" else 8

    @property
    def powers(self) -> int:
        """Steps that are taken: up to the last whose weight is not 0."""
        return max(i for i, weight in enumerate(self.step_weights, start=1) if weight)


def _check_weights(weights: Any) -> tuple[float, ...]:
    """Weights of steps as plain numbers.

    Raises
    ------
    SpecError
        If there are none, all are 0, or one is no finite number.
    """
    if isinstance(weights, str) or not isinstance(weights, Iterable):
        raise SpecError(
            f"step_weights={weights!r} are no weights of steps. Pass several, as (0, 0, 1, 1)."
        )
    found = tuple(weights)
    bad = [w for w in found if not is_number(w) or not abs(float(w)) < float("inf")]
    if bad:
        raise SpecError(f"step_weights= has {bad[0]!r}, which is no weight. Pass finite numbers.")
    if not any(found) or len(found) > MOST_POWERS:
        raise SpecError(
            f"step_weights={found} say of no step that it counts, or of more than {MOST_POWERS}. Pass some, as (0, 0, 1, 1)."
        )
    return tuple(float(w) for w in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphEigenvectorsOptions:
    """What `graph_eigenvectors` may be asked."""

    rank: int = option(help="Eigenvectors wanted.")
    tol: float = option(1e-3, "Width asked of the interval of every eigenvalue.")
    max_passes: int = option(MAX_PASSES, "Most passes of the loop, beside the read for degrees.")
    seed: int = option(0, "Of the random blocks.")

    def __post_init__(self) -> None:
        make_plain(self)
        for name in ("rank", "max_passes"):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), least=1))
        object.__setattr__(self, "seed", check_seed(self.seed))
        check_numbers(tol=self.tol)
        if not 2e-12 <= self.tol < 1:
            raise SpecError(
                f"tol={self.tol} is out of range. Pass a width in [2e-12, 1), such as 1e-3."
            )
