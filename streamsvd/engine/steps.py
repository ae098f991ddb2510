"""Steps of rows before a factorisation: what they must count first, in one pass, and the matrix that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.memory import show_bytes
from streamsvd.engine.opening import as_source
from streamsvd.engine.schedule import Schedule
from streamsvd.engine.step_counts import count_rows, plan_counts
from streamsvd.engine.transforms import climatology_of
from streamsvd.errors import ShapeError, SpecError
from streamsvd.numerics.row_steps import (
    Need,
    RowStep,
    parse_steps,
    texts_of,
)
from streamsvd.numerics.step_records import RowStepRecord, with_counts
from streamsvd.protocols import Source, is_sparse
from streamsvd.store.sources.views.adjusted import AdjustedRows
from streamsvd.store.sources.views.stepped import SteppedRows, step_rows

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
        known = step_records(like)
        if not known:
            raise SpecError(
                "like= has had no steps. Pass what apply_steps returned, or a result of it."
            )
        asked = same_steps(() if asked is None else asked, known)
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


def same_steps(asked: Sequence[RowStep], records: Sequence[RowStepRecord]) -> tuple[RowStep, ...]:
    """Steps with what was counted for them before.

    Raises
    ------
    SpecError
        If others are asked for.
    """
    known = tuple(record.step for record in records)
    return with_counts(asked, known) if asked else known


def wait_for_counts(source: Source, steps: Sequence[RowStep]) -> Source:
    """A matrix after steps that may have to count first: until then it is not to be read, `finish_counts` does it.

    Raises
    ------
    SpecError, ShapeError
        As `apply_steps`.
    """
    check_steps(source, steps)
    return step_rows(source, tuple(steps))


def _waiting(source: Source) -> SteppedRows | None:
    """The part of a matrix whose steps have still to count."""
    inner: Any = source.whole if isinstance(source, AdjustedRows) else source
    if isinstance(inner, SteppedRows) and any(step.need for step in inner.row_steps):
        return inner
    return None


def finish_counts(source: Source, memory: int | float | str | None, notify: Callback) -> Source:
    """The same with all that its steps count.

    Raises
    ------
    BudgetError, NonFiniteError
        As that pass.
    """
    waiting = _waiting(source)
    if waiting is None:
        return source
    steps = count_steps(waiting.whole, waiting.row_steps, memory, notify)
    return _instead(source, waiting, steps)


def with_known_counts(source: Source, records: Sequence[RowStepRecord]) -> Source:
    """A matrix whose steps wait for their counts with those of before; as it is where they do not wait.

    Raises
    ------
    SpecError
        If those were other steps.
    """
    waiting = _waiting(source)
    if waiting is None:
        return source
    steps = same_steps(waiting.row_steps, records)
    check_steps(waiting.whole, steps)
    return _instead(source, waiting, steps)


def _instead(source: Source, waiting: SteppedRows, steps: tuple[RowStep, ...]) -> Source:
    found = step_rows(waiting.whole, steps, precise=waiting.precise)
    return replace(source, whole=found) if isinstance(source, AdjustedRows) else found


def count_note(source: Source, memory: int | float | str | None) -> str:
    """What a plan says of the pass that counts; empty where there is none.

    Raises
    ------
    BudgetError
        If the counts do not fit in the memory.
    """
    waiting = _waiting(source)
    if waiting is None:
        return ""
    plan = plan_steps(waiting.whole, waiting.row_steps, memory)
    assert plan is not None
    names = ", ".join(step.text for step in waiting.row_steps if step.need is not None)
    return f"before it one pass over {show_bytes(plan.pass_bytes)}, in {show_bytes(plan.projected_bytes)}, for what {names} counts"


def take_same_steps(
    source: Source, records: Sequence[RowStepRecord], owner: str, *, precise: bool = True
) -> Source:
    """Rows that come later, after the steps of those before them: as they are where they had them already.

    Parameters
    ----------
    source
        The rows.
    records
        Of a result, or of a model.
    owner
        How a message calls that.
    precise
        As of `apply_steps`.

    Raises
    ------
    SpecError
        If they had other steps, or others counts.
    """
    known = tuple(record.step for record in records)
    if not known:
        return source
    source = with_known_counts(source, records)
    found = steps_of(source)
    if not found:
        check_steps(source, known)
        return step_rows(source, known, precise=precise)
    if not same_records(step_records(source), records):
        raise SpecError(
            f"{owner} was made of rows after the steps {texts_of(known)}, and {source.name} has had {texts_of(found)}"
            f"{', with other counts' if texts_of(found) == texts_of(known) else ''}. Pass rows as they are stored, or "
            "streamsvd.apply_steps(new, like=result)."
        )
    return source


def same_records(some: Sequence[RowStepRecord], others: Sequence[RowStepRecord]) -> bool:
    """Whether they are the same steps with the same counts."""
    return len(some) == len(others) and all(
        a.text == b.text
        and (a.vector is None) == (b.vector is None)
        and (a.vector is None or np.array_equal(a.vector, np.asarray(b.vector)))
        for a, b in zip(some, others, strict=True)
    )


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


def first_needs(steps: Sequence[RowStep]) -> tuple[int, frozenset[int]]:
    """The first step that must count, and all that one pass counts for; ``len(steps)`` and none where none must.

    Documents are counted with it for steps before which a zero stays zero and nothing else becomes one.
    """
    waiting = [i for i, step in enumerate(steps) if step.need is not None]
    if not waiting:
        return len(steps), frozenset()
    first, together = waiting[0], {waiting[0]}
    for i in waiting[1:]:
        between = steps[first:i]
        if steps[i].need == "documents" and all(s.keeps_zeros and s.keeps_others for s in between):
            together.add(i)
    return first, frozenset(together)


def _needs(steps: Sequence[RowStep], together: frozenset[int]) -> frozenset[Need]:
    return frozenset(need for i in together if (need := steps[i].need) is not None)


def plan_steps(
    source: Source, steps: Sequence[RowStep], memory: int | float | str | None
) -> Schedule | None:
    """How the first pass that counts runs; None where none is needed.

    Raises
    ------
    BudgetError
        If it does not fit in the memory.
    """
    at, together = first_needs(steps)
    if not together:
        return None
    return plan_counts(_until(source, steps[:at]), _needs(steps, together), memory)


def count_steps(
    source: Source,
    steps: Sequence[RowStep],
    memory: int | float | str | None,
    notify: Callback,
) -> tuple[RowStep, ...]:
    """Steps that know all they need, after as many passes as depend on one another: one, as a rule."""
    known = list(steps)
    while True:
        at, together = first_needs(known)
        if not together:
            return tuple(known)
        totals = count_rows(_until(source, known[:at]), _needs(known, together), memory, notify)
        known = [
            step.with_totals(totals) if i in together else step for i, step in enumerate(known)
        ]


def _until(source: Source, steps: Sequence[RowStep]) -> Source:
    return step_rows(source, tuple(steps)) if steps else source
