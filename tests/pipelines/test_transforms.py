"""Sources that are transformed as they are read: means found once and kept, models that stay true, weights by dimension."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.events import PassStarted
from streamsvd.errors import DescriptionError
from streamsvd.models import Model
from streamsvd.pipelines.planning import plan_pipeline
from streamsvd.testing.writing import write_grid
from tests.cli.conftest import run, start  # noqa: F401 - fixtures
from tests.pipelines.kit import (
    Watch,
    assert_same_bits,
    made,
    place_of,
    refusal,
    run_text,
    statuses,
    write,
    write_sources,
)

SOURCE = """
[sources.air]
path = "air.zarr"
variable = "t"
rows = "time"
"""
MONTHLY = SOURCE + 'transform = {anomalies = "month", weights = {lat = "cos"}}\n'
PCA = """
[[steps]]
name = "eof"
pca = {source = "air", rank = 3}
"""
MODEL = """
[[steps]]
name = "model"
update = {source = "air", model = "air.model", rank = 3}

[[steps]]
name = "proof"
verify = {result = "model", source = "air"}
"""
DIMS = ("time", "lat", "lon")
LATITUDE = np.array([-60.0, 0.0, 30.0])


def field(first: int, last: int) -> np.ndarray:
    """Months of a small grid, the same whatever comes after them."""
    t = np.arange(first, last)[:, None]
    season = 10 * np.cos(2 * np.pi * t / 12 + np.arange(12) / 3)
    noise = np.stack(
        [
            np.random.default_rng(k).standard_normal(12) * 0.7 ** np.arange(12)
            for k in range(first, last)
        ]
    )
    return (280 + season + noise + 0.01 * t).reshape(-1, 3, 4).astype("f4")


def days(first: int, last: int) -> np.ndarray:
    """Middles of months since 1990."""
    months = np.datetime64("1990-01") + np.arange(first, last)
    return (months.astype("M8[D]") - np.datetime64("1990-01-01")).astype(np.int64) + 14


def write_air(folder: Path, months: int = 60) -> Path:
    """A field with coordinates."""
    coordinates = {
        "time": (days(0, months), {"units": "days since 1990-01-01", "calendar": "standard"}),
        "lat": (LATITUDE, {"units": "degrees_north"}),
    }
    write_grid(
        folder / "air.zarr", "t", field(0, months), DIMS, {}, chunk=12, coordinates=coordinates
    )
    return folder


def grow(folder: Path, first: int, last: int) -> None:
    """More months behind them."""
    group = zarr.open_group(folder / "air.zarr")
    group["time"].append(days(first, last))
    group["t"].append(field(first, last))


def anomalies(last: int, reference: int, *, weights: bool = True) -> np.ndarray:
    """What a monthly climatology of the first months leaves."""
    X = field(0, last).reshape(last, 12).astype("f8")
    out = np.empty_like(X)
    for month in range(12):
        out[month::12] = X[month::12] - X[month:reference:12].mean(axis=0)
    return out * np.repeat(np.sqrt(np.cos(np.deg2rad(LATITUDE))), 4) if weights else out


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder whose name has a space, with a field of five years."""
    place = tmp_path / "my data"
    place.mkdir()
    return write_air(place)


def passes(watch: Watch) -> list[str]:
    """What passes were for."""
    return [event.purpose for event in watch.events if isinstance(event, PassStarted)]


def assert_values(found, matrix: np.ndarray) -> None:
    """Intervals hold the values of a matrix."""
    true = np.linalg.svd(matrix, compute_uv=False)[: found.s.size]
    assert (found.certificate.sigma_lower <= true * (1 + 1e-10)).all()
    assert (true <= found.certificate.sigma_upper * (1 + 1e-10)).all()
    np.testing.assert_allclose(found.s, true, rtol=1e-3)


def test_components_of_anomalies_are_those_of_numpy(folder):
    record = run_text(folder, MONTHLY + PCA)
    assert record.status == "done", record.error
    X = anomalies(60, 60)
    assert_values(streamsvd.load(place_of(record, "eof")), X - X.mean(axis=0))


def test_the_means_are_found_once_and_kept(folder):
    first, again = Watch(), Watch()
    text = MONTHLY + PCA + '[[steps]]\nname = "five"\nsvd = {source = "air", rank = 5}\n'
    run_text(folder, text, callback=first)
    assert passes(first).count("means of rows") == 1
    record = run_text(folder, text.replace("rank = 5", "rank = 4"), callback=again)
    assert made(record) == ["five"]
    assert "means of rows" not in passes(again)
    assert run_text(folder, text.replace("rank = 5", "rank = 4")).status == "unchanged"


def test_means_of_a_source_that_grew_are_found_anew_for_factorisations(folder):
    run_text(folder, MONTHLY + PCA)
    grow(folder, 60, 72)
    watch = Watch()
    record = run_text(folder, MONTHLY + PCA, callback=watch)
    assert "means of rows" in passes(watch)
    X = anomalies(72, 72)
    assert_values(streamsvd.load(place_of(record, "eof")), X - X.mean(axis=0))
    assert (
        len(list((folder / "p.runs" / "climatologies" / "air").iterdir())) == 1
    )  # those of before are of no use


