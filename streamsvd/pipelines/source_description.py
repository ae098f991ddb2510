"""What the file of a pipeline says of a source: where it is, how it is opened, and what is done to its rows and columns."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import msgspec

from streamsvd.engine.row_labels import RowTransform
from streamsvd.errors import DescriptionError, SpecError
from streamsvd.numerics.row_steps import RowStep, parse_steps

OF_MATRICES = (
    "variable",
    "rows",
    "transform",
    "share",
    "missing_value",
    "dtype",
    "shape",
    "offset",
)
"""Fields that say how one matrix is opened."""
OF_COLLECTIONS = ("select", "transpose", "columns", "cut")
"""Fields that say how a collection is opened."""


class AnomalyDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Groups of rows whose means are subtracted."""

    by: str | list[str] = "month"
    of: str | None = None
    reference: list[Any] | None = None


class TrendDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The line that is subtracted from each column."""

    along: str | None = None
    reference: list[Any] | None = None


class TransformDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to a matrix as it is read; steps come first."""

    anomalies: str | AnomalyDescription | None = None
    detrend: bool | TrendDescription = False
    weights: str | dict[str, str] | None = None
    steps: list[str] | None = None

    @property
    def row_steps(self) -> tuple[RowStep, ...]:
        """What is done to each row before; nothing as a rule.

        Raises
        ------
        SpecError
            If there is no such step, or none at all.
        """
        if self.steps == []:
            raise SpecError(
                'steps are none. Write steps such as ["normalize=1e4", "log1p"], or leave them out'
            )
        return parse_steps(self.steps or [])

    @property
    def of_rows(self) -> RowTransform | None:
        """What is done to its rows; None where nothing is.

        Raises
        ------
        SpecError
            If a field or a period cannot be meant.
        """
        groups = (
            AnomalyDescription(by=self.anomalies)
            if isinstance(self.anomalies, str)
            else self.anomalies
        )
        trend = TrendDescription() if self.detrend is True else self.detrend or None
        if groups is None and trend is None:
            return None
        periods = [
            tuple(map(_day, part.reference))
            for part in (groups, trend)
            if part is not None and part.reference is not None
        ]
        if len(set(periods)) > 1:
            raise SpecError(
                "anomalies and detrend are fitted together, and each has another reference. Write one of them."
            )
        if any(len(period) != 2 for period in periods):
            raise SpecError(
                'a reference is its first and its last day, such as ["1981-01-01", "2010-12-31"]. Write these two.'
            )
        by = (
            ()
            if groups is None
            else (groups.by,)
            if isinstance(groups.by, str)
            else tuple(groups.by)
        )
        if groups is not None and not by:
            raise SpecError('anomalies are by nothing. Write by = "month".')
        period = (periods[0][0], periods[0][1]) if periods else None
        along = None if trend is None else trend.along
        of = None if groups is None else groups.of
        return RowTransform(by, of, trend is not None, along or of, period)


def _day(given: Any) -> Any:
    """A date of TOML as the text that it is written as."""
    return (
        given.isoformat() if isinstance(given, date) and not isinstance(given, datetime) else given
    )


class SourceDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A matrix or a collection: where it is, and what `streamsvd.open` or `streamsvd.open_collection` is to be told of it."""

    path: str
    variable: str | None = None
    rows: str | int | list[str] | None = None
    missing: Literal["error", "fill", "zero"] = "error"
    absent: Literal["fail", "skip"] = "fail"
    share: bool | None = None
    transform: TransformDescription | None = None
    select: str | list[str] | None = None
    transpose: str | list[str] | None = None
    columns: int | dict[str, int] | None = None
    cut: int | list[int] | None = None
    missing_value: float | None = None
    dtype: str | None = None
    shape: list[int] | None = None
    offset: int | None = None

    @property
    def numbers(self) -> list[Any]:
        """What is said of stored numbers that cannot say so themselves; empty where nothing is, as of sources that need none."""
        said = {
            name: getattr(self, name)
            for name in ("missing_value", "dtype", "shape", "offset")
            if getattr(self, name) is not None
        }
        return [said] if said else []

    @property
    def matrix_options(self) -> dict[str, Any]:
        """What `streamsvd.open` is told beside the path and what an absent chunk is; no more than is said."""
        said = {name: getattr(self, name) for name in ("missing_value", "dtype", "offset")}
        said["shape"] = None if self.shape is None else tuple(self.shape)
        said["variable"] = self.variable
        said["rows"] = tuple(self.rows) if isinstance(self.rows, list) else self.rows
        return {name: value for name, value in said.items() if value is not None}

    @property
    def collection_options(self) -> dict[str, object]:
        """What `streamsvd.open_collection` is told; empty where nothing is said."""
        said = {name: getattr(self, name) for name in OF_COLLECTIONS}
        said["cut"] = tuple(self.cut) if isinstance(self.cut, list) else self.cut
        said["missing"] = None if self.missing == "error" else self.missing
        return {name: value for name, value in said.items() if value is not None}


def check_source(described: SourceDescription, where: str) -> None:
    """Refuse a transform that cannot be meant, located.

    Raises
    ------
    DescriptionError
        With its place in the file.
    """
    if described.transform is None:
        return
    if described.transform == TransformDescription():
        raise DescriptionError(
            f"nothing is asked - at {where}.transform. Write steps, anomalies, detrend or weights, or leave the table out."
        )
    try:
        described.transform.row_steps  # noqa: B018 - it says what is wrong
        described.transform.of_rows  # noqa: B018
    except SpecError as error:
        raise DescriptionError(f"{error} - at {where}.transform.") from error


def check_use(described: SourceDescription, where: str, verb: str, *, is_collection: bool) -> None:
    """Refuse what says how one kind of source is opened where a verb reads another.

    Raises
    ------
    DescriptionError
        With its place in the file.
    """
    kind, others = ("collection", OF_MATRICES) if is_collection else ("matrix", OF_COLLECTIONS)
    for name in others:
        if getattr(described, name) is not None:
            raise DescriptionError(
                f"{verb} reads a {kind}, for which {name} says nothing - at {where}.{name}. Leave it out."
            )
    if not is_collection and described.missing == "zero":
        raise DescriptionError(
            f'{verb} reads a matrix, of which missing is "error" or "fill" - at {where}.missing. Write one of these, and '
            'nonfinite = "zero" in the step.'
        )
