"""Objects as files, in the order of writes and syncs that survives a power cut.

A folder's objects are written and synced one by one, then the folders that name them. `create` links a synced
temporary file to its name, which fails if the name is taken, and syncs the folder: the commit of a version.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from streamsvd.errors import StoreError
from streamsvd.store.objects.protocol import checked_key


class FileSystem:
    """The calls that change files, one method each, so that a test can fail, record or cut any of them."""

    def make_folder(self, path: Path) -> None:
        """One new folder; its parent exists."""
        path.mkdir()

    def write(self, path: Path, data: bytes) -> None:
        """A new file, not synced."""
        with path.open("xb") as file:
            file.write(data)

    def sync(self, path: Path) -> None:
        """Contents of a file, or names in a folder, to disk."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def link(self, source: Path, target: Path) -> None:
        """A second name for a file; FileExistsError if it is taken."""
        os.link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        """A file under another name, in place of what had it."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """A file away; FileNotFoundError if it is."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """An empty folder away."""
        path.rmdir()


class LocalObjects:
    """Objects below a folder of a local file system.

    Parameters
    ----------
    root
        The folder; made when something is first written.
    files
        Calls to the operating system.
    """

    def __init__(self, root: Path, files: FileSystem | None = None) -> None:
        self.root, self.files = root, files or FileSystem()

    @property
    def name(self) -> str:
        """The path."""
        return str(self.root)

    def _path(self, key: str) -> Path:
        path = self.root / checked_key(key)
        if path.is_symlink():
            raise StoreError(
                f"{path} is a link, which a model has none of. Restore it from a copy."
            )
        return path

    def read(self, key: str) -> bytes:
        """See `Objects.read`."""
        return self._path(key).read_bytes()

    def write(self, folder: str, files: Mapping[str, bytes]) -> None:
        """See `Objects.write`."""
        made: set[Path] = set()
        touched = {self._path(folder)}
        self._ensure(self._path(folder), made)
        for name, data in files.items():
            path = self._path(f"{folder}/{name}")
            self._ensure(path.parent, made)
            self.files.write(path, data)
            self.files.sync(path)
            touched.add(path.parent)
        touched |= made | {path.parent for path in made}
        for path in sorted(touched, key=lambda p: len(p.parts), reverse=True):
            self.files.sync(path)

    def _ensure(self, path: Path, made: set[Path]) -> None:
        """The folder and those above it, remembering which were new: their parents must be synced."""
        if path.is_dir():
            return
        self._ensure(path.parent, made)
        with contextlib.suppress(FileExistsError):
            self.files.make_folder(path)
            made.add(path)

    def create(self, key: str, data: bytes) -> bool:
        """See `Objects.create`."""
        path = self._path(key)
        made: set[Path] = set()
        self._ensure(path.parent, made)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            self.files.write(partial, data)
            self.files.sync(partial)
            try:
                self.files.link(partial, path)
            except FileExistsError:
                return False
        finally:
            with contextlib.suppress(OSError):
                self.files.remove(partial)
        for folder in sorted(
            {path.parent, *made, *(p.parent for p in made)}, key=lambda p: -len(p.parts)
        ):
            self.files.sync(folder)
        return True

    def replace(self, key: str, data: bytes) -> None:
        """See `Objects.replace`."""
        path = self._path(key)
        self._ensure(path.parent, set())
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            self.files.write(partial, data)
            self.files.sync(partial)
            self.files.rename(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.files.remove(partial)
            raise
        self.files.sync(path.parent)

    def names(self, folder: str) -> list[str]:
        """See `Objects.names`."""
        try:
            return sorted(entry.name for entry in os.scandir(self._path(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def keys(self, folder: str) -> list[str]:
        """See `Objects.keys`."""
        root = self._path(folder)
        found = [Path(top) / name for top, _, names in os.walk(root) for name in names]
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def remove(self, keys: Iterable[str]) -> None:
        """See `Objects.remove`."""
        parents = set()
        for key in keys:
            path = self._path(key)
            with contextlib.suppress(FileNotFoundError):
                self.files.remove(path)
            parents |= {p for p in path.parents if self.root in p.parents and p.parent != self.root}
        for folder in sorted(parents, key=lambda p: -len(p.parts)):
            with contextlib.suppress(OSError):  # not empty, or gone already
                self.files.remove_folder(folder)
