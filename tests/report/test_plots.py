"""Plots show what was found: values with their ends, components as their columns lie, scores along the rows; and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import streamsvd
from streamsvd.cli import app
from streamsvd.errors import SpecError, StoreError
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.report import plot_parts as parts_of
from streamsvd.report.axes_of_labels import column_geometry, row_axis

NORTH = {"units": "degrees_north"}
EAST = {"units": "degrees_east"}


def along(name, values, attributes=None):
    return Coordinate.of(name, (name,), values, attributes)


def labels_of(*columns, rows=("time", 40), coordinates=(), **other):
    return Labels(
        rows=(Dimension(*rows),), columns=tuple(Dimension(*c) for c in columns), coordinates=tuple(coordinates), **other
    )  # fmt: skip


LAT, LON = (
    along("lat", np.array([60.0, 50, 40]), NORTH),
    along("lon", np.array([0.0, 10, 20, 30]), EAST),
)
TIME = along("time", np.arange(40), {"units": "days since 2000-01-01"})
FIELD = labels_of(
    ("lat", 3), ("lon", 4), coordinates=(LAT, LON, TIME), name="t2m", attributes={"units": "K"}
)


@pytest.fixture(scope="module")
def result():
    A = np.random.default_rng(0).standard_normal((40, 12)) * np.geomspace(3, 1, 12)
    found = streamsvd.pca(A, 4, u=True, mask=np.arange(12) != 5)
    return replace(found, labels=FIELD)


# What is drawn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "n", "kind"),
    [
        (FIELD, 12, "map"),
        (labels_of(("lon", 4), ("lat", 3), coordinates=(LAT, LON)), 12, "map"),
        (labels_of(("lat", 3), ("lon", 4)), 12, "image"),
        (labels_of(("y", 3), ("x", 4)), 12, "image"),
        (labels_of(("level", 2), ("lat", 3), ("lon", 4), coordinates=(LAT, LON)), 24, "map"),
        (labels_of(("lat", 3), ("one", 1), coordinates=(LAT,)), 3, "line"),
        (labels_of(("gene", 3), coordinates=(along("gene", ["a", "b", "c"]),)), 3, "bars"),
        (labels_of(("gene", 100), coordinates=(along("gene", list(map(str, range(100)))),)), 100, "line"),
        (labels_of(("f", 50), coordinates=(along("f", np.linspace(0, 1, 50)),)), 50, "line"),
        (labels_of(("column", 7)), 7, "bars"),
        (Labels(), 50, "line"),
        (FIELD, 13, "bars"),
    ],
)  # fmt: skip
def test_components_are_drawn_as_their_columns_lie(labels, n, kind):
    geometry = column_geometry(labels, n)
    assert geometry.kind == kind
    field = geometry.field(np.arange(float(n)))
    assert field.shape == (geometry.shape or (n,))


def test_places_with_latitude_and_longitude_are_points():
    la, lo = np.linspace(30, 60, 6), np.linspace(-10, 20, 6)
    places = [
        Coordinate.of("lat", ("station",), la, NORTH),
        Coordinate.of("lon", ("station",), lo, EAST),
    ]
    geometry = column_geometry(labels_of(("station", 6), coordinates=places), 6)
    assert geometry.kind == "points"
    np.testing.assert_array_equal(geometry.axes[1].values, lo)


def test_slices_of_leading_dimensions_are_named():
    level = along("level", np.array([1000.0, 500]), {"units": "hPa"})
    labels = labels_of(("level", 2), ("lat", 3), ("lon", 4), coordinates=(LAT, LON, level))
    assert column_geometry(labels, 24).first == "level 1000 hPa, the first of 2"


@pytest.mark.parametrize(
    ("coordinate", "label", "first"),
    [
        (TIME, "time", np.datetime64("2000-01-01", "us")),
        (along("time", np.array([0.0, 15, 359] + [1.0] * 37), {"units": "days since 2000-01-01", "calendar": "360_day"}), "time, year (360_day)", 2000.0),
        (along("time", np.arange(40.0), {"units": "s", "long_name": "elapsed time"}), "elapsed time in s", 0.0),
        (along("time", np.arange(40), {"units": "fortnights since Monday"}), "time", 0),
    ],
)  # fmt: skip
def test_rows_have_dates_years_or_numbers(coordinate, label, first):
    if "360" in str(coordinate.attributes):
        pytest.importorskip("cftime")
    axis = row_axis(labels_of(("x", 3), coordinates=(coordinate,)), 40)
    assert (axis.label, axis.values[0]) == (label, first)
    assert row_axis(labels_of(("x", 3), coordinates=(coordinate,)), 41).label == "row"


def test_scores_fields_and_shares_are_those_of_the_result(result):
    parts = parts_of.plot_parts(result, (2, 0))
    np.testing.assert_array_equal(parts.fields[0], result.Vh[2].reshape(3, 4))
    assert np.isnan(parts.fields[1][1, 1])
    np.testing.assert_allclose(parts.scores.values, (result.U * result.s)[:, [2, 0]])
    np.testing.assert_array_equal(parts.scores.x, np.datetime64("2000-01-01", "us") + np.arange(40) * np.timedelta64(1, "D"))  # fmt: skip
    assert parts.scores.label == "score in K"
    table = result.scree()
    np.testing.assert_array_equal(parts.scree.share, table.share)
    np.testing.assert_array_equal(parts.scree.ends[1], table.share_upper)
    np.testing.assert_allclose(parts.scree.sampling, table.share * np.sqrt(2 / 40))
    assert parts.titles[0].startswith("component 3 (")
    assert parts.title == "PCA of t2m: 40 rows × 12 columns"
    assert parts.biplot.arrows.shape == (11, 2)


def test_scores_of_many_rows_are_ends_of_stretches(monkeypatch):
    monkeypatch.setattr(parts_of, "MOST_POINTS", 20)
    monkeypatch.setattr(parts_of, "ROWS_AT_ONCE", 7)
    found = streamsvd.svd(np.random.default_rng(0).standard_normal((103, 5)), 2, u=True)
    parts = parts_of.plot_parts(found, (0, 1)).scores
    cuts = np.linspace(0, 103, 11).astype(int)
    U = found.U * found.s
    for i, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        np.testing.assert_allclose(parts.values[2 * i], U[a:b].min(axis=0))
        np.testing.assert_allclose(parts.values[2 * i + 1], U[a:b].max(axis=0))
    assert parts.is_thinned
    points = parts_of.plot_parts(found, (0, 1)).biplot.points
    np.testing.assert_allclose(points, (found.U * np.sqrt(found.info.freedom))[::6])


# Figures ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawing():
    pytest.importorskip("matplotlib")
    return streamsvd.plot


def test_a_map_has_its_coordinates_blank_land_and_colours_about_zero(drawing, result):
    figure = drawing(result, "components", components=[0])
    axis = figure.axes[0]
    (mesh,) = axis.collections
    drawn = mesh.get_array()
    assert drawn.shape == (3, 4)
    np.testing.assert_allclose(
        drawn.filled(np.nan), result.Vh[0].reshape(3, 4)[::-1]
    )  # south below
    assert drawn.mask[1, 1]
    low, high = mesh.get_clim()
    assert low == -high == -np.nanmax(np.abs(result.Vh[0]))
    assert axis.get_xlim() == (-5, 35)
    assert axis.get_ylim() == (35, 65)
    assert axis.get_title(loc="left").startswith("component 1 (")
    figure.canvas.draw()
    assert {"0°", "10°E"} <= {t.get_text() for t in axis.get_xticklabels()}


def test_a_narrow_band_is_stretched_and_a_map_is_not(drawing, result):
    assert drawing(result, "components").axes[0].get_aspect() == pytest.approx(
        1 / np.cos(np.deg2rad(50))
    )
    band = along("lat", np.array([-1.0, 0, 1]), NORTH)
    globe = along("lon", np.array([0.0, 90, 180, 270]), EAST)
    labels = labels_of(("lat", 3), ("lon", 4), coordinates=(band, globe))
    assert drawing(replace(result, labels=labels), "components").axes[0].get_aspect() == "auto"


def test_an_image_begins_above_and_a_map_whose_longitudes_come_first_is_turned(drawing, result):
    plain = replace(result, labels=labels_of(("y", 3), ("x", 4)))
    axis = drawing(plain, "components", components=[1]).axes[0]
    assert axis.yaxis_inverted()
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("x", "y")
    turned = replace(result, labels=labels_of(("lon", 4), ("lat", 3), coordinates=(LAT, LON)))
    (mesh,) = drawing(turned, "components", components=[0]).axes[0].collections
    np.testing.assert_allclose(mesh.get_array().filled(np.nan), result.Vh[0].reshape(4, 3).T[::-1])


def test_the_scree_has_values_and_their_certified_ends(drawing, result):
    axis = drawing(result, "scree").axes[0]
    assert axis.get_yscale() == "log"
    heights = [bar.get_height() for bar in axis.containers[0]]
    np.testing.assert_allclose(heights, 100 * result.scree().share)
    ends = axis.containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose([e[0][1] for e in ends], 100 * result.scree().share_lower)
    np.testing.assert_allclose([e[1][1] for e in ends], 100 * result.scree().share_upper)
    said = [text.get_text() for text in axis.get_legend().get_texts()]
    assert "value and certified interval" in said
    assert any("40 rows as independent" in text for text in said)


def test_scores_are_drawn_along_their_dates(drawing, result):
    figure = drawing(result, "scores", components=(0, 3))
    first, last = figure.axes
    np.testing.assert_allclose(first.lines[0].get_ydata(), result.U[:, 0] * result.s[0])
    assert first.lines[0].get_xdata()[0] == np.datetime64("2000-01-01", "us")
    assert (first.get_ylabel(), last.get_xlabel(), first.get_xlabel()) == ("score in K", "time", "")


def test_a_biplot_has_an_arrow_and_a_name_for_each_column(drawing):
    rng = np.random.default_rng(0)
    names = [f"feature {i}" for i in range(8)]
    found = streamsvd.pca(rng.standard_normal((60, 8)), 3, u=True)
    found = replace(found, labels=labels_of(("f", 8), coordinates=(along("f", names),)))
    axis = drawing(found, "biplot", components=(0, 2)).axes[0]
    assert {t.get_text() for t in axis.texts if t.get_text()} == set(names)
    places = sorted(
        t.get_position()[1] for t in axis.texts if t.get_text() and t.get_ha() == "left"
    )
    assert np.diff(places).min(initial=1) > 0.05
    assert len(axis.lines[0].get_xdata()) == 60
    assert axis.get_ylabel().startswith("component 3")


@pytest.mark.parametrize(("kind", "suffix"), [("scree", "svg"), ("biplot", "png")])
def test_equal_plots_are_equal_bytes_of_the_format_that_the_suffix_names(
    drawing, result, tmp_path, kind, suffix
):
    one, other = (tmp_path / f"{name}.{suffix}" for name in "ab")
    drawing(result, kind, out=one)
    drawing(result, kind, out=other)
    data = one.read_bytes()
    assert data == other.read_bytes()
    assert data[:4] == (b"\x89PNG" if suffix == "png" else b"<?xm")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["all", "scree", "components", "scores", "biplot"])
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_every_kind_is_a_file_of_every_format(drawing, result, tmp_path, kind, suffix):
    drawing(result, kind, out=tmp_path / f"p.{suffix}")
    assert (tmp_path / f"p.{suffix}").stat().st_size > 5000


OTHERS = {
    "complex": lambda A: streamsvd.svd(A + 1j * A[::-1], 3, u=True),
    "rotated": lambda A: streamsvd.rotate(streamsvd.pca(A, 3, u=True), method="promax"),
    "no left factor": lambda A: streamsvd.svd(A, 3),
    "one": lambda A: streamsvd.svd(A, 1, u=True),
    "zero": lambda A: streamsvd.pca(np.ones((30, 5)), 2, u=True),
    "wide": lambda A: streamsvd.svd(np.tile(A, (1, 100)), 2, u=True),
    "one column": lambda A: streamsvd.svd(A[:, :1], 1, u=True),
}


@pytest.mark.parametrize("name", OTHERS)
def test_results_of_every_make_are_drawn(drawing, name):
    found = OTHERS[name](np.random.default_rng(0).standard_normal((50, 12)))
    assert len(drawing(found).get_axes()) >= 2
    drawing(found, "components")


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_results_of_every_make_are_files(drawing, name, tmp_path):
    found = OTHERS[name](np.random.default_rng(0).standard_normal((50, 12)))
    drawing(found, out=tmp_path / "all.png")
    drawing(found, "components", out=tmp_path / "components.svg")


def test_a_model_and_a_place_are_drawn(drawing, tmp_path):
    A = np.random.default_rng(0).standard_normal((50, 6))
    streamsvd.update(tmp_path / "M", A, "rows", rank=2, u=True)
    drawing(streamsvd.Model.open(tmp_path / "M"), "scores")
    drawing(tmp_path / "M", "components")
    streamsvd.rotate(streamsvd.pca(A, 3)).save(tmp_path / "R")
    drawing(tmp_path / "R", "all")


# What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "pie"}, "kind='pie' is unknown. Pass one of all, scree"),
        ({"components": [0, 4]}, r"components=\[0, 4\] names 4, and there are components 0 to 3"),
        ({"components": []}, "components has 0 numbers"),
        ({"kind": "biplot", "components": [0]}, "a biplot is of two components, 1 were named"),
        ({"out": "picture.bmp"}, "out=picture.bmp is of no known format. Name it .png, .svg, .pdf"),
    ],
)
def test_what_cannot_be_meant_is_refused(drawing, result, options, words):
    with pytest.raises(SpecError, match=words):
        drawing(result, **options)


def test_what_is_not_there_is_not_drawn(drawing, tmp_path):
    wide = streamsvd.svd(np.random.default_rng(0).standard_normal((60, 40)), 3)
    with pytest.raises(SpecError, match="keeps no left factor"):
        drawing(wide, "scores")
    with pytest.raises(SpecError, match="at most 30 columns; this result has 40 columns"):
        drawing(wide, "biplot")
    with pytest.raises(SpecError, match="this result has one component"):
        drawing(streamsvd.svd(np.eye(5), 1), "biplot")
    with pytest.raises(SpecError, match="LeastSquaresResult has no components to plot"):
        drawing(streamsvd.lstsq(np.eye(4, 2), np.ones(4)))
    (tmp_path / "there.png").write_bytes(b"mine")
    with pytest.raises(StoreError, match="exists already"):
        drawing(wide, out=tmp_path / "there.png")
    assert (tmp_path / "there.png").read_bytes() == b"mine"


def test_without_matplotlib_the_line_that_installs_it_is_told(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(StoreError, match=r"needs matplotlib, .*pip install 'streamsvd\[plots\]'"):
        streamsvd.plot(result)


def test_a_plot_needs_no_screen(drawing, tmp_path):
    """In a fresh process without a display: no window, no pyplot."""
    A = np.random.default_rng(0).standard_normal((30, 4))
    streamsvd.svd(A, 2).save(tmp_path / "R")
    code = "import sys, streamsvd; streamsvd.plot('R', 'components', out='p.png'); assert 'matplotlib.pyplot' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.png").stat().st_size > 5000


# The command line ---------------------------------------------------------------------------------------


def test_plot_and_rotate_of_the_command_line(drawing, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("A.npy", np.random.default_rng(0).standard_normal((60, 8)) * np.arange(1, 9))
    assert app.run(["pca", "A.npy", "--rank", "3", "--u", "--out", "R", "--quiet"]) == 0
    assert app.run(["plot", "R", "--kind", "scores", "--components", "0,2", "-o", "s.svg"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("written: s.svg (")
    assert app.run(["rotate", "R", "--n-components", "2", "--method", "promax", "--out", "V"]) == 0
    assert "<Rotation (promax 4) of 2 components" in capsys.readouterr().out
    assert app.run(["plot", "V", "--kind", "scree", "--json"]) == 0
    assert '"kind": "plot"' in capsys.readouterr().out
    assert app.run(
        ["rotate", "R", "--tol", "1e-15", "--max-iterations", "1", "--out", "V.npz", "--json"]
    ) in (0, 3)
    assert sorted(np.load("V.npz")) == [
        "components",
        "correlation",
        "rotation",
        "scores",
        "variance",
    ]
    assert app.run(["plot", "R", "--components", "one"]) == 2
    assert app.run(["plot", "R"]) == 1  # plot.png is there
    assert "Pass --overwrite" in capsys.readouterr().err
