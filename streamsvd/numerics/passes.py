"""What one read of the matrix adds up: folds over blocks of rows, the same on every scheduler.

A fold is a frozen value with ``init`` (device constants and zero sums), ``forward`` (products of a block
with thin blocks, and its moments), ``backward`` (the block's adjoint times those products) and ``close``.
With all columns of the rows in memory, ``update`` is one after the other; where only tiles of columns fit,
the engine sums ``forward`` over the tiles first and reads them again for ``backward``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from streamsvd.numerics import products
from streamsvd.numerics.blocks import (
    Array,
    Backend,
    Block,
    BlockPreparer,
    Moments,
    Preparation,
    empty_ends,
)
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class PassSums:
    """What a span or a pass hands back: host arrays."""

    products: tuple[Matrix, ...]
    moments: Moments | None = None
    pieces: tuple[tuple[int, Matrix], ...] = ()

    def merge(self, other: PassSums) -> PassSums:
        """Sums of both, in this order."""
        both = None
        if self.moments is not None and other.moments is not None:
            both = self.moments.merge(other.moments)
        summed = tuple(a + b for a, b in zip(self.products, other.products, strict=True))
        return PassSums(summed, both, self.pieces + other.pieces)

    def absorb(self, other: PassSums) -> PassSums:
        """The same, bit for bit, in the memory of these sums: for an owner who needs them no more."""
        both = None
        if self.moments is not None and other.moments is not None:
            both = self.moments.merge(other.moments)
        summed = tuple(_add_into(a, b) for a, b in zip(self.products, other.products, strict=True))
        return PassSums(summed, both, self.pieces + other.pieces)


def _add_into(a: Matrix, b: Matrix) -> Matrix:
    """``a + b``, in ``a`` where it may be written."""
    return np.add(a, b, out=a) if a.flags.writeable else a + b


@dataclass(frozen=True, slots=True, eq=False)
class ThinBlock:
    """A thin block to multiply: ``(n, k)`` on the host, and whether single precision will do."""

    X: Matrix
    single: bool

    def to_device(self, backend: Backend, kind: str) -> Array:
        """On the device, by rows: products of another order of memory are other bits."""
        return backend.to_device(np.ascontiguousarray(self.X), kind)


@dataclass(slots=True, eq=False)
class FoldState:
    """A span's own sums, on its device; one owner, updated in place."""

    reader: BlockPreparer
    thin: list[Array]
    sums: list[Array]
    moments: Moments | None = None
    pieces: list[tuple[int, Matrix]] = field(default_factory=list)
    block: Block | None = None

    def add_moments(self, block: Block, columns: slice, width: int) -> None:
        """Add the moments of a block; tiles of the same rows land in their own columns."""
        part = block.moments
        if part is None:
            return
        if part.total.shape[0] != width and self.reader.prep.axis == "rows":
            part = replace(
                part,
                total=self._place_columns(part.total, columns, width, self.reader.prep.wide),
                squares=self._place_columns(part.squares, columns, width, "float64"),
                missing=self._place_columns(part.missing, columns, width, "float64"),
                missing_weight=self._place_columns(part.missing_weight, columns, width, "float64"),
                ends=_place_ends(part.ends, columns, width),
            )
        self.moments = part if self.moments is None else self.moments.merge(part)

    def _place_columns(self, x: Array, columns: slice, width: int, dtype: str) -> Array:
        out = self.reader.backend.zeros((width,), dtype)
        out[columns] = x
        return out


def _place_ends(ends: Real | None, columns: slice, width: int) -> Real | None:
    """Least and largest entries of a tile's columns among all."""
    if ends is None:
        return None
    out = empty_ends(width, ends.shape[2])
    out[:, columns] = ends
    return out


class Fold(Protocol):
    """A pass over blocks of rows, as the engine sees it."""

    @property
    def prep(self) -> Preparation: ...

    @property
    def two_sided(self) -> bool:
        """Whether ``backward`` multiplies by the block again, so that tiles must be read twice."""
        ...

    def init(self, backend: Backend) -> FoldState: ...
    def forward(self, state: FoldState, raw: Array, start: int, columns: slice) -> list[Array]: ...
    def backward(
        self, state: FoldState, raw: Array, start: int, columns: slice, Y: list[Array]
    ) -> None: ...
    def update(self, state: FoldState, raw: Array, start: int) -> None: ...
    def close(self, state: FoldState) -> PassSums: ...


def _close_state(state: FoldState) -> PassSums:
    to_host = state.reader.backend.to_host
    tally = state.moments
    if tally is not None:
        tally = replace(
            tally,
            total=to_host(tally.total),
            squares=to_host(tally.squares),
            missing=to_host(tally.missing),
            missing_weight=to_host(tally.missing_weight),
        )
    return PassSums(tuple(to_host(x) for x in state.sums), tally, tuple(state.pieces))


