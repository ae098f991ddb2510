"""What the tests of models under fault share: blocks by name, failing files, and what must hold afterwards."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd import IncrementalSVD, Model
from streamsvd.store.objects.posix import FileSystem, LocalObjects
from streamsvd.store.versions import ModelStore

RANK, WIDTH, HEIGHT = 3, 6, 4


class Killed(BaseException):
    """The process ends here; nothing after it runs, as far as the disk can tell."""


def block_of(name: str) -> np.ndarray:
    """The rows of a block, the same whenever they are asked for."""
    seed = int.from_bytes(name.encode(), "little") % (1 << 63)
    return np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH))


def serial(names: Iterable[str], rank: int = RANK, center: bool = False) -> np.ndarray:
    """Singular values of a fold over these blocks in this order, without any store."""
    method = IncrementalSVD(rank=rank, center=center)
    state = method.init(WIDTH, like=np.zeros(0))
    for name in names:
        state = method.update(state, block_of(name))
    return method.finalize(state).s


def applied(model: Model) -> list[str]:
    """Ids in the order of absorption, one for each entry."""
    return [entry.id for entry in model.blocks]


def assert_serial(model: Model) -> list[str]:
    """Each id once, and the values of a serial run over them in the order of the log; the ids."""
    names = applied(model)
    assert len(set(names)) == len(names), "a block is in the model twice"
    assert model.n_rows == HEIGHT * len(names)
    if names:
        wanted = serial(names, center=model.spec.center)
        np.testing.assert_allclose(model.s, wanted, rtol=1e-10, atol=1e-10 * wanted[0])
        V = model.Vh
        np.testing.assert_allclose(V @ V.T, np.eye(len(V)), atol=1e-10)
    return names


def assert_chain(path: Path | str) -> None:
    """The log has every number once, and each entry names its own version."""
    versions = [entry.version for entry in Model.open(path).versions]
    assert versions == list(range(1, len(versions) + 1))


def model_with(path: Path, files: FileSystem) -> Model:
    """The model at a path, whose writes go through these calls."""
    store = ModelStore(LocalObjects(path, files))
    return Model(store, store.settings())


def files_of(path: Path) -> dict[str, bytes]:
    """Every stored object by key."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def copy(path: Path, to: Path) -> Path:
    """A copy that a test may damage."""
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(path, to))


class Failing(FileSystem):
    """Calls of which one fails, and all after it if the process is to end there.

    Parameters
    ----------
    at
        Which call, counted from one; none if 0.
    raised
        Makes what it raises.
    torn
        Whether a failing write leaves half of its bytes.
    after
        Whether the failing call does its work before it says that it failed.
    """

    def __init__(
        self,
        at: int,
        raised: Callable[[], BaseException],
        *,
        torn: bool = True,
        after: bool = False,
    ) -> None:
        self.at, self.raised, self.torn, self.after = at, raised, torn, after
        self.count = 0
        self.failed, self.where = "", Path()

    def _call(self, name: str, *args: Any) -> Any:
        self.count += 1
        dead = self.failed and isinstance(self.raised(), Killed)
        if dead:
            raise self.raised()
        if self.count != self.at:
            return getattr(FileSystem, name)(self, *args)
        self.failed, self.where = name, args[0]
        if self.after:
            getattr(FileSystem, name)(self, *args)
        elif name == "write" and self.torn:
            path, data = args
            FileSystem.write(self, path, data[: len(data) // 2])
        raise self.raised()

    def make_folder(self, path: Path) -> None:
        self._call("make_folder", path)

    def write(self, path: Path, data: bytes) -> None:
        self._call("write", path, data)

    def sync(self, path: Path) -> None:
        self._call("sync", path)

    def link(self, source: Path, target: Path) -> None:
        self._call("link", source, target)

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename", source, target)

    def remove(self, path: Path) -> None:
        self._call("remove", path)

    def remove_folder(self, path: Path) -> None:
        self._call("remove_folder", path)


def no_space() -> OSError:
    """The disk is full."""
    return OSError(errno.ENOSPC, "No space left on device")


def io_error() -> OSError:
    """The disk is broken."""
    return OSError(errno.EIO, "Input/output error")
