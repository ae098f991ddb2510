"""What rows of a field lose before they are factorised, and rows that come later lose too: a climatology and a trend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamsvd.engine.events import Callback
from streamsvd.engine.row_labels import RowTransform, label_rows
from streamsvd.engine.transforms import Climatology, fit_climatology, subtract_climatology
from streamsvd.errors import SpecError
from streamsvd.protocols import Source


@dataclass(frozen=True, slots=True, eq=False)
class Adjustment:
    """Means of groups of rows, and a trend, as they were found.

    Attributes
    ----------
    asked
        Fields of the time, and whether there is a trend.
    climatology
        What is subtracted.
    """

    asked: RowTransform
    climatology: Climatology

    @classmethod
    def of(
        cls, source: Source, asked: RowTransform, memory: Any, notify: Callback
    ) -> tuple[Adjustment, Source]:
        """Found in one pass over a matrix, and the matrix without it."""
        rows = label_rows(source, asked)
        found = fit_climatology(source, rows, memory, notify)
        return cls(asked, found), subtract_climatology(source, rows, found)

    def apply(self, source: Source) -> Source:
        """Rows that come later without what was found.

        Raises
        ------
        SpecError
            If one is of a group of which none was there.
        """
        rows = label_rows(source, replace(self.asked, reference=None))
        return subtract_climatology(source, rows, self.climatology)


def row_transform(
    anomaly: str | Sequence[str] | None, detrend: bool, reference: Sequence[str] | None
) -> RowTransform | None:
    """What is asked of rows; None for nothing.

    Raises
    ------
    SpecError
        If a field of the time is unknown, or a reference is of nothing.
    """
    if not isinstance(detrend, bool):
        raise SpecError(
            f"detrend={detrend!r} is no truth value. Pass True; streamsvd.detrend takes times of its own."
        )
    if anomaly is None and not detrend:
        if reference is not None:
            raise SpecError(
                "reference= is the period of anomaly= or detrend=, and neither is asked. Leave it out."
            )
        return None
    by = () if anomaly is None else (anomaly,) if isinstance(anomaly, str) else tuple(anomaly)
    period = None if reference is None else (str(reference[0]), str(reference[-1]))
    return RowTransform(by, None, detrend, None, period)
