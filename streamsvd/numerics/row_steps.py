"""Row steps: what is done to counts, documents and graphs, entry by entry or by sums of whole rows, before they are factorised.

A step is a frozen value. It is computed in float64, on stored entries or on dense rows alike: both are `Entries`. Steps run in
their order, and each but Pearson residuals leaves a zero as zero, so that what is sparse stays sparse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.numerics.blocks import BadEntry
from streamsvd.typing import Real

Array = npt.NDArray[Any]
Need = Literal["row sums", "documents", "column sums"]
"""What a step is to know of all rows before one of them is read: their sums, entries of each column that are not 0, sums of columns."""


class Entries(Protocol):
    """Entries of some rows in float64, in memory of their own, which steps write into."""

    values: Array

    def row_sums(self) -> Real:
        """Sum of each row; entries that are missing count as 0."""
        ...

    def row_norms(self, kind: Literal["l1", "l2"]) -> Real:
        """Norm of each row."""
        ...

    def multiply_rows(self, factors: Real) -> None:
        """Each row times its factor."""
        ...

    def multiply_columns(self, factors: Real) -> None:
        """Each column times its factor, of all columns of the matrix."""
        ...

    def column_sums(self) -> Real:
        """Sum of each column."""
        ...

    def documents(self) -> npt.NDArray[np.int64]:
        """Entries of each column that are not 0."""
        ...

    def place(self, at: int) -> tuple[int, int]:
        """Row and column in the matrix of an entry of `values`, flat."""
        ...


@dataclass(slots=True, eq=False)
class SparseEntries:
    """Entries of rows as they are stored.

    Attributes
    ----------
    values
        In float64, ``(Z,)``.
    indices, offsets
        Of a ``csr_array``.
    width
        Columns; of columns, rows.
    first
        Number of the first row; of columns, of the first column.
    of_columns
        Whether its rows are columns of the matrix, as CSC has them: such have no sums of rows.
    """

    values: Array
    indices: Array
    offsets: Array
    width: int
    first: int = 0
    of_columns: bool = False

    def row_sums(self) -> Real:
        return self._over_rows(self.values)

    def row_norms(self, kind: Literal["l1", "l2"]) -> Real:
        if kind == "l1":
            return self._over_rows(np.abs(self.values))
        return np.asarray(np.sqrt(self._over_rows(self.values * self.values)))

    def _over_rows(self, values: Array) -> Real:
        sums = np.zeros(self.offsets.size - 1)
        there = np.flatnonzero(np.diff(self.offsets))
        if there.size:
            sums[there] = np.add.reduceat(values, self.offsets[there])
            if not np.isfinite(sums).all():
                sums[there] = np.add.reduceat(np.nan_to_num(values, nan=0.0), self.offsets[there])
        return sums

    def multiply_rows(self, factors: Real) -> None:
        self.values *= np.repeat(factors, np.diff(self.offsets))

    def multiply_columns(self, factors: Real) -> None:
        if self.of_columns:
            self.multiply_rows(factors[self.first : self.first + self.offsets.size - 1])
        else:
            self.values *= factors[self.indices]

    def column_sums(self) -> Real:
        weights = np.nan_to_num(self.values, nan=0.0)
        return np.bincount(self.indices, weights, self.width).astype(np.float64, copy=False)

    def documents(self) -> npt.NDArray[np.int64]:
        there = self.indices if self.values.all() else self.indices[self.values != 0]
        return np.bincount(there, minlength=self.width).astype(np.int64)

    def place(self, at: int) -> tuple[int, int]:
        row = self.first + int(np.searchsorted(self.offsets, at, side="right")) - 1
        column = int(self.indices[at])
        return (column, row) if self.of_columns else (row, column)


@dataclass(slots=True, eq=False)
class DenseEntries:
    """Entries of rows with their zeros.

    Attributes
    ----------
    values
        In float64, ``(rows, columns)``.
    first, first_column
        Number of the first row, and of the first column.
    """

    values: Array
    first: int = 0
    first_column: int = 0

    def row_sums(self) -> Real:
        sums = self.values.sum(axis=1)
        return sums if np.isfinite(sums).all() else np.asarray(np.nansum(self.values, axis=1))

    def row_norms(self, kind: Literal["l1", "l2"]) -> Real:
        there = np.nan_to_num(self.values, nan=0.0)
        if kind == "l1":
            return np.asarray(np.abs(there).sum(axis=1))
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", there, there)))

    def multiply_rows(self, factors: Real) -> None:
        self.values *= factors[:, None]

    def multiply_columns(self, factors: Real) -> None:
        self.values *= factors[self.first_column : self.first_column + self.values.shape[1]]

    def column_sums(self) -> Real:
        return np.asarray(np.nansum(self.values, axis=0))

    def documents(self) -> npt.NDArray[np.int64]:
        return np.asarray(np.count_nonzero(self.values, axis=0), np.int64)

    def place(self, at: int) -> tuple[int, int]:
        row, column = divmod(at, self.values.shape[1])
        return self.first + row, self.first_column + column


@dataclass(frozen=True, slots=True)
class CountTotals:
    """What was counted of all rows, with the steps before one.

    Attributes
    ----------
    n_rows
        Rows.
    row_sums, column_sums, documents
        Of each row, ``(m,)``, and of each column, ``(n,)``; None where no step needs them.
    """

    n_rows: int
    row_sums: Real | None = None
    column_sums: Real | None = None
    documents: npt.NDArray[np.int64] | None = None


class RowStep(Protocol):
    """What is done to each row.

    Attributes
    ----------
    keeps_zeros
        Whether a zero stays zero.
    of_whole_rows
        Whether it depends on sums of whole rows.
    """

    keeps_zeros: ClassVar[bool]

    @property
    def text(self) -> str:
        """How it is written, `parse_steps` of which is the same step."""
        ...

    @property
    def of_whole_rows(self) -> bool: ...

    @property
    def need(self) -> Need | None:
        """What is to be counted before it can be applied; None where nothing is, or it was."""
        ...

    @property
    def vector(self) -> Real | None:
        """What it knows of each column, ``(n,)``; None for nothing."""
        ...

    def counted(self, totals: CountTotals) -> RowStep:
        """The same with what was counted."""
        ...

    def with_vector(self, vector: Real) -> RowStep:
        """The same with what is known of each column."""
        ...

    def apply(self, entries: Entries) -> None:
        """Change the entries."""
        ...


@dataclass(frozen=True, slots=True)
class PlainStep:
    """A step that needs nothing but the entry."""

    keeps_zeros: ClassVar[bool] = True
    name: ClassVar[str]

    @property
    def text(self) -> str:
        return self.name

    @property
    def of_whole_rows(self) -> bool:
        return False

    @property
    def need(self) -> Need | None:
        return None

    @property
    def vector(self) -> Real | None:
        return None

    def counted(self, totals: CountTotals) -> Any:
        del totals
        return self

    def with_vector(self, vector: Real) -> Any:
        raise SpecError(f"{self.text} has {vector.size} numbers of columns, and takes none.")


@dataclass(frozen=True, slots=True)
class Normalize(PlainStep):
    """Each row times ``target / sum``: its sum is the target then. A row whose sum is not positive stays as it is.

    Attributes
    ----------
    target
        The sum; None for the median of the positive sums of rows, as scanpy's ``normalize_total`` has it.
    """

    target: float | None = None
    name: ClassVar[str] = "normalize"

    def __post_init__(self) -> None:
        if self.target is not None and not 0 < self.target < np.inf:
            raise SpecError(
                f"normalize={self.target:g} is no sum of a row. Pass a positive number, such as normalize=1e4."
            )

    @property
    def text(self) -> str:
        return self.name if self.target is None else f"{self.name}={_shortest(self.target)}"

    @property
    def of_whole_rows(self) -> bool:
        return True

    @property
    def need(self) -> Need | None:
        return "row sums" if self.target is None else None

    def counted(self, totals: CountTotals) -> Normalize:
        assert totals.row_sums is not None
        positive = totals.row_sums[totals.row_sums > 0]
        if not positive.size:
            raise SpecError(
                "normalize has no target: no row has a positive sum. Pass normalize=1e4, or leave the step out."
            )
        return Normalize(float(np.median(positive)))

    def apply(self, entries: Entries) -> None:
        assert self.target is not None
        sums = entries.row_sums()
        there = sums > 0
        sums[there] = self.target / sums[there]
        sums[~there] = 1.0
        entries.multiply_rows(sums)


@dataclass(frozen=True, slots=True)
class Log1p(PlainStep):
    """``log(1 + x)`` of each entry."""

    name: ClassVar[str] = "log1p"

    def apply(self, entries: Entries) -> None:
        refuse_negative(entries, self.name)
        np.log1p(entries.values, out=entries.values)


@dataclass(frozen=True, slots=True)
class Sqrt(PlainStep):
    """The root of each entry."""

    name: ClassVar[str] = "sqrt"

    def apply(self, entries: Entries) -> None:
        refuse_negative(entries, self.name)
        np.sqrt(entries.values, out=entries.values)


@dataclass(frozen=True, slots=True)
class Binarize(PlainStep):
    """1 of each entry that is not 0; what is missing stays so."""

    name: ClassVar[str] = "binarize"

    def apply(self, entries: Entries) -> None:
        values = entries.values
        np.copyto(values, 1.0, where=(values != 0) & ~np.isnan(values))


def refuse_negative(entries: Entries, what: str) -> None:
    """Refuse entries below 0.

    Raises
    ------
    SpecError
        It names the first.
    """
    values = entries.values
    if values.size and np.fmin.reduce(values, axis=None) < 0:
        at = int(np.argmax(values.reshape(-1) < 0))
        row, column = entries.place(at)
        raise SpecError(
            f"{what} of {values.reshape(-1)[at]:g} at row {row:,}, column {column:,}: it takes no negative entries. Leave the step "
            "out, or open the counts (of AnnData layers/counts or raw/X)."
        )


def refuse_infinite(entries: Entries) -> None:
    """Refuse Inf, which sums would hide.

    Raises
    ------
    BadEntry
        It names the first.
    """
    values = entries.values
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()) or not np.isinf(values).any():
            return
    row, column = entries.place(int(np.argmax(np.isinf(values.reshape(-1)))))
    raise BadEntry("Inf", row, column)


def apply_in_order(entries: Entries, steps: Sequence[RowStep]) -> None:
    """All steps, one after the other, in the memory of the entries.

    Raises
    ------
    SpecError, BadEntry
        If an entry is none that a step takes, or Inf; it names row and column.
    """
    refuse_infinite(entries)
    for step in steps:
        step.apply(entries)


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
        (found,) = parse_steps([self.text])
        return found if self.vector is None else found.with_vector(self.vector)


def _shortest(number: float) -> str:
    """A number as it is read again, without a useless fraction."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"{name}={text}: {text!r} is no number. {_choices()}") from None


