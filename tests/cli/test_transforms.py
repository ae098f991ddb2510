"""Every command that reads a matrix takes anomalies, trends and weights of its source, and says what cannot be meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.store.sources.views.adjusted import AdjustedRows
from tests.cli.conftest import run, start  # noqa: F401 - fixtures
from tests.pipelines.test_transforms import LATITUDE, anomalies, grow, write_air

AIR = ("air.zarr", "--variable", "t", "--rows", "time")
MONTHLY = (*AIR, "--anomalies", "month")
WEIGHED = (*MONTHLY, "--weights", "lat=cos")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    write_air(tmp_path)
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


def test_svd_and_pca_are_of_weighted_anomalies(command, folder):
    command("svd", *WEIGHED, "--rank", "3", "--out", "found")
    found = streamsvd.load(folder / "found")
    np.testing.assert_allclose(
        found.s, np.linalg.svd(anomalies(60, 60), compute_uv=False)[:3], rtol=1e-3
    )
    assert command("verify", "found", *WEIGHED)["status"] == "agrees"
    assert command("verify", "found", *AIR, code=1)["status"] == "disagrees"


@pytest.mark.parametrize(
    "words",
    [
        ("pca", "--rank", "2"),
        ("top", "--k", "2"),
        ("nystrom", "--n-centres", "5"),
        ("sample", "--size", "20"),
        ("lstsq", "--b", "b.npy"),
        ("krr fit", "--y", "b.npy", "--n-centres", "5", "--out", "fit.npz"),
        ("shuffle", "--out", "mixed.zarr"),
        ("convert", "copy.zarr"),
    ],
)
def test_every_verb_has_them(command, folder, words):
    np.save("b.npy", anomalies(60, 60) @ np.arange(12.0))
    verb, *options = words
    command(*verb.split(), *WEIGHED, "--detrend", *options)
    if verb == "shuffle":
        mixed = zarr.open_array(folder / "mixed.zarr")[...]
        assert mixed.dtype == np.float64
        assert np.abs(mixed.sum(axis=0)).max() < 1e-8
    if verb == "convert":
        copied = zarr.open_group(folder / "copy.zarr")["t"][...]
        assert np.abs(copied.sum(axis=0)).max() < 1e-8
    if "--out" not in options and verb != "convert":
        assert command("plan", verb.replace(" ", "-"), *WEIGHED, *options)["before"].startswith(
            "before it one pass over"
        )


def test_a_model_takes_anomalies_of_a_reference(command, run, folder):  # noqa: F811 - the fixture
    source = (*WEIGHED, "--reference", "1990,1993")
    command("update", "air.model", *source, "--rank", "3")
    grow(folder, 60, 72)
    command("update", "air.model", *source)
    found = streamsvd.Model.open(folder / "air.model").as_svd()
    np.testing.assert_allclose(
        found.s, np.linalg.svd(anomalies(72, 48), compute_uv=False)[:3], rtol=1e-2
    )
    assert command("verify", "air.model", *source)["status"] == "agrees"
    for verb in (
        ("update", "air.model", *WEIGHED),
        ("watch", *WEIGHED[:1], "air.model", *WEIGHED[1:], "--looks", "1"),
    ):
        done = run(*verb)
        assert done.code == 2
        assert (
            "comes again with other rows, whose means would be others. Pass --reference FIRST,LAST"
            in done.err
        )


def test_weights_are_words_or_files(command, folder):
    """By the options of the source as by that of the verb, in plans too."""
    np.save("cosines.npy", np.cos(np.deg2rad(LATITUDE)))
    roots = streamsvd.column_weights(streamsvd.open("air.zarr", "t", "time"), "coslat")
    np.save("roots.npy", roots)
    said = ("coslat", "lat=cos", "lat=cosines.npy", "roots.npy")
    found = [command("pca", *AIR, "--rank", "2", "--column-weights", w) for w in said]
    found += [command("pca", *AIR, "--rank", "2", "--weights", w) for w in said[:2]]
    for each in found[1:]:
        np.testing.assert_allclose(each["singular_values"], found[0]["singular_values"], rtol=1e-12)
    plan = command("plan", "pca", *AIR, "--rank", "2", "--column-weights", "coslat")
    assert plan["status"] == "planned"
    command("svd", *AIR, "--rank", "2", "--column-weights", "coslat", "--scaling", "std", "--out", "w")  # fmt: skip
    kept = streamsvd.load(folder / "w").preparation
    assert kept["scale"] is True
    np.testing.assert_array_equal(kept["column_weights"], roots)
    assert command("verify", "w", *AIR)["status"] == "agrees"


def test_a_model_keeps_weights_however_they_are_said(command, run, folder):  # noqa: F811 - the fixture
    """By the option of the source each month again, or by that of the model once; both are the model's own."""
    roots = streamsvd.column_weights(streamsvd.open("air.zarr", "t", "time"), "coslat")
    for name, option in (("a", ("--weights", "lat=cos")), ("b", ("--column-weights", "coslat"))):
        assert command("plan", "update", name, *AIR, *option, "--rank", "3")["n_new"] == 60
        command("update", name, *AIR, *option, "--rank", "3")
        assert command("update", name, *AIR, *option)["skipped"] == "nothing new"
        assert command("plan", "update", name, *AIR, *option)["n_new"] == 0
        assert command("update", name, *AIR)["skipped"] == "nothing new"
        np.testing.assert_array_equal(streamsvd.Model.open(name).column_weights, roots)
        for said in ((), option):
            if said != option or name == "a":
                assert command("verify", name, *AIR, *said)["status"] == "agrees"
    np.save("w.npy", 2 * roots)
    done = run("update", "a", *AIR, "--column-weights", "w.npy")
    assert done.code == 2
    assert "--column-weights differ from those that the model was begun with" in done.err
    watched = ("watch", "air.zarr", "b", *AIR[1:], "--looks", "1", "--column-weights", "coslat")
    assert run(*watched).code == 0


