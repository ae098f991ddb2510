"""A folder or a file on a disk as a place."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from streamsvd.errors import StoreError
from streamsvd.store.explanations import Action, explain_errors, path_exists
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.writing.partial import Partial
from streamsvd.store.writing.placing import put_back, put_in_place
from streamsvd.store.writing.trial import try_place

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class LocalLocation:
    """A path as a place; see `Location`."""

    address: Path

    def exists(self, doing: Action = "read") -> bool:
        """See `Location.exists`."""
        return path_exists(self.address, doing)

    def is_present(self) -> bool:
        """See `Location.is_present`."""
        return os.path.lexists(self.address)

    def is_folder(self) -> bool:
        """See `Location.is_folder`."""
        return self.address.is_dir()

    def is_file(self) -> bool:
        """See `Location.is_file`."""
        return self.address.is_file()

    def is_link(self) -> bool:
        """See `Location.is_link`."""
        return self.address.is_symlink()

    def read(self, key: str = "", *, most: int | None = None) -> bytes:
        """See `Location.read`."""
        with (self.address / key).open("rb") as file:
            return file.read(-1 if most is None else most)

    def size(self) -> int:
        """See `Location.size`."""
        return self.address.stat().st_size

    def write(self, key: str, data: bytes) -> None:
        """See `Location.write`."""
        path = self.address / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def keys(self, key: str = "") -> list[str]:
        """See `Location.keys`."""
        folder = self.address / key
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    def names(self) -> list[str]:
        """See `Location.names`."""
        return sorted(path.name for path in self.address.iterdir())

    def entries(self, key: str = "") -> list[str]:
        """See `Location.entries`."""
        folder = self.address / key
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))

    def is_plain_folder(self, name: str) -> bool:
        """See `Location.is_plain_folder`."""
        path = self.address / name
        return path.is_dir() and not path.is_symlink()

    def clear(self, key: str) -> None:
        """See `Location.clear`."""
        shutil.rmtree(self.address / key, ignore_errors=True)

    def store(self, key: str = "", *, read_only: bool = False, is_whole: bool = False) -> Any:
        """See `Location.store`: zarr takes the path; who counts chunks tells whether it is whole."""
        del read_only, is_whole
        return str((self.address / key).absolute())

    def addresses(self, key: str) -> list[Address]:
        """See `Location.addresses`."""
        return [FileAddress(self.address / key, 0)]

    def above(self) -> Iterator[LocalLocation]:
        """See `Location.above`."""
        within = self.address.parent.resolve()
        return map(LocalLocation, (within, *within.parents))

    def settle(self) -> None:
        """See `Location.settle`."""
        put_back(self.address)

    def try_writing(self) -> None:
        """See `Location.try_writing`."""
        try_place(self.address)

    def check_parent(self) -> None:
        """See `Location.check_parent`."""
        folder = self.address.parent
        if path_exists(folder, "write") and not folder.is_dir():
            raise StoreError(f"{folder} is no folder. Choose another place.")
        if not folder.exists():
            raise StoreError(f"{folder} is no folder. Make it, or choose another place.")

    def begin(self) -> LocalWork:
        """See `Location.begin`."""
        return LocalWork(self.address)

    @contextlib.contextmanager
    def replacement(self, *, overwrite: bool = True) -> Iterator[BinaryIO]:
        """See `Location.replacement`."""
        path = self.address
        partial = path.with_name(f".{path.name}.partial")
        try:
            with explain_errors(path, "nothing was replaced."):
                with partial.open("wb") as file:
                    yield file
                if not overwrite and os.path.lexists(path):
                    raise StoreError(
                        f"{path} was made by another run meanwhile. Pass overwrite=True (--overwrite) to replace it."
                    )
                partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


class LocalWork(Partial):
    """A folder beside a path, which takes its place; see `PartialWork`."""

    @property
    def location(self) -> LocalLocation:
        """See `PartialWork.location`."""
        return LocalLocation(self.folder)

    @property
    def scratch(self) -> LocalScratch:
        """See `PartialWork.scratch`."""
        return LocalScratch((self.folder / SCRATCH).absolute())

    def publish(self, *, overwrite: bool) -> None:
        """See `PartialWork.publish`."""
        shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)
        put_in_place(self, self.place, overwrite=overwrite)


@dataclass(frozen=True, slots=True)
class LocalScratch:
    """Files on their way; see `Scratch`."""

    folder: Path

    def put(self, name: str, data: Any) -> None:
        """See `Scratch.put`."""
        path = self.folder / name
        with explain_errors(self.folder.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{uuid.uuid4().hex}")  # another try may write it now
            with partial.open("wb") as file:
                file.write(data)
            partial.replace(path)

    def take(self, prefix: str) -> Iterator[bytes]:
        """See `Scratch.take`."""
        for name in self.names(prefix):
            with explain_errors(self.folder.parent):
                data = (self.folder / name).read_bytes()
            yield data

    def names(self, prefix: str) -> list[str]:
        """See `Scratch.names`."""
        found = (self.folder / prefix).rglob("*")
        files = (p for p in found if not p.name.startswith(".") and p.is_file())
        return sorted(p.relative_to(self.folder).as_posix() for p in files)

    def remove(self, prefix: str) -> None:
        """See `Scratch.remove`."""
        shutil.rmtree(self.folder / prefix, ignore_errors=True)
