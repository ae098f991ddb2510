"""The pipelines that are there to be copied run as they are on data of their kind, and a second run has nothing to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
from streamsvd.cli import app
from streamsvd.testing.writing import write_grid

READY = Path(__file__).parents[2] / "pipelines"


def write_climate(folder: Path) -> None:
    """A seasonal wave, a trend, two slow waves and weather on a grid; one cell has no values, one lacks some."""
    rng = np.random.default_rng(1)
    months, lat, lon = 240, 12, 18
    t, x = np.arange(months)[:, None, None], np.arange(lon)[None, None]
    y = np.linspace(-1, 1, lat)[None, :, None]
    field = 280 + 10 * y * np.cos(2 * np.pi * t / 12) + 0.02 * t + 3 * np.sin(x / 3 + t / 17) * y
    field = (
        field
        + 2 * np.cos(2 * x / 3) * np.cos(t / 23)
        + 0.3 * rng.standard_normal((months, lat, lon))
    )
    field[:, 2, 3] = np.nan
    field[7, 5, 5] = np.nan
    dims = ("time", "latitude", "longitude")
    values = field.astype(np.float32)
    coordinates = {
        "time": (days(0, months), {"units": "days since 1990-01-01", "calendar": "standard"}),
        "latitude": (np.linspace(-80, 80, lat), {"units": "degrees_north"}),
    }
    path = folder / "air_temperature.zarr"
    write_grid(path, "air_temperature", values, dims, {}, chunk=24, coordinates=coordinates)


def days(first: int, last: int) -> np.ndarray:
    """First days of months since 1990."""
    months = (np.datetime64("1990-01") + np.arange(first, last)).astype("M8[D]")
    return (months - np.datetime64("1990-01-01")).astype(np.int64)


def write_embeddings(folder: Path) -> None:
    """Groups of points in a space of few directions, with noise in all."""
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.standard_normal((96, 12)))[0].T
    centres = 30 * rng.standard_normal((12, 12)) * 0.7 ** np.arange(12) @ axes
    spread = rng.standard_normal((5000, 30)) @ rng.standard_normal((30, 96)) / 5
    rows = centres[rng.integers(12, size=5000)] + spread + 0.1 * rng.standard_normal((5000, 96))
    zarr.create_array(folder / "embeddings.zarr", data=rows.astype(np.float32), chunks=(1000, 96))


def write_checkpoint(folder: Path) -> None:
    """Matrices of four layers that share a basis, but for one of full rank, in a safetensors file."""
    numpy = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.standard_normal((64, 8)))[0]
    names = [f"layer.{i}.{part}" for i in range(4) for part in ("query", "key", "value")]
    weights = {name: basis @ rng.standard_normal((8, 48)) for name in names}
    weights["layer.0.output"] = rng.standard_normal((64, 48))
    numpy.save_file(
        {name: W.astype(np.float32) for name, W in weights.items()}, folder / "layers.safetensors"
    )


def write_measurements(folder: Path) -> None:
    """Columns in different units, and a smooth function of them with noise."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((4000, 5))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.standard_normal(4000)
    X *= [1, 10, 100, 0.1, 1000]
    X[17, 3] = np.nan
    zarr.create_array(folder / "measurements.zarr", data=X, chunks=(1000, 5))
    np.save(folder / "targets.npy", y - y.mean())


def write_genotypes(folder: Path) -> None:
    """Three populations with frequencies of their own; some calls are missing, one variant never varies."""
    rng = np.random.default_rng(5)
    n_variants, n_samples = 6000, 120
    ancestral = rng.uniform(0.1, 0.9, n_variants)
    drift = 0.15 * rng.standard_normal((3, n_variants))
    frequency = np.clip(ancestral + drift, 0.02, 0.98)
    calls = rng.binomial(2, frequency[np.arange(n_samples) % 3].T).astype(np.int8)
    calls[rng.random(calls.shape) < 0.01] = -1
    calls[11] = 0
    dims, attributes = ("variants", "samples"), {"_FillValue": -1}
    write_grid(folder / "genotypes.zarr", "call_dosage", calls, dims, attributes, chunk=500)


