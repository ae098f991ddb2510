"""What sources that show another one have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.protocols import SPARSE_MEMBERS, Source
from streamsvd.store.sources.request import OpenRequest


@dataclass(frozen=True, eq=False)
class SourceView:
    """A source that shows another one: what it does not say itself, and whatever else a source may be asked, is that of the whole.

    Attributes
    ----------
    whole
        The matrix that it shows.
    """

    whole: Source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in type(self).__dataclass_fields__:
            raise AttributeError(name)  # not yet there while it is unpickled
        if name in SPARSE_MEMBERS:
            raise AttributeError(name)  # what it shows is another matrix than what is stored
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
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        return self.whole.read_bytes

    @property
    def name(self) -> str:
        return self.whole.name

    def locate(self, row: int, column: int, /) -> str:
        return self.whole.locate(row, column)


def same_source(source: Source, request: OpenRequest) -> Source:
    """A matrix that is open already, as it is."""
    del request
    return source
