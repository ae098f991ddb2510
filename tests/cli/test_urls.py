"""A result is never written to a local folder that is named after the scheme of a URL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.store.results.reader import read_result

B = np.random.default_rng(0).standard_normal((60, 6))
URLS = ["s3://bucket/R", "gs://bucket/R", "https://host/R", "memory://R", "S3://b/R"]


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
    "decompress": lambda url: streamsvd.decompress("c", url),
    "decompress zarr": lambda url: streamsvd.decompress("c", url + ".zarr"),
    "decompress tensors": lambda url: streamsvd.decompress("c", url + ".safetensors"),
    "export": lambda url: streamsvd.export_model(streamsvd.Model.open("m"), url),
    "export npz": lambda url: streamsvd.export_model(streamsvd.Model.open("m"), url + ".npz"),
    "load": lambda url: read_result(Path(url)),
}


@pytest.mark.parametrize(
    ("verb", "url"), [*((verb, URLS[0]) for verb in PYTHON), *(("svd", url) for url in URLS[1:])]
)
def test_a_url_is_refused_in_words(verb, url):
    with pytest.raises(SpecError, match=rf"{url[:4]}.*/R[a-z.]* is a URL.*Pass a path"):
        PYTHON[verb](url)


@pytest.mark.parametrize(
    "words",
    [
        ("svd", "A.zarr", "--rank", 2, "--out"),
        ("svd", "A.zarr", "--rank", 2, "--u", "--out"),
        ("pca", "A.zarr", "--rank", 2, "--out"),
        ("convert", "A.zarr"),
        ("shuffle", "A.zarr", "--out"),
        ("export", "m", "--out"),
        ("decompress", "c", "--out"),
        ("sample", "A.zarr", "--size", 10, "--out"),
        ("lstsq", "A.zarr", "--b", "y.npy", "--out"),
        ("top", "A.zarr", "--k", 1, "--out"),
        ("nystrom", "A.zarr", "--n-centres", 10, "--length", 1, "--out"),
        ("krr", "fit", "A.zarr", "--y", "y.npy", "--n-centres", 10, "--length", 1, "--out"),
        ("demo", "--out"),
    ],
)
def test_the_command_line_refuses_it_too(run, words):
    done = run(*words, "s3://bucket/R")
    assert done.code == 2, done.err
    assert "s3://bucket/R is a URL" in done.err