def _parse_normalize(said: str) -> RowStep:
    return Normalize(None if said in ("", "median") else _number("normalize", said))


def _plain(kind: Callable[[], RowStep]) -> Callable[[str], RowStep]:
    def parse(said: str) -> RowStep:
        step = kind()
        if said:
            raise SpecError(f"{step.text}={said}: {step.text} takes no value. {_choices()}")
        return step

    return parse


_KINDS: dict[str, tuple[str, Callable[[str], RowStep]]] = {
    "normalize": ("normalize, normalize=1e4", _parse_normalize),
    "log1p": ("log1p", _plain(Log1p)),
    "sqrt": ("sqrt", _plain(Sqrt)),
    "binarize": ("binarize", _plain(Binarize)),
}


def _choices() -> str:
    return f"Steps are {', '.join(said for said, _ in _KINDS.values())}."


def parse_steps(texts: str | Sequence[str]) -> tuple[RowStep, ...]:
    """Steps from texts such as ``["normalize=1e4", "log1p"]``, in their order.

    Parameters
    ----------
    texts
        One for each step; or all of them in one, with commas.

    Raises
    ------
    SpecError
        If there is no such step, or its value is none; it names the step and lists what there is.
    """
    found = []
    for text in split_steps(texts) if isinstance(texts, str) else texts:
        name, _, said = text.partition("=")
        name = name.strip().replace("ise", "ize")
        if name not in _KINDS:
            raise SpecError(f"{text!r} is no step. {_choices()}")
        found.append(_KINDS[name][1](said.strip()))
    return tuple(found)


def split_steps(text: str) -> tuple[str, ...]:
    """``"degrees=-0.5,-0.5,log1p"`` as two texts: what begins with no letter belongs to the step before it."""
    found = list[str]()
    for part in text.split(","):
        if found and part.strip()[:1] in tuple("+-.0123456789"):
            found[-1] += f",{part.strip()}"
        elif part.strip():
            found.append(part.strip())
    return tuple(found)


def with_counts(steps: Sequence[RowStep], known: Sequence[RowStep]) -> tuple[RowStep, ...]:
    """Steps with what others of the same kind have counted.

    Raises
    ------
    SpecError
        If they are other steps.
    """
    same = len(steps) == len(known) and all(
        type(a) is type(b) and (a.need is not None or a == b)
        for a, b in zip(steps, known, strict=True)
    )
    if not same:
        raise SpecError(
            f"the steps were {texts_of(known)}, and are to be {texts_of(steps)}. Leave steps out with like=, or pass the same."
        )
    return tuple(known)


def texts_of(steps: Sequence[RowStep]) -> str:
    """Steps for a message."""
    return ", ".join(step.text for step in steps) or "none"
