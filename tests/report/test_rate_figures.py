"""The figure of a collection: what its panels show is what was found, for few matrices and for many."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd import MergeStep, RatePoint, SpecError
from streamsvd.collections.compressed import StoredCluster
from tests.collections.blocks import d7, name_blocks

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from streamsvd.report.figures import factorisations, rates, trees


@pytest.fixture
def panels(monkeypatch, tmp_path):
    """The axes of a figure after it was drawn."""

    def drawn(found, at, **options):
        kept = []
        monkeypatch.setattr(rates, "save_figure", lambda f, *a: kept.append(f) or saved(f, *a))
        place = tmp_path / "F.png"
        assert rates.draw_rates(place, found, at=at, **options) == place
        assert place.stat().st_size > 10_000
        return kept[0].axes

    saved = factorisations.save_figure
    return drawn


@pytest.fixture(scope="module")
def seventy_two():
    return streamsvd.rate_curve(name_blocks(d7()), (0.05, 0.5))


def test_the_curve_is_what_was_found(panels, seventy_two):
    curve = panels(seventy_two, 0.05)[0]
    lines = {line.get_label(): line for line in curve.lines}
    for label, name in (("shared bases", "bytes_after"), ("SVD of each alone", "bytes_alone")):
        assert list(lines[label].get_xdata()) == [0.05, 0.5]
        assert list(lines[label].get_ydata()) == [getattr(r, name) for r in seventy_two.rates]
    assert set(lines["matrices as they are"].get_ydata()) == {seventy_two.bytes_before}
    assert (curve.get_xscale(), curve.get_yscale()) == ("log", "log")
    low, high = curve.get_ylim()
    assert low < seventy_two.rates[1].bytes_after < seventy_two.bytes_before < high
    assert [t.get_text() for t in curve.get_xticklabels()] == ["0.05", "0.5"]


def test_bars_are_sizes_and_grey_ones_are_kept_as_they_are(panels):
    rng = np.random.default_rng(0)
    blocks = name_blocks(d7()[:26])
    blocks |= {f"noise{i}": rng.standard_normal((80, 10)) for i in range(5)}
    found = streamsvd.rate_curve(blocks, (0.05,))
    sizes = panels(found, 0.05)[1]
    shared, raw = sizes.containers
    assert [bar.get_height() for bar in shared] == [3, 3] + [2] * 10
    assert [bar.get_height() for bar in raw] == [1] * 5
    assert {bar.get_facecolor()[:3] for bar in raw} == {hex_of(factorisations.GREY)}
    assert sizes.get_title(loc="left") == "12 clusters at error 0.05, 5 matrices kept as they are"


def hex_of(colour):
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_the_tree_has_a_top_for_every_merge_and_a_stem_for_every_matrix(panels, seventy_two):
    rate = seventy_two.at(0.05)
    tree = panels(seventy_two, 0.05)[2]
    level, upright = [], []
    for line in tree.lines:
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        for i in range(0, len(x) - 2, 3):
            (level if y[i] == y[i + 1] else upright).append((x[i], x[i + 1], y[i], y[i + 1]))
    assert sorted(y for _, _, y, _ in level) == sorted(m.height for m in rate.merges)
    floor = tree.get_ylim()[0]
    assert len({x for x, _, y, _ in upright if y == floor}) == 72
    assert len(upright) == sum(len(m.parts) for m in rate.merges)
    assert [t.get_text() for t in tree.get_xticklabels()] == ["rank 4"] * 12


def test_few_matrices_are_named(panels):
    names = [f"encoder.layer.{i}.attention.query.weight" for i in range(6)]
    found = streamsvd.rate_curve(dict(zip(names, d7()[::12], strict=True)), (0.05, 0.1))
    tree = panels(found, 0.1, title="weights")[2]
    assert {t.get_text() for t in tree.get_xticklabels()} == {
        f"encoder.layer.{i}…" for i in range(6)
    }


@pytest.mark.parametrize(
    "blocks",
    [
        {"one": np.random.default_rng(0).standard_normal((20, 3)) * [9, 1, 0.01]},
        {f"z{i}": np.zeros((20, 4)) for i in range(40)},
        {"empty": np.zeros((20, 0))},
        {f"noise{i}": np.random.default_rng(i).standard_normal((20, 4)) for i in range(30)},
    ],
    ids=["one", "zeros", "no columns", "noise"],
)
@pytest.mark.parametrize("errors", [(0.05,), (0.0, 0.05, 0.5)])
def test_a_collection_without_merges_is_drawn_too(panels, blocks, errors):
    curve, sizes, tree = panels(streamsvd.rate_curve(blocks, errors), 0.05)
    assert [t.get_text() for t in tree.texts] == ["nothing was merged"]
    assert tree.get_yticks().size == 0
    assert curve.get_xscale() == ("log" if errors[0] else "linear")
    assert sizes.containers


def test_an_error_that_was_not_asked_for_cannot_be_drawn(seventy_two, tmp_path):
    with pytest.raises(SpecError, match=r"error=0\.3 was not asked for. Pass one of 0\.05, 0\.5"):
        rates.draw_rates(tmp_path / "F.png", seventy_two, at=0.3)
    assert not list(tmp_path.iterdir())


def rate_of(clusters, merges, error=0.1):
    stored = tuple(StoredCluster(c, 2, 0.0, error, len(c) == 1, 0) for c in clusters)
    return RatePoint(error, stored, 10, 2.0, 15, error, tuple(merges), 0.1)


def test_a_thousand_matrices_make_a_tree():
    """Chains as deep as there are matrices, and many that joined none."""
    names = [f"w{i:04d}" for i in range(1000)]
    merges = [MergeStep((names[0], names[1]), 0.01)]
    merges += [MergeStep((i, names[i + 2]), 0.01 + i * 1e-4) for i in range(698)]
    rate = rate_of([tuple(names[:700]), *((n,) for n in names[700:])], merges)
    axis = Figure().subplots()
    trees.draw_tree(axis, rate, mode="cluster")
    assert axis.get_title(loc="left") == "Who joined whom at error 0.1; 300 matrices joined none"
    assert axis.get_xlabel() == "700 matrices, in the order of the bars"
    assert axis.get_xlim()[1] < 701


def test_lines_do_not_cross():
    rate = rate_of(
        [("a", "b", "c", "d", "e"), ("x",)],
        [MergeStep(("d", "b"), 0.01), MergeStep(("a", "c"), 0.02), MergeStep((1, "e", 0), 0.03)],
    )
    large, alone = trees.branches_of(rate)
    assert large.merges == [0, 1, 2]
    places = {name: i for i, name in enumerate(large.names)}
    for parts in (("d", "b"), ("a", "c")):
        assert abs(places[parts[0]] - places[parts[1]]) == 1
    assert (alone.names, alone.merges, alone.rank) == (["x"], [], None)


def test_errors_far_apart_are_on_a_logarithmic_axis_and_rounding_at_its_bottom():
    axis = Figure().subplots()
    rate = rate_of(
        [("a", "b"), ("c", "d")], [MergeStep(("a", "b"), 1e-14), MergeStep(("c", "d"), 0.05)]
    )
    trees.draw_tree(axis, rate, mode="cluster")
    assert axis.get_yscale() == "log"
    assert axis.get_ylim()[0] == pytest.approx(5e-6)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["a", "b"], ["a", "b"]),
        (["x" * 24], ["x" * 24]),
        (["layer.0.attention.query.weight"], ["layer.0.atte…uery.weight"]),
        (
            ["layer.0.attention.query.weight", "layer.1.attention.query.weight", "b"],
            ["layer.0…", "layer.1…", "b"],
        ),
        (
            [f"a.very.long.beginning.of.all.names.{i}.x" for i in "01"],
            ["…0…", "…1…"],
        ),
    ],
)
def test_long_names_lose_what_tells_least(names, shown):
    assert trees.short_names(names) == shown
    assert all(len(name) <= trees.LETTERS for name in shown)
