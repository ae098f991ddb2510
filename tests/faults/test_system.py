"""What the operating system refuses keeps its own sentence, with the path, at every door; it is never called damage.

For root no file is forbidden: links without a target, links in a circle, and folders in the place of files are refused
to anybody, and what only others meet is raised in the place of a call.
"""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import AccessError, StoreError
from streamsvd.models.model import repair_model
from streamsvd.store.explanations import access_error, path_exists
from streamsvd.testing.writing import write_grid

A = np.random.default_rng(0).standard_normal((40, 6))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One of everything that is read."""
    root = tmp_path_factory.mktemp("whole")
    np.save(root / "a.npy", A)
    zarr.create_array(root / "a.zarr", data=A, chunks=(10, 6))
    zarr.create_array(root / "raw.zarr", data=A, chunks=(10, 6), compressors=None)
    write_grid(root / "g.zarr", "t", A, ("time", "x"), {}, chunk=10)
    streamsvd.svd(A, 2, out=root / "result")
    streamsvd.update(root / "model", A, rank=2)
    streamsvd.compress({"a": A, "b": A + 1}, root / "compressed")
    np.savez(root / "nystrom.npz", **streamsvd.nystrom(A, n_centres=5).arrays())
    stream = streamsvd.TopEigenvectorStream(1).partial_fit(A)
    stream.save(root / "stream")
    folder = root / "many"
    folder.mkdir()
    np.save(folder / "one.npy", A)
    return root


@pytest.fixture
def here(whole, tmp_path, monkeypatch):
    """A copy, in the current folder."""
    shutil.copytree(whole, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def chunk(name: str) -> str:
    return f"{name}/c/1/0"


Door = tuple[Callable[[], Any], str]
READS: dict[str, Door] = {
    "npy": (lambda: streamsvd.svd("a.npy", 2), "a.npy"),
    "zarr": (lambda: streamsvd.svd("a.zarr", 2), "a.zarr/zarr.json"),
    "chunk": (lambda: streamsvd.svd("a.zarr", 2), chunk("a.zarr")),
    "raw chunk": (lambda: streamsvd.svd("raw.zarr", 2), chunk("raw.zarr")),
    "filled chunk": (
        lambda: streamsvd.svd(streamsvd.open("a.zarr", missing="fill"), 2),
        chunk("a.zarr"),
    ),
    "group": (lambda: streamsvd.open("g.zarr"), "g.zarr/zarr.json"),
    "result": (lambda: streamsvd.load("result"), "result/zarr.json"),
    "model": (lambda: streamsvd.Model.open("model"), "model/model.json"),
    "head": (lambda: streamsvd.Model.open("model"), "model/head.json"),
    "log": (lambda: streamsvd.Model.open("model"), "model/log/000000000001.json"),
    "update": (lambda: streamsvd.update("model", A[:3], "more"), "model/model.json"),
    "load": (lambda: streamsvd.load("model"), "model/model.json"),
    "compressed": (lambda: streamsvd.open_compressed("compressed"), "compressed/collection.json"),
    "collection": (lambda: streamsvd.open_collection("many"), "many/one.npy"),
    "group of a collection": (lambda: streamsvd.open_collection("g.zarr"), "g.zarr/zarr.json"),
    "dictionary": (lambda: streamsvd.load_nystrom("nystrom.npz"), "nystrom.npz"),
    "stream": (
        lambda: streamsvd.TopEigenvectorStream.load("stream"),
        "stream/log/000000000001.json",
    ),
}
WHOLE = {"npy": "a.npy", "zarr": "a.zarr", "result": "result", "model": "model", "stream": "stream"}
DAMAGE = ("damaged", "again with numpy.save", "Restore zarr.json", "not a complete", "missing=")


def said(door: Callable[[], Any]) -> str:
    """What the door says."""
    with pytest.raises(StoreError) as caught:
        door()
    text = str(caught.value)
    assert not [word for word in DAMAGE if word in text], text
    return text


@pytest.mark.parametrize("name", READS)
def test_a_link_without_a_target_is_said_to_be_one(here, name):
    door, path = READS[name]
    file = here / path
    file.unlink()
    file.symlink_to("elsewhere")
    text = said(door)
    if name.split()[0] in ("model", "head", "log", "update", "load", "compressed", "stream"):
        assert "is a link" in text  # which a model has none of
    else:
        assert "a link to elsewhere, which is not there" in text or "does not exist" in text
    assert Path(path).name in text or path.partition("/")[0] in text


@pytest.mark.parametrize("name", sorted(set(READS) - {"collection"}))
def test_a_folder_where_a_file_should_be_is_said_to_be_one(here, name):
    door, path = READS[name]
    (here / path).unlink()
    (here / path).mkdir()
    text = said(door)
    assert "Is a directory" in text or "holds no zarr array or group" in text
    assert path.partition("/")[0] in text


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("name", READS)
def test_what_only_others_are_forbidden_is_told_in_the_words_of_the_system(
    here, monkeypatch, name, number
):
    door, path = READS[name]
    target = str(here / path)

    def refuse(file: Any) -> None:
        raise OSError(number, os.strerror(number), os.fspath(file))

    by_path = Path.open

    def refused(file: Path, *args: Any, **more: Any) -> Any:
        if str(file.absolute()) == target:
            refuse(file)
        return by_path(file, *args, **more)

    monkeypatch.setattr("builtins.open", _opening(open, refuse, target))
    monkeypatch.setattr(Path, "open", refused)
    text = said(door)
    assert os.strerror(number) in text
    assert path.partition("/")[0] in text


def _opening(original: Any, refuse: Any, target: str) -> Any:
    def opening(file: Any, *args: Any, **more: Any) -> Any:
        if isinstance(file, str | os.PathLike) and str(Path(file).absolute()) == target:
            refuse(file)
        return original(file, *args, **more)

    return opening


@pytest.mark.parametrize("kind", ["link", "loop", "file above", "long"])
@pytest.mark.parametrize("name", WHOLE)
def test_a_place_that_cannot_be_seen_is_no_place_that_is_not_there(here, name, kind):
    door, place = READS[name][0], here / WHOLE[name]
    if kind == "long":
        doors: dict[str, Callable[[str], Any]] = {
            "npy": lambda p: streamsvd.svd(f"{p}.npy", 2),
            "zarr": lambda p: streamsvd.svd(p, 2),
            "result": streamsvd.load,
            "model": streamsvd.Model.open,
            "stream": streamsvd.TopEigenvectorStream.load,
        }
        text = said(lambda: doors[name]("n" * 300))
        assert "File name too long" in text
        return
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    if kind == "link":
        place.symlink_to("elsewhere")
        words = "a link to elsewhere, which is not there"
    elif kind == "loop":
        place.symlink_to(place.name)
        words = "Too many levels of symbolic links"
    else:
        place.write_bytes(b"")
        doors = {
            "npy": lambda p: streamsvd.svd(p, 2),
            "zarr": lambda p: streamsvd.svd(p, 2),
            "result": streamsvd.load,
            "model": streamsvd.Model.open,
            "stream": streamsvd.TopEigenvectorStream.load,
        }
        text = said(lambda: doors[name](f"{place.name}/below"))
        assert "Not a directory" in text or "is not a model" in text or "holds no stream" in text
        return
    assert words in said(door)


def test_the_error_survives_the_way_home_from_a_worker():
    error = access_error(OSError(13, "Permission denied", "a.zarr/c/0"), "read", "a.zarr", "x.")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert str(error).startswith("cannot read a.zarr/c/0: Permission denied. Give this user")
    assert (again.errno, type(again)) == (13, AccessError)
    assert isinstance(again, OSError)
    below = OSError(13, "Permission denied", str(Path("a.zarr/c/0").absolute()))
    assert str(access_error(below, "read", "a.zarr")) == str(error).replace("; x.", ".")


@pytest.mark.parametrize("name", sorted(set(READS) - {"collection"}))
def test_what_may_not_be_read_names_the_right_that_is_lacking(here, name):
    door, path = READS[name]
    (here / path).chmod(0)
    if os.access(here / path, os.R_OK):
        pytest.skip("to this user nothing is forbidden")
    assert "Permission denied" in said(door)


def test_a_folder_that_may_not_be_entered_is_named(here):
    (here / "a.zarr").chmod(0)
    if os.access(here / "a.zarr", os.X_OK):
        pytest.skip("to this user nothing is forbidden")
    try:
        assert "enter that folder" in said(lambda: path_exists(Path("a.zarr/zarr.json")))
        assert "Permission denied" in said(lambda: streamsvd.svd("a.zarr", 2))
    finally:
        (here / "a.zarr").chmod(0o755)


def test_a_folder_of_any_name_is_read_as_a_folder(here):
    (here / "a.zarr").rename(here / "a.zarr.zip")
    expected = np.linalg.svd(A, compute_uv=False)[:2]
    np.testing.assert_allclose(streamsvd.svd("a.zarr.zip", 2).s, expected, rtol=1e-3)
    (here / "g.zarr").rename(here / "g.npy")
    assert streamsvd.open("g.npy").shape == A.shape
    (here / "many").rename(here / "many.zip")
    assert [m.name for m in streamsvd.open_collection("many.zip").members] == ["one"]


def test_what_is_no_matrix_here_is_said_to_be_what_it_is(here):
    with pytest.raises(StoreError, match="model is a model, not a matrix. streamsvd log"):
        streamsvd.open("model")
    with pytest.raises(StoreError, match="compressed is a compressed collection"):
        streamsvd.open("compressed")


def test_a_model_that_cannot_be_read_is_not_repaired(here):
    file = here / "model" / "model.json"
    file.unlink()
    file.mkdir()
    assert "Is a directory" in said(lambda: repair_model("model"))
