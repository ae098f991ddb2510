"""What one read of the matrix adds up: folds over blocks of rows, the same on every scheduler.

A fold is a frozen value with ``init`` (device constants and zero sums), ``forward`` (products of a block
with thin blocks, and its moments), ``backward`` (the block's adjoint times those products) and ``merge``.
With all columns of the rows in memory, ``update`` is one after the other; where only tiles of columns fit,
the engine sums ``forward`` over the tiles first and reads them again for ``backward``.

The matrix that is multiplied is ``X = alpha (A - 1 pilot)``, rows weighted; scales of columns live in the
thin blocks, never in the data. Along columns the same folds see ``A*``, whose rows are whole columns of
``A`` and are centred and scaled exactly where they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from streamsvd.kernels import moments, products
from streamsvd.typing import Matrix, Real

Array = Any
Axis = Literal["rows", "columns"]
Policy = Literal["raise", "zero", "mean", "drop_columns"]
POLICIES: tuple[Policy, ...] = ("raise", "zero", "mean", "drop_columns")


class Backend(Protocol):
    """The two doors between host and device, and the namespace behind them."""

    xp: Any
    has_float64: bool

    def to_device(self, a: Matrix, dtype: str | None = None) -> Array: ...
    def to_host(self, x: Array) -> Matrix: ...


class BadEntry(ValueError):  # noqa: N818 - control flow between a fold and the engine, which names the chunk
    """A NaN or Inf that the policy does not allow, at (row, column) of the fold's matrix."""

    def __init__(self, value: str, row: int, column: int) -> None:
        super().__init__(value, row, column)
        self.value, self.row, self.column = value, row, column


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """How a stored block becomes a block of rows of the matrix that is multiplied.

    Attributes
    ----------
    axis
        Whether blocks are rows of ``A`` or columns.
    alpha
        Power of two that brings entries near one, so that squares neither overflow nor vanish.
    pilot
        Subtracted from each row, ``(n,)``; None to leave the data as they are. Along rows only.
    weights
        Weights of the rows of ``A``, ``(m,)``.
    column_weights
        Weights of the columns of ``A``, ``(n,)``. Along columns only; else they are in the thin blocks.
    center, scale
        Along columns: centre each column and divide it by its standard deviation.
    policy, fill
        What a NaN becomes: ``fill[j]`` (raw units) under any policy but ``"raise"``.
    single
        Multiply in float32 where a thin block asks for it.
    complex_
        Whether the data are complex.
    """

    axis: Axis
    alpha: float = 1.0
    pilot: Matrix | None = None
    weights: Real | None = None
    column_weights: Real | None = None
    center: bool = False
    scale: bool = False
    policy: Policy = "raise"
    fill: Matrix | None = None
    single: bool = False
    complex_: bool = False

    @property
    def narrow(self) -> str:
        """Type of products where a thin block asks for single precision."""
        return ("complex64" if self.complex_ else "float32") if self.single else self.wide

    @property
    def wide(self) -> str:
        """Type of sums."""
        return "complex128" if self.complex_ else "float64"


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over rows of ``X``: what the first pass learns besides products.

    Attributes
    ----------
    total, squares
        Weighted sums of the columns and of their squared moduli, ``(n,)``; along rows only.
    weight
        Sum of the weights of the rows, or their number.
    energy
        ``||X||_F**2``, weighted.
    missing
        Missing entries of each column, ``(n,)`` (along columns: one number, the sum).
    features
        Along columns: for each block its first column, the means and the standard deviations.
    """

    total: Array
    squares: Array
    weight: float
    energy: float
    missing: Array
    features: tuple[tuple[int, Real, Real], ...] = ()

    def merge(self, other: Moments) -> Moments:
        """Moments of the rows of both."""
        return Moments(
            self.total + other.total,
            self.squares + other.squares,
            self.weight + other.weight,
            self.energy + other.energy,
            self.missing + other.missing,
            self.features + other.features,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a span or a pass hands back: host arrays."""

    products: tuple[Matrix, ...]
    moments: Moments | None = None
    pieces: tuple[tuple[int, Matrix], ...] = ()

    def merge(self, other: Sums) -> Sums:
        """Sums of both, in this order."""
        both = None
        if self.moments is not None and other.moments is not None:
            both = self.moments.merge(other.moments)
        summed = tuple(a + b for a, b in zip(self.products, other.products, strict=True))
        return Sums(summed, both, self.pieces + other.pieces)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A prepared block: ``wide`` for sums (None where nothing needs it), ``narrow`` for products."""

    narrow: Array
    wide: Array | None
    weights: Array | None
    moments: Moments | None


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Prepares blocks on one device; constants are sent there once a span."""

    prep: Preparation
    backend: Backend
    need_wide: bool
    need_moments: bool
    pilot: dict[str, Array] = field(default_factory=dict)

    def prepare(self, raw: Array, start: int, columns: slice) -> Block:
        """Block of rows from a stored rectangle, given its first row (or column) and its columns."""
        if self.prep.axis == "columns":
            return self._columns(raw, start)
        return self._rows(raw, start, columns)

    def _constant(self, name: str, value: Matrix, dtype: str, part: slice) -> Array:
        key = f"{name}:{dtype}"
        if key not in self.pilot:
            self.pilot[key] = self.backend.to_device(value, dtype)
        return self.pilot[key][part]

    def _rows(self, raw: Array, start: int, columns: slice) -> Block:
        xp, prep = self.backend.xp, self.prep
        X = xp.astype(raw, getattr(xp, prep.narrow), copy=False)
        if prep.fill is not None:
            X, missing = self._filled(X, start, columns, xp)
        else:
            missing = None
        if prep.pilot is not None:
            X = X - self._constant("pilot", prep.pilot, prep.narrow, columns)[None, :]
        if prep.alpha != 1:
            X = X * prep.alpha
        p = X.shape[0]
        weights = None
        if prep.weights is not None:
            weights = self.backend.to_device(prep.weights[start : start + p], "float64")
        wide = None
        if self.need_wide or self.need_moments:
            wide = xp.astype(X, getattr(xp, prep.wide), copy=False)
        tally = None
        if self.need_moments:
            total, squares = moments.column_sums(wide, weights)
            energy = float(self.backend.to_host(xp.sum(squares)))
            if not np.isfinite(energy):
                self._complain(raw, start, columns.start)
                raise OverflowError(f"entries near row {start} are too large to square")
            weight = float(p) if weights is None else float(np.sum(prep.weights[start : start + p]))
            count = xp.zeros(total.shape, dtype=xp.float64) if missing is None else missing
            tally = Moments(total, squares, weight if columns.start == 0 else 0.0, energy, count)
        return Block(X, wide, weights, tally)

    def _filled(self, X: Array, start: int, columns: slice, xp: Any) -> tuple[Array, Array]:
        assert self.prep.fill is not None
        holes = xp.isnan(X)
        fill = self._constant("fill", self.prep.fill, self.prep.narrow, columns)
        count = xp.astype(holes, xp.float64)
        if self.prep.weights is not None:
            part = self.prep.weights[start : start + X.shape[0]]
            count = count * self.backend.to_device(part, "float64")[:, None]
        count = xp.sum(count, axis=0)
        return xp.where(holes, fill[None, :], X), count

    def _columns(self, raw: Array, start: int) -> Block:
        xp, prep = self.backend.xp, self.prep
        X = xp.astype(raw, getattr(xp, prep.wide), copy=False)
        m, p = X.shape
        holes = None
        if self.need_moments and not np.isfinite(self.backend.to_host(xp.sum(xp.abs(X)))):
            self._complain(raw, 0, start)
        if prep.policy != "raise":
            holes = xp.isnan(X)
            X = xp.where(holes, xp.zeros_like(X), X)
        if prep.alpha != 1:
            X = X * prep.alpha
        w = None if prep.weights is None else self.backend.to_device(prep.weights, "float64")
        present = xp.ones((m, 1), dtype=xp.float64) if w is None else w[:, None]
        counted = xp.sum(present)
        if holes is not None and prep.policy == "mean":  # means over what is there
            counted = xp.sum(present * xp.astype(~holes, xp.float64), axis=0)
            counted = xp.where(counted > 0, counted, xp.ones_like(counted))
        mean = xp.sum(X * present, axis=0) / counted
        if prep.center:
            X = X - mean[None, :]
            if holes is not None and prep.policy == "mean":
                X = xp.where(holes, xp.zeros_like(X), X)
        elif holes is not None and prep.policy == "mean":
            X = xp.where(holes, mean[None, :], X)
        power = xp.sum(present * xp.real(X * xp.conj(X)), axis=0) if prep.complex_ else xp.sum(
            present * X * X, axis=0
        )
        spread = xp.sqrt(power / xp.sum(present))
        factor = xp.ones_like(spread)
        if prep.scale:
            factor = xp.where(spread > 0, 1 / xp.where(spread > 0, spread, factor), 0.0 * factor)
        if prep.column_weights is not None:
            factor = factor * self.backend.to_device(prep.column_weights[start : start + p], "float64")
        if holes is not None and prep.policy == "drop_columns":
            factor = xp.where(xp.any(holes, axis=0), 0.0 * factor, factor)
        tally = None
        if self.need_moments:
            n_holes = 0.0
            if holes is not None:
                n_holes = float(self.backend.to_host(xp.sum(xp.astype(holes, xp.float64))))
            to_host = self.backend.to_host
            feature = (start, to_host(mean / prep.alpha), to_host(spread / prep.alpha))
            zero = xp.zeros((1,), dtype=xp.float64)
            energy = float(self.backend.to_host(xp.sum(power * factor * factor)))
            tally = Moments(zero, zero, float(p), energy, zero + n_holes, (feature,))
        T = products.adjoint(X)
        narrow = xp.astype(T, getattr(xp, prep.narrow), copy=False)
        return Block(narrow, T, factor * factor, tally)

    def _complain(self, raw: Array, row: int, column: int) -> None:
        """Raise for the first entry that is Inf, or NaN where the policy is to raise."""
        data = self.backend.to_host(raw)
        bad = ~np.isfinite(data) if self.prep.policy == "raise" else np.isinf(data)
        if not bad.any():
            return
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        value = "NaN" if np.isnan(data[i, j]) else "Inf"
        raise BadEntry(value, row + int(i), column + int(j))


