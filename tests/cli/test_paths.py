"""Paths on the command line: ~ is the home folder, whoever expands it, and an empty one is none."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import streamsvd

MADE = {
    "svd a.npy --rank 2 --quiet --out {}": "r",
    "update {} a.npy --quiet": "m",
    "convert a.npy {} --quiet": "v",
    "shuffle a.npy --out {} --quiet": "s",
    "nystrom a.npy --n-centres 4 --quiet --out {}": "k.npz",
    "krr fit a.npy --y ~/y.npy --n-centres 4 --quiet --out {}": "f.npz",
    "sample a.npy --size 5 --quiet --out {}": "p.npz",
    "lstsq ~/a.npy --b ~/y.npy --quiet --out {}": "x.npz",
    "top a.npy --quiet --out {}": "t.npz",
    "compress many --quiet --out {}": "c",
    "decompress ~/compressed --out {}": "d.zarr",
    "merge ~/M ~/N --out {}": "joint",
    "export ~/M --out {}": "e.npz",
    "svd a.npy --rank 2 --row-weights ~/w.npy --quiet --out {}": "weighted",
}
READ = (
    "info ~/a.npy", "info ~/compressed", "plan ~/a.npy --rank 2", "log ~/M", "verify ~/M", "repair ~/M", "rates ~/many --quiet",
    "top ~/a.npy --quiet",
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A home folder with one of everything."""
    root = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 4))
    np.save(root / "a.npy", A)
    np.save(root / "y.npy", A[:, 0])
    np.save(root / "w.npy", np.ones(40))
    (root / "many").mkdir()
    for name in "xyz":
        np.save(root / "many" / f"{name}.npy", rng.standard_normal((9, 3)))
    streamsvd.compress({"a": A}, root / "compressed")
    streamsvd.update(root / "M", A + 1, "m", rank=2)
    streamsvd.update(root / "N", A + 2, "n", rank=2)
    return root


@pytest.fixture
def elsewhere(kept, tmp_path, monkeypatch):
    """The current folder, with the matrices but not the home folder."""
    monkeypatch.setenv("HOME", str(kept))
    monkeypatch.chdir(tmp_path)
    shutil.copy(kept / "a.npy", tmp_path)
    shutil.copytree(kept / "many", tmp_path / "many")
    return tmp_path


@pytest.mark.parametrize("line", MADE)
def test_what_is_made_below_a_tilde_is_in_the_home_folder(run, kept, elsewhere, line):
    name = MADE[line]
    done = run(*line.format(f"~/{name}").split())
    assert done.code == 0, done.err
    assert (kept / name).exists()
    assert not (elsewhere / "~").exists()


@pytest.mark.parametrize("line", READ)
def test_what_is_read_below_a_tilde_is_that_of_the_home_folder(run, elsewhere, line):
    assert run(*line.split()).code == 0


@pytest.mark.parametrize("line", [*MADE, *READ])
def test_an_empty_path_is_none(run, elsewhere, line):
    before = sorted(elsewhere.iterdir())
    words = line.split()
    at = next(i for i, word in enumerate(words) if word == "{}" or word.startswith("~"))
    words[at] = ""
    done = run(*(word.format("new") for word in words))
    assert done.code == 2
    assert "is empty, and the current folder is not meant" in done.err
    assert sorted(elsewhere.iterdir()) == before


def test_a_mask_in_the_home_folder_is_found(run, tmp_path, monkeypatch):
    """The file of a mask is a path like any other, and what the system says of it is said."""
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "A.npy", np.random.default_rng(0).standard_normal((30, 5)))
    np.save(tmp_path / "m.npy", np.arange(5) != 2)
    kept = run("svd", "~/A.npy", "--rank", 2, "--mask", "~/m.npy", "--json")
    assert kept.record["dropped_columns"] == [2]
    gone = run("svd", "~/A.npy", "--rank", 2, "--mask", "~/no.npy")
    assert gone.code == 1
    assert f"--mask={tmp_path / 'no.npy'} does not exist" in gone.err