@dataclass(frozen=True, slots=True, eq=False)
class NormalPass:
    """``X* X`` times thin blocks, with the moments where asked: one read for what takes two otherwise.

    Notes
    -----
    Cost: ``4 p n k`` flops a block, sums of ``n x k`` float64.
    """

    prep: Preparation
    thin: tuple[ThinBlock, ...]
    moments: bool = False
    two_sided: bool = True

    def init(self, backend: Backend) -> FoldState:
        """Zero sums on the device, and the thin blocks in the types they are multiplied in."""
        prep = self.prep
        types = [prep.narrow if t.single else prep.wide for t in self.thin]
        need_wide = any(kind != prep.narrow for kind in types)
        reader = BlockPreparer(prep, backend, need_wide, self.moments)
        return FoldState(
            reader,
            [t.to_device(backend, kind) for t, kind in zip(self.thin, types, strict=True)],
            [backend.zeros(t.X.shape, prep.wide) for t in self.thin],
        )

    def forward(self, state: FoldState, raw: Array, start: int, columns: slice) -> list[Array]:
        """Products of the block with (rows ``columns`` of) the thin blocks."""
        state.block = block = state.reader.prepare(raw, start, columns)
        width = self.thin[0].X.shape[0]
        state.add_moments(block, columns, width)
        return [products.forward(self._side(block, t), t[columns, :]) for t in state.thin]

    def backward(
        self, state: FoldState, raw: Array, start: int, columns: slice, Y: list[Array]
    ) -> None:
        """Add the adjoint products to the sums."""
        block = state.block
        if block is None:
            quiet = replace(state.reader, need_moments=False)
            block = quiet.prepare(raw, start, columns)
        for total, y in zip(state.sums, Y, strict=True):
            total[columns, :] += products.backward(self._side(block, y), y, block.weights)
        state.block = None

    def update(self, state: FoldState, raw: Array, start: int) -> None:
        """Both, with every column in memory."""
        whole = slice(0, self.thin[0].X.shape[0])
        self.backward(state, raw, start, whole, self.forward(state, raw, start, whole))

    def close(self, state: FoldState) -> PassSums:
        """The sums, on the host."""
        return _close_state(state)

    @staticmethod
    def _side(block: Block, like: Array) -> Array:
        if block.wide is not None and like.dtype == block.wide.dtype:
            return block.wide
        return block.narrow


@dataclass(frozen=True, slots=True, eq=False)
class GramPass:
    """The whole of ``X* X``, for few columns: one pass and nothing left to search.

    Notes
    -----
    Cost: ``p n**2`` flops a block in float64, one sum of ``n x n`` and no more on the host.
    """

    prep: Preparation
    width: int
    two_sided: bool = True

    def init(self, backend: Backend) -> FoldState:
        """Zero Gram matrix on the device."""
        zeros = backend.zeros((self.width, self.width), self.prep.wide)
        return FoldState(BlockPreparer(self.prep, backend, True, True), [], [zeros])

    def forward(self, state: FoldState, raw: Array, start: int, columns: slice) -> list[Array]:
        """Nothing to multiply by; the Gram matrix needs every column at once."""
        state.block = state.reader.prepare(raw, start, columns)
        state.add_moments(state.block, columns, self.width)
        return []

    def backward(
        self, state: FoldState, raw: Array, start: int, columns: slice, Y: list[Array]
    ) -> None:
        """Add the block's Gram matrix."""
        del raw, start, columns, Y
        assert state.block is not None
        assert state.block.wide is not None
        (G,) = state.sums
        state.sums[0] = products.add_gram(G, state.block.wide, state.block.weights)
        state.block = None

    def update(self, state: FoldState, raw: Array, start: int) -> None:
        """Both, with every column in memory."""
        whole = slice(0, self.width)
        self.backward(state, raw, start, whole, self.forward(state, raw, start, whole))

    def close(self, state: FoldState) -> PassSums:
        """The Gram matrix and the moments, on the host."""
        state.sums[0] = products.complete_gram(state.sums[0])
        return _close_state(state)


@dataclass(frozen=True, slots=True, eq=False)
class ProjectPass:
    """``Y = X Z``, row by row, and ``Y* Y`` in float64: the pass that makes the other factor.

    Rows of ``Y`` less ``shift``, times ``divide`` and the root of the row's weight, leave as pieces, in order.

    Notes
    -----
    Cost: ``2 p n k`` flops a block, ``p k`` numbers handed over for each block.
    """

    prep: Preparation
    thin: ThinBlock
    shift: Matrix
    divide: Real
    dtype: str
    two_sided: bool = False

    def init(self, backend: Backend) -> FoldState:
        """Zero ``Y* Y`` on the device."""
        prep = self.prep
        kind = prep.narrow if self.thin.single else prep.wide
        k = self.thin.X.shape[1]
        zeros = backend.zeros((k, k), prep.wide)
        wide = kind != prep.narrow
        return FoldState(
            BlockPreparer(prep, backend, wide, False), [self.thin.to_device(backend, kind)], [zeros]
        )

    def forward(self, state: FoldState, raw: Array, start: int, columns: slice) -> list[Array]:
        """Product of the block with the thin block."""
        state.block = block = state.reader.prepare(raw, start, columns)
        thin = state.thin[0]
        side = NormalPass._side(block, thin)
        return [products.forward(side, thin[columns, :])]

    def backward(
        self, state: FoldState, raw: Array, start: int, columns: slice, Y: list[Array]
    ) -> None:
        """Hand over the rows."""
        del raw, columns
        xp, backend = state.reader.backend.xp, state.reader.backend
        y = xp.astype(Y[0], getattr(xp, self.prep.wide))
        y = y - backend.to_device(self.shift, self.prep.wide)[None, :]
        weights = state.block.weights if state.block is not None else None
        if self.prep.axis == "rows" and self.prep.weights is not None:
            part = self.prep.weights[start : start + y.shape[0]]
            weights = backend.to_device(part, "float64")
        if weights is not None:
            y = y * xp.sqrt(weights)[:, None]
        state.sums[0] += products.gram(y, None)
        rows = backend.to_host(y) * self.divide[None, :]
        state.pieces.append((start, rows.astype(self.dtype)))

    def update(self, state: FoldState, raw: Array, start: int) -> None:
        """Both, with every column in memory."""
        whole = slice(0, self.thin.X.shape[0])
        self.backward(state, raw, start, whole, self.forward(state, raw, start, whole))

    def close(self, state: FoldState) -> PassSums:
        """``Y* Y`` and the pieces not taken yet."""
        return _close_state(state)