@dataclass(frozen=True, slots=True, eq=False)
class Thin:
    """A thin block to multiply: ``(n, k)`` on the host, and whether single precision will do."""

    X: Matrix
    single: bool


@dataclass(slots=True, eq=False)
class State:
    """A span's own sums, on its device; one owner, updated in place."""

    reader: Reader
    thin: list[Array]
    sums: list[Array]
    moments: Moments | None = None
    pieces: list[tuple[int, Matrix]] = field(default_factory=list)
    block: Block | None = None

    def tally(self, block: Block, columns: slice, width: int) -> None:
        """Add the moments of a block; tiles of the same rows land in their own columns."""
        part = block.moments
        if part is None:
            return
        if part.total.shape[0] != width and self.reader.prep.axis == "rows":
            part = replace(
                part,
                total=_placed(part.total, columns, width, self.reader.backend.xp),
                squares=_placed(part.squares, columns, width, self.reader.backend.xp),
                missing=_placed(part.missing, columns, width, self.reader.backend.xp),
            )
        self.moments = part if self.moments is None else self.moments.merge(part)


def _placed(x: Array, columns: slice, width: int, xp: Any) -> Array:
    out = xp.zeros((width,), dtype=x.dtype)
    out[columns] = x
    return out


class Fold(Protocol):
    """A pass over blocks of rows, as the engine sees it."""

    prep: Preparation
    two_sided: bool
    """Whether ``backward`` multiplies by the block again, so that tiles must be read twice."""

    def init(self, backend: Backend) -> State: ...
    def forward(self, state: State, raw: Array, start: int, columns: slice) -> list[Array]: ...
    def backward(
        self, state: State, raw: Array, start: int, columns: slice, Y: list[Array]
    ) -> None: ...
    def update(self, state: State, raw: Array, start: int) -> None: ...
    def close(self, state: State) -> Sums: ...


