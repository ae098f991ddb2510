"""The page of a run: written however the run ended, with what the record says, and never a reason for a run to fail."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import DescriptionError, SpecError, StoreError
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.records import RunLog
from streamsvd.report import write_report
from streamsvd.testing.writing import write_grid
from tests.pipelines.kit import CHAIN, SVD, Watch, grow, refusal, run_text, write
from tests.report.kinds import EVIL
from tests.report.reading import drawings, headings, read_page, tables, verdict

REPORT = 'report = "latest/report.html"\n'
WRONG = '[[checks]]\nstep = "eof"\nquantity = "captured"\nat_least = 0.5\nat_most = 0.6\n'


def page_at(folder, name="latest/report.html"):
    """The page that a run has written, checked."""
    return read_page((folder / name).read_bytes())


def test_a_run_that_ends_well_writes_its_page(folder):
    record = run_text(folder, REPORT + CHAIN)
    page = page_at(folder)
    assert page.all("h1")[0].text == "p, run 1"
    assert (
        verdict(page)
        == "✓ Good Done: 3 steps were made, 1 of 1 check passed, 2 links were published."
    )
    steps = {row[0]: row for row in tables(page)["Steps, in the order in which they ran"]}
    for step in record.steps:
        assert steps[step.name][1:3] == [step.verb, "✓ done"]
        assert steps[step.name][-1] == f"{step.n_rows:,}"
    planned = {row[0]: row for row in tables(page)["Planned, and what it took"]}
    assert planned["eof"][1] != "–"
    assert planned["proof"][-1] == "what it verifies is made by a step before it"
    assert {"Step eof: pca", "Step model: update", "Step proof: verify"} <= set(headings(page))
    assert "Drift between versions" in headings(page)
    facts = {d.text: dd.text for d, dd in zip(page.all("dt"), page.all("dd"), strict=True)}
    assert facts[f"{folder}/latest/eof"] == "leads to a new result"
    assert page.all("pre")[-1].text == f"streamsvd run '{folder}/p.toml'"
    assert not list((folder / "latest").glob(".*"))


def test_runs_that_are_refused_or_fail_write_theirs_and_say_why(folder):
    run_text(folder, REPORT + CHAIN)
    run_text(folder, REPORT + CHAIN + WRONG)
    page = page_at(folder)
    assert re.match(
        r"✗ Not good Refused, and nothing was published: captured of eof is 0\.9\d+, at least 0\.5 and at most 0\.6 was asked\.",
        verdict(page),
    )
    assert [row[-1] for row in tables(page)["Checks"]] == ["✓ passed", "✗ NOT PASSED"]
    (folder / "a.zarr").rename(folder / "away")
    with pytest.raises(StoreError):
        run_text(folder, REPORT + CHAIN)
    page = page_at(folder)
    assert "✗ Not good Failed:" in verdict(page)
    assert "a.zarr does not exist" in verdict(page)
    assert "The run ended before checks were looked at." in page.text
    assert [row[2] for row in tables(page)["Runs up to this one, the newest first"]] == [
        "✗ failed",
        "✗ refused",
        "✓ done",
    ]
    assert "Durations of past runs" in [
        svg[0].text for svg in drawings((folder / "latest/report.html").read_bytes())
    ]


def test_a_run_that_is_interrupted_writes_its_page(folder):
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(write(folder, REPORT + CHAIN), callback=Watch(2, KeyboardInterrupt))
    page = page_at(folder)
    assert verdict(page).startswith("! With caution Interrupted: KeyboardInterrupt.")
    assert tables(page)["Steps, in the order in which they ran"][0][2] == "! interrupted"


def test_checks_are_followed_over_the_runs_with_their_bounds(folder):
    text = REPORT + CHAIN.replace("at_most = 0.1", "at_most = 0.5")
    for rows in (0, 40, 40):
        if rows:
            grow(folder / "a.zarr", rows)
        run_text(folder, text)
    svg = next(
        s
        for s in drawings((folder / "latest/report.html").read_bytes())
        if s[0].text == "Width of eof"
    )
    assert "at most 0.5" in [t.text for t in svg.iter("text")]
    assert len([e for e in svg.iter("circle")]) == 3
    assert len(tables(page_at(folder))["Versions, the newest first"]) == 3


def test_a_report_that_cannot_be_written_is_a_warning(folder):
    (folder / "latest").mkdir()
    (folder / "latest" / "report.html").write_text("<p>mine</p>")
    with pytest.warns(
        UserWarning,
        match=r"report.html could not be written: .* is there and no report of streamsvd",
    ):
        record = run_text(folder, REPORT + CHAIN)
    assert record.status == "done"
    assert (folder / "latest" / "report.html").read_text() == "<p>mine</p>"


def test_whatever_goes_wrong_in_a_page_the_run_is_as_it_was_recorded(folder, monkeypatch):
    from streamsvd.report import rendering

    monkeypatch.setattr(rendering, "render", lambda page: 1 / 0)
    with pytest.warns(UserWarning, match=r"could not be written: division by zero"):
        record = run_text(folder, REPORT + SVD)
    assert record.status == "done"
    assert RunLog(folder / "p.runs").records()[-1].status == "done"
    assert not list((folder / "latest").iterdir())


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            "latest/eof/report.html",
            r"report.html lies in .*/latest/eof, which is published - at \$.report",
        ),
        ("latest", "latest is no name of a page - at \\$.report. End a path in .html."),
        ("a.zarr", "a.zarr is no name of a page"),
        ("a.zarr/report.html", r"lies in .*/a.zarr, which is read - at \$.report"),
        ("a.model/report.html", r"lies in .*/a.model, which is read"),
        ("latest/eof/../eof/r.html", "which is published"),
        ("s3://bucket/r.html", "is no name of a page"),
        ("", r"is empty, and the current folder is not meant by that.* - at \$.report"),
    ],
)
def test_a_place_that_is_no_place_for_a_page_is_refused(folder, place, words):
    assert re.search(words, refusal(folder, f'report = "{place}"\n' + CHAIN))
    assert not (folder / "p.runs").exists()


def test_a_page_can_be_asked_for_of_the_file_the_state_and_an_earlier_run(folder, tmp_path):
    run_text(folder, CHAIN)
    run_text(folder, CHAIN)
    newest = write_report(folder / "p.toml", tmp_path / "1.html")
    assert newest.verdict.startswith(
        "Nothing was to be done: every result was there, 1 of 1 check passed."
    )
    first = write_report(folder / "p.toml", tmp_path / "2.html", run=1)
    assert first.title == "p, run 1"
    assert first.verdict.startswith("Done: 3 steps were made")
    state = write_report(folder / "p.runs", tmp_path / "3.html", run=1)
    assert (state.title, state.verdict) == (first.title, first.verdict)
    assert "streamsvd run FILE" in read_page(state.path.read_bytes()).text
    with pytest.raises(SpecError, match=r"run=9 is none of .*: there are 1 to 2"):
        write_report(folder / "p.toml", tmp_path / "4.html", run=9)
    with pytest.raises(SpecError, match=r"grid=\(3, 4\) is of a result"):
        write_report(folder / "p.toml", tmp_path / "4.html", grid=(3, 4))
    with pytest.raises(SpecError, match="settings=.* are of the file of a pipeline"):
        write_report(folder / "p.runs", tmp_path / "4.html", settings=["keep=1"])


def test_a_state_that_was_moved_still_has_its_results(folder, tmp_path):
    run_text(folder, SVD)
    (folder / "p.runs").rename(tmp_path / "moved")
    write_report(tmp_path / "moved", tmp_path / "page.html")
    assert "Singular values" in tables(read_page((tmp_path / "page.html").read_bytes()))
    for place in (tmp_path / "moved" / "results" / "eof").iterdir():
        (place / "s" / "zarr.json").write_text("{}")
    write_report(tmp_path / "moved", tmp_path / "page.html", overwrite=True)
    page = read_page((tmp_path / "page.html").read_bytes())
    assert "Its result cannot be read:" in page.text
    assert "is damaged" in page.text


def test_a_pipeline_without_runs_and_one_that_runs(folder, tmp_path):
    pipeline = write(folder, SVD)
    with pytest.raises(StoreError, match="has no run yet"):
        write_report(folder / "p.toml", tmp_path / "page.html")
    with run_lock(pipeline.state):
        RunLog(pipeline.state).begin("p", "2026-01-01T00:00:00+00:00", "1")
        assert (
            write_report(folder / "p.toml", tmp_path / "1.html").verdict == "The run is going on."
        )
    assert write_report(folder / "p.toml", tmp_path / "2.html").verdict.startswith("Killed:")


def test_columns_that_come_from_a_grid_are_maps(folder):
    field = np.random.default_rng(0).standard_normal((50, 4, 6)).astype("f4")
    write_grid(folder / "air.zarr", "t2m", field, ("time", "lat", "lon"), {}, chunk=25)
    for name, numbers in (("lat", [60.0, 20, -20, -60]), ("lon", [0.0, 60, 120, 180, 240, 300])):
        zarr.create_array(
            str(folder / "air.zarr"),
            name=name,
            data=np.array(numbers),
            dimension_names=[name],
            overwrite=True,
        )
    text = '[sources.air]\npath = "air.zarr"\nvariable = "t2m"\nrows = "time"\n[[steps]]\nname = "eof"\npca = {source = "air", rank = 3}\n'
    run_text(folder, 'report = "r.html"\n' + text)
    maps = [svg for svg in drawings((folder / "r.html").read_bytes()) if list(svg.iter("image"))]
    assert len(maps) == 3
    words = [t.text for t in maps[0].iter("text")]
    assert words[:5] == ["60", "-60", "0", "300", "across: lon, down: lat"]
    assert "Down: lat; across: lon." in maps[0][1].text


def test_names_and_errors_of_a_run_are_no_markup(folder):
    pipeline = write(folder, SVD)
    log = RunLog(pipeline.state)
    number = log.begin(EVIL, EVIL, EVIL)
    place = pipeline.state / "runs" / f"{number:06d}.json"
    step = {
        "name": EVIL,
        "verb": EVIL,
        "status": "failed",
        "error": EVIL,
        "warnings": [EVIL],
        "place": "/x/" + EVIL.replace("/", ""),
        "key": "k",
    }
    check = {"step": EVIL, "quantity": EVIL, "value": None, "asked": EVIL, "passed": False}
    place.write_text(json.dumps({
        "pipeline": EVIL, "number": number, "status": "failed", "started": EVIL, "ended": EVIL, "error": EVIL, "steps": [step],
        "checks": [check], "published": [EVIL], "plans": [{"name": EVIL, "note": EVIL}],
    }))  # fmt: skip
    written = write_report(pipeline.state, folder / "page.html")
    page = read_page(written.path.read_bytes())
    assert page.all("h1")[0].text == f"{EVIL}, run 1"
    assert "<img" not in written.path.read_text()


def test_the_command_writes_a_page_and_says_the_verdict(run, folder):
    run_text(folder, CHAIN)
    out = folder / "page.html"
    done = run("report", folder / "p.toml", "-o", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("p, run 1: Done: 3 steps were made")
    again = run("report", folder / "p.toml", "-o", out, "--overwrite", "--run", 1, "--json").record
    assert (again["kind"], again["status"], again["tone"]) == ("report", "done", "good")
    assert again["bytes"] == out.stat().st_size
    refused = run("report", folder / "p.toml", "-o", out)
    assert refused.code == 1
    assert "Pass --overwrite" in refused.err
    wrong = run(
        "report", folder / "p.runs" / "results", "-o", folder / "other.html", "--grid", "2,x"
    )
    assert wrong.code == 2
    assert "2,x" in wrong.err


def test_a_run_without_a_report_writes_none(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_text(folder, SVD)
    assert not list(folder.rglob("*.html"))
    assert streamsvd.load(next((folder / "p.runs" / "results" / "eof").iterdir())).rank == 3


def test_a_report_that_is_no_text_is_located(folder):
    with pytest.raises(DescriptionError, match=r"at \$.report"):
        write(folder, "report = 3\n" + SVD)


def test_what_a_killed_process_left_of_a_page_is_written_over(folder):
    (folder / "latest").mkdir()
    (folder / "latest" / ".report.html.partial").write_text("<p>half")
    run_text(folder, REPORT + CHAIN)
    assert verdict(page_at(folder)).startswith("✓ Good Done")
    assert sorted(p.name for p in (folder / "latest").iterdir()) == ["eof", "model", "report.html"]
    before = (folder / "latest" / "report.html").stat().st_ino
    run_text(folder, REPORT + CHAIN)
    assert (
        folder / "latest" / "report.html"
    ).stat().st_ino != before  # another file took its place
