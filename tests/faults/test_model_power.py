"""Power goes at any moment: what was acknowledged is there, and what is there is whole (P3).

Calls are recorded and played into a model of a disk in which a file holds what was synced, or anything that was
written since; and a folder has the names that were synced, and any of the changes since. Contents and names are
independent, as POSIX leaves them.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streamsvd import Model, StoreError
from streamsvd.store.objects.posix import FileSystem, LocalObjects
from streamsvd.store.versions import ModelSettings, ModelStore
from tests.faults.model_kit import (
    Failing,
    applied,
    assert_serial,
    block_of,
    copy,
    io_error,
    model_with,
    no_space,
)

Tree = dict[str, bytes | None]
"""Files, and folders as None, by path."""


@dataclass(eq=False)
class File:
    """What a file holds: as synced (None if never), and as written."""

    data: bytes
    synced: bytes | None = None

    def contents(self, choice: str) -> bytes:
        """After the power went."""
        if self.synced is not None:
            return self.synced
        return {"none": b"", "torn": self.data[: len(self.data) // 2], "all": self.data}[choice]


@dataclass(eq=False)
class Folder:
    """Names as synced, and changes since, in order: a name and what it has stood for since, or nothing."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[tuple[tuple[str, File | Folder | None], ...]] = field(default_factory=list)

    def now(self, kept: list[bool] | None = None) -> dict[str, File | Folder]:
        """The names with the changes that were kept; with all of them if nobody says."""
        found = dict(self.names)
        for index, change in enumerate(self.changes):
            if kept is None or kept[index]:
                for name, what in change:
                    found.pop(name, None)
                    if what is not None:
                        found[name] = what
        return found


class Disk:
    """The disk below a folder that was there, and synced, before anything was recorded."""

    def __init__(self, top: Path) -> None:
        self.top, self.root = top, self._read(top)

    def _read(self, path: Path) -> Folder:
        folder = Folder()
        for entry in path.iterdir():
            folder.names[entry.name] = (
                self._read(entry)
                if entry.is_dir()
                else File(entry.read_bytes(), entry.read_bytes())
            )
        return folder

    def _at(self, path: Path) -> File | Folder:
        found: File | Folder = self.root
        for name in path.relative_to(self.top).parts:
            assert isinstance(found, Folder)
            found = found.now()[name]
        return found

    def _parent(self, path: Path) -> Folder:
        found = self._at(path.parent)
        assert isinstance(found, Folder)
        return found

    def play(self, call: str, *args: object) -> None:
        """One recorded call."""
        path = args[0]
        assert isinstance(path, Path)
        if not path.is_relative_to(self.top):
            return
        if call == "sync":
            if path == self.top:
                found: File | Folder = self.root
            else:
                found = self._at(path)
            if isinstance(found, File):
                found.synced = found.data
            else:
                found.names, found.changes = found.now(), []
        elif call == "make_folder":
            self._parent(path).changes.append(((path.name, Folder()),))
        elif call == "write":
            assert isinstance(args[1], bytes)
            self._parent(path).changes.append(((path.name, File(args[1])),))
        elif call == "link":
            assert isinstance(args[1], Path)
            self._parent(args[1]).changes.append(((args[1].name, self._at(path)),))
        elif call == "rename":
            assert isinstance(args[1], Path)
            assert args[1].parent == path.parent
            moved = self._at(path)
            self._parent(path).changes.append(((args[1].name, moved), (path.name, None)))
        else:
            assert call in ("remove", "remove_folder")
            self._parent(path).changes.append(((path.name, None),))

    def crashed(self, names: str, contents: str, seed: int = 0) -> Tree:
        """What is found when the power is back: changes of names kept ``"none"``, ``"all"`` or ``"some"``."""
        draw, found = random.Random(seed), {}

        def walk(folder: Folder, at: str) -> None:
            kept = [
                names == "all" or (names == "some" and draw.random() < 0.5) for _ in folder.changes
            ]
            for name, what in sorted(folder.now(kept).items()):
                if isinstance(what, Folder):
                    found[f"{at}{name}"] = None
                    walk(what, f"{at}{name}/")
                else:
                    choice = (
                        draw.choice(["none", "torn", "all"]) if contents == "some" else contents
                    )
                    found[f"{at}{name}"] = what.contents(choice)

        walk(self.root, "")
        return found

    def states(self, draws: int) -> Iterator[Tree]:
        """Crash states of this moment."""
        yield self.crashed("none", "none")
        for contents in ("none", "torn", "all"):
            yield self.crashed("all", contents)
        for seed in range(draws):
            yield self.crashed("some", "some", seed)


