"""Drawings: axes show what they are of, every drawing is well-formed, and what is thinned out keeps its peaks."""

from __future__ import annotations

import base64
import io
import math
import zlib
from xml.etree import ElementTree as Tree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.report.drawing import charts, images, scales

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(NUMBERS, max_size=20), st.booleans(), st.booleans())
def test_every_number_has_a_place_within_the_axis(values, is_log, from_zero):
    scale = scales.Scale.of(values, is_log=is_log, from_zero=from_zero)
    assert scale.low < scale.high
    places = scale.place(values, 10.0, 110.0)
    for value, place in zip(values, places, strict=True):
        has_one = math.isfinite(value) and (value > 0 or not is_log)
        assert math.isfinite(place) == has_one or (is_log and 0 < value < 1e-300)
        if math.isfinite(place):
            assert 8 <= place <= 112


@given(st.floats(-1e300, 1e300), st.floats(1e-6, 1e6), st.booleans())
def test_ticks_are_few_and_within(low, factor, is_integer):
    high = low + factor * max(abs(low), 1.0)
    scale = scales.Scale.of([low, high], is_integer=is_integer)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    slack = 1e-9 * (abs(scale.low) + abs(scale.high))
    assert all(scale.low - slack <= t <= scale.high + slack for t in ticks)
    assert ticks == sorted(ticks)
    if is_integer and abs(high) < 1e15:
        assert all(t == round(t) for t in ticks)


@pytest.mark.parametrize(
    ("low", "high", "some"),
    [(1e-8, 1.0, 1e-4), (1.0, 5.0, 2.0), (3.1, 3.3, 3.0), (1e-300, 1e300, 1.0), (7.0, 7.0, 7.0)],
)
def test_a_logarithmic_axis_has_round_numbers(low, high, some):
    ticks = scales.Scale.of([low, high], is_log=True).ticks()
    assert 2 <= len(ticks) <= 9
    assert all(t > 0 for t in ticks)
    if high / low > 100:
        assert all(math.isclose(math.log10(t), round(math.log10(t)), abs_tol=1e-9) for t in ticks)
    else:
        assert any(math.isclose(t, some) for t in ticks)


