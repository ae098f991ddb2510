"""A place is tried without leaving anything or replacing anything, and is refused in the words of the system."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import AccessError
from streamsvd.store.objects import objects_at
from streamsvd.store.writing.trial import try_objects, try_place

PLACES = {
    "file": "Not a directory .*A file stands where a folder should be",
    "gone/x": "No such file or directory: .*link to nowhere, which is not there",
    "loop/x": "Too many levels of symbolic links",
    "n" * 250: "File name too long.*shorter name",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a file, a link without a target, and one to itself."""
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["new", "new/below/it", "file"])
def test_a_place_that_can_be_written_is_as_it_was(here, name):
    before = content(here)
    try_place(Path(name))
    assert content(here) == before
    assert (here / "file").read_bytes() == b"kept"


@pytest.mark.parametrize("name", [name if name != "file" else "file/x" for name in PLACES])
@pytest.mark.parametrize("trial", ["place", "objects"])
def test_a_place_that_cannot_be_written_is_refused_in_the_words_of_the_system(here, name, trial):
    before = content(here)
    words = PLACES["file" if name == "file/x" else name]
    if trial == "objects" and name.startswith("nnn"):
        name += "n" * 10  # nothing is put behind its name
    with pytest.raises(AccessError, match=f"cannot write {name}.*: {words}"):
        if trial == "place":
            try_place(Path(name))
        else:
            try_objects(objects_at(name))
    assert content(here) == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_takes_no_file_is_told_in_the_same_words(here, monkeypatch, number):
    opened = Path.open

    def refuse(path, *args, **more):
        if path.suffix == ".tmp":
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AccessError, match=f"cannot write new: {os.strerror(number)}"):
        try_place(Path("new"))
    (here / "M").mkdir()
    with pytest.raises(AccessError, match=f"cannot write M: {os.strerror(number)}"):
        try_objects(objects_at("M"))


class Once:
    """Blocks that come once: asking for one is counted."""

    def __init__(self) -> None:
        self.asked = 0

    def __iter__(self):
        self.asked += 1
        yield np.eye(4)


class Rows:
    """A matrix that counts its reads."""

    shape, dtype, chunks = (40, 4), np.dtype("f8"), (10, 4)

    def __init__(self) -> None:
        self.asked = 0

    def read(self, rows):
        self.asked += 1
        return np.random.default_rng(rows.start).standard_normal((rows.stop - rows.start, 4))


VERBS = {
    "top_eigenvectors": (Once, lambda A, p: streamsvd.top_eigenvectors(A, checkpoint=p)),
    "nystrom": (Rows, lambda A, p: streamsvd.nystrom(A, n_centres=4, checkpoint=p)),
    "kernel_ridge": (
        Rows,
        lambda A, p: streamsvd.kernel_ridge(A, np.ones(40), n_centres=4, checkpoint=p),
    ),
    "svd": (Rows, lambda A, p: streamsvd.svd(A, 2, out=p)),
    "pca": (Rows, lambda A, p: streamsvd.pca(A, 2, out=p)),
    "update": (Rows, lambda A, p: streamsvd.update(p, A, "one", rank=2)),
    "convert": (Rows, lambda A, p: streamsvd.convert(A, p)),
    "shuffle": (Rows, lambda A, p: streamsvd.shuffle(A, p)),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["file/x", "gone/x", "loop/x", "n" * 260])
def test_a_place_is_tried_before_the_first_read(here, verb, name):
    kind, run = VERBS[verb]
    A, before = kind(), content(here)
    with pytest.raises(AccessError, match=f"cannot (read|write) {name}"):
        run(A, name)
    assert A.asked == 0
    assert content(here) == before


@pytest.mark.parametrize("verb", VERBS)
def test_an_empty_place_is_none(here, verb):
    kind, run = VERBS[verb]
    A, before = kind(), content(here)
    with pytest.raises(streamsvd.SpecError, match="is empty, and the current folder is not meant"):
        run(A, "")
    assert A.asked == 0
    assert content(here) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_tilde_is_the_home_folder(here, monkeypatch, verb):
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "home").mkdir()
    kind, run = VERBS[verb]
    run(kind(), "~/made")
    assert not (here / "~").exists()
    assert {path.name for path in (here / "home").iterdir()} <= {"made"}


@pytest.mark.parametrize("suffix", [".npz", ""])
def test_an_export_is_refused_before_the_factors_are_composed(here, suffix):
    streamsvd.update("M", np.eye(9, 4), rank=2, u=True)
    model = streamsvd.Model.open("M")
    with pytest.raises(streamsvd.StoreError, match="is no folder|Not a directory"):
        streamsvd.export_model(model, f"file/x{suffix}")
