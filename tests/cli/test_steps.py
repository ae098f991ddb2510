"""Every command that reads a matrix takes steps of its rows; what is kept of them is said, and comes again by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd
from tests.cli.conftest import run, start  # noqa: F401 - fixtures
from tests.engine.test_steps import cells, counts, everything, idf, stored

CELLS = ("A.zarr", "--steps", "normalize,log1p")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    stored(tmp_path / "A.zarr", counts())
    stored(tmp_path / "new.zarr", counts(50, seed=5))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(run, folder):  # noqa: F811 - the fixture
    """The object that a command prints."""

    def call(*arguments: str, code: int = 0):
        done = run(*arguments, "--json", *([] if arguments[0] in ("info", "plan") else ["--quiet"]))
        assert done.code == code, done
        return json.loads(done.out)

    return call


def test_a_result_keeps_its_steps_and_new_rows_go_through_the_same(command, run, folder):  # noqa: F811
    command("pca", *CELLS, "--rank", "3", "--out", "r")
    X = cells(counts().toarray())
    found = streamsvd.load(folder / "r")
    truth = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(found.s, truth[:3], rtol=1e-9)
    command("project", "r", "new.zarr", "--out", "s.zarr")
    scores = zarr.open_array(folder / "s.zarr")[...]
    np.testing.assert_allclose(scores, found.transform(counts(50, seed=5)), atol=1e-12)
    command("project", "r", "new.zarr", "--steps", "normalize,log1p", "--out", "again.zarr")
    np.testing.assert_array_equal(zarr.open_array(folder / "again.zarr")[...], scores)
    for words in ((), CELLS[1:]):
        assert command("verify", "r", "A.zarr", *words)["status"] == "agrees"
    target = found.row_steps[0].text
    told = run("info", "r")
    assert f"steps of rows {target}, log1p" in told.out
    page = run("report", "r", "-o", "r.html")
    assert page.code == 0
    text = (folder / "r.html").read_text(encoding="utf-8")
    assert f"--steps {target},log1p" in text
    done = run("project", "r", "new.zarr", "--steps", "log1p", "--out", "no.zarr")
    assert done.code == 2 or done.code == 1
    assert f"the steps were '{target}', 'log1p', and are to be 'log1p'" in done.err


def test_a_model_keeps_what_its_first_block_counted(command, folder):
    command("update", "m", "A.zarr", "--steps", "tfidf", "--rank", "40")
    command("update", "m", "new.zarr", "--block-id", "b")
    command("update", "m", "new.zarr", "--block-id", "c", "--steps", "tfidf")
    model = streamsvd.Model.open(folder / "m")
    X = idf(counts().toarray().astype(float))
    later = everything(streamsvd.apply_steps(counts(50, seed=5), like=model))
    truth = np.linalg.svd(np.vstack([X, later, later]), compute_uv=False)
    np.testing.assert_allclose(model.s, truth[: model.s.size], rtol=1e-6)


def test_a_plan_names_the_pass_that_counts(command):
    plan = command("plan", "pca", *CELLS, "--rank", "3")
    assert plan["before"].startswith("before it one pass over ")
    assert plan["before"].endswith("for what normalize counts")
    assert (
        command("plan", "pca", "A.zarr", "--steps", "normalize=1e4", "--rank", "3")["before"] == ""
    )
    kept = command("plan", "sample", *CELLS, "--size", "20")
    assert kept["before"].endswith("for what normalize counts")


@pytest.mark.parametrize(
    "words",
    [
        ("top", "--k", "2"),
        ("nystrom", "--n-centres", "5"),
        ("sample", "--size", "20"),
        ("shuffle", "--out", "mixed.zarr"),
        ("convert", "copy.zarr"),
    ],
)
def test_every_verb_has_them(command, folder, words):
    verb, *options = words
    command(verb, *CELLS, *options)
    expected = cells(counts().toarray())
    if verb == "convert":
        copied = everything(streamsvd.open(folder / "copy.zarr"))
        np.testing.assert_allclose(copied, expected, atol=1e-12)
    if verb == "shuffle":
        mixed = zarr.open_array(folder / "mixed.zarr")[...]
        np.testing.assert_allclose(np.sort(mixed.sum(axis=1)), np.sort(expected.sum(axis=1)))


def test_what_cannot_be_meant_is_said_in_words(run, folder):  # noqa: F811 - the fixture
    for words, said in (
        (
            ("svd", "A.zarr", "--steps", "nothing", "--rank", "2"),
            "'nothing' is no step. Steps are 'normalize', 'normalize=1e4',",
        ),
        (
            ("svd", "A.zarr", "--steps", " , ", "--rank", "2"),
            "--steps names none. Pass steps such as normalize=1e4,log1p.",
        ),
    ):
        done = run(*words)
        assert done.code
        assert said in done.err
    run("svd", "A.zarr", "--rank", "2", "--out", "plain", "--quiet")
    done = run("project", "plain", "new.zarr", "--steps", "normalize,log1p", "--out", "s.zarr")
    assert done.code == 2
    assert (
        "a projection comes again with other rows, whose counts for normalize would be others"
        in done.err
    )
    assert (
        run(
            "project", "plain", "new.zarr", "--steps", "normalize=1e4", "--out", "s.zarr", "--quiet"
        ).code
        == 0
    )
