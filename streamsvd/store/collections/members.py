"""A collection: its members, and the parts in which they are read, so that each is read once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import ShapeError, SpecError
from streamsvd.store.collections.arrays import StoredArray
from streamsvd.store.collections.layout import MemberLayout
from streamsvd.store.collections.origin import Origin
from streamsvd.store.sight import MOST_ADDRESSES, Address, addresses
from streamsvd.store.sources.packing import Packing

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Member:
    """What is known of one matrix without reading it.

    Attributes
    ----------
    name
        Its key.
    layout
        Its shape, and how it is seen as a matrix.
    dtype, kind
        Type of its values as delivered, and the name of the type as stored.
    where
        How messages call its place.
    origin
        What is remembered of the array it comes from.
    """

    name: str
    layout: MemberLayout
    dtype: np.dtype[Any]
    kind: str
    where: str
    origin: Origin | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.layout.shape

    @property
    def nbytes(self) -> int:
        """Bytes as stored, uncompressed."""
        item = 2 if self.kind == "bfloat16" else self.dtype.itemsize
        if self.packing is not None:
            item = self.packing.stored_dtype.itemsize
        return math.prod(self.layout.array_shape) * item

    @property
    def held_bytes(self) -> int:
        """Bytes of its values in memory."""
        return math.prod(self.layout.array_shape) * self.dtype.itemsize

    @property
    def packing(self) -> Packing | None:
        """How its values are packed where it is stored, and in an archive; None where they are not."""
        return None if self.origin is None else self.origin.packing


@dataclass(frozen=True, slots=True, eq=False)
class CollectionPart:
    """Members that one read delivers: one array, or neighbours in an array that was cut.

    Attributes
    ----------
    array
        The array.
    axis
        Along which it was cut; None if it was not.
    first_member, edges
        Number of the first member, and where along the axis each begins and ends.
    drops_axis
        Whether the axis is not one of the members.
    bytes_read
        Bytes that are decoded: those of whole chunks.
    """

    array: StoredArray
    first_member: int
    axis: int | None = None
    edges: tuple[tuple[int, int], ...] = ((0, 0),)
    drops_axis: bool = False
    bytes_read: int = 0

    @property
    def count(self) -> int:
        """Members."""
        return len(self.edges)

    @property
    def nbytes(self) -> int:
        """Bytes that are held at once."""
        whole = math.prod(self.array.shape) * self.array.dtype.itemsize
        if self.axis is None:
            return whole
        length = self.edges[-1][1] - self.edges[0][0]
        return whole // max(1, self.array.shape[self.axis]) * length

    def take_members(self, start: int, stop: int, first: int) -> CollectionPart:
        """Neighbours among the members, of which the first has another number."""
        if self.axis is None or stop - start == self.count:
            return replace(self, first_member=first)
        edges = self.edges[start:stop]
        decoded = span_bytes(self.array, self.axis, edges[0][0], edges[-1][1])
        return replace(self, first_member=first, edges=edges, bytes_read=decoded)

    def read(self) -> Iterator[Array]:
        """The arrays of the members, in one read."""
        box = [slice(0, extent) for extent in self.array.shape]
        if self.axis is None:
            yield self.array.read(tuple(box))
            return
        start, stop = self.edges[0][0], self.edges[-1][1]
        box[self.axis] = slice(start, stop)
        values = self.array.read(tuple(box))
        for a, b in self.edges:
            box = [slice(None)] * values.ndim
            box[self.axis] = slice(a - start, b - start)
            piece = values[tuple(box)]
            yield np.squeeze(piece, self.axis) if self.drops_axis else piece


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Matrices of one number of rows.

    Attributes
    ----------
    name
        How messages call it.
    members
        In their order.
    parts
        Reads that deliver all of them, in the same order.
    zeros
        Whether NaN counts as zero.
    remarks
        What whoever reads it is to be told.
    places
        Folders and files that it was opened from as a whole; none for a mapping.
    """

    name: str
    members: tuple[Member, ...]
    parts: tuple[CollectionPart, ...]
    zeros: bool = False
    remarks: tuple[str, ...] = ()
    places: tuple[PathOrUrl, ...] = ()

    @property
    def rows(self) -> int:
        """Rows that all have."""
        return self.members[0].shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all members as stored, uncompressed."""
        return sum(m.nbytes for m in self.members)

    @property
    def pass_bytes(self) -> int:
        """Bytes that reading every member once decodes, in the type in which they are delivered."""
        return sum(p.bytes_read for p in self.parts)

    @property
    def whole_bytes(self) -> int:
        """Bytes of all members, in the type in which they are delivered."""
        return sum(m.held_bytes for m in self.members)

    def addresses(self) -> list[Address]:
        """Where other processes read it: the first and the last of its arrays, and some between."""
        count = min(len(self.parts), MOST_ADDRESSES)
        numbers = np.linspace(0, len(self.parts) - 1, count).astype(int)
        some = [self.parts[i].array for i in dict.fromkeys(numbers.tolist())]
        return [found for stored in some for found in addresses(stored)]

    def matrices(self, part: CollectionPart) -> Iterator[tuple[Member, Array]]:
        """Members of a part and their matrices."""
        for member, values in zip(self.members[part.first_member :], part.read(), strict=False):
            yield member, member.layout.matrix(values)

    def take_members(self, numbers: Sequence[int]) -> Collection:
        """Some of the members, in their order; of a part that has others, those alone are read."""
        wanted = set(numbers)
        members: list[Member] = []
        parts: list[CollectionPart] = []
        for part in self.parts:
            for run in _consecutive_runs(
                [i for i in range(part.count) if part.first_member + i in wanted]
            ):
                parts.append(part.take_members(run[0], run[-1] + 1, len(members)))
                members += self.members[
                    part.first_member + run[0] : part.first_member + run[-1] + 1
                ]
        return Collection(self.name, tuple(members), tuple(parts), self.zeros)

    def require_valid(self) -> Collection:
        """The same, if all is as a collection must be.

        Raises
        ------
        ShapeError
            If it is empty, or rows differ.
        SpecError
            If a name is there twice, or values are no real numbers.
        """
        if not self.members:
            raise ShapeError(f"{self.name} holds no arrays that were asked for. Check select.")
        seen: dict[str, Member] = {}
        for m in self.members:
            check_kind(m.name, m.dtype)
            m.layout.require_valid(m.name)
            if m.name in seen:
                raise SpecError(
                    f"block {m.name!r} is there twice, in {seen[m.name].where} and in {m.where}. "
                    "Give every block a name of its own."
                )
            seen[m.name] = m
        check_rows(self.members)
        return self


def span_bytes(stored: StoredArray, axis: int, start: int, stop: int) -> int:
    """Bytes that are decoded to read a span along a dimension: those of whole chunks."""
    chunk, length = stored.chunks[axis], stored.shape[axis]
    decoded = min(-(-stop // chunk) * chunk, length) - start // chunk * chunk
    return math.prod(stored.shape) // max(length, 1) * stored.dtype.itemsize * decoded


def _consecutive_runs(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers without gaps, together."""
    out: list[list[int]] = []
    for i in numbers:
        if out and out[-1][-1] == i - 1:
            out[-1].append(i)
        else:
            out.append([i])
    return out


def check_kind(name: str, dtype: np.dtype[Any], kind: str | None = None) -> None:
    """Refuse what is not real, under the name of its type as stored.

    Raises
    ------
    SpecError
        It names the block.
    """
    if dtype.kind not in "biuf":
        remedy = (
            "Put real and imaginary parts side by side"
            if dtype.kind == "c"
            else "Convert it to numbers"
        )
        raise SpecError(
            f"block {name!r} holds {kind or dtype}, real numbers are needed. {remedy}, or leave it out with select."
        )


def check_rows(members: Sequence[Member]) -> None:
    """Refuse members of different rows.

    Raises
    ------
    ShapeError
        It names two of them, and how many there are of each.
    """
    counts: dict[int, list[str]] = {}
    for m in members:
        counts.setdefault(m.shape[0], []).append(m.name)
    if len(counts) > 1:
        (rows, most), *others = sorted(counts.items(), key=lambda item: -len(item[1]))
        other, names = others[0]
        raise ShapeError(
            f"block {names[0]!r} has {other:,} rows, {most[0]!r} has {rows:,} as {len(most)} of {len(members)} have. "
            "Blocks of a collection have equal rows: pass transpose= or columns= with a pattern of names, or leave "
            "blocks out with select."
        )
