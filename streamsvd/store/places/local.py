"""A folder or a file on a disk as a place."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from streamsvd.errors import StoreError
from streamsvd.store.explanations import Action, explain_errors, path_exists
from streamsvd.store.sight import Address, OutputAddress
from streamsvd.store.writing.partial import Partial
from streamsvd.store.writing.placing import put_back, put_in_place
from streamsvd.store.writing.resumable import ResumableFolder
from streamsvd.store.writing.trial import try_place
from streamsvd.store.writing.whole_writes import PARTIAL, write_all

SCRATCH = "writing.scratch"
"""What no array is called; see the names that collections may not have."""


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

    def size(self, key: str = "") -> int | None:
        """See `Location.size`."""
        try:
            return (self.address / key).stat().st_size
        except OSError:
            return None

    def blocks(self, key: str, most: int) -> Iterator[bytes]:
        """See `Location.blocks`."""
        with (self.address / key).open("rb", buffering=0) as file:
            while part := file.read(most):
                yield part

    def write(self, key: str, *parts: Any) -> None:
        """See `Location.write`."""
        path = self.address / key
        if key and not self.address.is_dir():  # the run is over: nothing of it is made again
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.address))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}-{uuid.uuid4().hex[:8]}{PARTIAL}")
        with partial.open("xb", buffering=0) as file:
            for part in parts:
                write_all(file.fileno(), memoryview(part))
        partial.replace(path)

    def remove(self, key: str) -> None:
        """See `Location.remove`."""
        (self.address / key).unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        """See `Location.free_bytes`."""
        folder = next(path for path in self.address.absolute().parents if path.exists())
        return shutil.disk_usage(folder).free

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

    @property
    def has_folders(self) -> bool:
        """See `Location.has_folders`."""
        return True

    def make_parent(self) -> None:
        """See `Location.make_parent`."""
        self.address.absolute().parent.mkdir(parents=True, exist_ok=True)

    def remove_ending(self, suffix: str) -> None:
        """See `Location.remove_ending`."""
        for path in self.address.rglob("*" + suffix):
            path.unlink(missing_ok=True)

    def output_addresses(self, key: str, place: str) -> list[Address]:
        """See `Location.output_addresses`."""
        return [OutputAddress(self.address / key, place)]

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

    def resume(self, purpose: dict[str, Any]) -> LocalResumableWork:
        """See `Location.resume`."""
        return LocalResumableWork(self.address.absolute(), purpose)

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
        return LocalScratch((self.folder / SCRATCH).absolute(), str(self.place))

    def publish(self, *, overwrite: bool) -> None:
        """See `PartialWork.publish`."""
        shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)
        put_in_place(self, self.place, overwrite=overwrite)


class LocalResumableWork(ResumableFolder, LocalWork):
    """A folder that another run goes on with; see `ResumableWork`."""

    @property
    def home(self) -> Path:
        """See `ResumableWork.home`."""
        return self.folder


@dataclass(frozen=True, slots=True)
class LocalScratch:
    """Files on their way; see `Scratch`."""

    folder: Path
    place: str
    """What it is for, in messages."""

    def put(self, name: str, data: Any) -> None:
        """See `Scratch.put`."""
        path = self.folder / name
        with explain_errors(self.place, "nothing was replaced."):
            self.folder.mkdir(exist_ok=True)  # where the work is gone, nothing is made
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{uuid.uuid4().hex}")  # another try may write it now
            with partial.open("wb") as file:
                file.write(data)
            partial.replace(path)

    def take(self, prefix: str) -> Iterator[bytes]:
        """See `Scratch.take`."""
        for name in self.names(prefix):
            with explain_errors(self.place, "nothing was replaced."):
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
