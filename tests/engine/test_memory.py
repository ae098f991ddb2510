from __future__ import annotations

import threading
from dataclasses import fields, replace

import dask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.engine import memory
from streamsvd.engine.layout import cut_axis
from streamsvd.engine.memory import Sizes, parse_bytes, show_bytes
from streamsvd.engine.tree import children
from streamsvd.errors import SpecError

SIZES = Sizes(
    block=60, probes=20, basis=240, pinned_vectors=50, rank=50, item=4, narrow=4, wide=8, entry=12,
    read_bytes=10**6,
)  # fmt: skip


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
    base = cut_axis("rows", 10_000, 500, 100, spans=8)
    larger = replace(SIZES, **{name: 2 * getattr(SIZES, name)})
    for layout in (base, replace(base, tile=100)):
        for formula in (
            lambda s, layout=layout: memory.span_bytes(layout, s, prefetch=True),
            lambda s, layout=layout: memory.gram_span_bytes(layout, s, prefetch=True),
            lambda s, layout=layout: memory.partial_bytes(layout, s, 2),
            lambda s, layout=layout: memory.project_span_bytes(layout, s, prefetch=True),
            lambda s, layout=layout: memory.gram_sum_bytes(layout, s, 2),
            lambda s, layout=layout: memory.block_packing(layout, s),
            lambda s: memory.factor_bytes(10_000, s, cleaned=True),
            lambda s: memory.dense_bytes(500, s),
            lambda s: memory.resident_bytes(500, s),
            lambda s: memory.gram_dense_bytes(500, s),
            lambda s: memory.sample_row_bytes(500, s),
            lambda s: memory.sample_fixed_bytes(500, s, 2, 2, 100),
        ):
            if name == "narrow" and formula(larger) < formula(SIZES):
                continue  # what is as large as stored lies in its place
            assert formula(larger) >= formula(SIZES) > 0


def test_reading_ahead_costs_a_panel_and_a_tile_saves_one():
    base = cut_axis("rows", 10_000, 500, 100, spans=8)
    ahead = memory.span_bytes(base, SIZES, prefetch=True)
    plain = memory.span_bytes(base, SIZES, prefetch=False)
    assert ahead - plain == base.panel * 500 * 4
    assert memory.span_bytes(replace(base, tile=50), SIZES, prefetch=False) < plain


def test_a_span_of_one_panel_reads_nothing_ahead():
    base = cut_axis("rows", 800, 500, 100, spans=8)
    sizes = [memory.span_bytes(base, SIZES, prefetch=ahead) for ahead in (True, False)]
    assert sizes[0] == sizes[1]


def test_pinned_columns_count_until_the_basis_is_the_whole_space():
    more = replace(SIZES, pinned_vectors=SIZES.pinned_vectors + 10)
    for formula in (memory.dense_bytes, memory.resident_bytes):
        assert formula(10_000, more) > formula(10_000, SIZES)
    assert memory.space_columns(10_000, SIZES) == 290
    assert memory.space_columns(250, SIZES) == memory.space_columns(250, more) == 250


@pytest.mark.parametrize("spans", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_no_more_sums_are_there_at_once_than_are_counted(spans, at_once):
    """A tree as the engine builds it, its tasks run as dask runs them."""
    held, most, running, started, changed = 0, 0, 0, 0, threading.Condition()

    def leaf(number):
        """It ends when as many run as may, or no other is left to begin: some are very late."""
        nonlocal held, most, running, started
        with changed:
            held, running, started = held + 1, running + 1, started + 1
            most = max(most, held)
            changed.notify_all()
            changed.wait_for(lambda: running >= at_once or started == spans)
            running -= 1
        return number

    def join(a, b):
        nonlocal held
        with changed:
            held -= 1
        return a

    def grow(node):
        if node[0] == 0:
            return dask.delayed(leaf, pure=False)(node[1])
        below = [grow(child) for child in children(node, spans)]
        return below[0] if len(below) == 1 else dask.delayed(join, pure=False)(*below)

    tree = grow(((spans - 1).bit_length(), 0))
    dask.compute(tree, scheduler="threads", num_workers=at_once, optimize_graph=False)
    assert min(spans, at_once) <= most <= memory.waiting_sums(spans, at_once, copied=False)


def test_the_gram_matrix_of_a_narrow_side_fits_a_small_budget():
    for width, budget in ((1500, 128), (2000, 160)):
        base = cut_axis("columns", 50_000, width, 1_000, items=1 << 17)
        base = replace(base, spans=base.spans[:2])
        s = replace(
            SIZES,
            block=20,
            probes=0,
            pinned_vectors=0,
            rank=10,
            item=1,
            entry=32,
            read_bytes=1 << 21,
        )
        span = memory.gram_span_bytes(base, s, prefetch=True)
        sums = memory.gram_sum_bytes(base, s, 1)
        needed = memory.RUN_BYTES + max(span + sums, memory.gram_dense_bytes(width, s))
        assert needed <= budget << 20
