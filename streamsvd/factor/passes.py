"""What one read of the matrix adds up: products with thin blocks and moments, the same on every scheduler.

``forward`` multiplies a block with thin blocks and takes its moments, ``backward`` multiplies the block's adjoint with those
products. With all columns of the rows in memory, ``update`` is one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.numerics import products
from streamsvd.numerics.blocks import (
    Array,
    Backend,
    BlockPreparer,
    Moments,
    Preparation,
    PreparedBlock,
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
        return PassSums(summed, both, (*self.pieces, *other.pieces))

    def absorb(self, other: PassSums) -> PassSums:
        """The same, bit for bit, in the memory of these sums: for an owner who needs them no more."""
        both = None
        if self.moments is not None and other.moments is not None:
            both = self.moments.merge(other.moments)
        summed = tuple(_add_into(a, b) for a, b in zip(self.products, other.products, strict=True))
        return PassSums(summed, both, (*self.pieces, *other.pieces))


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
class SpanSums:
    """A span's own sums, on its device; one owner, updated in place."""

    preparer: BlockPreparer
    thin: list[Array]
    sums: list[Array]
    moments: Moments | None = None
    pieces: list[tuple[int, Matrix]] = field(default_factory=list)

    def add_moments(self, block: PreparedBlock, columns: slice, width: int) -> None:
        """Add the moments of a block; tiles of the same rows land in their own columns."""
        part = block.moments
        if part is None:
            return
        if part.total.shape[0] != width and self.preparer.prep.axis == "rows":
            part = replace(
                part,
                total=self._place_columns(part.total, columns, width, self.preparer.prep.wide),
                squares=self._place_columns(part.squares, columns, width, "float64"),
                missing=self._place_columns(part.missing, columns, width, "float64"),
                missing_weight=self._place_columns(part.missing_weight, columns, width, "float64"),
                ends=_place_ends(part.ends, columns, width),
            )
        self.moments = part if self.moments is None else self.moments.merge(part)

    def _place_columns(self, x: Array, columns: slice, width: int, dtype: str) -> Array:
        out = self.preparer.backend.zeros((width,), dtype)
        out[columns] = x
        return out


def _place_ends(ends: Real | None, columns: slice, width: int) -> Real | None:
    """Least and largest entries of a tile's columns among all."""
    if ends is None:
        return None
    out = empty_ends(width, ends.shape[2])
    out[:, columns] = ends
    return out


def _close_state(state: SpanSums) -> PassSums:
    to_host = state.preparer.backend.to_host
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
class _Adding:
    """How partial sums are joined, for all passes of this file."""

    def merge(self, left: PassSums, right: PassSums) -> PassSums:
        """Sums of both."""
        return left.merge(right)

    def absorb(self, left: PassSums, right: PassSums) -> PassSums:
        """The same in the memory of the left."""
        return left.absorb(right)


@dataclass(frozen=True, slots=True, eq=False)
class NormalPass(_Adding):
    """``X* X`` times thin blocks, with the moments where asked: one read for what takes two otherwise.

    Notes
    -----
    Cost: ``4 p n k`` flops a block, sums of ``n x k`` float64.
    """

    prep: Preparation
    thin: tuple[ThinBlock, ...]
    moments: bool = False
    two_sided: bool = True

    def init(self, device: Device) -> SpanSums:
        """Zero sums on the device, and the thin blocks in the types they are multiplied in."""
        prep = self.prep
        types = [prep.narrow if t.single else prep.wide for t in self.thin]
        need_wide = any(kind != prep.narrow for kind in types)
        return SpanSums(
            BlockPreparer(prep, device, need_wide, self.moments),
            [t.to_device(device, kind) for t, kind in zip(self.thin, types, strict=True)],
            [device.zeros(t.X.shape, prep.wide) for t in self.thin],
        )

    def update(self, state: SpanSums, block: Block) -> SpanSums:
        """Both products, with every column in memory."""
        X = self._prepare(state, block)
        self._add(state, X, block.columns, self._multiply(state, X, block.columns))
        return state

    def forward(self, state: SpanSums, block: Block) -> list[Array]:
        """Products of the block with (rows ``columns`` of) the thin blocks."""
        return self._multiply(state, self._prepare(state, block), block.columns)

    def backward(self, state: SpanSums, block: Block, Y: list[Array]) -> None:
        """Add the adjoint products to the sums."""
        quiet = replace(state.preparer, need_moments=False)
        X = quiet.prepare(block.data, block.first, block.columns)
        self._add(state, X, block.columns, Y)

    def close(self, state: SpanSums) -> PassSums:
        """The sums, on the host."""
        return _close_state(state)

    def _prepare(self, state: SpanSums, block: Block) -> PreparedBlock:
        X = state.preparer.prepare(block.data, block.first, block.columns)
        state.add_moments(X, block.columns, self.thin[0].X.shape[0])
        return X

    def _multiply(self, state: SpanSums, X: PreparedBlock, columns: slice) -> list[Array]:
        return [products.forward(X.like(t), t[columns, :]) for t in state.thin]

    def _add(self, state: SpanSums, X: PreparedBlock, columns: slice, Y: list[Array]) -> None:
        for total, y in zip(state.sums, Y, strict=True):
            products.add_backward(total, columns, X.like(y), y, X.weights)


