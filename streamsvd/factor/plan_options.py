"""What a plan was asked for, and that a run of it asks for nothing else.

A plan is for its options. Those that are left out where it is run are the plan's; one that differs is refused, by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np

from streamsvd.checks.masks import require_unmasked
from streamsvd.engine.columns import AUTO, LOOK_NOTE
from streamsvd.engine.memory import parse_bytes
from streamsvd.engine.opening import as_source
from streamsvd.engine.weights import column_weight_array, row_weight_array
from streamsvd.errors import SpecError
from streamsvd.factor.options import PLAN_OPTIONS, SVDOptions
from streamsvd.numerics.scalings import plain_scale
from streamsvd.store.sources.neighbours import in_column_order

P = ParamSpec("P")
R = TypeVar("R")


MATRIX_OPTIONS = ("row_weights", "column_weights", "mask")
"""Options of which None says something: the matrix as it is."""


class PlanLike(Protocol):
    """What is to be known of a plan here."""

    @property
    def options(self) -> SVDOptions: ...
    @property
    def route(self) -> str: ...
    @property
    def fallback(self) -> object: ...


def missing_value_notes(options: SVDOptions, axis: str, route: str, dtype: str) -> tuple[str, ...]:
    """What missing values may add to the passes of a plan, which does not know whether there are any; a sentence each."""
    if np.dtype(dtype).kind not in "fc":
        return ()
    policy = options.nonfinite
    looks = (LOOK_NOTE,) if policy != "raise" or _is_auto(options.mask) else ()
    if axis == "rows" and policy == "mean":
        return (
            *looks,
            "Where a value is missing, one pass more: for the means that take their place.",
        )
    if axis == "rows" and policy == "drop_columns" and route == "krylov":
        return (
            *looks,
            "Where a value is missing that the sample does not show, one pass more: without its column.",
        )
    return looks


def _is_auto(mask: Any) -> bool:
    return isinstance(mask, str) and mask == AUTO


def run_options(plan: PlanLike, given: dict[str, Any]) -> dict[str, Any]:
    """All options of a run of the plan, of which some were given; places may be others, but for a checkpoint where none was planned.

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
    options = {name: getattr(plan.options, name) for name in PLAN_OPTIONS}
    differs = []
    for name, value in given.items():
        if name not in options or (value is None and name not in MATRIX_OPTIONS):
            continue
        planned = options[name]
        if name == "out" or (name == "checkpoint" and planned is not None):
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


def runs_plan(**always: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A verb with an argument ``plan``: where one is given, its options are those of the verb.

    What was given is told from what was left out by the call, as a default can be given too; what the verb asks for
    ``always`` counts as given.
    """

    def decorate(verb: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(verb)

        @wraps(verb)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if kwargs.get("plan") is None:
                return verb(*args, **kwargs)
            given = signature.bind(*args, **kwargs)
            asked = given.arguments | always
            if asked.get("column_weights") is not None:  # the plan has them as numbers
                asked["A"] = given.arguments["A"] = as_source(asked["A"])
                asked["column_weights"] = column_weight_array(asked["A"], asked["column_weights"])
            if asked.get("row_weights") is not None:
                asked["A"] = given.arguments["A"] = as_source(asked["A"])
                asked["row_weights"] = row_weight_array(asked["A"], asked["row_weights"])
            if asked.get("mask") is not None:
                asked["A"] = given.arguments["A"] = as_source(asked["A"])
                in_column_order(asked["A"], asked["mask"], "mask")  # its labels are looked at
            given.arguments.update(run_options(given.arguments["plan"], asked))
            return verb(*given.args, **given.kwargs)

        return run

    return decorate


def _same_value(name: str, value: Any, planned: Any) -> bool:
    if planned is None or value is None:
        return planned is value
    if name.endswith("_weights"):
        return bool(np.array_equal(require_unmasked(value, name), require_unmasked(planned, name)))
    if name == "scale":
        return bool(plain_scale(value) == planned)
    if name == "memory":
        return parse_bytes(value) == parse_bytes(planned)
    return bool(np.array_equal(value, planned))


def _one_line(value: Any) -> str:
    """The value in one line; of many numbers, the first."""
    text = " ".join(repr(value).split())
    return text if isinstance(value, str) or len(text) <= 60 else f"{text[:56]} ..."
