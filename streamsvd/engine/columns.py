"""The columns that have values: found in a cheap look, or said by a mask; every verb runs over them alone.

A column that has a value in the first rows is cleared at once. Only the others are followed, through the chunks that hold
them, until each has a value or the rows end; where none is suspicious nothing more is read.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array
from streamsvd.engine.dask_source import DaskSource, KeptDaskColumns
from streamsvd.engine.events import Callback, ColumnsLeftOut, ignore_event
from streamsvd.engine.missing import (
    COUNT_NOTES,
    check_policy,
    count_missing,
    fill_missing,
    fill_unread,
    schedule_counting,
)
from streamsvd.engine.opening import as_source
from streamsvd.engine.run_plan import RunPlan
from streamsvd.errors import FaintColumnError, NonFiniteError, NotConverged, SpecError
from streamsvd.info import Info
from streamsvd.numerics.columns import Columns, as_mask, describe_columns, original_column
from streamsvd.numerics.support import FULL_SUPPORT, Support
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.neighbours import column_names, in_column_order
from streamsvd.store.sources.views.kept_columns import KeptColumns, column_extents

P = ParamSpec("P")
R = TypeVar("R")
Mask = npt.NDArray[np.bool_]

AUTO = "auto"
"""The mask that is found by a look."""
FIRST_BYTES = 1 << 20
"""Rows that are looked at first, about."""
PIECE_BYTES = 4 << 20
"""Read at once while columns are followed, unless a chunk takes more."""
REFUSAL_SURVEY_BYTES = 256 << 20
"""Bytes looked at to word a refusal; beyond it the words are of the rows looked at."""
LOOK_NOTE = "Columns that have no value are left out, after a look at the first rows: this is planned for all."
"""What a plan says where columns are looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSurvey:
    """What a look at a matrix found.

    Attributes
    ----------
    empty
        Columns without a value in the rows looked at.
    rows, bytes_read
        Rows looked at, and decoded bytes read.
    """

    empty: Mask
    rows: int
    bytes_read: int


def survey_columns(
    source: Source,
    among: Mask | None = None,
    *,
    counted: Support = FULL_SUPPORT,
    stop: int | None = None,
    most_bytes: int | None = None,
) -> ColumnSurvey:
    """Which columns have no value: they are NaN in every row that counts. Those that do not count are not looked at.

    Parameters
    ----------
    source
        The matrix.
    among
        The columns that matter; all if left out.
    counted
        Rows and columns that count; all if left out.
    stop
        The row to end before; the last is looked at if left out.
    most_bytes
        Bytes after which the look ends.
    """
    m, n = source.shape
    stop = m if stop is None else stop
    suspicious = np.ones(n, bool) if among is None else among.copy()
    if counted.columns is not None:
        suspicious &= counted.columns
    if source.dtype.kind not in "fc" or stop <= 0:
        return ColumnSurvey(np.zeros(n, bool), 0, 0)
    done = total = 0
    for start, end in _row_runs(source, stop):
        if not suspicious.any() or (most_bytes is not None and total >= most_bytes):
            break
        for columns in _column_runs(source, suspicious):
            for a, b in _pieces(source, start, end, columns.stop - columns.start):
                if not suspicious[columns].any():
                    break
                rows = counted.within(a, 0, (b - a, n)).rows
                if rows is not None and not rows.any():
                    continue
                block = np.empty((b - a, columns.stop - columns.start), dtype=source.dtype)
                source.read(slice(a, b), columns, block)
                suspicious[columns] &= np.isnan(block if rows is None else block[rows]).all(axis=0)
                total += block.nbytes
        done = end
    return ColumnSurvey(suspicious, done, total)


