"""What the passes over counts add up: sums of cells and genes, then sums of what is left of each count when it is clipped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.engine.row_runs import as_compressed_rows
from streamsvd.errors import NonFiniteError, SpecError
from streamsvd.protocols import Source
from streamsvd.single_cell.mathematics import (
    CellSums,
    GeneSums,
    count_entries,
    sum_clipped,
    sum_normalised,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class CountedRows:
    """What a span, or all of the matrix, holds.

    Attributes
    ----------
    genes
        Sums of each gene.
    normalised
        The same of normalised counts; None where nobody asked.
    totals, found, named
        Of the cells in their order, in pieces: sum of counts, genes with a count, and sum of the genes that are named.
    """

    genes: GeneSums
    normalised: GeneSums | None
    totals: tuple[Array, ...] = ()
    found: tuple[Array, ...] = ()
    named: tuple[Array, ...] = ()

    @property
    def cells(self) -> CellSums:
        """Of all cells, joined."""
        return CellSums(*(np.concatenate(each) for each in (self.totals, self.found, self.named)))


@dataclass(slots=True, eq=False)
class CellCountState:
    """Sums of a span so far."""

    genes: GeneSums
    normalised: GeneSums | None
    cells: list[CellSums] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class CellCountPass:
    """Sums of counts.

    Attributes
    ----------
    named
        Genes whose counts are summed apart, ``(n,)``.
    integers
        Whether an entry that is no integer is an error.
    target
        What the counts of a cell sum to, where sums of normalised counts are wanted too; None for not.
    source
        The matrix, for messages.

    Notes
    -----
    Cost: some 20 ns an entry; 24 bytes a cell and 24 or 48 a gene leave a task.
    """

    named: npt.NDArray[np.bool_]
    integers: bool
    target: float | None
    source: Source

    def init(self, device: Device) -> CellCountState:
        """No cells."""
        del device
        n = self.named.size
        return CellCountState(GeneSums.zero(n), None if self.target is None else GeneSums.zero(n))

    def update(self, state: CellCountState, block: Block) -> CellCountState:
        """With the cells of a run."""
        rows = as_compressed_rows(block.data)
        self._check(block.first, rows)
        cells, genes = count_entries(rows, self.named)
        state.cells.append(cells)
        state.genes.add(genes)
        if state.normalised is not None and self.target is not None:
            state.normalised.add(sum_normalised(rows, cells.total, self.target))
        return state

    def close(self, state: CellCountState) -> CountedRows:
        """The sums; those of cells in one piece."""
        parts = state.cells
        return CountedRows(
            state.genes,
            state.normalised,
            (np.concatenate([c.total for c in parts]),),
            (np.concatenate([c.genes for c in parts]),),
            (np.concatenate([c.named for c in parts]),),
        )

    def merge(self, left: CountedRows, right: CountedRows) -> CountedRows:
        """Both, in their order."""
        genes = left.genes.copy()
        normalised = None if left.normalised is None else left.normalised.copy()
        return self.absorb(
            CountedRows(genes, normalised, left.totals, left.found, left.named), right
        )

    def absorb(self, left: CountedRows, right: CountedRows) -> CountedRows:
        """The same in the memory of the left one."""
        left.genes.add(right.genes)
        if left.normalised is not None and right.normalised is not None:
            left.normalised.add(right.normalised)
        return CountedRows(
            left.genes, left.normalised, left.totals + right.totals, left.found + right.found, left.named + right.named
        )  # fmt: skip

    def _check(self, first: int, rows: Any) -> None:
        """Refuse what is no count.

        Raises
        ------
        SpecError
            If an entry is negative or, of integers, a fraction; it names row and column.
        NonFiniteError
            If one is not finite.
        """
        values = rows.data
        if values.dtype.kind in "bu" or values.size == 0:
            return
        if values.dtype.kind == "c":
            raise SpecError(f"{self.source.name} is complex: counts are real numbers.")
        least, total = values.min(), values.sum(dtype=np.float64)
        if not np.isfinite(total):
            at = int(np.argmax(~np.isfinite(values)))
            place = _place(first, rows, at)
            value = "NaN" if np.isnan(values[at]) else "Inf"
            remedy = "Counts are numbers: mend it, or leave out the cell."
            raise NonFiniteError(value, *place, self.source.locate(*place), remedy)
        if least < 0:
            row, column = _place(first, rows, int(np.argmax(values < 0)))
            raise SpecError(
                f"{self.source.name} has {values[values < 0][0]:g} at row {row}, column {column}: counts are not negative. Pass the raw counts, "
                'such as layer="counts".'
            )
        if self.integers and values.dtype.kind == "f":
            broken = values != np.floor(values)
            if broken.any():
                at = int(np.argmax(broken))
                row, column = _place(first, rows, at)
                raise SpecError(
                    f'{self.source.name} has {values[at]:g} at row {row}, column {column}: flavor="seurat_v3" takes counts, not fractions. Pass '
                    'the raw counts, such as layer="counts" or variable="raw/X", or flavor="seurat".'
                )


def _place(first: int, rows: Any, at: int) -> tuple[int, int]:
    """Row and column of an entry, by its number in a run."""
    row = int(np.searchsorted(rows.indptr, at, side="right")) - 1
    return first + row, int(rows.indices[at])


@dataclass(frozen=True, slots=True, eq=False)
class ClippedPass:
    """Sums of counts, none of which counts for more than the trend allows.

    Attributes
    ----------
    most
        Of each gene, ``(n,)``.
    """

    most: npt.NDArray[np.float64]

    def init(self, device: Device) -> GeneSums:
        """No cells."""
        del device
        return GeneSums.zero(self.most.size)

    def update(self, state: GeneSums, block: Block) -> GeneSums:
        """With the cells of a run."""
        state.add(sum_clipped(as_compressed_rows(block.data), self.most))
        return state

    def close(self, state: GeneSums) -> GeneSums:
        """The sums."""
        return state

    def merge(self, left: GeneSums, right: GeneSums) -> GeneSums:
        """Both."""
        return self.absorb(left.copy(), right)

    def absorb(self, left: GeneSums, right: GeneSums) -> GeneSums:
        """Both, in the memory of the left one."""
        left.add(right)
        return left