class Recording(Failing):
    """Calls that succeeded, in order, and what was acknowledged between them."""

    def __init__(self, at: int = 0) -> None:
        super().__init__(at, no_space)
        self.log: list[tuple[str, tuple[object, ...]]] = []

    def _call(self, name: str, *args: object) -> None:
        self.count += 1
        if self.count == self.at:
            self.failed = name
            if name == "write":
                path, data = args
                assert isinstance(path, Path)
                assert isinstance(data, bytes)
                FileSystem.write(self, path, data[: len(data) // 2])
                self.log.append((name, (path, data[: len(data) // 2])))
            raise io_error()
        getattr(FileSystem, name)(self, *args)
        self.log.append((name, args))

    def acknowledge(self, *what: object) -> None:
        self.log.append(("acknowledged", what))


def laid_out(tree: Tree, path: Path) -> Path:
    """The tree as files."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for name, data in tree.items():
        if data is None:
            (path / name).mkdir()
        else:
            (path / name).write_bytes(data)
    return path


def assert_survives(path: Path, names: tuple[object, ...] | None, *, more: bool) -> None:
    """The model is whole and not older than what was acknowledged (None: nobody was told that it exists)."""
    if names is None and not (path / "model.json").exists():
        if path.exists():
            Model.create(path, 3)  # begun again
        return
    model = Model.open(path)
    found = assert_serial(model)
    assert tuple(found[: len(names or ())]) == (names or ()), "never older than acknowledged"
    assert len(found) <= len(names or ()) + 1
    assert model.verify() == []
    if more:
        assert model.update(block_of("more"), "more").n_absorbed
        assert_serial(model)


def crash_everywhere(disk: Disk, log: list, work: Path, names: tuple | None, draws: int) -> int:
    """Every prefix of a log, in every state; how many states differed."""
    seen: set[int] = set()
    for call, args in itertools.chain([("begin", ())], log):
        if call == "acknowledged":
            names = args
        elif call != "begin":
            disk.play(call, *args)
        for tree in disk.states(draws):
            key = hash((tuple(sorted(tree.items(), key=lambda e: e[0])), names))
            if key not in seen:
                seen.add(key)
                path = laid_out(tree, work) / "model"
                assert_survives(path, names, more=len(seen) % 7 == 0)
    return len(seen)


def test_power_may_go_at_any_moment_of_creating_and_updating(tmp_path: Path) -> None:
    top = tmp_path / "disk"
    top.mkdir()
    disk, files = Disk(top), Recording()
    store = ModelStore(LocalObjects(top / "model", files))
    spec = Model.create(tmp_path / "like", 3).spec
    store.create(ModelSettings(1, spec, 10, False))
    files.acknowledge()
    model = Model(store, store.settings())
    for i in range(2):
        model.update(block_of(f"b{i}"), f"b{i}")
        files.acknowledge(*applied(model))
    assert crash_everywhere(disk, files.log, tmp_path / "work", None, draws=3) > 100


def test_power_may_go_at_any_moment_of_collecting(tmp_path: Path) -> None:
    top = tmp_path / "disk"
    top.mkdir()
    spec = Model.create(top / "model", 3, keep=2, u=True)
    for i in range(6):
        spec.update(block_of(f"b{i}"), f"b{i}")
    disk, files = Disk(top), Recording()
    model = model_with(top / "model", files)
    before = tuple(applied(model))
    for i in (6, 7):  # the eighth version collects
        model.update(block_of(f"b{i}"), f"b{i}")
        files.acknowledge(*applied(model))
    assert any(call == "remove_folder" for call, _ in files.log)
    assert crash_everywhere(disk, files.log, tmp_path / "work", before, draws=1) > 80


@pytest.mark.parametrize("begun", [0, 2])
def test_what_is_acknowledged_at_a_second_try_survives_whatever_failed_at_the_first(
    tmp_path: Path, begun: int
) -> None:
    """A link that was made and not synced, and folders made by a writer that failed: the next one must sync them."""
    base = tmp_path / "base"
    base.mkdir()
    model = Model.create(base / "model", 3)
    for i in range(begun):
        model.update(block_of(f"b{i}"), f"b{i}")
    for n in range(1, 100):
        top = copy(base, tmp_path / "disk")
        disk, files = Disk(top), Recording(n)
        failed = False
        try:
            model_with(top / "model", files).update(block_of("new"), "new")
        except StoreError:
            failed = True
            model_with(top / "model", files).update(block_of("new"), "new")
        for call, args in files.log:
            disk.play(call, *args)
        path = laid_out(disk.crashed("none", "none"), tmp_path / "work") / "model"
        names = (*(f"b{i}" for i in range(begun)), "new")
        assert_survives(path, names, more=False)
        if not files.failed:
            assert not failed
            return
    raise AssertionError("the update never passes")


def test_the_disk_of_these_tests_loses_what_was_not_synced(tmp_path: Path) -> None:
    """A store that forgets any one kind of sync is caught."""
    for forgotten in ("files", "folders"):

        class Careless(Recording):
            def sync(self, path: Path, what: str = forgotten) -> None:
                if path.is_dir() != (what == "folders"):
                    super().sync(path)

        top = tmp_path / forgotten
        top.mkdir()
        disk, files = Disk(top), Careless()
        store = ModelStore(LocalObjects(top / "model", files))
        store.create(
            ModelSettings(1, Model.create(tmp_path / f"{forgotten}-like", 3).spec, 10, False)
        )
        model = Model(store, store.settings())
        model.update(block_of("a"), "a")
        files.acknowledge("a")
        with pytest.raises((AssertionError, StoreError)):
            crash_everywhere(disk, files.log, tmp_path / "work", None, draws=0)