def test_another_transform_makes_a_step_again(folder):
    run_text(folder, MONTHLY + PCA)
    assert made(run_text(folder, MONTHLY.replace('"month"', '"season"') + PCA)) == ["eof"]
    assert made(run_text(folder, SOURCE + "transform = {detrend = true}\n" + PCA)) == ["eof"]
    assert made(run_text(folder, SOURCE + PCA)) == ["eof"]
    assert run_text(folder, MONTHLY + PCA).status == "unchanged"


def test_a_model_keeps_the_means_it_was_made_with(folder):
    first = run_text(folder, MONTHLY + MODEL)
    assert statuses(first) == {"model": "done", "proof": "done"}, first.error
    grow(folder, 60, 75)
    watch = Watch()
    second = run_text(folder, MONTHLY + MODEL, callback=watch)
    assert statuses(second) == {"model": "done", "proof": "done"}, second.error
    assert "means of rows" not in passes(watch)
    found = Model.open(folder / "air.model").as_svd()
    assert found.info.n_rows == 75
    assert_values(found, anomalies(75, 60))


def test_a_factorisation_beside_a_model_sees_the_same_means(folder):
    text = MONTHLY + PCA.replace("pca", "svd") + MODEL
    run_text(folder, text)
    grow(folder, 60, 75)
    record = run_text(folder, text)
    assert record.status == "done", record.error
    assert_values(streamsvd.load(place_of(record, "eof")), anomalies(75, 60))


def test_rows_of_a_group_that_was_not_there_are_refused(tmp_path):
    write_air(tmp_path, 9)
    run_text(tmp_path, MONTHLY + MODEL)
    grow(tmp_path, 9, 12)
    with pytest.raises(
        DescriptionError, match="row 9 of .* is of month 10, of which no row was fitted"
    ):
        run_text(tmp_path, MONTHLY + MODEL)
    assert Model.open(tmp_path / "air.model").n_rows == 9


def test_rows_that_are_not_written_yet_are_no_part_of_the_means(folder):
    group = zarr.open_group(folder / "air.zarr")
    group["time"].append(days(60, 72))
    group["t"].resize((72, 3, 4))
    text = (
        MONTHLY.replace('rows = "time"', 'rows = "time"\nmissing = "fill"')
        + MODEL.partition("\n\n")[0]
    )
    first = run_text(folder, text)
    assert first.status == "done", first.error
    assert Model.open(folder / "air.model").n_rows == 60
    group["t"][60:] = field(60, 72)
    run_text(folder, text)
    assert_values(Model.open(folder / "air.model").as_svd(), anomalies(72, 60))


def test_a_model_whose_means_are_lost_takes_no_others(folder):
    run_text(folder, MONTHLY + MODEL)
    grow(folder, 60, 72)
    for file in (folder / "p.runs" / "climatologies" / "air").iterdir():
        file.unlink()
    record = run_text(folder, MONTHLY + MODEL)
    assert record.status == "failed"
    assert "has rows of source air without means that" in record.error
    other = run_text(folder, MONTHLY.replace('"month"', '"season"') + MODEL)
    assert "begin another model" in other.error


def test_means_of_a_reference_are_the_same_again(folder):
    text = (
        SOURCE
        + 'transform.anomalies = {by = "month", reference = [1990-01-01, 1993-12-31]}\n'
        + MODEL
    )
    run_text(folder, text)
    grow(folder, 60, 72)
    for file in (folder / "p.runs" / "climatologies" / "air").iterdir():
        file.unlink()
    record = run_text(folder, text)
    assert record.status == "done", record.error
    assert_values(Model.open(folder / "air.model").as_svd(), anomalies(72, 48, weights=False))


def test_means_that_were_damaged_are_refused(folder):
    run_text(folder, MONTHLY + PCA)
    (file,) = (folder / "p.runs" / "climatologies" / "air").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(streamsvd.StoreError, match="cannot be read: .* Restore it from a copy"):
        run_text(folder, MONTHLY + PCA.replace("rank = 3", "rank = 2"))


def test_steps_share_a_read_beneath_their_transforms(tmp_path):
    records = []
    for share in ("true", "false"):
        (tmp_path / share).mkdir()
        write_air(tmp_path / share)
        text = MONTHLY.replace('rows = "time"', f'rows = "time"\nshare = {share}')
        text = 'memory = "1GiB"\n' + text + PCA.replace("rank = 3", 'rank = 3, memory = "64MiB"')
        text += MODEL.partition("\n\n")[0].replace("rank = 3", 'rank = 3, memory = "64MiB"')
        records.append(run_text(tmp_path / share, text))
        assert records[-1].status == "done", records[-1].error
    assert [len(record.reads) for record in records] == [1, 0]
    for name in ("eof", "model"):
        assert_same_bits(*(place_of(record, name) for record in records))


