"""Whatever a verb of the command line writes, and wherever: what it reads is what it was, to the byte."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import zarr

import streamsvd

A = np.random.default_rng(0).standard_normal((60, 4))
REFUSED = "lie in one another"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Whatever a verb may read."""
    monkeypatch.chdir(tmp_path)
    np.save("A.npy", A)
    zarr.create_array("A.zarr", data=A, chunks=(20, 4))
    group = zarr.create_group("W")
    for name in "ab":
        group.create_array(name, data=A, chunks=(60, 4))
    (tmp_path / "F").mkdir()
    np.save("F/a.npy", A)
    np.save("F/b.npy", A)
    np.save("rows.npy", np.arange(1.0, 61.0))
    np.save("columns.npy", np.ones(4))
    np.save("keep.npy", np.ones(4, bool))
    np.save("inputs.npy", A)
    (tmp_path / "link").symlink_to("A.zarr")
    return tmp_path


def digests(folder):
    return {
        str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


MATRICES = {
    "A.npy": ["A.npy"],
    "A.zarr": ["A.zarr/zarr.json", "A.zarr/c/0/0", "A.zarr/new", "link/new"],
}
FILES = {  # beside whatever matrix
    "sample SOURCE --size 20": [],
    "sample SOURCE --size 20 --mask keep.npy": ["keep.npy"],
    "top SOURCE --mask keep.npy": ["keep.npy"],
    "nystrom SOURCE --n-centres 5 --mask keep.npy": ["keep.npy"],
    "lstsq SOURCE --b rows.npy --mask keep.npy": ["rows.npy", "keep.npy"],
    "krr fit SOURCE --y rows.npy --n-centres 5 --mask keep.npy": ["rows.npy", "keep.npy"],
    "svd SOURCE --rank 1 --row-weights rows.npy --column-weights columns.npy --mask keep.npy": [
        "rows.npy",
        "columns.npy",
        "keep.npy",
    ],
    "pca SOURCE --rank 1": [],
    "shuffle SOURCE": [],
}
OUTS = [
    (f"{verb.replace('SOURCE', source)} --out {out} --overwrite")
    for verb, read in FILES.items()
    for source, inside in MATRICES.items()
    for out in [*inside, *read]
]
CHECKPOINTS = [
    f"{verb} --checkpoint {place}"
    for verb in (
        "top A.zarr",
        "nystrom A.zarr --n-centres 5",
        "krr fit A.zarr --y rows.npy --n-centres 5 --out k.npz",
        "rates A.zarr --cut 0,20",
        "compress A.zarr --cut 0,20 --out q",
    )
    for place in ("A.zarr", "A.zarr/ck", "link/ck")
]
MODELS = [
    f"{verb} --rank 2"
    for verb in ("update A.zarr/m A.zarr", "update A.zarr/m link", "update A.npy A.npy")
] + ["watch A.zarr A.zarr/m --rank 2 --looks 1", "update keep.npy/m A.npy --rank 2 --mask keep.npy"]
COLLECTIONS = [
    "compress W --out W/q.zarr",
    "compress W --out W",
    "compress W --select a --out W/b --overwrite",
    "compress F --out F/q.zarr",
    "compress A.zarr --cut 0,20 --out A.zarr/q",
    "compress F --row-weights rows.npy --out rows.npy --overwrite",
    "compress F --column-weights columns.npy --out columns.npy --overwrite",
    "compress F --inputs A.zarr --out A.zarr/q",
    "compress F --inputs inputs.npy --out inputs.npy --overwrite",
    "rates F --figure F/x.svg",
    "rates W --figure W/x.svg --overwrite",
]


@pytest.mark.parametrize("said", [*OUTS, *CHECKPOINTS, *MODELS, *COLLECTIONS])
def test_what_is_read_is_never_written(here, run, said):
    before = digests(here)
    found = run(*said.split())
    assert found.code != 0
    words = (REFUSED, "Not a directory", "is not a model")
    assert any(w in found.err for w in words)
    assert digests(here) == before


@pytest.mark.parametrize(
    "said",
    [
        "export model --out model/x.npz",
        "export model --out model --overwrite",
        "merge model other --out model/x",
        "merge model other --out other",
        "decompress q.zarr --out q.zarr --overwrite",
        "decompress q.zarr --out q.zarr/new",
    ],
)
def test_what_was_stored_is_no_place_for_what_is_made_of_it(here, run, said):
    streamsvd.update("model", A, rank=2)
    streamsvd.update("other", -A, rank=2)
    streamsvd.compress("F", "q.zarr")
    before = digests(here)
    found = run(*said.split())
    assert found.code != 0
    assert REFUSED in found.err
    assert digests(here) == before


@pytest.mark.parametrize(
    "said",
    [
        "update m A.zarr --rank 2",
        "sample A.npy --size 20 --mask keep.npy --out A.npz",
        "top A.zarr --checkpoint A.zarr2 --out t.npz",
        "top W --variable a --out W.npz",
        "lstsq A.zarr --b rows.npy --out x.npz --overwrite",
        "compress W --select a --row-weights rows.npy --out q.zarr --overwrite",
    ],
)
def test_places_beside_what_is_read_are_free(here, run, said):
    before = digests(here)
    for _ in range(1 + ("--overwrite" in said or said.startswith("update"))):
        assert run(*said.split(), "--quiet").code == 0
    after = digests(here)
    assert before.items() <= after.items()


def test_a_place_named_before_what_is_read_is_refused_too(here, run):
    found = run("lstsq", "--out", "rows.npy", "--overwrite", "A.zarr", "--b", "rows.npy")
    assert found.code != 0
    assert "--out rows.npy" in found.err
    assert REFUSED in found.err


@pytest.mark.parametrize(
    "said",
    ["verify nothere", "log nothere", "export nothere --out x.npz", "merge nothere m --out x"],
)
def test_a_model_that_is_not_there_is_said_not_to_be(here, run, said):
    found = run(*said.split())
    assert found.code == 1
    assert "nothere does not exist" in found.err