def write_cells(folder: Path) -> None:
    """Counts of five kinds of cells, by cells as AnnData stores them."""
    rng = np.random.default_rng(7)
    m, n = 800, 2500
    usual = rng.lognormal(-1.5, 1.2, n)
    programs = 1 + rng.lognormal(0.5, 0.6, (5, n)) * (rng.random((5, n)) < 0.2)
    rates = usual * programs[np.arange(m) % 5] * rng.lognormal(0, 0.4, (m, 1))
    X = sparse.csr_matrix(rng.poisson(rng.gamma(2.0, rates / 2)).astype(np.float32))
    anndata = pytest.importorskip("anndata")
    anndata.AnnData(X).write_h5ad(folder / "cells.h5ad")


def frames(count: int, seed: int = 6) -> np.ndarray:
    """A still scene of its own for every seed: light that comes and goes, a bright ball that crosses it, and noise."""
    rng = np.random.default_rng(seed)
    height, width = 24, 32
    y, x = np.mgrid[:height, :width]
    scene = 60 + 90 * rng.random((height // 4, width // 4)).repeat(4, 0).repeat(4, 1)
    t = np.arange(count)
    light = 1 + 0.1 * np.sin(t / 40)[:, None, None]
    ball = (y - 12) ** 2 + (x - (t[:, None, None] * 3) % 200) ** 2 < 9
    values = np.where(ball, 230, scene * light) + 2 * rng.standard_normal((count, height, width))
    return np.clip(values, 0, 255).astype(np.uint8)


def write_frames(folder: Path) -> None:
    """Frames of one scene."""
    zarr.create_array(folder / "frames.zarr", data=frames(300), chunks=(50, 24, 32))


def write_graph(folder: Path) -> None:
    """Communities of nodes, as AnnData writes a sparse matrix."""
    rng = np.random.default_rng(7)
    i = rng.integers(1500, size=12_000)
    j = np.where(
        rng.random(i.size) < 0.8,
        300 * (i // 300) + rng.integers(300, size=i.size),
        rng.integers(1500, size=i.size),
    )
    there = sparse.coo_array((np.ones(i.size), (i, j)), shape=(1500, 1500)).tocsr()
    write_csr(folder / "graph.zarr", (there + there.T).tocsr())


def write_documents(folder: Path) -> None:
    """Counts of words of documents about one of sixty topics each, as AnnData writes a sparse matrix."""
    rng = np.random.default_rng(8)
    topics = rng.dirichlet(np.full(900, 0.02), size=60)
    topic = rng.choice(60, size=800, p=0.95 ** np.arange(60) / np.sum(0.95 ** np.arange(60)))
    counts = np.stack([rng.multinomial(80, topics[t]) for t in topic]).astype("float32")
    write_csr(folder / "documents.zarr", sparse.csr_array(counts))


def write_csr(path: Path, matrix: sparse.csr_array) -> None:
    """A sparse matrix as a group of zarr."""
    kind = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [*matrix.shape]}
    group = zarr.create_group(path, attributes=kind)
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(matrix, name), chunks=(4096,))


DATA = {
    "climate-eof": write_climate,
    "embeddings-pca": write_embeddings,
    "checkpoint-compression": write_checkpoint,
    "kernel-regression": write_measurements,
    "genotypes": write_genotypes,
    "cells": write_cells,
    "video-background": write_frames,
    "node-embeddings": write_graph,
    "text-topics": write_documents,
}
MAY_BE_ABSENT = ("embeddings-pca", "video-background", "node-embeddings", "text-topics")
"""Pipelines whose sources may be absent."""


@pytest.fixture
def copied(tmp_path) -> Callable[[str], Path]:
    """A ready pipeline as a user copies it: beside the data."""

    def copy(name: str) -> Path:
        return Path(shutil.copy(READY / f"{name}.toml", tmp_path))

    return copy


def run(file: Path, capsys: pytest.CaptureFixture[str], *more: str, code: int = 0) -> dict:
    capsys.readouterr()
    assert app.run(["run", str(file), "--json", *more]) == code, capsys.readouterr()
    return json.loads(capsys.readouterr().out)


def assert_runs_once(file: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    """Checked, made with every link published, and a second time nothing is left to do."""
    assert app.run(["check", str(file)]) == 0, capsys.readouterr().err
    first = run(file, capsys)
    assert first["status"] == "done"
    assert all(step["status"] == "done" for step in first["steps"])
    assert all(check["passed"] for check in first["checks"])
    assert first["checks"]
    assert not any(step["warnings"] for step in first["steps"])
    for place in first["published"]:
        streamsvd.load(place)
    second = run(file, capsys)
    assert second["status"] == "unchanged"
    assert all(step["status"] == "unchanged" for step in second["steps"])
    assert second["published"] == []
    return first


def test_every_ready_pipeline_has_data_here():
    assert {file.stem for file in READY.iterdir()} == DATA.keys()


@pytest.mark.parametrize("name", DATA)
def test_it_runs_as_it_is_and_then_has_nothing_to_do(name, copied, tmp_path, capsys):
    DATA[name](tmp_path)
    first = assert_runs_once(copied(name), capsys)
    assert first["pipeline"] == name
    assert len(first["published"]) == (READY / f"{name}.toml").read_text().count("[[publish]]")


@pytest.mark.parametrize("name", DATA)
def test_it_says_what_is_missing(name, copied, capsys):
    code = app.run(["check", str(copied(name))])
    said = capsys.readouterr()
    if name in MAY_BE_ABSENT:
        assert code == 0
        assert "its source is not there yet" in said.out
    else:
        assert code == 1
        assert "does not exist. Make it, mend its path" in said.err


def test_the_environment_says_where_the_data_are(copied, tmp_path, monkeypatch, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_climate(elsewhere)
    monkeypatch.setenv("CLIMATE_ZARR", str(elsewhere / "air_temperature.zarr"))
    assert run(copied("climate-eof"), capsys)["status"] == "done"


def test_new_rows_go_into_the_model(copied, tmp_path, capsys):
    write_embeddings(tmp_path)
    file = copied("embeddings-pca")
    run(file, capsys)
    array = zarr.open_array(tmp_path / "embeddings.zarr")
    array.append(array[:1000])
    grown = run(file, capsys)
    assert {step["status"] for step in grown["steps"]} == {"done"}
    assert grown["steps"][0]["bytes_read"] < grown["steps"][1]["bytes_read"]  # the new rows alone
    assert streamsvd.load(tmp_path / "latest" / "components").info.n_rows == 6000


def test_another_year_goes_into_the_climate(copied, tmp_path, capsys):
    write_climate(tmp_path)
    file = copied("climate-eof")
    run(file, capsys)
    group = zarr.open_group(tmp_path / "air_temperature.zarr")
    group["air_temperature"].append(group["air_temperature"][120:144])
    group["time"].append(days(240, 264))
    grown = run(file, capsys)
    assert {step["name"]: step["status"] for step in grown["steps"]}["proof"] == "done"
    assert streamsvd.load(tmp_path / "latest" / "eof").info.n_rows == 264


def test_embeddings_of_another_encoder_are_not_published(copied, tmp_path, capsys):
    write_embeddings(tmp_path)
    file = copied("embeddings-pca")
    before = run(file, capsys)
    places = [Path(place).resolve() for place in before["published"]]
    array = zarr.open_array(tmp_path / "embeddings.zarr")
    array.append(20 * np.random.default_rng(6).standard_normal((5000, 96), dtype=np.float32))
    refused = run(file, capsys, code=4)
    assert refused["status"] == "refused"
    assert [Path(place).resolve() for place in before["published"]] == places


def test_a_scene_that_stays_is_kept_current_and_one_that_changes_is_left_to_a_person(
    copied, tmp_path, capsys
):
    write_frames(tmp_path)
    file = copied("video-background")
    first = run(file, capsys)
    picture = streamsvd.load(tmp_path / "latest" / "background").Vh[0].reshape(24, 32)
    still = np.median(frames(300), axis=0)
    assert np.corrcoef(picture.ravel(), still.ravel())[0, 1] > 0.99
    array = zarr.open_array(tmp_path / "frames.zarr")
    array.append(frames(350)[300:])
    grown = run(file, capsys)
    assert grown["status"] == "done"
    assert streamsvd.load(tmp_path / "latest" / "background").info.n_rows == 350
    array.append(frames(200, seed=7))  # the camera was moved
    refused = run(file, capsys, code=4)
    assert [c["name"] for c in refused["checks"] if not c["passed"]] == ["changed"]
    assert streamsvd.load(tmp_path / "latest" / "background").info.n_rows == 350
    key = Path(refused["steps"][0]["place"]).name
    assert app.run(["publish", str(file), "background", "--to", key]) == 0
    assert streamsvd.load(tmp_path / "latest" / "background").info.n_rows == 550
    assert run(file, capsys)["status"] == "done"  # the other step is published with it
    assert len(first["published"]) == 2


def test_frames_of_another_camera_are_not_read(copied, tmp_path, capsys):
    write_frames(tmp_path)
    file = copied("video-background")
    run(file, capsys)
    array = zarr.open_array(tmp_path / "frames.zarr")
    wider = np.concatenate([array[:], array[:]], axis=0).astype(np.uint16)
    zarr.create_array(tmp_path / "frames.zarr", data=wider, chunks=(50, 24, 32), overwrite=True)
    refused = run(file, capsys, code=4)
    assert [(c["name"], c["found"]) for c in refused["checks"]] == [
        ("camera", "uint16 and 768 columns")
    ]
    assert streamsvd.load(tmp_path / "latest" / "background").info.n_rows == 300


def test_the_climate_pipeline_on_air_temperatures_of_two_centuries(copied, tmp_path, capsys):
    pytest.importorskip("iris_sample_data")
    demo = pytest.importorskip("streamsvd.cli.demo.climate")
    climate = demo.load()
    demo.store(climate, tmp_path)
    assert_runs_once(copied("climate-eof"), capsys)
    X = climate.values.reshape(len(climate.values), -1).astype(np.float64)
    assert_components(tmp_path, X - X.mean(axis=0), climate.latitude, climate.longitude.size)


def assert_components(
    folder: Path, anomalies: np.ndarray, latitude: np.ndarray, width: int
) -> None:
    """The published components are certified ones of anomalies, weighted by the cosine of the latitude."""
    found = streamsvd.load(folder / "latest" / "eof")
    X = anomalies * np.repeat(np.sqrt(np.cos(np.deg2rad(latitude.astype(np.float64)))), width)
    values = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[:10]
    assert (found.certificate.sigma_lower <= values * (1 + 1e-9)).all()
    assert (values <= found.certificate.sigma_upper * (1 + 1e-9)).all()
    np.testing.assert_allclose(found.s, values, rtol=1e-3)


def monthly_anomalies(X: np.ndarray, month: np.ndarray) -> np.ndarray:
    """A loop over calendar months."""
    out = np.empty_like(X)
    for number in np.unique(month):
        out[month == number] = X[month == number] - X[month == number].mean(axis=0)
    return out


def test_the_climate_pipeline_takes_the_months_and_the_areas_of_sea_temperatures(
    copied, tmp_path, monkeypatch, capsys
):
    package = pytest.importorskip("iris_sample_data")
    h5py = pytest.importorskip("h5py")
    with h5py.File(Path(package.path) / "ostia_monthly.nc") as file:
        values, attributes = (
            file["surface_temperature"][...],
            dict(file["surface_temperature"].attrs),
        )
        hours, latitude = file["time"][...], file["latitude"][...]
    assert values.shape == (54, 18, 432)
    marks = {"_FillValue": float(attributes["_FillValue"][0])}
    coordinates = {
        "time": (hours, {"units": "hours since 1970-01-01 00:00:00", "calendar": "standard"}),
        "latitude": (latitude, {"units": "degrees_north"}),
    }
    dims = ("time", "latitude", "longitude")
    write_grid(tmp_path / "sea.zarr", "sst", values, dims, marks, chunk=12, coordinates=coordinates)
    monkeypatch.setenv("CLIMATE_ZARR", str(tmp_path / "sea.zarr"))
    monkeypatch.setenv("CLIMATE_VARIABLE", "sst")
    run(copied("climate-eof"), capsys, "--set", "checks=[]")
    X = np.where(values == marks["_FillValue"], np.nan, values).reshape(54, -1).astype(np.float64)
    sea = ~np.isnan(X).any(axis=0)
    month = (np.datetime64("1970-01-01", "h") + hours.astype(np.int64)).astype("M8[M]").astype(
        int
    ) % 12 + 1
    X = monthly_anomalies(np.where(sea, X, 0.0), month)
    assert_components(tmp_path, X, latitude, 432)


def test_the_climate_pipeline_takes_the_months_away(copied, tmp_path, capsys):
    write_climate(tmp_path)
    run(copied("climate-eof"), capsys)
    X = zarr.open_group(tmp_path / "air_temperature.zarr")["air_temperature"][...]
    X = X.reshape(240, -1).astype(np.float64)
    X[:, np.isnan(X).all(axis=0)] = 0.0
    month = np.arange(240) % 12
    gap = np.isnan(X)
    X[gap] = X[np.arange(240) % 12 == 7][1:, gap.any(axis=0)].mean()  # its month's mean: no anomaly
    assert_components(tmp_path, monthly_anomalies(X, month), np.linspace(-80, 80, 12), 18)
