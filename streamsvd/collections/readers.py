"""What passes over a collection read: its members one after another, or runs of rows of all of them side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.device import Device
from streamsvd.engine.layout import span_limit
from streamsvd.engine.passes import P, Pass, S, Span, Task
from streamsvd.errors import NonFiniteError, SpecError
from streamsvd.store.collections import Collection, Member, as_collection
from streamsvd.typing import Matrix

Array = npt.NDArray[Any]
SPAN_BYTES = 2 << 20
MOST_SPANS = 512
"""Of the parts of a collection: bytes of a span at least, and spans at most, as a rule."""
SLAB_BYTES = 4 << 20
LEAST_SLAB = 16
MOST_SLAB_SPANS = 64
"""Of rows of all members: bytes and rows that are read at once, about, and spans at most, as a rule."""


def take_collection(collection: Any, nonfinite: str) -> Collection:
    """A collection, opened if it is not one yet.

    Raises
    ------
    SpecError
        If missing values cannot be treated so.
    """
    source = as_collection(collection)
    if nonfinite == "zero":
        return replace(source, zeros=True)
    if nonfinite != "raise":
        raise SpecError(
            f"nonfinite={nonfinite!r} has no meaning for a collection, of which every matrix comes back whole. "
            'Pass "zero", or "raise", and mend the blocks or leave them out.'
        )
    return source


@dataclass(frozen=True, slots=True, eq=False)
class MemberBlock:
    """A matrix of a collection in memory.

    Attributes
    ----------
    member, matrix
        What is known of it, and its entries.
    zeros
        How many of them were NaN and are zero now.
    """

    member: Member
    matrix: Array
    zeros: int


@dataclass(frozen=True, slots=True, eq=False)
class CollectionReader:
    """Members of a collection as blocks; a span is a run of its parts."""

    source: Collection

    @property
    def spans(self) -> Sequence[Span]:
        """First and last number (exclusive) of the parts of each task, about equal bytes."""
        return part_spans(self.source)

    def cost(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Decoded bytes of these parts: whole chunks, also where a part of one is wanted."""
        del pass_
        return sum(self.source.parts[number].bytes_read for a, b in spans for number in range(a, b))

    def cached_bytes(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """None: what is kept of a collection is its sketches."""
        del spans, pass_
        return 0

    def run(self, pass_: Pass[S, P], span: Span, device: Device, task: Task) -> P:
        """Fold the members of some parts, from none."""
        state = pass_.init(device)
        for number in range(*span):
            task.check()
            for block in member_blocks(self.source, number):
                state = pass_.update(state, block)
        return pass_.close(state)


def part_spans(collection: Collection) -> tuple[Span, ...]:
    """Parts that one task reads, about equal bytes; they depend on the collection alone."""
    return equal_runs([part.nbytes for part in collection.parts])


def equal_runs(sizes: Sequence[int]) -> tuple[Span, ...]:
    """Runs of arrays of about equal bytes, by the bytes of each."""
    total = sum(sizes)
    goal = max(SPAN_BYTES, -(-total // span_limit(MOST_SPANS, total, 0)))
    edges, waiting = [0], 0
    for number, size in enumerate(sizes, start=1):
        waiting += size
        if waiting >= goal or number == len(sizes):
            edges.append(number)
            waiting = 0
    return tuple(pairwise(edges))


def member_blocks(collection: Collection, number: int) -> Iterator[MemberBlock]:
    """Matrices of a part; NaN is zero where the collection says so."""
    for member, A in collection.matrices(collection.parts[number]):
        zeros = 0
        if collection.zeros and A.dtype.kind == "f":
            gaps = np.isnan(A)
            zeros = int(np.count_nonzero(gaps))
            if zeros:
                A = np.where(gaps, np.zeros((), A.dtype), A)
        yield MemberBlock(member, A, zeros)


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """Consecutive rows of every member, in float64.

    Attributes
    ----------
    matrices
        Those rows of each member.
    zeros
        How many entries of each were NaN and are zero now.
    """

    matrices: tuple[Matrix, ...]
    zeros: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SlabReader:
    """Rows of all members as blocks; a span is a run of rows."""

    source: Collection

    @property
    def columns(self) -> int:
        """Of all members."""
        return sum(m.shape[1] for m in self.source.members)

    @property
    def spans(self) -> Sequence[Span]:
        """First and last row (exclusive) of each task."""
        rows = self.source.rows
        most = span_limit(MOST_SLAB_SPANS, self.source.pass_bytes, 8 * self.columns**2)
        step = max(slab_rows(self.columns), -(-rows // most))
        return tuple(pairwise([*range(0, rows, step), rows]))

    def cost(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Decoded bytes of these rows."""
        del pass_
        return self.source.pass_bytes * sum(b - a for a, b in spans) // self.source.rows

    def cached_bytes(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """None: one pass makes the Gram matrix."""
        del spans, pass_
        return 0

    def run(self, pass_: Pass[S, P], span: Span, device: Device, task: Task) -> P:
        """Fold some rows, from none."""
        state, step = pass_.init(device), slab_rows(self.columns)
        for start, stop in pairwise([*range(span[0], span[1], step), span[1]]):
            task.check()
            state = pass_.update(state, read_slab(self.source, start, stop))
        return pass_.close(state)


def slab_rows(columns: int) -> int:
    """Rows of all members side by side that are read at once."""
    return max(LEAST_SLAB, SLAB_BYTES // max(8 * columns, 1))


def read_slab(collection: Collection, start: int, stop: int) -> Slab:
    """Rows of every member.

    Raises
    ------
    NonFiniteError
        At the first NaN or Inf.
    """
    matrices, zeros = [], []
    for member, part in zip(collection.members, collection.parts, strict=True):
        box = member.layout.slab(start, stop)
        assert box is not None
        values = part.array.read(box)
        rows = (
            values.T
            if member.layout.is_transposed
            else values.reshape(stop - start, member.shape[1])
        )
        A, count = rows.astype(np.float64), 0
        if collection.zeros:
            gaps = np.isnan(A)
            count = int(np.count_nonzero(gaps))
            A[gaps] = 0.0
        if not np.isfinite(A).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(A))[0])
            value = "NaN" if np.isnan(A[row, column]) else "Inf"
            remedy = "Replace such values, or leave the block out."
            raise NonFiniteError(value, start + row, column, f"block {member.name!r}", remedy)
        matrices.append(A)
        zeros.append(count)
    return Slab(tuple(matrices), tuple(zeros))
