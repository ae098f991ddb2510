"""Entries of rows that steps are taken on: as they are stored, or with their zeros, under the same names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.numerics.blocks import BadEntry
from streamsvd.typing import Real

Array = npt.NDArray[Any]


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


def refuse_fractions(entries: Entries, what: str) -> None:
    """Refuse entries that are no counts.

    Raises
    ------
    SpecError
        It names the first.
    """
    values = entries.values.reshape(-1)
    bad = (values != np.floor(values)) & ~np.isnan(values)
    if bad.any():
        at = int(np.argmax(bad))
        row, column = entries.place(at)
        raise SpecError(
            f"{what} expects counts; row {row:,}, column {column:,} is {values[at]:g}. Open the counts: of AnnData layers/counts or raw/X."
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
