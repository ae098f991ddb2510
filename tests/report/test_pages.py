"""Pages: every kind of result has one, it says what the result says, nothing in it is markup but ours, and it is small."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pytest

import streamsvd
from streamsvd.cli import commands
from streamsvd.errors import SpecError, StoreError
from streamsvd.factor.result import PCA
from streamsvd.info import Status
from streamsvd.kernels.files import ridge_arrays
from streamsvd.models.options import VerifyOptions
from streamsvd.models.verify import Verification
from streamsvd.numerics.certificate import Kind
from streamsvd.report import write_report
from streamsvd.report.parts import Cell, Page, Section, Table
from streamsvd.report.rendering import render
from streamsvd.report.results.components import Grid
from streamsvd.report.results.factorisations import svd_page, verify_page
from streamsvd.report.results.kinds import PAGES, plain_page
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import command_line
from streamsvd.store.results.kinds import RESULT_HOMES, from_home
from tests.promises.test_saving import BLOCKS, CASES, made
from tests.report.kinds import EVIL, certificate, factors, info
from tests.report.reading import drawings, headings, read_page, tables, verdict

LIMIT = 2 << 20
LAST = "How to make it again"


def page_of(place, tmp_path, **options):
    """The page of what lies at a place."""
    written = write_report(place, tmp_path / "page.html", **options)
    data = written.path.read_bytes()
    assert written.nbytes == len(data) <= LIMIT
    return read_page(data)


def test_every_kind_that_can_be_saved_has_a_page():
    assert {from_home(home) for home in RESULT_HOMES.values()} <= set(PAGES)
    assert {streamsvd.CompressedCollection, streamsvd.TopEigenvectorStream} <= set(PAGES)


@pytest.mark.parametrize(("kind", "i"), CASES)
def test_a_result_of_every_kind_is_a_page(kind, i, tmp_path):
    result = made(kind, i)
    page = page_of(result.save(tmp_path / "kept"), tmp_path)
    assert str(tmp_path / "kept") in page.all("h1")[0].text
    assert len(verdict(page)) > 20
    assert headings(page)[-1] == LAST
    assert "Cost" in headings(page)
    assert page.all("figure")
    (command,) = page.all("pre")
    words = shlex.split(command.text)
    assert words[0] == "streamsvd"
    release = next(d.text for d in page.all("dl") if "release that made it" in d.text)
    assert streamsvd.__version__ in release


PARSED = [case for case in CASES if case[0] != "verify"]


@pytest.mark.parametrize(("kind", "i"), PARSED)
def test_the_command_that_makes_it_again_is_one(kind, i, tmp_path, monkeypatch):
    """It parses, and says the same options as the record."""
    monkeypatch.chdir(tmp_path)
    result = made(kind, i)
    for name in ("ROW_WEIGHTS", "COLUMN_WEIGHTS", "MASK", "Y", "B"):
        np.save(f"{name}.npy", np.ones(3))
    after = {"kernel_ridge": ["--y", "Y.npy"], "lstsq": ["--b", "B.npy"]}.get(kind, [])
    words = shlex.split(
        command_line(kind, "a.npy", result.options, nonfinite=result.info.nonfinite, after=after)
    )
    verb = commands.verbs.get_command(click.Context(commands.verbs), words[1])
    if isinstance(verb, click.Group):
        verb, words = verb.commands[words[2]], words[1:]
    given = verb.make_context(verb.name, words[2:]).params
    for name in (
        "rank",
        "k",
        "n_centres",
        "size",
        "seed",
        "ridge",
        "tol",
        "energy",
        "errors",
        "kernel",
    ):
        if hasattr(result.options, name) and name in given:
            assert given[name] == getattr(result.options, name), name


def test_a_factorisation_says_what_its_certificate_says():
    result = factors(40, 6)
    data = render(svd_page(result, ResultOrigin("f")))
    page = read_page(data)
    assert verdict(page) == (
        "✓ Good All 6 values resolved to 0.001; the factors hold at least 99.0099 % of the energy, with an error at most 0.1 % above "
        "the best of this rank."
    )
    rows = tables(page)["Singular values"]
    assert len(rows) == 6
    for row, s, low, high in zip(
        rows, result.s, result.certificate.sigma_lower, result.certificate.sigma_upper, strict=True
    ):
        assert float(row[1]) == pytest.approx(s)
        assert float(row[2]) <= low
        assert float(row[3]) >= high
        assert row[-1] == "✓ resolved"
    facts = {d.text: dd.text for d, dd in zip(page.all("dt"), page.all("dd"), strict=True)}
    assert facts["shape"] == "1,000 × 40"
    assert facts["passes"] == "2.5"
    assert facts["throughput"] == "50.9 MiB/s"
    assert facts["seed"] == "7"
    memory = next(svg for svg in drawings(data) if svg[0].text == "Memory above the start")
    assert memory[1].text == "Measured 47.7 MiB, projected 85.8 MiB: 56% of what was projected."
    options = {row[0]: row[1:] for row in tables(page)["Options"]}
    assert options["rank"] == ["6", "–", "asked"]
    assert options["delta"][2] == "default"
    assert (
        page.all("pre")[0].text
        == "streamsvd svd SOURCE --rank 6 --tol 0.001 --memory 100000000 --seed 7 --out again"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"info": info(status=Status.NOT_CONVERGED)}, "✗ Not good Not converged: what was asked is not proved."),
        ({"info": info(status=Status.INTERRUPTED)}, "! With caution Interrupted:"),
        ({"info": info(warnings=("rows are in doubt.",))}, "! With caution All 6 values"),
        ({"certificate": certificate(0.9 ** np.arange(6), kind=Kind.ESTIMATE)}, "! With caution Estimated, nothing is proved:"),
        ({"certificate": certificate(0.9 ** np.arange(6), width=0.2)}, "✓ Good 0 of 6 values resolved"),
        ({"certificate": certificate(0.9 ** np.arange(6), width=0.2, excess=0.5)}, "! With caution 0 of 6 values resolved"),
        ({"s": np.zeros(6), "certificate": certificate(np.zeros(6), excess=np.inf)}, "✓ Good All 6 values"),
        ({"certificate": certificate(0.9 ** np.arange(6), sigma_lower=np.zeros(6), subspace_angle_bound=np.inf)}, "✓ Good 0 of 6"),
    ],
    ids=["not converged", "interrupted", "warnings", "estimate", "wide", "loose", "zero", "no lower end"],
)  # fmt: skip
def test_the_verdict_comes_first_and_is_honest(change, words):
    page = read_page(render(svd_page(replace(factors(30, 6), **change), ResultOrigin("f"))))
    assert verdict(page).startswith(words)
    for caution in change.get("info", info()).warnings:
        assert caution in page.all("ul")[0].text


def test_a_contradiction_is_the_verdict_of_a_verification():
    mine, stored = certificate(np.array([3.0, 2.0])), certificate(np.array([3.0, 1.0]))
    found = Verification(
        False,
        ("singular value 2 is at least 1.9", "and more"),
        mine,
        stored,
        VerifyOptions(),
        info(),
    )
    page = read_page(render(verify_page(found, ResultOrigin("f"))))
    assert "does not agree with its source: singular value 2 is at least 1.9." in verdict(page)
    assert [row[-1] for row in tables(page)["Intervals, stored and found"]] == ["✓ meet", "✗ apart"]
    assert "and more." in page.all("ul")[0].text


def test_components_on_a_grid_are_images_and_others_are_lines(tmp_path):
    factors(60, 3, PCA).save(tmp_path / "kept")
    plain = page_of(tmp_path / "kept", tmp_path)
    assert not plain.all("image")
    page = page_of(tmp_path / "kept", tmp_path, grid=(6, 10), overwrite=True)
    assert len(page.all("image")) == 3
    deep = page_of(tmp_path / "kept", tmp_path, grid=(2, 5, 6), overwrite=True)
    assert len(deep.all("image")) == 3
    assert "the first slice" in deep.text


@pytest.mark.parametrize(
    ("kind", "grid", "words"),
    [
        ("svd", (3, 5), r"grid=\(3, 5\) has 15 places, and components have 8 entries"),
        ("svd", (8,), r"grid=\(8,\) makes no image"),
        ("svd", (8, 1), r"grid=\(8, 1\) makes no image"),
        ("svd", (0, 4), "grid=0 is no count"),
        ("lstsq", (2, 4), "this result has none"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(kind, grid, words, tmp_path):
    with pytest.raises(SpecError, match=words):
        write_report(made(kind).save(tmp_path / "kept"), tmp_path / "page.html", grid=grid)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_a_million_columns_are_a_small_page():
    data = render(svd_page(factors(1_000_000, 3, PCA), ResultOrigin("f")))
    page = read_page(data)
    assert len(data) < LIMIT / 4
    assert "Of 1,000,000 columns, 300 stretches are drawn" in page.text


def test_a_rank_of_five_hundred_is_a_small_page_and_says_what_is_left_out():
    data = render(svd_page(factors(700, 500, PCA), ResultOrigin("f", grid=Grid((20, 35)))))
    page = read_page(data)
    assert len(data) < LIMIT / 2
    assert "The first 8 of 500 are drawn." in page.text
    assert "60 of 500 values are drawn" in page.text
    rows = tables(page)["Singular values"]
    assert len(rows) == 200
    assert [row[0] for row in rows[:100]] == [str(i) for i in range(1, 101)]
    assert rows[-1][0] == "500"
    assert "200 of 500 values" in page.text


def test_a_large_field_of_noise_is_a_small_page():
    field = Grid((700, 900))
    data = render(svd_page(factors(630_000, 8), ResultOrigin("f", grid=field)))
    assert len(read_page(data).all("image")) == 8
    assert len(data) < LIMIT


def test_complex_vectors_and_columns_without_values_are_drawn():
    result = factors(50, 2)
    rows = result.Vh + 1j
    rows[:, 7] = np.nan
    page = read_page(
        render(svd_page(replace(result, Vh=rows, U=np.ones((9, 2))), ResultOrigin("f")))
    )
    assert "their real parts are drawn" in page.text
    assert "1 have no value" in page.text
    assert "Left vectors" in headings(page)


def test_a_left_factor_that_is_too_large_is_not_read():
    class Large:
        shape, dtype = (10**9, 2), np.dtype("f8")

        def __getitem__(self, key):
            raise AssertionError("it was read")

    page = read_page(render(svd_page(replace(factors(50, 2), U=Large()), ResultOrigin("f"))))
    assert "too many to be read for a page" in page.text


def test_the_story_of_a_model_is_told(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        streamsvd.update(
            tmp_path / "m", rng.standard_normal((30, 8)) * np.arange(8, 0, -1), f"b{i}", rank=3
        )
    model = streamsvd.Model.open(tmp_path / "m")
    page = page_of(tmp_path / "m", tmp_path)
    assert page.all("p")[0].text == "model, version 4"
    rows = tables(page)["Versions, the newest first"]
    assert [row[0] for row in rows] == ["4", "3", "2", "1"]
    assert [row[4] for row in rows] == ["120", "90", "60", "30"]
    assert float(rows[0][6]) == pytest.approx(model.summary.error, rel=1e-2)
    angle = np.degrees(max(model.summary.angles))
    assert float(rows[0][9]) == pytest.approx(angle, rel=1e-2)
    titles = [svg[0].text for svg in drawings((tmp_path / "page.html").read_bytes())]
    assert {
        "Relative error, by version",
        "Largest angle to the version before",
        "New energy that was held before",
    } <= set(titles)
    assert page.all("pre")[0].text == f"streamsvd update {tmp_path / 'm'} SOURCE --rank 3"


def test_of_many_versions_a_part_is_told(tmp_path, monkeypatch):
    from streamsvd.report.results import models

    monkeypatch.setattr(models, "MOST_VERSIONS", 6)
    for i in range(9):
        streamsvd.update(tmp_path / "m", np.eye(5)[[i % 5]] + i, f"b{i}", rank=2)
    history = models.model_history(tmp_path / "m")
    assert [e.version for e in history.entries] == [1, 4, 6, 7, 8, 9] or len(history.entries) == 6
    assert [e.version for e in history.entries][-3:] == [7, 8, 9]
    assert "6 of 9 versions" in page_of(tmp_path / "m", tmp_path).text


def test_a_model_that_has_absorbed_nothing_is_a_page(tmp_path):
    streamsvd.Model.create(tmp_path / "m", 3)
    assert "Nothing was absorbed yet" in verdict(page_of(tmp_path / "m", tmp_path))


@pytest.mark.parametrize("u", [False, True])
def test_a_model_whose_columns_arrive_shows_the_vectors_it_has(u, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        streamsvd.update(
            tmp_path / "m", rng.standard_normal((9, 5)), f"b{i}", rank=2, axis="columns", u=u
        )
    page = page_of(tmp_path / "m", tmp_path)
    assert "Left vectors" in headings(page)
    assert ("Right vectors" in headings(page)) is u


def test_the_grid_of_a_model_is_held_against_its_columns(tmp_path):
    streamsvd.update(tmp_path / "m", np.random.default_rng(0).standard_normal((30, 8)), "a", rank=2)
    assert len(page_of(tmp_path / "m", tmp_path, grid=(2, 4)).all("image")) == 2
    with pytest.raises(
        SpecError, match=r"grid=\(3, 3\) has 9 places, and components have 8 entries"
    ):
        write_report(tmp_path / "m", tmp_path / "other.html", grid=(3, 3))


@dataclass(frozen=True)
class Unknown:
    """A result of a kind that has no page of its own."""

    weights: np.ndarray
    word: str
    info: streamsvd.Info


def test_a_result_without_a_page_of_its_own_has_one():
    found = Unknown(np.ones((3, 4)), EVIL, info(warnings=(EVIL,)))
    page = read_page(render(plain_page(found, ResultOrigin("f"))))
    assert tables(page)["Fields"] == [["weights", "array of shape 3 × 4, float64"], ["word", EVIL]]
    assert "What was asked is proved." in verdict(page)


def test_a_compressed_collection_is_a_page(tmp_path):
    report = streamsvd.compress({EVIL: BLOCKS["noise"], **BLOCKS}, tmp_path / "c")
    page = page_of(tmp_path / "c", tmp_path)
    assert f"{len(BLOCKS) + 1} matrices take" in verdict(page)
    rows = tables(page)["Matrices"]
    assert {row[0] for row in rows} == {EVIL, *BLOCKS}
    worst = max(report.block_errors.values())
    assert float(rows[0][2]) >= worst


def test_a_stream_that_was_saved_is_a_page(tmp_path):
    stream = streamsvd.TopEigenvectorStream(2).partial_fit(
        np.random.default_rng(0).standard_normal((90, 6))
    )
    stream.save(tmp_path / "s")
    assert "So far, after 90 rows" in verdict(page_of(tmp_path / "s", tmp_path))


def test_files_of_earlier_releases_are_pages(tmp_path):
    np.savez(tmp_path / "k.npz", **made("nystrom").arrays())
    np.savez(tmp_path / "r.npz", **ridge_arrays(made("kernel_ridge")))
    for name, words in (
        ("k.npz", "of the trace of the kernel matrix"),
        ("r.npz", "rows that were held out"),
    ):
        page = page_of(tmp_path / name, tmp_path, overwrite=True)
        assert words in verdict(page)
        assert "not known" in page.text


@pytest.mark.slow
def test_a_model_in_an_object_store_is_a_page(bucket, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        streamsvd.update(f"{bucket}/m", rng.standard_normal((30, 8)), f"b{i}", rank=3)
    page = page_of(f"{bucket}/m", tmp_path)
    assert page.all("h1")[0].text == f"{bucket}/m"
    assert len(tables(page)["Versions, the newest first"]) == 2


@pytest.mark.parametrize(
    "name", [EVIL, "a\x00b\x1b[31m", "\u202eevil", "\udcff\udcfe", "{% raw %}", "]]>", "<!--"]
)
def test_nothing_that_comes_from_a_name_is_markup(name):
    shown = [Cell(name, tone="bad"), Cell(name, key=1.0)]
    origin = ResultOrigin(name, release=name, source=name)
    made_page = svd_page(factors(30, 2, warnings=(name,)), origin)
    table = Table(name, [name, "x"], [shown], name)
    whole = Page(name, name, name, "bad", (name,), [*made_page.sections, Section(name, [name], [(name, name)], made_page.sections[0].drawings, [table], [name])])  # fmt: skip
    data = render(whole)
    page = read_page(data)  # one script, no picture, every tag with its end
    text = data.decode()
    assert "<img" not in text
    assert "49" not in page.all("h1")[0].text
    seen = "".join("\ufffd" if c in "\x00\x1b\u202e\udcff\udcfe" else c for c in name)
    assert page.all("h1")[0].text == seen
    assert tables(page)[seen][0][0] == f"✗ {seen}".strip()


def test_names_of_charts_are_escaped():
    from streamsvd.report.drawing.charts import bars

    drawing = bars(EVIL, EVIL, [(EVIL, [(1.0, EVIL)])], names=[EVIL])
    data = render(Page("t", "w", "v", "plain", (), [Section("s", drawings=[drawing])]))
    read_page(data)
    (svg,) = drawings(data)
    assert svg[0].text == EVIL
    assert "<img" not in data.decode()


def test_the_page_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    place = made("lstsq").save(tmp_path / "kept")
    out = tmp_path / "page.html"
    write_report(place, out)
    before = out.read_bytes()
    with pytest.raises(StoreError, match=r"page.html exists already. Pass overwrite=True"):
        write_report(place, out)
    monkeypatch.setattr(
        Path, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(StoreError, match="No space left on device"):
        write_report(place, out, overwrite=True)
    assert out.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"kept", "page.html"}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("kept", "is no regular file|lie in one another"),
        ("kept/page.html", "lie in one another"),
        ("none/page.html", "none is no folder"),
    ],
)
def test_no_page_is_written_into_what_it_is_of(where, words, tmp_path):
    place = made("lstsq").save(tmp_path / "kept")
    with pytest.raises((SpecError, StoreError), match=words):
        write_report(place, tmp_path / where, overwrite=True)
    streamsvd.load(place)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"run": 2}, "run=2 is of a pipeline"),
        ({"settings": ["keep=2"]}, "settings=.* is of a pipeline"),
    ],
)
def test_options_of_pipelines_are_refused_of_results(options, words, tmp_path):
    with pytest.raises(SpecError, match=words):
        write_report(made("lstsq").save(tmp_path / "kept"), tmp_path / "page.html", **options)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(
        StoreError, match="nothing does not exist. Pass a result, a model, or the file"
    ):
        write_report(tmp_path / "nothing", tmp_path / "page.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="empty is not a result of streamsvd"):
        write_report(tmp_path / "empty", tmp_path / "page.html")


SCRIPT = """
import sys
import streamsvd.report, streamsvd.pipelines.execution
assert not [m for m in sys.modules if m.startswith(("matplotlib", "streamsvd.report.rendering", "streamsvd.report.drawing"))]
"""


def test_templates_and_figures_are_imported_by_who_wants_them():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
