"""``streamsvd embed`` and ``streamsvd eigenvectors``: what they write and print, and how they end."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.cli import app


@pytest.fixture(autouse=True)
def graph(tmp_path, monkeypatch):
    """Four groups of nodes that hardly touch, and a node by itself."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    there = np.kron(np.eye(4), np.ones((30, 30))) * (rng.random((120, 120)) < 0.5)
    there += rng.random((120, 120)) < 0.01
    A = np.zeros((121, 121))
    A[:120, :120] = there + there.T
    np.save("g.npy", A)
    return A


def test_a_plan_needs_no_place_and_is_that_of_what_is_written(graph, capsys):
    assert app.run(["plan", "embed", "g.npy", "--dim", "6", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert app.run(["plan", "embed", "g.npy", "--dim", "6", "--out", "E", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert planned["projected_bytes"] == said["projected_bytes"]
    assert planned["passes"] == 5
    assert app.run(["embed", "g.npy", "--dim", "6"]) == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("eigenvectors g.npy --rank 1", ["eigenvectors has no plan", "Run streamsvd eigenvectors"]),
        ("transpose g.npy T", ["transpose has no plan", "svd, pca,"]),
        ("krr fit g.npy", ["krr has no plan", "Pass krr-fit"]),
        ("report r", ["report has no plan"]),
    ],
)
def test_a_verb_without_a_plan_is_told_from_a_source(capsys, line, words):
    assert app.run(["plan", *line.split()]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words)
    assert "extra argument" not in err


def test_a_file_may_be_called_as_a_verb(graph, capsys):
    zarr.create_array("transpose", data=graph, overwrite=True)
    assert app.run(["plan", "transpose", "--rank", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [121, 121]


def test_an_embedding_is_written_and_told(graph, capsys):
    line = [
        "embed",
        "g.npy",
        "--dim",
        "6",
        "--step-weights",
        "0,1",
        "--beta",
        "-0.3",
        "--out",
        "E",
        "--memory",
        "256MiB",
    ]
    assert app.run([*line, "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "121 nodes in 6 dimensions" in text
    assert "1 nodes without edges" in text
    found = streamsvd.load("E")
    assert found.options.step_weights == (0, 1)
    expected = streamsvd.embed(graph, 6, step_weights=(0, 1), beta=-0.3)
    np.testing.assert_array_equal(found.vectors[:], expected.vectors)
    assert app.run([*line, "--quiet"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert app.run([*line, "--overwrite", "--json", "--normalize", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "embed"
    assert told["isolated"] == 1
    assert told["passes"] == 3
    assert told["normalize"] is True


def test_a_plan_is_made_of_the_same_options(capsys):
    assert app.run(["plan", "embed", "g.npy", "--dim", "6", "--out", "E", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passes"] == 5
    assert app.run(["embed", "g.npy", "--dim", "6", "--step-weights", "0,x", "--out", "E"]) == 2
    assert "are no numbers" in capsys.readouterr().err


def test_eigenvalues_are_told_with_their_intervals(capsys):
    assert app.run(["eigenvectors", "g.npy", "--rank", "4", "--out", "V", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "4 of 4 within 0.001" in text
    assert streamsvd.load("V").values.shape == (4,)
    assert (
        app.run(["eigenvectors", "g.npy", "--rank", "4", "--out", "V.npz", "--json", "--quiet"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["upper"][0] == 1
    assert told["isolated"] == 1
    assert sorted(np.load("V.npz")) == ["lower", "upper", "values", "vectors"]


def test_what_is_not_proved_is_another_exit_code(monkeypatch, capsys):
    from streamsvd.graphs import eigenvectors

    def unproved(*given, **options):
        result = streamsvd.svd(*given, rank=options["rank"], tol=0.5)
        wide = replace(result.certificate, sigma_lower=0 * result.s)
        raise streamsvd.NotConverged("too few passes", replace(result, certificate=wide))

    monkeypatch.setattr(eigenvectors, "svd", unproved)
    line = ["eigenvectors", "g.npy", "--rank", "4", "--tol", "1e-4", "--quiet", "--out", "V"]
    assert app.run(line) == 3
    captured = capsys.readouterr()
    assert "intervals wider than 0.0001 after 12 passes" in captured.err
    assert "--tol" in captured.err
    assert not streamsvd.load("V").is_resolved.all()
