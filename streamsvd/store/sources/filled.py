"""A source whose missing values are filled as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.protocols import Source
from streamsvd.typing import Real


@dataclass(frozen=True, eq=False)
class FilledColumns:
    """A matrix in which each NaN is a number of its column; what else a source may be asked is asked of the whole.

    Attributes
    ----------
    whole
        The matrix as it is stored.
    fill
        What takes the place of a NaN in each column, ``(n,)``.
    """

    whole: Source
    fill: Real

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("whole", "fill"):  # not yet there while it is unpickled
            raise AttributeError(name)
        return getattr(self.whole, name)

    @property
    def shape(self) -> tuple[int, int]:
        return self.whole.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.whole.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        return self.whole.chunks

    @property
    def nbytes(self) -> int:
        return self.whole.nbytes

    @property
    def read_bytes(self) -> int:
        return self.whole.read_bytes

    @property
    def name(self) -> str:
        return self.whole.name

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        self.whole.read(rows, columns, out)
        holes = np.isnan(out)
        if holes.any():
            fill = self.fill[columns].astype(out.dtype)
            np.copyto(out, fill[None, :], where=holes)

    def locate(self, row: int, column: int, /) -> str:
        return self.whole.locate(row, column)