@pytest.mark.parametrize(
    "step",
    [
        'sample_rows = {source = "air", size = 20}',
        'nystrom = {source = "air", n_centres = 10}',
        'top_eigenvectors = {source = "air", k = 2}',
        'lstsq = {source = "air", b = "b.npy"}',
        'kernel_ridge = {source = "air", y = "b.npy", n_centres = 10}',
    ],
)
def test_every_verb_reads_transformed_rows(folder, step):
    np.save(folder / "b.npy", anomalies(60, 60) @ np.arange(12.0))
    record = run_text(folder, MONTHLY + f"[[steps]]\nname = 'one'\n{step}\n")
    assert record.status == "done", record.error
    if "lstsq" in step:
        found = streamsvd.load(place_of(record, "one"))
        np.testing.assert_allclose(found.x.ravel(), np.arange(12.0), atol=1e-6)


def test_weights_of_a_factorisation_are_kept_with_its_result(folder):
    record = run_text(
        folder,
        MONTHLY + PCA + '[[steps]]\nname = "proof"\nverify = {result = "eof", source = "air"}\n',
    )
    assert statuses(record) == {"eof": "done", "proof": "done"}, record.error
    kept = streamsvd.load(place_of(record, "eof")).preparation["column_weights"]
    np.testing.assert_allclose(kept, np.repeat(np.sqrt(np.cos(np.deg2rad(LATITUDE))), 4))


def test_a_plan_says_what_is_read_before(folder, run):  # noqa: F811 - the fixture
    pipeline = write(folder, MONTHLY + PCA)
    (before,) = plan_pipeline(pipeline)
    assert before.note.startswith("before it one pass over 2.81 KiB of air, in ")
    assert before.note.endswith("for means of 12 groups of rows; kept in the state")
    assert not (folder / "p.runs").exists()
    done = run("run", str(folder / "p.toml"), "--dry-run")
    assert "before it one pass over" in done.out
    run_text(folder, MONTHLY + PCA)
    assert plan_pipeline(pipeline)[0].note == ""


def test_means_that_do_not_fit_are_refused_before_anything_is_read(folder):
    with pytest.raises(
        streamsvd.BudgetError, match="step eof: means of 12 groups of rows in 12 columns"
    ):
        run_text(folder, MONTHLY + PCA.replace("rank = 3", 'rank = 3, memory = "1MiB"'))
    assert not (folder / "p.runs" / "climatologies").exists()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('transform = {anomaly = "month"}', "unknown field 'anomaly' - at $.sources.air.transform"),
        ("transform = {}", "nothing is asked - at $.sources.air.transform"),
        (
            'transform = {anomalies = "week"}',
            "by='week' is unknown. Pass one or more of month, season, dayofyear, hour. - at ",
        ),
        ("transform.anomalies = {by = []}", "anomalies are by nothing"),
        (
            'transform.anomalies = {by = "month", reference = ["1990"]}',
            "a reference is its first and its last day",
        ),
        (
            'transform.anomalies = {by = "month", reference = ["1990", "x"]}',
            "'x' is no day of a reference",
        ),
        (
            'transform = {anomalies = {reference = ["1990", "1991"]}, detrend = {reference = ["1990", "1992"]}}',
            "fitted together, and each has another reference",
        ),
        (
            'transform.anomalies = {by = "month", over = 3}',
            "unknown field 'over' - at $.sources.air.transform.anomalies",
        ),
        ("transform.weights = {lat = 3}", "expected 'str', got 'int'"),
        (
            "select = 'x*'",
            "pca reads a matrix, for which select says nothing - at $.sources.air.select",
        ),
        ('missing = "zero"', 'of which missing is "error" or "fill" - at $.sources.air.missing'),
    ],
)
def test_a_table_that_cannot_be_meant_is_located(tmp_path, table, words):
    assert words in refusal(tmp_path, SOURCE + table + PCA)


def test_weights_are_said_once(tmp_path):
    said = refusal(
        tmp_path, MONTHLY + PCA.replace("rank = 3", 'rank = 3, column_weights = "w.npy"')
    )
    assert (
        "column_weights are said here, and weights by $.sources.air.transform - at $.steps[0].pca.column_weights"
        in said
    )


def test_a_collection_is_opened_as_its_table_says(tmp_path):
    write_sources(tmp_path)
    base = '[sources.many]\npath = "blocks"\n'
    text = '[[steps]]\nname = "groups"\ncluster = {source = "many", error = 0.1}\n'
    whole = run_text(tmp_path, base + text)
    part = run_text(tmp_path, base + 'select = ["b0*", "b1*"]\n' + text)
    assert made(part) == ["groups"]
    sizes = [
        sum(len(c.members) for c in streamsvd.load(place_of(r, "groups")).clusters)
        for r in (whole, part)
    ]
    assert sizes == [4, 2]
    said = refusal(tmp_path, base + 'transform = {anomalies = "month"}\n' + text)
    assert (
        "cluster reads a collection, for which transform says nothing - at $.sources.many.transform"
        in said
    )