@dataclass(frozen=True, slots=True, eq=False)
class GramPass(_Adding):
    """The whole of ``X* X``, for few columns: one pass and nothing left to search.

    Notes
    -----
    Cost: ``p n**2`` flops a block in float64, one sum of ``n x n`` and no more on the host.
    """

    prep: Preparation
    width: int

    def init(self, device: Device) -> SpanSums:
        """Zero Gram matrix on the device."""
        zeros = device.zeros((self.width, self.width), self.prep.wide)
        return SpanSums(BlockPreparer(self.prep, device, True, True), [], [zeros])

    def update(self, state: SpanSums, block: Block) -> SpanSums:
        """Add the block's Gram matrix; it needs every column at once."""
        X = state.preparer.prepare(block.data, block.first, block.columns)
        state.add_moments(X, block.columns, self.width)
        assert X.wide is not None
        (G,) = state.sums
        state.sums[0] = products.add_gram(G, X.wide, X.weights)
        return state

    def close(self, state: SpanSums) -> PassSums:
        """The Gram matrix and the moments, on the host."""
        state.sums[0] = products.complete_gram(state.sums[0])
        return _close_state(state)


@dataclass(frozen=True, slots=True, eq=False)
class ProjectPass(_Adding):
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

    def init(self, device: Device) -> SpanSums:
        """Zero ``Y* Y`` on the device."""
        prep = self.prep
        kind = prep.narrow if self.thin.single else prep.wide
        k = self.thin.X.shape[1]
        zeros = device.zeros((k, k), prep.wide)
        preparer = BlockPreparer(prep, device, kind != prep.narrow, False)
        return SpanSums(preparer, [self.thin.to_device(device, kind)], [zeros])

    def update(self, state: SpanSums, block: Block) -> SpanSums:
        """Hand over the rows of a block that has every column."""
        X = state.preparer.prepare(block.data, block.first, block.columns)
        self._hand_over(state, block.first, self._multiply(state, X, block.columns), X.weights)
        return state

    def forward(self, state: SpanSums, block: Block) -> list[Array]:
        """Product of the block with the thin block."""
        X = state.preparer.prepare(block.data, block.first, block.columns)
        return [self._multiply(state, X, block.columns)]

    def backward(self, state: SpanSums, block: Block, Y: list[Array]) -> None:
        """Hand over the rows."""
        weights = None
        if self.prep.weights is not None:
            part = self.prep.weights[block.first : block.first + Y[0].shape[0]]
            weights = state.preparer.backend.to_device(part, "float64")
        self._hand_over(state, block.first, Y[0], weights)

    def close(self, state: SpanSums) -> PassSums:
        """``Y* Y`` and the pieces not taken yet."""
        return _close_state(state)

    def _multiply(self, state: SpanSums, X: PreparedBlock, columns: slice) -> Array:
        (thin,) = state.thin
        return products.forward(X.like(thin), thin[columns, :])

    def _hand_over(self, state: SpanSums, first: int, Y: Array, weights: Array | None) -> None:
        backend = state.preparer.backend
        xp = backend.xp
        y = xp.astype(Y, getattr(xp, self.prep.wide))
        y = y - backend.to_device(self.shift, self.prep.wide)[None, :]
        if weights is not None:
            y = y * xp.sqrt(weights)[:, None]
        state.sums[0] += products.gram(y, None)
        rows = backend.to_host(y) * self.divide[None, :]
        state.pieces.append((first, rows.astype(self.dtype)))