def _closed(state: State) -> Sums:
    to_host = state.reader.backend.to_host
    tally = state.moments
    if tally is not None:
        tally = replace(
            tally,
            total=to_host(tally.total),
            squares=to_host(tally.squares),
            missing=to_host(tally.missing),
        )
    return Sums(tuple(to_host(x) for x in state.sums), tally, tuple(state.pieces))


@dataclass(frozen=True, slots=True, eq=False)
class NormalPass:
    """``X* X`` times thin blocks, with the moments where asked: one read for what takes two otherwise.

    Notes
    -----
    Cost: ``4 p n k`` flops a block, sums of ``n x k`` float64.
    """

    prep: Preparation
    thin: tuple[Thin, ...]
    moments: bool = False
    two_sided: bool = True

    def init(self, backend: Backend) -> State:
        """Zero sums on the device, and the thin blocks in the types they are multiplied in."""
        xp, prep = backend.xp, self.prep
        types = [prep.narrow if t.single else prep.wide for t in self.thin]
        need_wide = any(kind != prep.narrow for kind in types)
        reader = Reader(prep, backend, need_wide, self.moments)
        return State(
            reader,
            [backend.to_device(t.X, kind) for t, kind in zip(self.thin, types, strict=True)],
            [xp.zeros(t.X.shape, dtype=getattr(xp, prep.wide)) for t in self.thin],
        )

    def forward(self, state: State, raw: Array, start: int, columns: slice) -> list[Array]:
        """Products of the block with (rows ``columns`` of) the thin blocks."""
        state.block = block = state.reader.prepare(raw, start, columns)
        width = self.thin[0].X.shape[0]
        state.tally(block, columns, width)
        return [products.forward(self._side(block, t), t[columns, :]) for t in state.thin]

    def backward(
        self, state: State, raw: Array, start: int, columns: slice, Y: list[Array]
    ) -> None:
        """Add the adjoint products to the sums."""
        block = state.block
        if block is None:
            quiet = replace(state.reader, need_moments=False)
            block = quiet.prepare(raw, start, columns)
        for total, y in zip(state.sums, Y, strict=True):
            total[columns, :] += products.backward(self._side(block, y), y, block.weights)
        state.block = None

    def update(self, state: State, raw: Array, start: int) -> None:
        """Both, with every column in memory."""
        whole = slice(0, self.thin[0].X.shape[0])
        self.backward(state, raw, start, whole, self.forward(state, raw, start, whole))

    def close(self, state: State) -> Sums:
        """The sums, on the host."""
        return _closed(state)

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
    Cost: ``p n**2`` flops a block in float64, sums of ``n x n``.
    """

    prep: Preparation
    width: int
    two_sided: bool = True

    def init(self, backend: Backend) -> State:
        """Zero Gram matrix on the device."""
        kind = getattr(backend.xp, self.prep.wide)
        zeros = backend.xp.zeros((self.width, self.width), dtype=kind)
        return State(Reader(self.prep, backend, True, True), [], [zeros])

    def forward(self, state: State, raw: Array, start: int, columns: slice) -> list[Array]:
        """Nothing to multiply by; the Gram matrix needs every column at once."""
        state.block = state.reader.prepare(raw, start, columns)
        state.tally(state.block, columns, self.width)
        return []

    def backward(
        self, state: State, raw: Array, start: int, columns: slice, Y: list[Array]
    ) -> None:
        """Add the block's Gram matrix."""
        del raw, start, columns, Y
        assert state.block is not None
        assert state.block.wide is not None
        state.sums[0] += products.gram(state.block.wide, state.block.weights)
        state.block = None

    def update(self, state: State, raw: Array, start: int) -> None:
        """Both, with every column in memory."""
        whole = slice(0, self.width)
        self.backward(state, raw, start, whole, self.forward(state, raw, start, whole))

    def close(self, state: State) -> Sums:
        """The Gram matrix and the moments, on the host."""
        return _closed(state)


