"""``rates``: a table, an object, and a figure that is there whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from tests.collections.blocks import d7, name_blocks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "W").mkdir()
    for name, A in name_blocks(d7()[:24]).items():
        np.save(tmp_path / "W" / f"{name}.npy", A.astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_line_for_every_error(run, folder):
    done = run("rates", "W", "--errors", "0.5,0.05", "--quiet")
    assert done.code == 0, done.err
    assert done.out.startswith("W: 24 matrices of 80 rows, 240 columns in all, 75 KiB\n")
    head, first, second = (line.split() for line in done.out.splitlines()[2:5])
    assert head[:3] == ["error", "clusters", "ranks"]
    assert first[:4] == ["0.05", "12", "4", "0"]
    assert second[0] == "0.5"
    assert "reads     1: 75 KiB" in done.out


def test_the_object_has_what_the_table_has_and_the_merges(run, folder):
    record = run("rates", "W", "--json", "--quiet", "--mode", "block").record
    assert record["status"] == "done"
    assert [rate["error"] for rate in record["rates"]] == [0.02, 0.05, 0.1, 0.2, 0.5]
    assert record["bytes_before"] == 24 * 80 * 10 * 4
    assert (record["mode"], record["rank"], record["figure"]) == ("block", None, None)
    assert (record["reads"], record["passes"], record["n_blocks"]) == (1.0, 1, 24)
    for rate in record["rates"]:
        assert rate["bytes_after"] < rate["bytes_alone"] < record["bytes_before"]
        assert rate["block_error"] <= rate["error"]
        assert {n for c in rate["clusters"] for n in c["members"]} == set(name_blocks(d7()[:24]))
    assert len(record["rates"][1]["merges"]) == 12
    assert record["rates"][1]["merges"][0]["parts"] == ["00000", "00012"]


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")]
)
def test_a_figure_is_written_as_its_suffix_says(run, folder, suffix, begins):
    pytest.importorskip("matplotlib")
    place = folder / f"F{suffix}"
    given = ("rates", "W", "--errors", "0.05,0.2", "--figure", place)
    record = run(*given, "--at", "0.2", "--json", "--quiet").record
    assert (record["figure"], record["drawn_at"]) == (str(place), 0.2)
    assert place.read_bytes().startswith(begins)
    assert [p.name for p in folder.iterdir() if p != place] == ["W"]
    again = run(*given)
    assert again.code == 1
    assert "exists already. Pass --overwrite to replace it." in again.err
    place.write_bytes(b"old")
    done = run(*given, "--overwrite", "--quiet")
    assert f"{place}, clusters at error 0.05" in done.out
    assert place.read_bytes().startswith(begins)


def test_the_error_drawn_is_005_or_the_one_in_the_middle(run, folder):
    pytest.importorskip("matplotlib")
    given = ("rates", "W", "--figure", "F.png", "--overwrite", "--quiet", "--json", "--errors")
    assert run(*given, "0.2,0.05").record["drawn_at"] == 0.05
    assert run(*given, "0.4,0.2,0.3").record["drawn_at"] == 0.3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--errors", "0.1,much"), "'0.1,much' are no numbers. Pass several, such as 0.05,0.1."),
        (("--errors", "0.1,2"), "2.0 is met by keeping nothing. Pass one below 1."),
        (("--errors", ""), "'' are no numbers"),
        (("--figure", "F.gif"), "F.gif is of no known format. Name it .png, .svg, .pdf."),
        (("--at", "0.1"), "--at says what a figure shows. Pass --figure too, or leave it out."),
        (("--method", "maxnorm"), "--method maxnorm needs a rank. Pass --rank."),
    ],
)
def test_what_cannot_be_meant_is_refused_before_reading(run, folder, options, said):
    for path in (folder / "W").iterdir():
        np.save(path, np.full((80, 10), np.nan))  # reading any would be refused
    done = run("rates", "W", *options)
    assert done.code == 2
    assert said in done.err


def test_weights_are_those_of_compress(run, folder):
    np.save(folder / "rows.npy", np.linspace(0.1, 1, 80))
    np.save(folder / "inputs.npy", np.eye(10)[:2])
    given = ("rates", "W", "--errors", "0.1", "--json", "--quiet")
    plain = run(*given).record["rates"][0]
    weighted = ("--row-weights", "rows.npy", "--inputs", "0000*=inputs.npy")
    found = run(*given, *weighted).record
    assert found["input_bytes"] == 160
    assert found["rates"][0]["bytes_alone"] < plain["bytes_alone"]
    done = run(*given, "--row-weights", "inputs.npy")
    assert done.code == 2
    assert "weight" in done.err


def test_an_error_to_draw_is_one_of_the_errors(run, folder):
    pytest.importorskip("matplotlib")
    done = run("rates", "W", "--errors", "0.1,0.2", "--figure", "F.png", "--at", "0.15")
    assert done.code == 2
    assert "--at 0.15 is none of --errors. Pass one of 0.1, 0.2." in done.err


def test_a_memory_too_small_is_refused_in_options(run, folder):
    done = run("rates", "W", "--memory", "1MiB")
    assert done.code == 1
    assert "The smallest budget that works is --memory " in done.err


def test_without_matplotlib_a_figure_is_refused_before_reading(run, folder, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run("rates", "W", "--figure", "F.png")
    assert done.code == 1
    assert "pip install 'streamsvd[demo]'" in done.err


def test_a_figure_that_fails_leaves_nothing(run, folder, monkeypatch):
    figures = pytest.importorskip("streamsvd.report.figures.factorisations")

    def full(self, file, **options):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures.Figure, "savefig", full)
    done = run("rates", "W", "--figure", "F.png", "--quiet")
    assert done.code == 1
    assert "cannot write F.png: No space left on device. Free space" in done.err
    assert [p.name for p in folder.iterdir()] == ["W"]
