"""What tasks do with some parts of a collection: sketches, of the matrices or of projections of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.mathematics import BlockSketch, sketch, sketch_projection
from streamsvd.collections.mathematics.sketches import SHARE
from streamsvd.collections.weights import ALIKE, Metrics
from streamsvd.engine.tree import Run
from streamsvd.store.collections import Collection, Member
from streamsvd.typing import Matrix

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class BlockReading:
    """What a read of one matrix leaves.

    Attributes
    ----------
    sketch
        For clustering.
    values
        The array itself where no factors will do.
    zeros
        NaN that count as zero.
    """

    sketch: BlockSketch
    values: Array | None
    zeros: int


@dataclass(frozen=True, slots=True, eq=False)
class BlockSketchPass:
    """Sketches of the matrices; with ``keep``, those that have no small factors are kept too.

    Attributes
    ----------
    collection, error, rank
        What is read, and what will be asked of clusters.
    keep
        Whether matrices are kept.
    omega
        Projection to propose by; None to sketch the matrices themselves.
    share
        Part of the error that a sketch may spend.
    metrics
        How errors are measured.
    """

    collection: Collection
    error: float
    rank: int | None
    keep: bool
    omega: Matrix | None = None
    share: float = SHARE
    metrics: Metrics = ALIKE

    def leaf(self, rows: Run) -> list[BlockReading]:
        """Those of some parts."""
        return [
            self._read_block(member, A, zeros)
            for number in range(*rows)
            for member, A, zeros in checked_matrices(self.collection, number)
        ]

    def join(self, left: list[BlockReading], right: list[BlockReading]) -> list[BlockReading]:
        """One after the other."""
        return left + right

    def _read_block(self, member: Member, A: Array, zeros: int) -> BlockReading:
        metric = self.metrics.of(member.name)
        if self.omega is not None:
            found = sketch_projection(member.name, A, self.omega, error=self.error, metric=metric)
            return BlockReading(found, None, zeros)
        found = sketch(member.name, A, error=self.error, share=self.share, metric=metric)
        keep = self.keep and not factors_pay(found, self.error, self.rank)
        return BlockReading(found, member.layout.array(A.copy()) if keep else None, zeros)


def checked_matrices(collection: Collection, number: int) -> Iterator[tuple[Member, Array, int]]:
    """Matrices of a part, and how many NaN became zero."""
    for member, A in collection.matrices(collection.parts[number]):
        zeros = 0
        if collection.zeros and A.dtype.kind == "f":
            gaps = np.isnan(A)
            zeros = int(np.count_nonzero(gaps))
            if zeros:
                A = np.where(gaps, np.zeros((), A.dtype), A)
        yield member, A, zeros


def factors_pay(found: BlockSketch, error: float, rank: int | None) -> bool:
    """Whether a matrix has factors, by itself, that meet the error and are smaller than it."""
    tails = np.cumsum(found.squares[::-1])[::-1] + found.tail
    r = int(np.count_nonzero(tails > error * error * found.energy))
    if rank is not None:
        return r <= rank and rank * (found.rows + found.width) < found.rows * found.width
    return r * (found.rows + found.width) < found.rows * found.width
