"""A tensor of a safetensors file as a matrix; bfloat16 is read as float32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.collections.arrays import ArrayInFile
from streamsvd.store.collections.safetensors import open_tensors
from streamsvd.store.explanations import access_error
from streamsvd.store.sources.beside import Candidate, choose_variable, names_text
from streamsvd.store.sources.border import check_dtype, check_rectangle
from streamsvd.store.sources.files.npy import NpySource
from streamsvd.store.sources.files.raw import BLOCK_BYTES, read_box
from streamsvd.store.sources.flatten import box_shape, flattening
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.pieces import pieces
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.stamp import FileStamp


@dataclass(frozen=True)
class TensorSource(NpySource):
    """Address of a tensor in a file.

    Attributes
    ----------
    tensor
        Its name.
    """

    __repr__ = matrix_text

    tensor: str = ""

    broken: ClassVar[str] = "is no whole safetensors file"
    remedy: ClassVar[str] = "Restore it from a copy."

    @property
    def name(self) -> str:
        return f"{self.path}:{self.tensor}"


@dataclass(frozen=True)
class Bfloat16Source(TensorSource):
    """Address of a tensor of bfloat16, which are the upper halves of float32."""

    __repr__ = matrix_text

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    @property
    def read_bytes(self) -> int:
        return 6 * BLOCK_BYTES

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        extents, stored = self.layout.extents, self.stored_dtype
        most, grid = BLOCK_BYTES // stored.itemsize, (1,) * len(self.layout.extents)
        try:
            with self.path.open("rb", buffering=0) as file:
                for box, place in self.layout.views(rows, columns, out):
                    for part, target in pieces(box, place, most, grid):
                        halves = np.empty(box_shape(part), stored)
                        read_box(file, self.offset, extents, stored, part, halves)
                        target[...] = (halves.astype(np.uint32) << 16).view(np.float32)
            if self.stamp is not None:
                self.stamp.check(self.path)
        except EOFError as error:
            raise StoreError(f"{self.path} {self.broken}: {error}. {self.remedy}") from error
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise access_error(error, "read", self.path) from error


def open_tensor(path: Path, request: OpenRequest) -> TensorSource:
    """A tensor of a safetensors file as a source; only the header is read.

    Raises
    ------
    StoreError
        If the file is not whole.
    SpecError, ShapeError
        If there is no such tensor, or it is no matrix of numbers.
    """
    path = path.absolute()
    stamp, found, name = FileStamp.of(path), open_tensors(path), request.variable
    if name is None:
        candidates = {
            key: Candidate(len(tensor.shape), tensor.dtype, {}) for key, tensor in found.items()
        }
        name = choose_variable(candidates, str(path))
    tensor = found.get(name)
    if tensor is None:
        raise SpecError(f"{path} has no tensor {name!r}; it holds {names_text(found)}.")
    where = f"{path}:{name}"
    if not isinstance(tensor, ArrayInFile):
        raise SpecError(
            f"{where} holds {tensor.kind}, which numpy has not. Store it as F16, BF16 or F32."
        )
    check_dtype(tensor.dtype, where)
    layout = flattening(tensor.shape, None, request.rows, where)
    kind = Bfloat16Source if tensor.is_bfloat16 else TensorSource
    return kind(path, tensor.offset, tensor.stored_dtype, False, layout, stamp, name)
