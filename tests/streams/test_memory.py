"""Space: no more than announced, at every step, however long the stream."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from streamsvd.errors import BudgetError
from streamsvd.streams.mathematics import StreamState
from streamsvd.streams.mathematics.space import fit_options, state_bytes, work_bytes
from streamsvd.streams.options import StreamOptions

OPTIONS = [
    {},
    {"k": 10},
    {"k": 10, "heavy_rows": 0},
    {"k": 3, "width": 4, "sketch_rows": 4, "probes": 2, "heavy_rows": 7},
    {"k": 5, "heavy_rows": 300, "probes": 64},
    {"k": 1, "order": "arbitrary"},
    {"k": 4, "order": "arbitrary", "sketch_rows": 30},
]


def blocks(d, rows, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, d)) * np.exp(rng.standard_normal((rows, 1)))


def held(options, d, n_rows, block, times):
    """State bytes after every block."""
    stream = StreamState(options, d, n_rows)
    out = []
    for _ in range(times):
        stream.partial_fit(block)
        out.append(stream.state_bytes)
    return out


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("d", [40, 300, 3000])
def test_the_state_is_at_most_what_was_announced(d, options, known):
    o = StreamOptions(**options)
    block = blocks(d, 50)
    sizes = held(o, d, 2000 if known else None, block, 40 if d < 3000 else 20)
    assert max(sizes) <= state_bytes(o, d)
    assert max(sizes) >= state_bytes(o, d) / 5  # and not far below


@pytest.mark.parametrize(
    "times", [10, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
@pytest.mark.parametrize("options", [{"k": 3}, {"k": 1, "order": "arbitrary"}], ids=str)
def test_the_state_does_not_grow_with_the_stream(options, times):
    """1e4 rows and 1e5, under ``slow`` 1e6."""
    o, d, rows = StreamOptions(**options), 20, 1000
    stream = StreamState(o, d)
    rng = np.random.default_rng(1)
    for _ in range(10):
        stream.partial_fit(rng.standard_normal((rows, d)))
    early = stream.state_bytes
    for _ in range(max(90, times - 10)):
        stream.partial_fit(rng.standard_normal((rows, d)))
        assert stream.state_bytes <= state_bytes(o, d)
    columns = (
        5 * o.k * d * 8 + 64 * d * 8
    )  # a basis has b to b + k columns, a micro-batch up to 64 rows wait
    assert stream.state_bytes <= early + columns
    assert stream.finalize().n_rows == rows * max(100, times)


def peaks(options, d, block, times, known):
    """Largest traced bytes beside the caller's block, while rows came and at the end."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        stream = StreamState(options, d, times * len(block) if known else None)
        for _ in range(times):
            stream.partial_fit(block)
        fed = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.reset_peak()
        stream.finalize()
        return fed, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("options", [{"k": 10}, {"k": 10, "order": "arbitrary"}, {"k": 1}], ids=str)
def test_the_peak_of_wide_rows_is_within_the_formula(options, known):
    """d = 20000, 2000 rows (800 of unknown length): measured <= state + work, the block that the caller holds aside."""
    o, d = StreamOptions(**options), 20_000
    times = 10 if known else 4
    fed, last = peaks(o, d, blocks(d, 200), times, known)
    assert fed <= state_bytes(o, d) + work_bytes(o, d)
    assert last <= state_bytes(o, d) + work_bytes(o, d)


def least(options, d):
    with pytest.raises(BudgetError) as failure:
        fit_options(options, d, 0)
    return failure.value.needs


@pytest.mark.parametrize(
    ("order", "k"),
    [
        ("auto", 1), ("auto", 3), ("auto", 10), ("arbitrary", 10), ("arbitrary", 1), ("arbitrary", 3),
    ],
)  # fmt: skip
def test_the_smallest_budget_is_kept(k, order):
    d = 5000
    budget = least(StreamOptions(k=k, order=order), d)
    o = fit_options(StreamOptions(k=k, order=order), d, budget)
    fed, last = peaks(o, d, blocks(d, 200), 4, True)
    assert max(fed, last) <= budget


@pytest.mark.parametrize(
    "options",
    [
        {"k": 1, "width": 2, "heavy_rows": 0, "sketch_rows": 2, "probes": 2},
        {"k": 3, "width": 4, "heavy_rows": 4, "sketch_rows": 100, "probes": 2},
    ],
    ids=["lean", "large sketch"],
)
def test_the_peak_is_within_the_formula_for_any_options(options):
    o, d = StreamOptions(**options), 5000
    fed, last = peaks(o, d, blocks(d, 200), 4, True)
    assert max(fed, last) <= state_bytes(o, d) + work_bytes(o, d)


@pytest.mark.parametrize("order", ["auto", "arbitrary"])
def test_rows_of_low_rank_take_no_more_space_than_others(order):
    o, d = StreamOptions(k=3, order=order), 1200
    block = np.outer(np.ones(100), np.arange(d, dtype=float))
    fed, last = peaks(o, d, block, 1, False)
    assert fed <= state_bytes(o, d) + work_bytes(o, d)
    assert last <= state_bytes(o, d) + work_bytes(o, d)
