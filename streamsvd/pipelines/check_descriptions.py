"""Checks as the file of a pipeline describes them: what is asked of which result, and whether that can be asked."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from streamsvd.errors import DescriptionError
from streamsvd.pipelines.vocabulary import (
    COMPARISONS,
    LEADING,
    QUANTITIES,
    WITH_COLUMNS,
    Quantity,
)

if TYPE_CHECKING:
    from streamsvd.pipelines.description import Step


class CheckDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a result, or the source of a step, must satisfy before anything is published.

    Attributes
    ----------
    step, quantity
        What is looked at.
    at_most, at_least
        Bounds of a quantity.
    name
        Its own; that of the step and the quantity if left out.
    leading
        How many of the leading directions count; all if left out.
    columns, dtype
        Of a schema: how many columns the source has, or ``"published"`` for as many as what is published; and its type.
    """

    step: str
    quantity: Quantity
    at_most: float | None = None
    at_least: float | None = None
    name: str = ""
    leading: int | None = None
    columns: int | Literal["published"] | None = None
    dtype: str | None = None


def check_checks(
    checks: Sequence[CheckDescription], steps: Mapping[str, Step], published: Collection[str]
) -> None:
    """Refuse checks of which one asks nothing, or what cannot be known.

    Parameters
    ----------
    checks
        All of a file.
    steps
        By name; those that checks name are there.
    published
        Steps that have a link.

    Raises
    ------
    DescriptionError
        With the place of the fault.
    """
    for number, check in enumerate(checks):
        where, step = f"$.checks[{number}]", steps[check.step]
        if check.quantity not in QUANTITIES[step.verb]:
            raise DescriptionError(
                f"the result of {step.verb} has no {check.quantity} - at {where}.quantity. It has "
                f"{', '.join(sorted(QUANTITIES[step.verb]))}."
            )
        _check_leading(check, step, where)
        if check.quantity == "schema":
            _check_schema(check, step, where)
        else:
            _check_bounds(check, where)
        if (
            check.quantity in COMPARISONS or check.columns == "published"
        ) and check.step not in published:
            raise DescriptionError(
                f"{check.quantity} is measured from what is published, and {check.step} is published nowhere - at {where}. "
                "Write [[publish]] for that step, or take the check out."
            )


def _check_leading(check: CheckDescription, step: Step, where: str) -> None:
    """Refuse leading directions of what has none, and more of them than there are."""
    if check.leading is None:
        return
    if check.quantity not in LEADING:
        raise DescriptionError(
            f"{check.quantity} has no leading directions - at {where}.leading. They are of {', '.join(sorted(LEADING))}."
        )
    rank: Any = step.options.get("k" if step.verb == "top_eigenvectors" else "rank")
    if check.leading < 1 or (isinstance(rank, int) and check.leading > rank):
        most = f" to {rank}" if isinstance(rank, int) else ""
        raise DescriptionError(
            f"leading={check.leading} is no number of directions of {check.step} - at {where}.leading. Pass 1{most or ' or more'}."
        )


def _check_schema(check: CheckDescription, step: Step, where: str) -> None:
    """Refuse a schema that says nothing, or is no schema."""
    if check.at_most is not None or check.at_least is not None:
        raise DescriptionError(
            f"a schema has no bounds - at {where}. Pass columns, dtype, or both."
        )
    if check.columns is None and check.dtype is None:
        raise DescriptionError(f"nothing is asked - at {where}. Pass columns, dtype, or both.")
    if isinstance(check.columns, int) and check.columns < 1:
        raise DescriptionError(
            f"columns={check.columns} is no number of columns - at {where}.columns. Pass 1 or more."
        )
    if check.columns == "published" and step.verb not in WITH_COLUMNS:
        raise DescriptionError(
            f"the result of {step.verb} does not say how many columns it was made of - at {where}.columns. Pass their number."
        )
    if check.dtype is not None and not _is_dtype(check.dtype):
        raise DescriptionError(
            f"{check.dtype!r} is no type of numbers - at {where}.dtype. Pass one such as float32, int8 or complex64."
        )


def _is_dtype(text: str) -> bool:
    try:
        return np.dtype(text).kind in "biufc" and bool(text.strip())
    except TypeError:
        return False


def _check_bounds(check: CheckDescription, where: str) -> None:
    """Refuse a check that asks nothing, or what no value can be."""
    if check.columns is not None or check.dtype is not None:
        raise DescriptionError(
            f'columns and dtype belong to a schema - at {where}. Write quantity = "schema", or leave them out.'
        )
    bounds = [bound for bound in (check.at_least, check.at_most) if bound is not None]
    if not bounds:
        raise DescriptionError(f"nothing is asked - at {where}. Pass at_most or at_least.")
    if bounds != sorted(bounds) or any(math.isnan(bound) for bound in bounds):
        raise DescriptionError(
            f"no value is at least {bounds[0]:g} and at most {bounds[-1]:g} - at {where}. Pass bounds that one can be within."
        )