@given(st.integers(0, 3000), st.integers(8, 60))
def test_what_is_thinned_keeps_the_leading_ones_and_the_last(count, most):
    found = scales.thin_indices(count, most)
    assert len(found) <= max(most, 0)
    assert found == sorted(set(found))
    assert found[: most // 2] == list(range(min(count, most // 2)))
    if count:
        assert found[-1] == count - 1


@given(st.integers(1, 2000), st.integers(1, 40), st.integers(0, 5))
def test_no_peak_of_a_long_line_is_lost(n, bins, seed):
    values = np.random.default_rng(seed).standard_normal(n)
    values[n // 2] = np.nan
    x, y = scales.envelope(values, bins)
    assert x.size == y.size <= max(2 * bins, 1)
    assert (np.diff(x) > 0).all()
    if np.isfinite(values).any():
        assert np.nanmax(y) == np.nanmax(values)
        assert np.nanmin(y) == np.nanmin(values)
    same = [v == values[int(i)] or np.isnan(v) for i, v in zip(x, y, strict=True)]
    assert all(same)


def tree(drawing):
    return Tree.fromstring(drawing.svg(7))


def test_a_chart_shows_every_point_and_says_what_it_is():
    x, y = np.arange(1.0, 6.0), np.array([5.0, np.nan, 3.0, np.inf, 1.0])
    chart = charts.Chart(
        "A <b>", "told & said", scales.Scale.of(x), scales.Scale.of(y), x_label="i", y_label="s"
    )
    chart.line(x, y, "one").points(x, y + 1, "two", 2, [f"tip {i}" for i in range(5)])
    root = tree(chart.intervals(x, y - 1, y + 1).rule(2.0, "asked: 2").finish())
    assert [root[0].text, root[1].text] == ["A <b>", "told & said"]
    assert root.get("aria-labelledby") == "drawing-7-title drawing-7-description"
    points = [e for e in root.iter() if "point" in e.get("class", "")]
    assert len([e for e in points if e.tag == "circle"]) == 3 + 1  # and that of the legend
    assert len([e for e in points if e.tag == "polygon"]) == 3 + 1
    assert [e.text for e in root.iter("title")][1:] == ["tip 0", "tip 2", "tip 4"]
    words = [e.text for e in root.iter("text")]
    assert {"one", "two", "asked: 2", "i", "s"} <= set(words)
    (path,) = (e for e in root.iter("path") if e.get("class") == "line s0")
    assert path.get("d").count("M") == 3  # a gap where there is no number


@pytest.mark.parametrize("y", [[], [0.0], [np.nan], [1e308, -1e308], [5e-324, 1.0], [np.inf]])
@pytest.mark.parametrize("is_log", [False, True])
def test_whatever_numbers_come_the_drawing_is_well_formed(y, is_log):
    x, values = np.arange(float(len(y))), np.array(y)
    scale = scales.Scale.of(values, is_log=is_log)
    chart = charts.Chart("t", "d", scales.Scale.of(x), scale, x_label="", y_label="")
    root = tree(chart.line(x, values).points(x, values).intervals(x, values, values).finish())
    assert not [v for e in root.iter() for v in e.attrib.values() if "nan" in v or "inf" in v]


def test_bars_are_as_long_as_their_numbers():
    rows = [("a", [(4.0, "4 B"), (2.0, "2 B")]), ("b" * 99, [(0.0, "none"), (np.nan, "?")])]
    root = tree(charts.bars("t", "d", rows, names=("now", "then")))
    key, other, long, half, *least = (float(e.get("width")) for e in root.iter("rect"))
    assert key == other == 14
    assert long == pytest.approx(2 * half, abs=0.3)
    assert least == [1.0, 1.0]
    said = [e.text for e in root.iter("text")]
    assert {"a", "4 B", "2 B", "none", "now", "then"} <= set(said)
    assert all(len(text) <= 50 for text in said)


def decoded(svg) -> np.ndarray:
    """The codes of the picture in a drawing, by hand."""
    (picture,) = svg.iter("image")
    head, _, data = picture.get("href").partition(",")
    assert head == "data:image/png;base64"
    raw = base64.b64decode(data)
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(raw[i : i + 4]) for i in (16, 20))
    at, packed = 8, b""
    while at < len(raw):
        size, kind = int.from_bytes(raw[at : at + 4]), raw[at + 4 : at + 8]
        body = raw[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(raw[at + 8 + size : at + 12 + size])
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def test_an_image_has_the_sign_of_its_field_and_no_colour_where_there_is_no_value():
    field = np.array([[-2.0, 0.0, 1.0], [np.nan, 2.0, -1.0]])
    svg = tree(images.image("one", field))
    codes = decoded(svg)
    zero = images.LEVELS + 1
    assert codes.tolist() == [[1, zero, zero + 64], [0, zero + images.LEVELS, zero - 64]]
    assert "1 have no value" in svg[1].text
    assert "Largest 2 near first index 1, second index 1" in svg[1].text


def test_a_picture_is_read_by_others_too():
    Image = pytest.importorskip("PIL.Image")
    found = Image.open(
        io.BytesIO(images.encode_png(np.array([[1, 128, 255], [0, 0, 255]], np.uint8)))
    )
    pixels = np.asarray(found.convert("RGBA"))
    assert pixels.shape == (2, 3, 4)
    assert pixels[0, 0, :3].tolist() == [0x05, 0x30, 0x61]
    assert pixels[0, 2, :3].tolist() == [0x67, 0x00, 0x1F]
    assert pixels[1, 0, 3] == 0
    assert pixels[0, 1, 3] == 255


def test_north_is_above():
    field = np.array([[-1.0, -1.0], [1.0, 1.0]])
    south_first = (("lat", np.array([-30.0, 60.0])), ("lon", np.array([0.0, 90.0])))
    svg = tree(images.image("map", field, axes=south_first))
    assert decoded(svg)[0].tolist() == [255, 255]
    assert [e.text for e in svg.iter("text")][:2] == ["60", "-30"]


@pytest.mark.parametrize("shape", [(500, 700), (2, 100_000), (100_000, 2), (1, 5)])
def test_a_large_field_is_drawn_by_means_of_its_blocks(shape):
    values = np.random.default_rng(0).standard_normal(shape)
    values[0, 0] = np.nan
    few = images.thin_field(values)
    assert max(few.shape) <= images.MOST_SIDE
    assert np.isfinite(few).all() or shape == (1, 5)
    drawing = images.image("t", values)
    assert ("means of blocks" in drawing.note) == (shape != (1, 5))
    step = -(-shape[0] // images.MOST_SIDE), -(-shape[1] // images.MOST_SIDE)
    block = values[step[0] :, step[1] :][: step[0], : step[1]]
    if block.size and few.shape[0] > 1:
        assert few[1, 1] == pytest.approx(block.mean())
