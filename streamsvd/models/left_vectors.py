"""Left singular vectors that are composed when they are read.

The rows of a block are written once, as they are when it is absorbed. Every later block turns them:
``rows -> rows R_j + c_j``, small matrices that are kept beside. Reading composes them from the newest
backwards, ``P_{i-1} = R_i P_i`` and ``c_{i-1} = f (o_i P_i + c_i)``, so that a block costs one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.numerics.ledger import LeftRotation
from streamsvd.store.versions import BlockEntry
from streamsvd.typing import Matrix, Real

Fetch = Callable[[BlockEntry, str], Matrix | None]
"""An array of a block by its name: ``u``, ``turn`` or ``offset``."""


def block_arrays(step: int, old: LeftRotation, rows: Matrix) -> dict[str, Matrix]:
    """The arrays that a block adds: its rows, and the turn of all rows before it."""
    arrays = {f"u-{step}": rows, f"turn-{step}": old.rotation}
    if old.offset is not None:
        arrays[f"offset-{step}"] = old.offset
    return arrays


def turn_rows(left: Matrix | None, turn: LeftRotation) -> Matrix:
    """Left vectors of a block in the whole: ``left @ rotation``, and the constant of centring."""
    rows = turn.rotation if left is None else left @ turn.rotation
    return rows if turn.offset is None else rows + turn.offset[None, :]


@dataclass(frozen=True, slots=True, eq=False)
class LeftVectors:
    """``U`` of a model, a row range at a time.

    Attributes
    ----------
    blocks
        All blocks, in order.
    fetch
        Reads their arrays.
    base
        Rows of the batch result that the model extends, ``(m_0, k_0)`` array-like, or None.
    rank
        Columns.
    forget
        Factor by which rows fade with every block.
    dtype
        Of the values.
    """

    blocks: tuple[BlockEntry, ...]
    fetch: Fetch
    base: Any
    rank: int
    forget: float
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows seen, and rank."""
        return (self.blocks[-1].stop if self.blocks else self._first), self.rank

    @property
    def _first(self) -> int:
        """Rows before the first block: those of the batch result."""
        return 0 if self.base is None else int(self.base.shape[0])

    @property
    def fades(self) -> Real:
        """What each row has been multiplied with by now, ``(m,)``: it has faded with every block after its own."""
        starts = np.array([block.start for block in self.blocks if block.step == 0], dtype=np.int64)
        later = starts.size - np.searchsorted(starts, np.arange(self.shape[0]), side="right")
        return np.asarray(self.forget**later, dtype=np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    def _compositions(self) -> Iterator[tuple[BlockEntry | None, Matrix | None, Matrix | None]]:
        """From the newest block back: the block, the product and the constant of its rows."""
        P: Matrix | None = None
        c: Matrix | None = None
        for block in reversed(self.blocks):
            yield block, P, c
            R, o = self.fetch(block, "turn"), self.fetch(block, "offset")
            assert R is not None
            if P is None:
                P, step = R[:, : self.rank], None if o is None else o[: self.rank]
            else:
                P, step = R @ P, None if o is None else o @ P
            if step is not None:
                c = step if c is None else step + c
            if c is not None and block.step == 0:  # rows fade with a block, not with its pieces
                c = self.forget * c
        yield None, P, c

    def read(self, start: int, stop: int) -> Matrix:
        """Rows ``start <= row < stop``."""
        out = np.zeros((max(stop - start, 0), self.rank), dtype=self.dtype)
        for block, P, c in self._compositions():
            a, b = (0, self._first) if block is None else (block.start, block.stop)
            low, high = max(a, start), min(b, stop)
            if low >= high:
                continue
            if block is None:
                rows = np.asarray(self.base[low:high])
            else:
                found = self.fetch(block, "u")
                assert found is not None
                rows = found[low - a : high - a]
            rows = rows[:, : self.rank] if P is None else rows @ P
            out[low - start : high - start] = rows if c is None else rows + c[None, :]
            if a <= start:
                break
        return out

    def __getitem__(self, key: Any) -> Matrix:
        rows = key[0] if isinstance(key, tuple) else key
        rest = key[1] if isinstance(key, tuple) and len(key) > 1 else slice(None)
        m = self.shape[0]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(m)
            return self.read(start, stop)[::step, rest] if step > 0 else self.read(0, m)[rows, rest]
        if rows is Ellipsis:
            return self.read(0, m)[:, rest]
        if not isinstance(rows, int | np.integer):
            chosen = np.arange(m)[rows]  # a list of rows, or a mask
            low, high = int(chosen.min(initial=m)), int(chosen.max(initial=-1)) + 1
            return (
                self.read(low, high)[chosen - low, rest]
                if chosen.size
                else self.read(0, 0)[:, rest]
            )
        index = range(m)[int(rows)]
        return np.asarray(self.read(index, index + 1)[0, rest])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Matrix:
        del copy
        whole = self.read(0, self.shape[0])
        return whole if dtype is None else whole.astype(dtype)
