"""Steps of rows before a factorisation: what they must count first, in one pass, and the matrix that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.step_counts import CountPlan, count_rows, plan_counts
from streamsvd.engine.transforms import climatology_of
from streamsvd.errors import ShapeError, SpecError
from streamsvd.numerics.row_steps import (
    Need,
    RowStep,
    RowStepRecord,
    parse_steps,
    texts_of,
    with_counts,
)
from streamsvd.protocols import Source, is_sparse
from streamsvd.store.sources.views.stepped import step_rows

Steps = str | Sequence[str | RowStep]


def apply_steps(
    A: Any,
    steps: Steps | None = None,
    *,
    like: Any = None,
    precise: bool = True,
    memory: int | float | str | None = None,
    callback: Callback = ignore_event,
) -> Source:
    """A matrix after steps of its rows, which are done as it is read: counts to a common sum, logarithms, weights of documents.

    Parameters
    ----------
    A
        The matrix, or anything `streamsvd.open` takes.
    steps
        What is done to each row, in this order: texts such as ``["normalize=1e4", "log1p"]``, all in one with commas, or the
        values of `streamsvd.numerics.row_steps`.
    like
        What this returned before, or a result of it: the same steps with what was counted there, and nothing is counted. Steps
        may be left out then.
    precise
        Whether entries are delivered in float64, as they are computed. Otherwise those of single precision and of integers are
        rounded to float32: half the memory and faster products, and ``source.step_rounding`` bounds what each entry lost.
    memory
        Bytes that the pass may use, or a text such as ``"256MiB"``; half of what is free if left out.
    callback
        Receives progress events.

    Returns
    -------
    source
        What every verb takes; sparse where the matrix is, and its steps leave zeros as they are.

    Raises
    ------
    SpecError
        If there is no such step, entries are complex, or other steps are asked for than those of ``like``. When it is read: if an
        entry is none that a step takes; it names row and column.
    BudgetError
        If the counts do not fit in the memory.
    NonFiniteError
        If an entry is Inf.

    Notes
    -----
    Cost: no pass where the steps are told all they need, else one; about 5 ns a stored entry each time it is read.
    Sums are of whole rows: choose columns from what this returns.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> B = streamsvd.apply_steps(np.array([[1.0, 3.0], [2.0, 0.0]]), ["normalize=4", "binarize"])
    >>> out = np.empty((2, 2))
    >>> B.read(slice(0, 2), slice(0, 2), out)
    >>> out
    array([[1., 1.],
           [1., 0.]])
    """
    source = as_source(A)
    asked = None if steps is None else as_steps(steps)
    if like is not None:
        known = steps_of(like)
        if not known:
            raise SpecError(
                "like= has had no steps. Pass what apply_steps returned, or a result of it."
            )
        asked = known if asked is None else with_counts(asked, known)
    if not asked:
        raise SpecError(
            'steps= names nothing. Pass steps such as ["normalize=1e4", "log1p"], or like= with a matrix or result that has some.'
        )
    check_steps(source, asked)
    return step_rows(source, count_steps(source, asked, memory, callback), precise=precise)


def as_steps(steps: Steps) -> tuple[RowStep, ...]:
    """Steps from texts, values, or both."""
    if isinstance(steps, str):
        return parse_steps(steps)
    found = list[RowStep]()
    for each in steps:
        found += parse_steps([each]) if isinstance(each, str) else [each]
    return tuple(found)


def steps_of(source: Any) -> tuple[RowStep, ...]:
    """What was done to the rows of a matrix, or of what was factorised; nothing as a rule."""
    known = getattr(source, "row_steps", None) or ()
    return tuple(each.step if isinstance(each, RowStepRecord) else each for each in known)


def step_records(source: Any) -> tuple[RowStepRecord, ...]:
    """The same as it is kept with a result."""
    return tuple(RowStepRecord.of(step) for step in steps_of(source))


def check_steps(source: Source, steps: Sequence[RowStep]) -> None:
    """Refuse steps that a matrix cannot have, before anything is read.

    Raises
    ------
    SpecError
        If its entries are complex, it has lost a climatology, or is stored by columns and a step needs sums of rows.
    ShapeError
        If a step knows of another number of columns.
    """
    said = texts_of(steps)
    if source.dtype.kind == "c":
        raise SpecError(
            f"{source.name} is {source.dtype}, and {said} take real numbers. Leave steps out, or take the modulus before."
        )
    if climatology_of(source) is not None:
        raise SpecError(
            f"{source.name} has lost means of its rows, and {said} are for what is stored. Take the steps first: "
            "anomalies(apply_steps(A, steps))."
        )
    for step in steps:
        if step.vector is not None and step.vector.size != source.shape[1]:
            raise ShapeError(
                f"{step.text} knows of {step.vector.size:,} columns, and {source.name} has {source.shape[1]:,}. Pass the columns that "
                "it was made of, in their order."
            )
        if (
            step.of_whole_rows
            and is_sparse(source)
            and getattr(source, "sparse_axis", "") == "columns"
        ):
            raise SpecError(
                f"{step.text} needs sums of rows, and {source.name} is stored by columns (csc). Write it by rows before: "
                "scipy's tocsr() in memory, or streamsvd convert."
            )


def first_needs(steps: Sequence[RowStep]) -> tuple[int, frozenset[Need]]:
    """The first step that must count, and what one pass can count for it and for those after it; ``len(steps)`` where none must."""
    waiting = [i for i, step in enumerate(steps) if step.need is not None]
    if not waiting:
        return len(steps), frozenset()
    first = steps[waiting[0]].need
    together = (steps[i].need for i in waiting)
    return waiting[0], frozenset(n for n in together if n is not None and n in (first, "documents"))


def plan_steps(
    source: Source, steps: Sequence[RowStep], memory: int | float | str | None
) -> CountPlan | None:
    """How the first pass that counts runs; None where none is needed.

    Raises
    ------
    BudgetError
        If it does not fit in the memory.
    """
    at, needs = first_needs(steps)
    if not needs:
        return None
    return plan_counts(_until(source, steps[:at]), needs, memory)


def count_steps(
    source: Source,
    steps: Sequence[RowStep],
    memory: int | float | str | None,
    notify: Callback,
) -> tuple[RowStep, ...]:
    """Steps that know all they need, after as many passes as depend on one another: one, as a rule."""
    known = list(steps)
    while True:
        at, needs = first_needs(known)
        if not needs:
            return tuple(known)
        totals = count_rows(_until(source, known[:at]), needs, memory, notify)
        known = [
            step.counted(totals) if step.need in needs and (i == at or step.need == "documents") else step
            for i, step in enumerate(known)
        ]  # fmt: skip


def _until(source: Source, steps: Sequence[RowStep]) -> Source:
    return step_rows(source, tuple(steps)) if steps else source
