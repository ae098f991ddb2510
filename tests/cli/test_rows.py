"""``project`` and ``reconstruct``: what the methods do, from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
import zarr

import streamsvd
from streamsvd.cli import app
from streamsvd.testing.writing import write_grid


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((48, 30)) * 0.8 ** np.arange(30) + 5
    months = (np.datetime64("2000-01") + np.arange(48)).astype("M8[D]") - np.datetime64(
        "2000-01-01"
    )
    coordinates = {
        "time": (months.astype(int), {"units": "days since 2000-01-01", "calendar": "standard"}),
        "lat": (np.arange(5.0), {}), "lon": (np.arange(6.0), {}),
    }  # fmt: skip
    write_grid(
        "a.zarr",
        "t",
        A.reshape(48, 5, 6),
        ("time", "lat", "lon"),
        {"units": "K"},
        chunk=10,
        coordinates=coordinates,
    )
    np.save("a.npy", A)
    found = streamsvd.pca(streamsvd.open("a.zarr", "t", rows="time"), 3, u=True)
    found.save("pca.result")
    return A, found


def run(*arguments: str) -> int:
    return app.run(list(arguments))


def test_scores_and_residuals_are_written(kept, capsys) -> None:
    A, found = kept
    assert (
        run(
            "project",
            "pca.result",
            "a.zarr",
            "--variable",
            "t",
            "--rows",
            "time",
            "--out",
            "S.zarr",
            "--quiet",
        )
        == 0
    )
    assert capsys.readouterr().out == "scores of 48 rows, 3 float64 each: S.zarr\n"
    with xr.open_zarr("S.zarr") as S:
        np.testing.assert_allclose(S["scores"], found.transform(A), atol=1e-10)
        assert S["scores"].dims == ("time", "mode")
    assert (
        run(
            "project",
            "pca.result",
            "a.npy",
            "--rank",
            "2",
            "--residual",
            "--out",
            "E.zarr",
            "--json",
            "--quiet",
        )
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["what"], said["shape"], said["out"]) == (
        "project",
        "residual",
        [48, 5, 6],
        "E.zarr",
    )
    E = zarr.open_group("E.zarr", mode="r")["residual"][:]
    np.testing.assert_allclose(
        E.reshape(48, 30), A - np.asarray(found.reconstruct(rank=2)), atol=1e-10
    )


@pytest.mark.parametrize(
    ("rows", "which"),
    [
        ("0:12", slice(0, 12)),
        ("::-5", slice(None, None, -5)),
        ("3,7", [3, 7]),
        ("-1", [-1]),
        ("2000-03:2000-05", slice(2, 5)),
    ],
)
def test_rows_are_given_back(kept, capsys, rows, which) -> None:
    _, found = kept
    assert run("reconstruct", "pca.result", "--rows", rows, "--out", "R.zarr", "--quiet") == 0
    R = zarr.open_group("R.zarr", mode="r")["t"][:]
    expected = np.asarray(found.reconstruct())[which]
    np.testing.assert_allclose(R.reshape(-1, 30), expected, atol=1e-12)
    assert capsys.readouterr().out == f"{len(expected)} rows, 5 x 6 float64 each: R.zarr\n"
    if rows[0] != "2":  # a.npy has no times
        line = [
            "reconstruct",
            "pca.result",
            "--rows",
            rows,
            "--columns",
            "4:9",
            "--source",
            "a.npy",
        ]
        assert run(*line, "--out", "P.zarr", "--quiet") == 0
        P = zarr.open_array("P.zarr", mode="r")[:]
        np.testing.assert_allclose(P, expected[:, 4:9], atol=1e-10)


def test_a_model_projects_too(kept, capsys) -> None:
    A, _ = kept
    streamsvd.update("m", A, "block", rank=2, center=True)
    assert run("project", "m", "a.npy", "--out", "S.zarr", "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [48, 2]
    assert run("reconstruct", "m", "--out", "R.zarr") == 2
    assert "pass --source" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("project pca.result a.npy", 2, "Missing option '--out'"),
        (
            "project pca.result a.npy --rank 9 --out S",
            2,
            "Pass 1 <= rank <= 3",
        ),
        ("project gone a.npy --out S", 1, "gone"),
        ("project fit a.npy --out S", 2, "which has no components of rows"),
        ("project pca.result a.npy --out a.npy", 2, "a.npy"),
        (
            "project pca.result a.zarr --variable t --rows time --anomalies month --out S",
            2,
            "--reference",
        ),
        ("reconstruct pca.result --rows June --out R", 2, "are no days"),
        ("reconstruct pca.result --columns June --out R", 2, "no range and no numbers"),
        ("reconstruct pca.result --rows 99 --out R", 2, "among the 48 rows"),
        ("reconstruct pca.result --variable t --out R", 2, "belong to --source"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(kept, capsys, line, code, words) -> None:
    A, _ = kept
    streamsvd.lstsq(A, A[:, 0]).save("fit")
    assert run(*line.split()) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