def _row_runs(source: Source, stop: int) -> Iterator[tuple[int, int]]:
    """A few rows first, then the chunks of rows one after another."""
    chunk = source.chunks[0]
    row = source.shape[1] * source.dtype.itemsize
    at = min(stop, chunk, max(1, FIRST_BYTES // row))
    yield 0, at
    while at < stop:
        end = min(stop, (at // chunk + 1) * chunk)
        yield at, end
        at = end


def _column_runs(source: Source, wanted: Mask) -> Iterator[slice]:
    """The columns that are wanted, chunk by chunk, each from its first to its last; neighbours that are whole together."""
    width = source.chunks[1]
    indices = np.flatnonzero(wanted)
    chunks = indices // width
    first = last = -1
    for chunk in np.unique(chunks):
        inside = indices[chunks == chunk]
        a, b = int(inside[0]), int(inside[-1]) + 1
        if first >= 0 and a == last:
            last = b
            continue
        if first >= 0:
            yield slice(first, last)
        first, last = a, b
    if first >= 0:
        yield slice(first, last)


def _pieces(source: Source, start: int, stop: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows read at once: no more bytes than a chunk takes anyhow, or a few mebibytes."""
    most = max(PIECE_BYTES, source.read_bytes)
    step = max(1, most // (width * source.dtype.itemsize))
    for a in range(start, stop, step):
        yield a, min(a + step, stop)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A matrix as a verb is to see it.

    Attributes
    ----------
    source
        Of the columns that are kept.
    whole
        Of all columns.
    columns
        Which are kept; None where all are.
    look_bytes
        Decoded bytes that were read to know that.
    searched_for_empty
        Whether columns that are missing throughout were looked for, or will be.
    has_mask
        Whether the caller passed a mask.
    support
        Rows and columns of the whole matrix that count.
    """

    source: Source
    whole: Source
    columns: Columns | None
    look_bytes: int
    searched_for_empty: bool
    has_mask: bool = False
    support: Support = FULL_SUPPORT
    nonfinite: str = "raise"
    n_missing: int = 0
    counting_passes: int = 0

    def spread(self, values: Any, fill: float = np.nan, *, axis: int = -1) -> Any:
        """What belongs to the columns that are kept, among all columns."""
        if self.columns is None or values is None:
            return values
        return self.columns.spread(values, fill, axis=axis)

    def take(self, values: Any) -> Any:
        """What belongs to the columns that are kept, of what has one for each column; as it came if it has not."""
        if self.columns is None or values is None:
            return values
        given = as_array(values)
        return self.columns.take(given) if given.shape == (self.columns.count,) else values

    @property
    def shapes_before(self) -> set[tuple[int, int]]:
        """Shapes that the matrix had for those who did not look: of all columns, and without those of the mask."""
        if self.columns is None:
            return set()
        m, n = self.whole.shape
        unmasked = int(np.count_nonzero(self.columns.marks != Columns.MARK_MASKED))
        return {(m, n), (m, unmasked)} - {self.source.shape}

    @property
    def dropped_indices(self) -> tuple[int, ...]:
        """Numbers of the columns that are left out."""
        return () if self.columns is None else self.columns.dropped_indices

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """Errors that name an entry name it in the whole matrix, and say what can be done about its column."""
        try:
            yield
        except NonFiniteError as bad:
            column = original_column(self, bad.column)
            remedy = bad.remedy
            if bad.value == "NaN" and not self.searched_for_empty:
                remedy = self._remedy(column, remedy)
            raise NonFiniteError(bad.value, bad.row, column, bad.chunk, remedy) from None
        except FaintColumnError as bad:
            raise FaintColumnError(original_column(self, bad.column), bad.spread) from None

    def _remedy(self, column: int, remedy: str) -> str:
        """What to do about a NaN, with the columns that have no value at all."""
        kept = None if self.columns is None else self.columns.keep_mask
        found = survey_columns(
            self.whole, kept, counted=self.support, most_bytes=REFUSAL_SURVEY_BYTES
        )
        numbers = np.flatnonzero(found.empty)
        if not numbers.size:
            return remedy
        where = "in any row"
        if found.rows < self.whole.shape[0]:
            where = f"in the first {found.rows:,} rows"
        said = (
            f"{numbers.size:,} of {self.whole.shape[1]:,} columns {'has' if numbers.size == 1 else 'have'} no value "
            f"{where} ({describe_columns(numbers)}). "
        )
        if numbers.size == self.whole.shape[1]:
            return said + "Check how the data were written."
        if self.has_mask:
            said += "Leave them out of the mask too."
        else:
            said += f'Pass mask="{AUTO}" to leave such columns out.'
        return said if found.empty[column] else f"{remedy} {said}"


def select_columns(
    source: Source,
    mask: Any = None,
    *,
    tolerant: bool,
    notify: Callback = ignore_event,
    counted: Support = FULL_SUPPORT,
    stop: int | None = None,
) -> View:
    """The matrix without the columns that a mask leaves out, and without those that are missing throughout.

    Parameters
    ----------
    source
        The matrix.
    mask
        Booleans, true where a column is kept, in the shape of the columns; the name of such an array beside that of the
        matrix; or ``"auto"``, all that have a value.
    tolerant
        Whether missing values are tolerated: then columns that are missing throughout are looked for, mask or not.
    notify
        Is told how many are left out.
    counted
        Rows and columns that count: a column is missing throughout if it is so in every row of them, and no others are
        looked at.
    stop
        The row to end a look before; the last is looked at if left out.

    Raises
    ------
    SpecError
        If the mask is none, or no column is left.
    """
    if is_kept(source):
        if mask is not None:
            raise SpecError("mask was passed for a matrix whose columns are chosen already.")
        return View(source, source.whole, source.columns, 0, True)  # type: ignore[attr-defined]
    kept = mask_of(source, mask)
    looked = tolerant or (isinstance(mask, str) and kept is None)
    found = survey_columns(source, kept, counted=counted, stop=stop) if looked else None
    masked = kept is not None
    if kept is None and (found is None or not found.empty.any()):
        nbytes = 0 if found is None else found.bytes_read
        return View(source, source, None, nbytes, looked, support=counted)
    whole = np.ones(source.shape[1], bool) if kept is None else kept
    columns = Columns.of(whole, None if found is None else found.empty)
    nbytes = 0 if found is None else found.bytes_read
    if columns.keep_mask.all():
        return View(source, source, None, nbytes, looked, masked, counted)
    left = columns.keep_mask if counted.columns is None else columns.keep_mask & counted.columns
    if not left.any():
        where = ["the mask is true"] * masked + ["its weight is positive"] * (
            counted.columns is not None
        )
        raise SpecError(
            f"no column of {source.name} has a value{' where ' if where else ''}{' and '.join(where)}: nothing would be left. "
            "Check how the data were written, their fill value"
            f"{', and what leaves columns out' if where else ''}."
        )
    notify(ColumnsLeftOut(len(columns.dropped_indices), columns.count, columns.description))
    shown = kept_source(source, columns, nbytes)
    return View(shown, source, columns, nbytes, looked, masked, counted)


def unread_view(source: Source, mask: Any = None, *, tolerant: bool) -> View:
    """The same as far as it is known without reading the matrix: columns that may yet be left out are there.

    Parameters
    ----------
    source, mask, tolerant
        As of `select_columns`.

    Returns
    -------
    view
        Of the columns that the mask keeps; ``searched_for_empty`` where those that have no value are to be looked for, and then
        what it takes to leave them out is counted.

    Raises
    ------
    SpecError
        If the mask is none.
    """
    if is_kept(source):
        return select_columns(source, mask, tolerant=False)
    kept = mask_of(source, mask)
    looked = source.dtype.kind in "fc" and (tolerant or (isinstance(mask, str) and kept is None))
    if not looked and (kept is None or kept.all()):
        return View(source, source, None, 0, False)
    columns = Columns.of(np.ones(source.shape[1], bool) if kept is None else kept)
    return View(kept_source(source, columns), source, columns, 0, looked, kept is not None)


def kept_source(source: Source, columns: Columns, look_bytes: int = 0) -> Source:
    """The source of the columns that are kept."""
    if isinstance(source, DaskSource):
        return KeptDaskColumns.of(source, columns, look_bytes)
    return KeptColumns(source, columns, look_bytes)


def view_of(source: Source, columns: Columns | None, *, guarded: bool = True) -> View:
    """A matrix whose columns were chosen before.

    Parameters
    ----------
    source, columns
        The matrix, and the columns of it that are kept; None for all.
    guarded
        Whether a value is refused where there was none before.
    """
    if columns is None:
        return View(source, source, None, 0, True)
    guarded = guarded and columns.n_empty > 0
    return View(KeptColumns(source, columns, refuses_values=guarded), source, columns, 0, True)


def is_kept(source: Source) -> bool:
    """Whether a source shows some columns of another one."""
    return isinstance(source, KeptColumns | KeptDaskColumns)


def mask_of(source: Source, mask: Any) -> Mask | None:
    """A mask as the caller wrote it, over the columns of a source; None where nothing is said, or it is to be found.

    Raises
    ------
    SpecError
        If it is no mask of these columns.
    """
    if mask is None:
        return None
    if isinstance(mask, str):
        from streamsvd.store.sources.mask_variable import mask_variable  # imports zarr

        try:
            mask = mask_variable(source, mask)
        except SpecError:
            if mask == AUTO:
                return None
            raise
    where = source.name
    names = column_names(source)
    if names:
        where += f", of {names},"
    return as_mask(in_column_order(source, mask, "mask"), column_extents(source), where)


def _put_labels(result: Any, view: View) -> Any:
    """A result with the labels of its whole matrix."""
    with_labels = getattr(result, "with_labels", None)
    return result if with_labels is None else with_labels(source_labels(view.whole))


def over_columns_with_values(
    put_back: Callable[[Any, View], Any],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A verb that runs over the columns that are kept, whose result then has all of them.

    The verb takes the matrix first, and ``mask``, which never reaches it: what it is given is the matrix that is left. If
    it takes ``nonfinite``, columns that are missing throughout are looked for under every value but ``"raise"``, and the
    matrix that it is given has no missing values.

    Parameters
    ----------
    put_back
        Spreads a result over all columns, of those that the view kept.
    """

    def decorate(verb: Callable[P, R]) -> Callable[P, R]:
        first = next(iter(inspect.signature(verb).parameters))

        @functools.wraps(verb)
        def over(*args: Any, mask: Any = None, **options: Any) -> R:
            if not args and first not in options:
                return verb(*args, **options)  # says what is lacking
            A, *rest = args or (options.pop(first),)
            nonfinite, notify = (
                options.get("nonfinite", "raise"),
                options.get("callback", ignore_event),
            )
            check_policy(nonfinite)
            view = select_columns(as_source(A), mask, tolerant=nonfinite != "raise", notify=notify)
            view = without_missing(view, nonfinite, options.get("memory"), notify)
            with view.naming():
                try:
                    result = verb(view.source, *rest, **options)  # type: ignore[arg-type]
                except NotConverged as error:
                    partial = _put_labels(put_back(error.result, view), view)
                    raise NotConverged(error.message, partial) from None
            found: R = _put_labels(put_back(result, view), view)
            return found

        return over

    return decorate


def plan_over_columns(plan: Callable[P, RunPlan]) -> Callable[P, RunPlan]:
    """A plan of a verb that runs over the columns that are kept, and has no place for missing values.

    The plan takes the matrix first, ``mask``, which never reaches it, and ``nonfinite``: what it is given is the matrix that
    the verb will be given, as far as it is known without reading. What is read before the verb begins is added to it.
    """
    first = next(iter(inspect.signature(plan).parameters))

    @functools.wraps(plan)
    def over(*args: Any, mask: Any = None, **options: Any) -> RunPlan:
        if not args and first not in options:
            return plan(*args, **options)  # says what is lacking
        A, *rest = args or (options.pop(first),)
        nonfinite = options.get("nonfinite", "raise")
        check_policy(nonfinite)
        view = unread_view(as_source(A), mask, tolerant=nonfinite != "raise")
        source = view.source
        found = plan(fill_unread(source, nonfinite), *rest, **options)  # type: ignore[arg-type]
        if view.searched_for_empty:
            found = replace(found, notes=(*found.notes, LOOK_NOTE))
        if nonfinite not in COUNT_NOTES or source.dtype.kind not in "fc":
            return found
        counting = schedule_counting(source, options.get("memory"))
        return replace(
            found,
            passes=None if found.passes is None else found.passes + 1,
            projected_bytes=max(found.projected_bytes, counting.projected_bytes),
            notes=(*found.notes, COUNT_NOTES[nonfinite]),
        )

    return over


def without_missing(
    view: View, nonfinite: str, memory: int | float | str | None, notify: Callback
) -> View:
    """The matrix without missing values, as the policy says, for verbs that have no place for them.

    Notes
    -----
    Cost: one pass for ``"mean"`` and ``"drop_columns"``.
    """
    if nonfinite == "raise" or view.source.dtype.kind not in "fc":
        return view
    view = replace(view, nonfinite=nonfinite)
    if nonfinite == "zero":
        return replace(view, source=fill_missing(view.source, nonfinite, None))
    with view.naming():
        counts = count_missing(view.source, memory, notify)
    view = replace(
        view,
        look_bytes=view.look_bytes + view.source.nbytes,
        n_missing=int(counts.missing.sum()),
        counting_passes=1,
    )
    if not counts.missing.any():
        return view
    if nonfinite == "mean":
        return replace(view, source=fill_missing(view.source, nonfinite, counts))
    holes = counts.missing > 0
    if holes.all():
        raise SpecError(
            f'every column of {view.whole.name} has missing values: nonfinite="drop_columns" would leave none. Pass "zero" or '
            '"mean".'
        )
    columns = view.columns or Columns.of(np.ones(view.source.shape[1], bool))
    columns = columns.without(holes)
    notify(ColumnsLeftOut(len(columns.dropped_indices), columns.count, columns.description))
    return replace(view, source=kept_source(view.whole, columns), columns=columns)


def with_columns(info: Info, view: View) -> Info:
    """How a result came about, with the columns that are left out and what it took to know them."""
    if view.columns is None and not view.look_bytes and view.nonfinite == "raise":
        return info
    said = () if view.columns is None else (f"{view.columns.description}.",)
    return replace(
        info,
        passes=info.passes + view.counting_passes,
        bytes_read=info.bytes_read + view.look_bytes,
        warnings=(*info.warnings, *said),
        nonfinite=view.nonfinite,
        missing=info.missing + view.n_missing,
        dropped_columns=view.dropped_indices,
    )
