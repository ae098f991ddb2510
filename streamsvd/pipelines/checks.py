"""Whether a result, or the source of a step, is as a check asks; and what is said where it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from streamsvd.pipelines.check_descriptions import CheckDescription
from streamsvd.pipelines.quantities import Finding, quantity_of
from streamsvd.pipelines.records import CheckRecord
from streamsvd.pipelines.substitution import default_name
from streamsvd.protocols import Source


def check(asked: CheckDescription, finding: Finding) -> CheckRecord:
    """Whether a result is as asked; a quantity that it has not is a check that does not pass."""
    value = quantity_of(finding, asked.quantity, asked.leading)
    passed = value is not None and not math.isnan(value)
    words = []
    if asked.at_least is not None:
        words.append(f"at least {asked.at_least:g}")
        passed = passed and value is not None and value >= asked.at_least
    if asked.at_most is not None:
        words.append(f"at most {asked.at_most:g}")
        passed = passed and value is not None and value <= asked.at_most
    of = "" if asked.leading is None else f" (leading {asked.leading})"
    return CheckRecord(
        step=asked.step, quantity=asked.quantity, name=name_of(asked), value=value, asked=" and ".join(words) + of, passed=passed
    )  # fmt: skip


def check_schema(
    asked: CheckDescription, source: Source, columns_published: int | None
) -> CheckRecord:
    """Whether a source has the type and as many columns as asked; nothing of it is read.

    Parameters
    ----------
    asked
        The check.
    source
        The matrix.
    columns_published
        How many columns that had which is published; None where nothing is: then any number will do.
    """
    columns = columns_published if asked.columns == "published" else asked.columns
    dtype = None if asked.dtype is None else np.dtype(asked.dtype)
    wanted = [] if dtype is None else [str(dtype)]
    if columns is not None:
        wanted.append(f"{columns:,} columns")
    elif asked.columns == "published":
        wanted.append("as many columns as what is published, of which there is nothing yet")
    found = source.shape[1]
    return CheckRecord(
        step=asked.step, quantity="schema", name=name_of(asked), value=None, asked=" and ".join(wanted),
        passed=(dtype is None or source.dtype == dtype) and (columns is None or found == columns),
        found=f"{source.dtype} and {found:,} columns",
    )  # fmt: skip


def name_of(asked: CheckDescription) -> str:
    """The name of a check: its own, or that of its step and quantity."""
    entry = {"name": asked.name, "step": asked.step, "quantity": asked.quantity}
    return default_name("checks", entry)


def refusal(checks: Sequence[CheckRecord]) -> str:
    """What is said of the checks that did not pass; empty where all did."""
    wrong = [c for c in checks if not c.passed]
    if not wrong:
        return ""
    found = "; ".join(f"{c.quantity} of {c.step} is {c.words}, {c.asked} was asked" for c in wrong)
    return f"{found}. What was published before stays."
