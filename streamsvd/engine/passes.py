"""What one read of a matrix adds up: the protocol that every pass keeps, whatever the method.

A pass is a frozen value: picklable, and equal options are equal passes. A task makes a state from zero (`init`), folds the
blocks of a span into it (`update`), and hands back what leaves the worker (`close`): host arrays, small. What two
neighbouring spans handed back is joined by `merge`, in a tree of fixed shape, never in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from streamsvd.engine.device import Device
from streamsvd.typing import Matrix

Array = Any
Span = tuple[int, int]
"""First and last row (exclusive) of what one task reads; of collections, first and last part."""

S = TypeVar("S")
P = TypeVar("P")


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive rows in memory; along columns, consecutive columns.

    The memory is the reader's, and holds until the next block: a pass that keeps rows copies them (`float64`), and none writes into it.

    Attributes
    ----------
    first
        Number of the first row (along columns: column) in the matrix.
    columns
        Which columns of the matrix these are.
    data
        The entries on the device, in the type in which they are read: a dense array; or, where the layout says so, a ``csr_array`` of
        what is stored, whose rows are columns of the matrix along columns.
    largest
        Largest modulus of an entry of the panel that the block is part of; None where nobody looked.
    """

    first: int
    columns: slice
    data: Array
    largest: float | None = None

    @property
    def n_rows(self) -> int:
        """Rows."""
        return int(self.data.shape[0])

    def float64(self, device: Device) -> Array:
        """The entries in float64, in memory of their own."""
        xp = device.xp
        return xp.astype(self.data, xp.float64, copy=True)

    def float64_on_host(self, device: Device) -> Matrix:
        """The same on the host."""
        return device.to_host(self.float64(device))


class Pass(Protocol[S, P]):
    """What a read adds up.

    Optional beside these: ``absorb(left, right)``, the same as `merge` in the memory of ``left``; and ``in_bands``, whether
    finished rows are whole chunks of what is written already, so that they may leave after any block.
    """

    def init(self, device: Device) -> S:
        """The state before the first block, and all that is sent to the device once."""
        ...

    def update(self, state: S, block: Any, /) -> S:
        """With one more block, of the kind that its reader makes; the state's memory may be used again."""
        ...

    def close(self, state: S) -> P:
        """What leaves the worker."""
        ...

    def merge(self, left: P, right: P) -> P:
        """What two neighbouring spans hold together; neither is changed."""
        ...


class TilePass(Pass[S, P], Protocol[S, P]):
    """A pass that can also work on tiles of columns, where whole rows do not fit.

    `forward` is summed over the tiles of a panel, then `backward` sees them again, if it is ``two_sided``.
    """

    @property
    def two_sided(self) -> bool:
        """Whether `backward` multiplies by the block again, so that tiles must be read twice."""
        ...

    def forward(self, state: S, block: Block) -> list[Array]:
        """Products of a tile."""
        ...

    def backward(self, state: S, block: Block, products: list[Array]) -> None:
        """Add what the whole products make of a tile; where it is not two-sided, of no data."""
        ...


class Sink(Protocol):
    """Takes finished rows of a factor; writing the same rows twice is harmless."""

    def write(self, start: int, rows: Matrix, /) -> None: ...


@runtime_checkable
class Pieces(Protocol):
    """A state with finished rows, which leave for a sink while the pass runs."""

    pieces: list[tuple[int, Matrix]]


class Reader(Protocol):
    """The one place that turns what is stored into blocks. Small and picklable."""

    @property
    def source(self) -> Any:
        """What is read."""
        ...

    @property
    def spans(self) -> Sequence[Span]:
        """What tasks read, each a span; they depend on the matrix, its chunks and the height of blocks alone."""
        ...

    def cost(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Decoded bytes of a pass over these spans."""
        ...

    def cached_bytes(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Of these, those that were read before and are in memory; the others are asked of the store."""
        ...

    def run(self, pass_: Pass[S, P], span: Span, device: Device, task: Task) -> P:
        """Fold the blocks of a span, from zero; a retry gives the same bits."""
        ...


class Task(Protocol):
    """The circumstances of a task."""

    @property
    def sink(self) -> Sink | None:
        """Where finished rows go."""
        ...

    def check(self) -> None:
        """Raise if the run was cancelled."""
        ...
