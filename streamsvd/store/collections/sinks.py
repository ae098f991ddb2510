"""Where tasks write arrays of a collection: each array is written whole, by whoever has it, into what the client has laid out.

Nothing here makes a folder or removes a file: a task that runs after its run is over finds nothing to write to.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from streamsvd.checks.paths import PathOrUrl
from streamsvd.store.collections.origin import Origin
from streamsvd.store.collections.safetensors import TensorPlace, stored_tensor
from streamsvd.store.explanations import explain_errors
from streamsvd.store.places import Scratch, location_of
from streamsvd.store.sight import Address, OutputAddress
from streamsvd.store.writing.partial import LOCK
from streamsvd.store.writing.shield import defer_interrupts
from streamsvd.store.writing.whole_writes import PARTIAL, write_all

Array = npt.NDArray[Any]


class ArraySink(Protocol):
    """Takes whole arrays by name; writing one twice is harmless. Small and picklable."""

    def write(self, name: str, values: Array, /) -> None:
        """Write an array.

        Raises
        ------
        AccessError
            If the disk is full, or it cannot be written.
        """
        ...

    def addresses(self) -> list[Address]:
        """Where it writes."""
        ...


@dataclass(frozen=True, slots=True)
class GroupSink:
    """Into the arrays of a zarr group, which are there without values.

    Attributes
    ----------
    place, folder
        What it is to become, for messages; and the group itself.
    origins
        What is remembered of arrays: they are packed again.
    """

    place: str
    folder: PathOrUrl
    origins: Mapping[str, Origin]

    def addresses(self) -> list[Address]:
        return location_of(self.folder).output_addresses("zarr.json", self.place)

    def write(self, name: str, values: Array, /) -> None:
        origin = self.origins.get(name)
        with explain_errors(f"{name} of {self.place}"), defer_interrupts():
            store = location_of(self.folder / name).store()
            array = zarr.open_array(store, mode="r+", zarr_format=3)
            whole = array.with_config({"write_empty_chunks": True})
            whole[...] = values if origin is None else origin.pack(values)


@dataclass(frozen=True, slots=True)
class FileSink:
    """Into ``.npy`` files of a folder, whose folders are there."""

    place: str
    folder: Path

    def addresses(self) -> list[Address]:
        return [OutputAddress(self.folder / LOCK, self.place)]

    def write(self, name: str, values: Array, /) -> None:
        path = self.folder / f"{name}.npy"
        partial = self.folder / f"{uuid.uuid4().hex}{PARTIAL}"
        with explain_errors(f"{name} of {self.place}"), defer_interrupts():
            with partial.open("xb") as file:
                np.save(file, values, allow_pickle=False)
            partial.replace(path)


@dataclass(frozen=True, slots=True)
class TensorSink:
    """Into the tensors of a safetensors file, which has its header and its length."""

    place: str
    path: Path
    tensors: Mapping[str, TensorPlace]

    def addresses(self) -> list[Address]:
        return [OutputAddress(self.path, self.place)]

    def write(self, name: str, values: Array, /) -> None:
        tensor = self.tensors[name]
        data = stored_tensor(values, tensor.code)
        with explain_errors(f"{name} of {self.place}"), defer_interrupts():
            handle = os.open(self.path, os.O_WRONLY)
            try:
                write_all(handle, data.data, tensor.start)
            finally:
                os.close(handle)


@dataclass(frozen=True, slots=True)
class TensorPartSink:
    """Into objects by the numbers of tensors, where a file cannot be written in parts."""

    place: str
    scratch: Scratch
    tensors: Mapping[str, TensorPlace]

    def addresses(self) -> list[Address]:
        return []

    def write(self, name: str, values: Array, /) -> None:
        tensor = self.tensors[name]
        self.scratch.put(part_name(tensor), stored_tensor(values, tensor.code).data)


def part_name(tensor: TensorPlace) -> str:
    """Where the bytes of a tensor are that is on its way."""
    return f"tensors/{tensor.start}"
