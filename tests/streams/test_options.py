"""Options out of range are refused; memory shrinks in the order that is documented, to the last byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.errors import BudgetError, SpecError
from streamsvd.streams.mathematics import StreamState
from streamsvd.streams.mathematics.space import fit_options, state_bytes, work_bytes
from streamsvd.streams.options import StreamOptions


def needed(options, d):
    return state_bytes(options, d) + work_bytes(options, d)


def smallest(options, d):
    with pytest.raises(BudgetError) as failure:
        fit_options(options, d, 0)
    return failure.value.needs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", 0), ("k", -1), ("width", 3), ("heavy_rows", -1), ("heavy_share", 0.0), ("heavy_share", -1.0),
        ("heavy_share", float("inf")), ("heavy_share", float("nan")), ("sketch_rows", 3), ("probes", 1),
        ("windows", 0), ("holdout", 0.0), ("holdout", 1.0), ("holdout", float("nan")), ("forgetting", -0.1),
        ("forgetting", float("inf")), ("delta", 0.0), ("delta", 1.0), ("delta", float("nan")), ("order", "sorted"),
    ],
)  # fmt: skip
def test_options_out_of_range_name_themselves(name, value):
    with pytest.raises(SpecError, match=name):
        StreamOptions(**{"k": 3, name: value})


def test_streams_that_cannot_be_are_refused():
    with pytest.raises(SpecError, match="k=4 exceeds the 3"):
        StreamState(StreamOptions(k=4), 3)
    with pytest.raises(SpecError, match="n_rows=0"):
        StreamState(StreamOptions(), 3, 0)
    with pytest.raises(ValueError, match="no numbers"):
        StreamState(StreamOptions(), 0)


def test_widths_left_out_follow_from_k():
    assert StreamOptions(k=1).columns == 11
    assert StreamOptions(k=40).columns == 80
    assert StreamOptions(k=1).rows == 22
    assert StreamOptions(k=3, width=4, sketch_rows=7).rows == 7


@given(
    k=st.integers(1, 40),
    d=st.integers(40, 30_000),
    share=st.floats(0, 1.2),
    order=st.sampled_from(["auto", "arbitrary"]),
    given_=st.fixed_dictionaries(
        {}, optional={"probes": st.integers(2, 64), "heavy_rows": st.integers(0, 200)}
    ),
)
def test_what_is_within_a_budget_fits_it_and_nothing_grows(k, d, share, order, given_):
    options = StreamOptions(k=k, order=order, **given_)
    full, least = needed(options, d), smallest(options, d)
    assert least <= full
    budget = int(least + share * (full - least))
    small = fit_options(options, d, budget)
    assert needed(small, d) <= budget
    assert small.probes <= options.probes
    assert small.heavy_rows <= options.heavy_rows
    assert small.columns <= options.columns
    assert small.rows <= options.rows
    if budget >= full:
        assert small is options
    # A later knob is touched only where the earlier ones are at their least.
    touched_heavy = small.heavy_rows < options.heavy_rows
    if small.rows < options.rows or touched_heavy:
        assert small.probes == min(8, options.probes)
    if touched_heavy:
        assert small.rows <= max(options.columns, k + 1)
    if small.columns < options.columns:
        assert small.heavy_rows == min(16, options.heavy_rows)
        assert small.rows <= options.columns
    if small.rows < options.columns:
        assert small.columns == k + 4


@pytest.mark.parametrize("order", ["auto", "arbitrary"])
@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_the_smallest_budget_works_and_one_byte_less_does_not(k, order):
    options, d = StreamOptions(k=k, order=order), 3000
    least = smallest(options, d)
    assert needed(fit_options(options, d, least), d) == least
    with pytest.raises(BudgetError, match=f"memory={least}") as failure:
        fit_options(options, d, least - 1)
    assert failure.value.needs == least
    assert failure.value.allowed == least - 1


def test_each_knob_gives_way_in_turn():
    options, d = StreamOptions(k=10), 5000
    full, least = needed(options, d), smallest(options, d)
    seen = []
    for i in range(401):
        o = fit_options(options, d, full - (full - least) * i // 400)
        for name, value in (
            ("probes", o.probes < 16), ("sketch", o.rows < 40), ("heavy", o.heavy_rows < 64), ("width", o.columns < 20),
            ("sketch again", o.rows < 20),
        ):  # fmt: skip
            if value and name not in seen:
                seen.append(name)
    assert seen == ["probes", "sketch", "heavy", "width", "sketch again"]
