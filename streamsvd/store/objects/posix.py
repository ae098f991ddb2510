"""Objects as files, in the order of writes and syncs that survives a power cut.

A folder's objects are written and synced one by one, then the folders that name them. `create` links a synced
temporary file to its name, which fails if the name is taken, and syncs the folder: the commit of a version.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from streamsvd.errors import AccessError
from streamsvd.store.explanations import access_error, means_absent
from streamsvd.store.objects.protocol import checked_key, is_key


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
        self._named: set[Path] = set()  # folders whose own names are known to be on disk
        self._above: set[Path] = set()  # the root, and folders above it, that were made here

    @property
    def name(self) -> str:
        """The path."""
        return str(self.root)

    def _path(self, key: str) -> Path:
        path = self.root
        for name in checked_key(key).split("/"):
            path = path / name
            try:
                link = path.is_symlink()
            except OSError as error:
                raise access_error(error, "read", path) from error
            if link:
                reason = "it is a link, which a model has none of"
                raise AccessError("read", str(path), reason, "Restore it from a copy.")
        return path

    def read(self, key: str) -> bytes:
        """See `Objects.read`."""
        path = self._path(key)
        try:
            return path.read_bytes()
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from error
        except OSError as error:
            if means_absent(error, path):
                raise
            raise access_error(error, "read", path) from error

    def write(self, folder: str, files: Mapping[str, bytes]) -> None:
        """See `Objects.write`."""
        touched = {self._path(folder)}
        self._ensure(self._path(folder))
        for name, data in files.items():
            path = self._path(f"{folder}/{name}")
            self._ensure(path.parent)
            self.files.write(path, data)
            self.files.sync(path)
            touched.add(path.parent)
        self._sync_folders(touched)

    def _ensure(self, path: Path) -> None:
        """The folder and those above it."""
        if path.is_dir():
            return
        self._ensure(path.parent)
        with contextlib.suppress(FileExistsError):
            self.files.make_folder(path)
            if self.root.is_relative_to(path):
                self._above.add(path)

    def _sync_folders(self, folders: set[Path]) -> None:
        """Names in these folders to disk, and their own names and those of all above them up to the root.

        Who made a folder may have been killed before he synced the one that names it, so that existing is no
        proof of being on disk: each is synced once by every process.
        """
        named: set[Path] = set()
        for folder in folders:
            for path in (folder, *folder.parents):
                if path not in self._named:
                    named.add(path)
                if path == self.root:
                    break
        parents = {path.parent for path in named if path != self.root}
        for path in sorted(folders | parents, key=lambda p: len(p.parts), reverse=True):
            self.files.sync(path)
        if self.root in named:
            for path in {self.root.parent, *(p.parent for p in self._above)}:
                with contextlib.suppress(PermissionError):  # not ours to read
                    self.files.sync(path)
        # Folders of versions come and go: only those that stay are remembered.
        self._named |= {p for p in named if p == self.root or p.parent == self.root}

    def settle(self, folder: str) -> None:
        """See `Objects.settle`."""
        if self._path(folder).is_dir():
            self._sync_folders({self._path(folder)})

    @contextlib.contextmanager
    def _temporary_file(self, path: Path, data: bytes) -> Iterator[Path]:
        """The object, synced, under a name beside its own that no other writer uses and that tells its age."""
        self._ensure(path.parent)
        name = f"{path.name}.{int(time.time()):010d}-{uuid.uuid4().hex[:12]}.tmp"
        partial = path.with_name(name)
        try:
            self.files.write(partial, data)
            self.files.sync(partial)
            yield partial
        finally:
            with contextlib.suppress(OSError):
                self.files.remove(partial)

    def create(self, key: str, data: bytes) -> bool:
        """See `Objects.create`."""
        path = self._path(key)
        with self._temporary_file(path, data) as partial:
            try:
                self.files.link(partial, path)
            except FileExistsError:
                return False
        self._sync_folders({path.parent})
        return True

    def replace(self, key: str, data: bytes) -> None:
        """See `Objects.replace`."""
        path = self._path(key)
        with self._temporary_file(path, data) as partial:
            self.files.rename(partial, path)
        self._sync_folders({path.parent})

    def names(self, folder: str) -> list[str]:
        """See `Objects.names`."""
        try:
            return sorted(entry.name for entry in os.scandir(self._path(folder)))
        except NotADirectoryError:
            return []
        except OSError as error:
            if means_absent(error, self._path(folder)):
                return []
            raise access_error(error, "list", self._path(folder)) from error

    def keys(self, folder: str) -> list[str]:
        """See `Objects.keys`; what is no name of an object is left out."""
        root = self._path(folder)
        found = [Path(top) / name for top, _, names in os.walk(root) for name in names]
        keys = (path.relative_to(self.root).as_posix() for path in found if not path.is_symlink())
        return sorted(key for key in keys if is_key(key))

    def remove(self, keys: Iterable[str]) -> None:
        """See `Objects.remove`."""
        parents = set()
        for key in keys:
            path = self._path(key)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self.files.remove(path)
            parents |= {p for p in path.parents if self.root in p.parents and p.parent != self.root}
        self._remove_empty(parents)

    def clear(self, folder: str, keep: Container[str] = ()) -> int:
        """See `Objects.clear`."""
        doomed = [key for key in self.keys(folder) if key not in keep]
        self.remove(doomed)
        # A writer that was killed early leaves folders with nothing in them.
        self._remove_empty({Path(top) for top, _, _ in os.walk(self._path(folder))})
        return len(doomed)

    def _remove_empty(self, folders: set[Path]) -> None:
        for folder in sorted(folders, key=lambda p: -len(p.parts)):
            with contextlib.suppress(OSError):  # not empty, or gone already
                self.files.remove_folder(folder)

    def remove_root(self) -> None:
        """See `Objects.remove_root`."""
        self._remove_empty({Path(top) for top, _, _ in os.walk(self.root)})

    def strays(self, seconds: float) -> list[str]:
        """See `Objects.strays`: temporary files, which carry the time at which they were begun."""
        found, oldest = [], time.time() - seconds
        with contextlib.suppress(FileNotFoundError):
            for folder in (self.root, *(p for p in self.root.iterdir() if p.is_dir())):
                for path in folder.glob("*.tmp"):
                    begun = re.search(r"\.([0-9]{10})-[0-9a-f]{12}\.tmp$", path.name)
                    if begun and int(begun[1]) < oldest and not path.is_symlink():
                        found.append(path.relative_to(self.root).as_posix())
        return sorted(key for key in found if is_key(key))
