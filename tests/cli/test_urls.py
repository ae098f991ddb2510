"""A result goes to the place in an object store that a URL names, and never to a local folder that is named after its scheme."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.checks.paths import place_of
from streamsvd.errors import SpecError, StoreError
from streamsvd.report import write_report
from streamsvd.store.places import location_of
from streamsvd.store.results.reader import read_result

B = np.random.default_rng(0).standard_normal((60, 6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("urls")
    zarr.create_array(str(folder / "A.zarr"), shape=B.shape, dtype="f8")[...] = B
    np.save(folder / "y.npy", B[:, 0])
    streamsvd.update(folder / "m", B, rank=3)
    streamsvd.compress({"a": B, "b": B + 1}, folder / "c", 0.1)
    return folder


@pytest.fixture(autouse=True)
def nothing_is_left(folder, monkeypatch):
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    yield
    assert sorted(path.name for path in folder.iterdir()) == before


PYTHON = {
    "svd": lambda url: streamsvd.svd(B, 2, out=url),
    "svd with U": lambda url: streamsvd.svd(B, 2, u=True, out=url),
    "pca": lambda url: streamsvd.pca(B, 2, out=url, overwrite=True),
    "convert": lambda url: streamsvd.convert(B, url),
    "shuffle": lambda url: streamsvd.shuffle(B, url),
    "decompress": lambda url: streamsvd.decompress("c", url + ".zarr"),
    "export": lambda url: streamsvd.export_model(streamsvd.Model.open("m"), url),
    "export npz": lambda url: streamsvd.export_model(streamsvd.Model.open("m"), url + ".npz"),
    "load": lambda url: read_result(place_of(url)),
    "report": lambda url: write_report("m", url),
}


@pytest.mark.parametrize("verb", PYTHON)
def test_what_is_written_nowhere_is_refused_in_words(verb):
    with pytest.raises(SpecError, match=r"'https://host/R[a-z.]*': nothing is written to https://"):
        PYTHON[verb]("https://host/R")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://R", "nothing is written to memory://"),
        ("S3://", "is a whole bucket. Name a place in it, such as S3://bucket/R.zarr"),
        ("s3://bucket/", "is a whole bucket. Name a place in it, such as s3://bucket/R.zarr"),
        ("s3://bucket/a//R", "a name that object stores do not take"),
        ("s3://bucket/../R", "a name that object stores do not take"),
        ("s3://bucket/R?x=1", "a name that object stores do not take"),
        (Path("s3://bucket/R"), r"lost a slash, as pathlib leaves it. Pass the text 's3://bucket/R'"),
    ],
)  # fmt: skip
def test_a_place_that_nobody_means_is_refused(url, words):
    with pytest.raises(SpecError, match=words):
        streamsvd.svd(B, 2, out=url)


COMMANDS = {
    "svd": ("svd", "A.zarr", "--rank", 2, "--u", "--out"),
    "pca": ("pca", "A.zarr", "--rank", 2, "--out"),
    "shuffle": ("shuffle", "A.zarr", "--out"),
    "convert": ("convert", "A.zarr"),
    "export": ("export", "m", "--out"),
    "sample": ("sample", "A.zarr", "--size", 10, "--out"),
    "lstsq": ("lstsq", "A.zarr", "--b", "y.npy", "--out"),
    "top": ("top", "A.zarr", "--k", 1, "--out"),
    "nystrom": ("nystrom", "A.zarr", "--n-centres", 10, "--length", 1, "--out"),
    "krr": (
        "krr", "fit", "A.zarr", "--y", "y.npy", "--n-centres", 10, "--length", 1, "--solver", "direct", "--ridge", 0.1, "--out",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=() if c in ("svd", "convert", "krr") else pytest.mark.slow) for c in COMMANDS],
)  # fmt: skip
def test_the_command_line_writes_there(command, run, bucket):
    url = f"{bucket}/below/R.zarr"
    done = run(*COMMANDS[command], url)
    assert done.code in (0, 3), done.err
    assert url in done.out + done.err
    assert "s3:/b" not in (done.out + done.err).replace("s3://", "")
    if command in ("shuffle", "convert"):
        rows = zarr.open_array(location_of(place_of(url)).store(read_only=True), mode="r")[...]
        np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(B[:, 0]))
    else:
        assert streamsvd.load(url) is not None


def test_files_go_there_too(run, bucket):
    for out, words in (
        ("R.html", ("report", "m", "--out")),
        ("R.png", ("plot", "m", "--kind", "scree", "--out")),
        ("R.npz", ("export", "m", "--out")),
        ("C.zarr", ("decompress", "c", "--out")),
        ("C.safetensors", ("decompress", "c", "--out")),
    ):
        url = f"{bucket}/{out}"
        done = run(*words, url)
        assert done.code == 0, done.err
        place = location_of(place_of(url))
        assert place.exists()
        if out != "R.png":  # which takes its time
            assert run(*words, url).code != 0  # it is there
            assert run(*words, url, "--overwrite").code == 0
    done = run("report", "m", "--out", f"{bucket}/J.html", "--json")
    assert json.loads(done.out)["path"] == f"{bucket}/J.html"
    read = streamsvd.svd(location_of(place_of(f"{bucket}/C.zarr")).store("a", read_only=True), 2)
    np.testing.assert_allclose(read.s, streamsvd.svd(B, 2).s, rtol=0.1)


def test_a_folder_of_files_is_refused(bucket):
    with pytest.raises(SpecError, match=r"Name it NAME.zarr or NAME.safetensors"):
        streamsvd.decompress("c", f"{bucket}/folder")


def test_the_demo_is_local(run):
    done = run("demo", "--out", "s3://bucket/R")
    assert done.code == 2, done.err
    assert "s3://bucket/R is a URL, and this is written to local folders alone" in done.err


def test_a_bucket_that_is_not_there_is_named_before_the_first_pass(bucket):
    with pytest.raises(StoreError, match=r"there is no bucket s3://nobody-has-this"):
        streamsvd.svd(B, 2, out="s3://nobody-has-this/R.zarr")
