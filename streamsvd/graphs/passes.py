"""What one read of a graph finds for each of its nodes: its degree, or where one step along its edges leads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.engine.row_runs import as_compressed_rows
from streamsvd.errors import NonFiniteError, SpecError, remedy_of
from streamsvd.graphs.mathematics import (
    MODULUS,
    asymmetry_hash,
    first_lost_row,
    multiply_rows,
)
from streamsvd.protocols import Source
from streamsvd.typing import Matrix, Real

NAN_REMEDY = "Mend the weight, or leave the edge out."


@dataclass(frozen=True, slots=True, eq=False)
class NodeValues:
    """Rows that were found, a number or several for each node, in runs that follow one another.

    Attributes
    ----------
    pieces
        Number of the first node of each run, and its rows.
    asymmetry
        Of a graph that was asked whether it is symmetric: 0 where it is.
    """

    pieces: tuple[tuple[int, Matrix], ...] = ()
    asymmetry: int = 0

    def merge(self, other: NodeValues) -> NodeValues:
        """Of both."""
        total = (self.asymmetry + other.asymmetry) % MODULUS
        return NodeValues((*self.pieces, *other.pieces), total)

    def fill(self, out: Matrix) -> None:
        """Put them where they belong."""
        for first, rows in self.pieces:
            out[first : first + rows.shape[0]] = rows


@dataclass(slots=True, eq=False)
class FoundRows:
    """Rows that a span has found so far; one owner, updated in place."""

    pieces: list[tuple[int, Matrix]] = field(default_factory=list)
    asymmetry: int = 0


class _NodePass:
    """A pass that finds something of each node."""

    __slots__ = ()

    def init(self, device: Device) -> FoundRows:
        """Of no node."""
        del device
        return FoundRows()

    def close(self, state: FoundRows) -> NodeValues:
        """Of the nodes of a span."""
        return NodeValues(tuple(state.pieces), state.asymmetry)

    def merge(self, left: NodeValues, right: NodeValues) -> NodeValues:
        """Of both."""
        return left.merge(right)


@dataclass(frozen=True, slots=True, eq=False)
class DegreePass(_NodePass):
    """The sum of each row's weights, ``(n,)`` in float64, which are looked at on the way.

    Attributes
    ----------
    source
        The graph, for messages.
    compares
        Whether the graph is compared with its transpose.
    """

    source: Source
    compares: bool = False

    def update(self, state: FoundRows, block: Block) -> FoundRows:
        """With some rows.

        Raises
        ------
        NonFiniteError, SpecError
            If a weight is not finite, or below 0; it names its row and column.
        """
        rows = as_compressed_rows(block.data)
        values, offsets = rows.data.astype(np.float64), rows.indptr
        with np.errstate(over="ignore", invalid="ignore"):
            # in the order of the row: `reduceat` would take the next row's first for an empty one
            sums = np.bincount(
                np.repeat(np.arange(offsets.size - 1), np.diff(offsets)), values, offsets.size - 1
            )
        if not np.isfinite(sums).all() or (values < 0).any():
            self._refuse(block.first, rows, values)
        if self.compares:
            found = asymmetry_hash(rows, block.first)
            state.asymmetry = (state.asymmetry + found) % MODULUS
        state.pieces.append((block.first, sums))
        return state

    def _refuse(self, first: int, rows: Any, values: Real) -> None:
        """Raise for the first weight that cannot be meant."""
        bad = ~np.isfinite(values) | (values < 0)
        if not bad.any():
            raise SpecError(
                f"the weights of a node of {self.source.name} add up beyond float64. Divide all weights by one number."
            )
        at = int(np.argmax(bad))
        row = int(np.searchsorted(rows.indptr, at, side="right")) - 1
        column, value = int(rows.indices[at]), float(values[at])
        where = self.source.locate(first + row, column)
        if np.isfinite(value):
            raise SpecError(
                f"the edge from node {first + row} to node {column} has weight {value:g} ({where}), and weights of edges are 0 or "
                "more. Take the moduli, or leave such edges out."
            )
        text = "NaN" if np.isnan(value) else "Inf"
        raise NonFiniteError(text, first + row, column, where, remedy_of(text, NAN_REMEDY))


@dataclass(frozen=True, slots=True, eq=False)
class StepPass(_NodePass):
    """One step along the edges: ``D^-1 A X``, or ``A X``.

    Attributes
    ----------
    source
        The graph, for messages.
    X
        ``(n, w)``; what is found has its type.
    degrees
        Diagonal of D, ``(n,)``.
    divides
        Whether rows are divided by their degrees.
    largest
        The largest modulus of each row of X, ``(n,)``, where rows are not divided: so that numbers too small for the type are found.
    """

    source: Source
    X: Matrix
    degrees: Real
    divides: bool
    largest: Matrix | None = None

    def update(self, state: FoundRows, block: Block) -> FoundRows:
        """With some rows.

        Raises
        ------
        SpecError
            If an entry leaves the type, or a whole row is too small for it.
        """
        rows = as_compressed_rows(block.data)
        degrees = self.degrees[block.first : block.first + rows.shape[0]]
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            Y = multiply_rows(rows, self.X, degrees if self.divides else None)
        if not np.isfinite(Y).all():
            raise SpecError(
                f'a step along the edges of {self.source.name} leaves the range of {self.X.dtype}. Pass step="transition", '
                'precision="double", fewer weights, or a beta nearer to 0.'
            )
        if self.largest is not None:
            lost = first_lost_row(rows, degrees, self.largest, Y)
            if lost is not None:
                raise SpecError(
                    f"a step along the edges of node {block.first + lost} of {self.source.name} is too small for {self.X.dtype}: its weights "
                    f'add up to {degrees[lost]:.3g}. Pass step="transition", precision="double", fewer steps, or the weights '
                    "multiplied by one number."
                )
        state.pieces.append((block.first, Y))
        return state
