from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamsvd.engine.layout import (
    LARGE_SPAN_BYTES,
    MOST_SPANS,
    SUM_SHARE,
    USUAL_SPANS,
    Layout,
    cut_axis,
    span_count,
    span_limit,
)

lengths = st.one_of(st.integers(1, 300), st.integers(1, 10**7))
widths = st.one_of(st.integers(1, 300), st.integers(1, 10**6))
chunks = st.one_of(st.integers(1, 50), st.integers(1, 10**6))
items = st.sampled_from([1 << 21, 1 << 17, 1 << 15, 64, 1])
itemsizes = st.sampled_from([1, 2, 4, 8, 16])


def layout(length, width, chunk, items, itemsize) -> Layout:
    count = span_count(length, length * width * itemsize)
    return cut_axis("rows", length, width, chunk, items=items, spans=count)


def panels_of(base: Layout) -> list[Layout]:
    """Every size of panel that a plan may choose for the same blocks."""
    half = base.unit * -(-base.grain // (2 * base.unit))
    sizes = {base.grain * 3, base.grain, half, base.unit}
    return [replace(base, panel=size) for size in sizes]


def partition(runs, start, stop):
    runs = list(runs)
    assert runs[0][0] == start
    assert runs[-1][1] == stop
    assert all(a < b for a, b in runs)
    assert all(first[1] == second[0] for first, second in pairwise(runs))
    return runs


@given(lengths, widths, chunks, items, itemsizes)
@example(1, 1, 1, 1 << 21, 1)
@example(10**7, 1, 1, 1, 1)
def test_spans_partition_the_axis_and_are_few(length, width, chunk, items, itemsize):
    made = layout(length, width, chunk, items, itemsize)
    partition(made.spans, 0, length)
    nbytes = length * width * itemsize
    assert len(made.spans) <= span_count(length, nbytes)
    assert len(made.spans) <= max(8, min(MOST_SPANS, nbytes >> 27, length // 4096))
    assert 1 <= made.unit <= max(length, 1)


@given(st.integers(1, 3000), st.integers(1, 300), st.integers(1, 400), items, itemsizes)
def test_blocks_and_panels_partition_every_span(length, width, chunk, items, itemsize):
    base = layout(length, width, chunk, items, itemsize)
    for made in panels_of(base):
        for span in made.spans:
            whole = partition(made.blocks(*span), *span)
            assert all(b - a <= made.unit for a, b in whole)
            panels = partition(made.panels(span), *span)
            assert all(b - a <= made.panel for a, b in panels)
            # the same blocks whatever the panels: sums are the same bits under any budget
            assert [block for panel in panels for block in made.blocks(*panel)] == whole


@given(st.integers(1, 3000), st.integers(1, 300), st.integers(1, 400), items, itemsizes)
def test_blocks_lie_within_chunks_or_hold_whole_ones(length, width, chunk, items, itemsize):
    made = layout(length, width, chunk, items, itemsize)
    for span in made.spans:
        assert span[0] % made.chunk == 0
        for a, b in made.blocks(*span):
            inside = a // made.chunk == (b - 1) // made.chunk
            whole = a % made.chunk == 0 and (b % made.chunk == 0 or b == length)
            assert inside or whole


@given(st.integers(1, 3000), st.integers(1, 300), st.integers(1, 400), items, itemsizes)
def test_a_panel_of_a_grain_reads_each_chunk_once(length, width, chunk, items, itemsize):
    made = layout(length, width, chunk, items, itemsize)
    seen = [
        index
        for span in made.spans
        for a, b in made.panels(span)
        for index in range(a // made.chunk, -(-b // made.chunk))
    ]
    assert len(seen) == len(set(seen))
    assert made.amplification == 1


@given(st.integers(1, 3000), st.integers(1, 300), st.integers(2, 400), items, itemsizes)
def test_parts_of_a_chunk_cost_what_the_layout_says_at_most(length, width, chunk, items, itemsize):
    base = layout(length, width, chunk, items, itemsize)
    half = base.unit * -(-base.grain // (2 * base.unit))
    made = replace(base, panel=half)
    reads = sum(
        -(-b // made.chunk) - a // made.chunk for span in made.spans for a, b in made.panels(span)
    )
    assert reads <= made.amplification * -(-length // made.chunk)


def test_tiles_are_read_twice():
    made = replace(cut_axis("rows", 100, 50, 10, spans=8), tile=10)
    assert made.amplification == 2


@pytest.mark.parametrize("length", [1, 7, 100, 10**6])
def test_blocks_depend_on_shape_and_chunks_alone(length):
    few, many = (layout(length, 50, 7, 1 << 21, t) for t in (1, 4))
    assert few.spans == many.spans
    assert few.unit == many.unit


@given(st.integers(1, 512), st.integers(0, 1 << 52), st.integers(0, 1 << 36))
def test_huge_matrices_have_spans_for_a_cluster_and_others_keep_theirs(usual, nbytes, sum_bytes):
    most = span_limit(usual, nbytes, sum_bytes)
    assert usual <= most <= MOST_SPANS
    if nbytes < USUAL_SPANS * LARGE_SPAN_BYTES:
        assert most == usual
    if most > usual:
        assert nbytes // most >= max(LARGE_SPAN_BYTES, SUM_SHARE * sum_bytes)


def test_a_petabyte_has_16384_spans_and_a_terabyte_one_a_gibibyte():
    assert span_count(1 << 38, 1 << 50) == span_limit(64, 1 << 50, 1 << 20) == 16_384
    assert span_count(1 << 30, 1 << 40) == span_limit(4, 1 << 40, 1 << 20) == 1024
    assert [span_count(1 << 30, 1 << b) for b in (30, 33, 36, 37)] == [8, 64, 64, 128]