@dataclass(frozen=True, slots=True, eq=False)
class ProjectPass:
    """``Y = X Z``, row by row, and ``Y* Y`` in float64: the pass that makes the other factor.

    Rows of ``Y`` less ``shift``, times ``divide`` and the root of the row's weight, leave as pieces, in order.

    Notes
    -----
    Cost: ``2 p n k`` flops a block, ``p k`` numbers handed over for each block.
    """

    prep: Preparation
    thin: Thin
    shift: Matrix
    divide: Real
    dtype: str
    two_sided: bool = False

    def init(self, backend: Backend) -> State:
        """Zero ``Y* Y`` on the device."""
        xp, prep = backend.xp, self.prep
        kind = prep.narrow if self.thin.single else prep.wide
        k = self.thin.X.shape[1]
        zeros = xp.zeros((k, k), dtype=getattr(xp, prep.wide))
        wide = kind != prep.narrow
        return State(
            Reader(prep, backend, wide, False), [backend.to_device(self.thin.X, kind)], [zeros]
        )

    def forward(self, state: State, raw: Array, start: int, columns: slice) -> list[Array]:
        """Product of the block with the thin block."""
        state.block = block = state.reader.prepare(raw, start, columns)
        thin = state.thin[0]
        side = NormalPass._side(block, thin)
        return [products.forward(side, thin[columns, :])]

    def backward(
        self, state: State, raw: Array, start: int, columns: slice, Y: list[Array]
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

    def update(self, state: State, raw: Array, start: int) -> None:
        """Both, with every column in memory."""
        whole = slice(0, self.thin.X.shape[0])
        self.backward(state, raw, start, whole, self.forward(state, raw, start, whole))

    def close(self, state: State) -> Sums:
        """``Y* Y`` and the pieces not taken yet."""
        return _closed(state)
