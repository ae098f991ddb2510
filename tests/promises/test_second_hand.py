"""Every verb reads a group as its arrays are, whatever was consolidated before, and says so once."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.events import SourceRemarked

B = np.random.default_rng(1).standard_normal((300, 12)) * np.geomspace(1, 1e-3, 12)
Y = B @ np.arange(12.0)
OTHERS = np.random.default_rng(2).standard_normal((300, 3))

MATRIX = {
    "svd": lambda A, told, _: streamsvd.svd(A, 3, callback=told).s,
    "pca": lambda A, told, _: streamsvd.pca(A, 3, callback=told).s,
    "update": lambda A, told, at: streamsvd.update(at / "m", A, rank=5, callback=told).n_rows,
    "top": lambda A, told, _: (
        streamsvd.top_eigenvectors(A, 2, order="arbitrary", callback=told).info.n_rows
    ),
    "nystrom": lambda A, told, _: (
        streamsvd.nystrom(A, n_centres=20, length=1.0, callback=told).info.n_rows
    ),
    "kernel_ridge": lambda A, told, _: (
        streamsvd.kernel_ridge(A, Y, n_centres=20, length=1.0, ridge=1e-3, callback=told).mean
    ),
    "sample": lambda A, told, _: streamsvd.sample_rows(A, 40, callback=told).info.n_rows,
    "online": lambda A, told, _: (
        streamsvd.sample_rows(A, method="online", oversampling=2.0, callback=told).info.n_rows
    ),
    "lstsq": lambda A, told, _: streamsvd.lstsq(A, Y, callback=told).x,
    "convert": lambda A, told, at: streamsvd.convert(A, at / "c.zarr", callback=told).shape,
    "shuffle": lambda A, told, at: (
        streamsvd.open(streamsvd.shuffle(A, at / "s.zarr", callback=told)).shape
    ),
    "input_factor": lambda A, told, _: streamsvd.second_moment_factor(A, callback=told),
}
COLLECTION = {
    "cluster": lambda A, told, _: streamsvd.cluster(A, 0.1, callback=told).info.n_rows,
    "rates": lambda A, told, _: streamsvd.rate_curve(A, [0.1], callback=told).info.n_rows,
    "compress": lambda A, told, at: streamsvd.compress(A, at / "c", 0.1, callback=told).info.n_rows,
}


def consolidated(path, zarr_format, **arrays):
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for name, values in arrays.items():
        array = group.create_array(name, shape=values[:200].shape, chunks=(50, 12), dtype="f8")
        array[...] = values[:200]
    zarr.consolidate_metadata(path)
    for name, values in arrays.items():
        zarr.open_array(path / name, mode="r+").append(values[200:])
    return path


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("verb", [*MATRIX, *COLLECTION])
def test_a_verb_reads_what_is_there_and_remarks_it_once(tmp_path, verb, zarr_format):
    call = (MATRIX | COLLECTION)[verb]
    if verb in MATRIX:
        given, truth = consolidated(tmp_path / "A.zarr", zarr_format, x=B), B
    else:
        given = consolidated(tmp_path / "A.zarr", zarr_format, x=B, y=OTHERS)
        truth = {"x": B, "y": OTHERS}
    told: list[object] = []
    here, there = tmp_path / "1", tmp_path / "2"
    here.mkdir()
    there.mkdir()
    found = call(given, told.append, here)
    np.testing.assert_allclose(found, call(truth, lambda _: None, there), rtol=1e-6, atol=1e-9)
    assert len([event for event in told if isinstance(event, SourceRemarked)]) == 1
    assert all(is_dataclass(event) and fields(event) for event in told)


def test_verify_judges_the_matrix_that_is_there(tmp_path):
    path = consolidated(tmp_path / "A.zarr", 2, x=B)
    streamsvd.svd(path, 3, out=tmp_path / "R.zarr")
    told: list[object] = []
    assert streamsvd.verify(tmp_path / "R.zarr", path, callback=told.append).agrees
    assert len([event for event in told if isinstance(event, SourceRemarked)]) == 1
