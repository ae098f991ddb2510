"""The pass that writes matrices of a compressed collection: a task reads what some of them are made of, and writes these whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.compressed import CompressedCollection
from streamsvd.collections.readers import equal_runs
from streamsvd.engine.device import Device
from streamsvd.engine.passes import P, Pass, S, Span, Task
from streamsvd.store.collections.sinks import ArraySink

STORED_COPIES = 3
"""Of an object: as it is read, checked, and decoded."""
MATRIX_COPIES = 9
"""Of a matrix in double precision: products, whole numbers as they are unfolded, rounded, cast, and as it is written."""


@dataclass(frozen=True, slots=True, eq=False)
class RestoredMatrix:
    """A matrix of a compressed collection, in its own shape and type."""

    name: str
    values: npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class CompressedReader:
    """Matrices of a compressed collection as blocks; a span is a run of their names, which follow their bases.

    Attributes
    ----------
    source
        The collection.
    names
        Those that are read, so that those of a basis are side by side.
    spans
        Runs of these, of about equal bytes.
    costs
        Bytes of objects that each span reads.
    """

    source: CompressedCollection
    names: tuple[str, ...]
    spans: tuple[Span, ...]
    costs: Mapping[Span, int]

    @classmethod
    def of(cls, source: CompressedCollection, names: Sequence[str]) -> CompressedReader:
        """Of some matrices; they depend on these alone."""
        clusters = source.labels
        ordered = tuple(sorted(names, key=clusters.__getitem__))
        spans = equal_runs([source.nbytes(name) for name in ordered])
        return cls(
            source, ordered, spans, {(a, b): source.read_bytes(ordered[a:b]) for a, b in spans}
        )

    def cost(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Bytes of the objects that are read."""
        del pass_
        return sum(self.costs[span] for span in spans)

    def cached_bytes(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """None."""
        del spans, pass_
        return 0

    def run(self, pass_: Pass[S, P], span: Span, device: Device, task: Task) -> P:
        """Hand over some matrices, one after another."""
        state, source = pass_.init(device), self.source.for_one_task()
        for name in self.names[slice(*span)]:
            task.check()
            state = pass_.update(state, RestoredMatrix(name, source[name]))
        return pass_.close(state)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayWriting:
    """Matrices as they come, each written whole; how many is counted."""

    sink: ArraySink

    def init(self, device: Device) -> int:
        """None."""
        del device
        return 0

    def update(self, state: int, block: RestoredMatrix, /) -> int:
        """With one more."""
        self.sink.write(block.name, block.values)
        return state + 1

    def close(self, state: int) -> int:
        """How many."""
        return state

    def merge(self, left: int, right: int) -> int:
        """Of both."""
        return left + right


def restoring_bytes(source: CompressedCollection, names: Sequence[str]) -> int:
    """Upper bound of what one task takes: the objects of its largest matrix, its basis twice, and what is made of them."""
    most = 0
    for name in names:
        entries = int(np.prod(source.shape(name), dtype=np.int64))
        stored = source.read_bytes([name])
        most = max(most, STORED_COPIES * stored + MATRIX_COPIES * 8 * entries)
    return most
