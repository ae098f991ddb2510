"""Sums of counts, of each cell and of each gene, in float64: of integers they are exact.

A block is a ``csr_array`` of cells by genes. Entries that are stored as 0 count as if they were not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.float64]
Rows = Any
"""A ``scipy.sparse.csr_array``."""


@dataclass(frozen=True, slots=True, eq=False)
class CellSums:
    """Of each cell.

    Attributes
    ----------
    total, genes, named
        Sum of its counts, genes with a count, and sum of the counts of the genes that are named, ``(cells,)``.
    """

    total: Sums
    genes: Sums
    named: Sums


@dataclass(slots=True, eq=False)
class GeneSums:
    """Of each gene, over some cells.

    Attributes
    ----------
    first, second
        Sum of its entries, and of their squares, ``(n,)``.
    cells
        Cells in which it is not 0, ``(n,)``.
    """

    first: Sums
    second: Sums
    cells: Sums

    @classmethod
    def zero(cls, n: int) -> GeneSums:
        """Over no cells."""
        return cls(np.zeros(n), np.zeros(n), np.zeros(n))

    def add(self, other: GeneSums) -> None:
        """With the cells of another, in this memory."""
        self.first += other.first
        self.second += other.second
        self.cells += other.cells

    def copy(self) -> GeneSums:
        """The same in memory of its own."""
        return GeneSums(self.first.copy(), self.second.copy(), self.cells.copy())


def count_entries(block: Rows, named: npt.NDArray[np.bool_]) -> tuple[CellSums, GeneSums]:
    """Sums of a block of counts.

    Parameters
    ----------
    block
        Cells by genes.
    named
        Genes whose counts are summed apart, ``(n,)``.

    Notes
    -----
    Cost: about 15 ns an entry, and 16 bytes an entry.
    """
    values = block.data.astype(np.float64)
    there = block.data != 0
    n = block.shape[1]
    if there.all():
        genes = np.diff(block.indptr).astype(np.float64)
        cells: Sums = np.bincount(block.indices, minlength=n).astype(np.float64)
    else:
        genes = _row_sums(there.astype(np.float64), block)
        cells = np.bincount(block.indices, weights=there, minlength=n).astype(np.float64)
    apart = np.where(named[block.indices], values, 0.0)
    of_cells = CellSums(_row_sums(values, block), genes, _row_sums(apart, block))
    return of_cells, GeneSums(*_column_sums(values, block), cells)


def sum_normalised(block: Rows, totals: Sums, target: float) -> GeneSums:
    """Sums of the entries of a block, each cell of which is divided by its total and multiplied by a target."""
    factors = np.divide(target, totals, out=np.zeros_like(totals), where=totals > 0)
    values = block.data * np.repeat(factors, np.diff(block.indptr))
    return GeneSums(*_column_sums(values, block), np.zeros(block.shape[1]))


def sum_clipped(block: Rows, most: Sums) -> GeneSums:
    """Sums of the entries of a block, none of which counts for more than ``most (n,)`` of its gene."""
    values = np.minimum(block.data, most[block.indices])
    return GeneSums(*_column_sums(values, block), np.zeros(block.shape[1]))


def _row_sums(values: Sums, block: Rows) -> Sums:
    """Of values that stand where the entries of a block do, in their order."""
    at = block.indptr
    out = np.zeros(block.shape[0])
    filled = np.flatnonzero(at[1:] > at[:-1])
    if filled.size:
        out[filled] = np.add.reduceat(values, at[filled])
    return out


def _column_sums(values: Sums, block: Rows) -> tuple[Sums, Sums]:
    """The same of genes: of values, and of their squares."""
    n = block.shape[1]
    first: Sums = np.bincount(block.indices, weights=values, minlength=n).astype(np.float64)
    second: Sums = np.bincount(block.indices, weights=values * values, minlength=n).astype(
        np.float64
    )
    return first, second


@dataclass(frozen=True, slots=True, eq=False)
class GeneMoments:
    """Mean and variance of each gene, ``(n,)``; the variance of ``m - 1`` degrees of freedom."""

    mean: Sums
    variance: Sums
    n_cells: int


def moments_of(sums: GeneSums, n_cells: int) -> GeneMoments:
    """Mean and variance of the genes of so many cells.

    Notes
    -----
    Squares about 0 lose at most the factor ``1 / (1 - p)`` of digits, ``p`` the share of cells in which a gene is not 0: little for
    counts. A variance that rounding makes negative is 0.
    """
    mean = sums.first / n_cells
    spread = np.maximum(sums.second - sums.first * mean, 0.0)
    return GeneMoments(mean, spread / max(n_cells - 1, 1), n_cells)
