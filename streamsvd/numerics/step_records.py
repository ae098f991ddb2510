"""Steps as they are kept with a result or a model: a text, and what was counted of each column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamsvd.errors import SpecError
from streamsvd.numerics.row_steps import RowStep, ScaleColumns, parse_steps, texts_of
from streamsvd.typing import Real


@dataclass(frozen=True, slots=True, eq=False)
class RowStepRecord:
    """A step as it is kept with a result.

    Attributes
    ----------
    text
        How it is written, with the numbers that were counted.
    vector
        What is known of each column, ``(n,)``; None for nothing.
    """

    text: str
    vector: Real | None = None

    @classmethod
    def of(cls, step: RowStep) -> RowStepRecord:
        """Of a step that can be applied."""
        return cls(step.text, step.vector)

    @property
    def step(self) -> RowStep:
        """The step again."""
        if self.text == ScaleColumns.name:
            return ScaleColumns(self.vector)
        (found,) = parse_steps([self.text])
        return found if self.vector is None else found.with_vector(self.vector)


@dataclass(frozen=True, slots=True, eq=False)
class RowStepRecords:
    """All steps of a matrix, as a model keeps them.

    Attributes
    ----------
    steps
        In their order.
    """

    steps: tuple[RowStepRecord, ...] = ()


def with_counts(steps: Sequence[RowStep], known: Sequence[RowStep]) -> tuple[RowStep, ...]:
    """Steps with what others of the same kind have counted.

    Raises
    ------
    SpecError
        If they are other steps.
    """
    same = len(steps) == len(known) and all(a.is_same(b) for a, b in zip(steps, known, strict=True))
    if not same:
        raise SpecError(
            f"the steps were {texts_of(known)}, and are to be {texts_of(steps)}. Leave them out, or ask for the same."
        )
    return tuple(known)
