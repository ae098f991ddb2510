"""What one read of a collection finds of each matrix: its sketch, of itself or of a projection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from streamsvd.collections.mathematics import BlockSketch, sketch, sketch_projection
from streamsvd.collections.mathematics.sketches import SHARE
from streamsvd.collections.readers import MemberBlock
from streamsvd.collections.weights import ALIKE, Metrics
from streamsvd.engine.device import Device
from streamsvd.typing import Matrix

Array = npt.NDArray[Any]
T = TypeVar("T")


class MemberPass(ABC, Generic[T]):
    """A pass that finds something of each matrix by itself: all of it, in the order of the collection."""

    __slots__ = ()

    @abstractmethod
    def find(self, block: MemberBlock) -> T:
        """What is found of one."""

    def init(self, device: Device) -> list[T]:
        """Of none."""
        del device
        return []

    def update(self, state: list[T], block: MemberBlock, /) -> list[T]:
        """Of one more."""
        state.append(self.find(block))
        return state

    def close(self, state: list[T]) -> list[T]:
        """Of the members of a span."""
        return state

    def merge(self, left: list[T], right: list[T]) -> list[T]:
        """One after the other."""
        return left + right


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
class BlockSketchPass(MemberPass[BlockReading]):
    """Sketches of the matrices; with ``keep``, those that have no small factors are kept too.

    Attributes
    ----------
    error, rank
        What will be asked of clusters.
    keep
        Whether matrices are kept.
    omega
        Projection to propose by; None to sketch the matrices themselves.
    share
        Part of the error that a sketch may spend.
    metrics
        How errors are measured.
    """

    error: float
    rank: int | None
    keep: bool
    omega: Matrix | None = None
    share: float = SHARE
    metrics: Metrics = ALIKE

    def find(self, block: MemberBlock) -> BlockReading:
        """Sketch of a matrix, and itself where it is kept."""
        name, A = block.member.name, block.matrix
        metric = self.metrics.of(name)
        if self.omega is not None:
            found = sketch_projection(name, A, self.omega, error=self.error, metric=metric)
            return BlockReading(in_rows(found), None, block.zeros)
        found = sketch(name, A, error=self.error, share=self.share, metric=metric)
        keep = self.keep and not factors_pay(found, self.error, self.rank)
        return BlockReading(in_rows(found), values_of(block) if keep else None, block.zeros)


def in_rows(found: BlockSketch) -> BlockSketch:
    """A sketch whose factors lie in memory row after row, as they do after a save, or a way to another process.

    Products of another order of memory are other bits.
    """
    return replace(found, L=np.ascontiguousarray(found.L), Vh=np.ascontiguousarray(found.Vh))


def values_of(block: MemberBlock) -> Array:
    """A copy of the array of a matrix, in its own shape."""
    return np.array(block.member.layout.array(block.matrix), order="C")


def factors_pay(found: BlockSketch, error: float, rank: int | None) -> bool:
    """Whether a matrix has factors, by itself, that meet the error and are smaller than it."""
    tails = np.cumsum(found.squares[::-1])[::-1] + found.tail
    r = int(np.count_nonzero(tails > error * error * found.energy))
    if rank is not None:
        return r <= rank and rank * (found.rows + found.width) < found.rows * found.width
    return r * (found.rows + found.width) < found.rows * found.width
