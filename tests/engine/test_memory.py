from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.engine import memory
from streamsvd.engine.layout import cut
from streamsvd.engine.memory import Sizes, parse_bytes, show_bytes
from streamsvd.errors import SpecError

SIZES = Sizes(
    block=60, probes=20, basis=240, rank=50, item=4, narrow=4, wide=8, entry=12, read_bytes=10**6
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("256MiB", 256 << 20),
        ("2 GB", 2 * 10**9),
        ("1.5kib", 1536),
        ("1e3", 1000),
        ("17", 17),
        (" 3 T ", 3 * 10**12),
        ("10B", 10),
        (4096, 4096),
        (2.5e6, 2_500_000),
    ],
)
def test_sizes_are_read_as_people_write_them(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "much", "-1", "0", 0, -5, "1.2.3", "5 pints", "1e30", float("nan"), float("inf"), "MiB"],
)
def test_what_is_no_size_is_refused_by_name(text):
    with pytest.raises(SpecError, match=r"is no size. Pass bytes, or a text such as \"256MiB\""):
        parse_bytes(text)


@given(st.integers(1, 10**15))
def test_shown_sizes_are_right_to_three_digits(count):
    shown = parse_bytes(show_bytes(count))
    assert shown == pytest.approx(count, rel=5e-3)


@pytest.mark.parametrize("name", [f.name for f in fields(Sizes)])
def test_no_formula_shrinks_when_an_extent_grows(name):
    """An upper bound that falls as the problem grows has forgotten a buffer."""
    base = cut("rows", 10_000, 500, 100, spans=8)
    larger = replace(SIZES, **{name: 2 * getattr(SIZES, name)})
    for layout in (base, replace(base, tile=100)):
        for formula in (
            lambda s, layout=layout: memory.span_bytes(layout, s, prefetch=True),
            lambda s, layout=layout: memory.gram_span_bytes(layout, s, prefetch=True),
            lambda s, layout=layout: memory.partial_bytes(layout, s, 2),
            lambda s: memory.dense_bytes(500, s),
            lambda s: memory.resident_bytes(500, s),
            lambda s: memory.gram_dense_bytes(500, s),
            lambda s: memory.sample_row_bytes(500, s),
            lambda s: memory.sample_fixed_bytes(500, s, 2, 2),
        ):
            assert formula(larger) >= formula(SIZES) > 0


def test_reading_ahead_costs_a_panel_and_a_tile_saves_one():
    base = cut("rows", 10_000, 500, 100, spans=8)
    ahead = memory.span_bytes(base, SIZES, prefetch=True)
    plain = memory.span_bytes(base, SIZES, prefetch=False)
    assert ahead - plain == base.panel * 500 * 4
    assert memory.span_bytes(replace(base, tile=50), SIZES, prefetch=False) < plain