@pytest.mark.parametrize("kept", ["result", "model"])
def test_rows_are_projected_with_the_weights_that_are_kept(command, folder, kept):
    """Whether they are said again or not."""
    if kept == "result":
        command("pca", *AIR, "--weights", "coslat", "--rank", "2", "--out", kept)
    else:
        command("update", kept, *AIR, "--weights", "coslat", "--rank", "2", "--center")
    result = streamsvd.load(folder / kept)
    for place, option in (("a.zarr", ()), ("b.zarr", ("--weights", "lat=cos"))):
        command("project", kept, *AIR, *option, "--out", place)
        scores = np.asarray(zarr.open_group(folder / place)["scores"])
        expected = streamsvd.open("air.zarr", "t", "time")
        np.testing.assert_allclose(scores, result.transform(expected), atol=1e-12)


def test_a_model_of_columns_times_weights_goes_on_as_it_began(command, folder):
    """As earlier releases made it: no weights are its own, and those of the source multiply what is read."""
    A = streamsvd.open("air.zarr", "t", "time")
    weighted = AdjustedRows(A, None, None, streamsvd.column_weights(A, "coslat"))
    streamsvd.update("air.model", weighted, rank=3)
    grow(folder, 60, 72)
    command("update", "air.model", *AIR, "--weights", "coslat")
    assert streamsvd.Model.open("air.model").column_weights is None
    assert command("verify", "air.model", *AIR, "--weights", "coslat")["status"] == "agrees"


def test_info_says_what_is_read(command):
    record = command("info", *MONTHLY)
    assert (record["dtype"], record["shape"]) == ("float64", [60, 12])


def test_a_plan_says_what_is_read_before(run, folder):  # noqa: F811 - the fixture
    done = run("plan", "pca", *MONTHLY, "--rank", "2")
    assert done.out.startswith("before it one pass over 2.81 KiB, in ")
    assert "for means of 12 groups of rows\n" in done.out
    assert "before it" not in run("plan", "pca", *AIR, "--rank", "2").out


def test_a_place_that_is_taken_is_refused_before_the_pass(run, folder):  # noqa: F811 - the fixture
    (folder / "found").mkdir()
    (folder / "found" / "mine").touch()
    done = run("svd", *MONTHLY, "--rank", "2", "--out", "found")
    assert done.code == 1
    assert "pass 1" not in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*AIR, "--anomalies", "week"), "week"),
        ((*AIR, "--reference", "1990,1991"), "--reference belongs to --anomalies and --detrend"),
        ((*AIR, "--times", "time"), "--times belongs to --anomalies and --detrend"),
        ((*MONTHLY, "--reference", "soon"), "'soon' is no day of a reference"),
        ((*AIR, "--weights", "lat="), "--weights names nothing"),
        (
            (*AIR, "--weights", "area", "--weights", "lat=cos"),
            "--weights area is for all columns, and there are others",
        ),
        ((*AIR, "--weights", "time=cos"), "which makes rows"),
        ((*AIR, "--weights", "lat=cos", "--column-weights", "w.npy"), "both weigh the columns"),
        ((*AIR, "--column-weights", "lat="), "names nothing"),
        ((*AIR, "--column-weights", "area", "--column-weights", "lat=cos"), "is for all columns"),
        ((*AIR, "--column-weights", "w5.npy"), "--column-weights has shape (5,)"),
        ((*AIR, "--column-weights", "none.npy"), "does not exist"),
        ((*AIR, "--column-weights", "area"), "--column-weights area: 'area' is no array beside"),
    ],
)
def test_what_cannot_be_meant_is_said(run, folder, words, said):  # noqa: F811 - the fixture
    np.save("w.npy", np.ones(12))
    np.save("w5.npy", np.ones(5))
    done = run("svd", *words, "--rank", "2")
    assert done.code == 2
    assert said in done.err
