"""What a plan was asked for, and that a run of it asks for nothing else.

A plan is for its options. Those that are left out where it is run are the plan's; one that differs is refused, by name.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import numpy as np

from streamsvd.checks.masks import require_unmasked
from streamsvd.engine.memory import parse_bytes
from streamsvd.errors import SpecError
from streamsvd.typing import Real

if TYPE_CHECKING:
    from collections.abc import Sequence

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PlanOptions:
    """The options of `plan_svd` that `svd` has too, as they hold: each has a field, under its name.

    Attributes
    ----------
    memory
        Bytes, also where they were left out.
    tol
        What holds, also where it was left out.
    """

    rank: int | None
    energy: float | None
    tol: float | None
    memory: int | None
    center: bool
    scale: bool
    row_weights: Sequence[float] | Real | None
    column_weights: Sequence[float] | Real | None
    nonfinite: str
    mask: Any
    u: bool
    out: str | os.PathLike[str] | None
    max_passes: int
    certify: str
    target: str
    excess_tol: float
    device: str
    precision: str
    route: str | None


MATRIX_OPTIONS = ("row_weights", "column_weights", "mask")
"""Options of which None says something: the matrix as it is."""
OPTION_NAMES = tuple(field.name for field in fields(PlanOptions))


class PlanLike(Protocol):
    """What is to be known of a plan here."""

    @property
    def options(self) -> PlanOptions | None: ...
    @property
    def route(self) -> str: ...
    @property
    def fallback(self) -> object: ...


def run_options(plan: PlanLike, given: dict[str, Any]) -> dict[str, Any]:
    """All options of a run of the plan, of which some were given; ``out`` may be another place.

    None is left out, but for weights and the mask.

    Raises
    ------
    SpecError
        If some differ from the plan's; it names each with both values.
    """
    if getattr(plan, "options", None) is None:
        raise SpecError(
            f"plan={_one_line(plan)} is no plan. Pass what streamsvd.plan_svd returned."
        )
    options = {name: getattr(plan.options, name) for name in OPTION_NAMES}
    differs = []
    for name, value in given.items():
        if name not in options or (value is None and name not in MATRIX_OPTIONS):
            continue
        planned = options[name]
        if name == "out":  # another place does not change the way to it
            options[name] = value
            continue
        if name == "route" and planned is None and plan.fallback is None:
            planned = plan.route  # it was free to be another, and is none
        if not _same_value(name, value, planned):
            differs.append(
                f"{name}={_one_line(value)} was asked, the plan was made for {name}={_one_line(planned)}"
            )
    if differs:
        raise SpecError(
            f"{'; '.join(differs)}. Make a plan for this request, or leave "
            f"{'the argument' if len(differs) == 1 else 'the arguments'} out."
        )
    return options


def runs_plan(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb with an argument ``plan``: where one is given, its options are those of the verb.

    What was given is told from what was left out by the call, as a default can be given too.
    """
    signature = inspect.signature(verb)

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.get("plan") is None:
            return verb(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        given.arguments.update(run_options(given.arguments["plan"], given.arguments))
        return verb(*given.args, **given.kwargs)

    return run


def _same_value(name: str, value: Any, planned: Any) -> bool:
    if planned is None or value is None:
        return planned is value
    if name.endswith("_weights"):
        return bool(np.array_equal(require_unmasked(value, name), require_unmasked(planned, name)))
    if name == "memory":
        return parse_bytes(value) == parse_bytes(planned)
    return bool(np.array_equal(value, planned))


def _one_line(value: Any) -> str:
    """The value in one line; of many numbers, the first."""
    text = " ".join(repr(value).split())
    return text if isinstance(value, str) or len(text) <= 60 else f"{text[:56]} ..."
