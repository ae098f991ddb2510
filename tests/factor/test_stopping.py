"""What follows a look: values where they can be had, the error where not, the Gram matrix where it costs less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamsvd.factor.assessment import Assessment
from streamsvd.factor.options import SVDOptions
from streamsvd.factor.stopping import (
    Forecast,
    NextStep,
    WaysLeft,
    choose_next_step,
    forecast_passes,
)
from streamsvd.numerics.bracket import Bracket
from streamsvd.numerics.certificate import Certificate, Kind

ASKED = SVDOptions(rank=3)


def certificate(width: float, excess: float, *, resolved: int = 0) -> Certificate:
    upper = np.array([3.0, 2.0, 1.0])
    lower = upper * (1 - width)
    lower[:resolved] = upper[:resolved]
    return Certificate(
        lower, upper, 1.0, 100.0, 1e-6, np.inf, 0.0, 0.0, 0.1, 3, 0.0, Kind.BOUNDS, excess
    )


def look(width: float, excess: float, *, resolved: int = 0, enough: bool = True) -> Assessment:
    c = certificate(width, excess, resolved=resolved)
    found = Bracket(c.sigma_lower**2, np.zeros(4), np.eye(3), c.sigma_lower**2, 0.0)
    return Assessment(3, found, c, enough)


BEFORE = [certificate(0.9, 1.0), certificate(0.5, 0.1)]
FREE = WaysLeft(8, False, None)
HOPELESS, NEAR = Forecast(np.inf, np.inf), Forecast(1.0, 1.0)


@pytest.mark.parametrize(
    ("seen", "target", "ahead", "means", "history", "then"),
    [
        (look(1e-4, 1e-5), "auto", NEAR, FREE, BEFORE, NextStep.VALUES),
        (look(1e-4, 1e-5), "values", NEAR, FREE, BEFORE, NextStep.VALUES),
        (look(1e-4, 1e-5), "error", NEAR, FREE, BEFORE, NextStep.ERROR),
        (look(0.3, 5e-3), "auto", HOPELESS, FREE, BEFORE, NextStep.ERROR),
        (look(0.3, 5e-3), "values", HOPELESS, FREE, BEFORE, NextStep.PASS),
        (look(0.3, 5e-3), "error", HOPELESS, FREE, [], NextStep.ERROR),
        (look(0.3, 5e-3), "auto", Forecast(2.0, 1.0), FREE, BEFORE, NextStep.PASS),
        (look(0.3, 5e-3), "auto", Forecast(9.0, 1.0), FREE, BEFORE, NextStep.PASS),
        (look(0.3, 5e-3), "auto", Forecast(9.0, 3.0), FREE, BEFORE, NextStep.ERROR),
        (look(0.3, 5e-2), "auto", HOPELESS, FREE, BEFORE, NextStep.PASS),
        (look(0.3, 5e-2), "auto", HOPELESS, WaysLeft(0, False, None), BEFORE, None),
        (look(0.3, 5e-3), "auto", NEAR, WaysLeft(0, False, None), BEFORE, NextStep.ERROR),
        (look(0.3, 5e-3), "values", NEAR, WaysLeft(0, False, None), BEFORE, None),
        (look(0.3, 5e-3), "auto", HOPELESS, WaysLeft(8, False, 1.5), BEFORE, NextStep.GRAM),
        (look(0.3, 5e-3), "auto", HOPELESS, WaysLeft(8, False, 6.0), BEFORE, NextStep.ERROR),
        (look(0.3, 5e-2), "values", HOPELESS, WaysLeft(8, False, 6.0), BEFORE, NextStep.GRAM),
        (
            look(0.3, 5e-2),
            "values",
            Forecast(3.0, 1.0),
            WaysLeft(8, False, 6.0),
            BEFORE,
            NextStep.PASS,
        ),
        (look(0.3, 9e-2), "auto", HOPELESS, WaysLeft(8, False, 6.0), BEFORE, NextStep.GRAM),
        (look(0.3, 9e-2), "error", HOPELESS, WaysLeft(8, False, 6.0), BEFORE, NextStep.GRAM),
        (look(0.3, 5e-2), "values", HOPELESS, WaysLeft(0, False, 6.0), BEFORE, None),
        (look(0.3, 5e-2), "values", HOPELESS, WaysLeft(1, True, 60.0), BEFORE, NextStep.GRAM),
        (look(0.3, 5e-3, enough=False), "auto", HOPELESS, FREE, BEFORE, NextStep.PASS),
        (look(0.9, 1.0), "auto", HOPELESS, WaysLeft(8, False, 1.0), [], NextStep.PASS),
    ],
)
def test_what_follows(seen, target, ahead, means, history, then):
    asked = replace(ASKED, target=target)
    assert choose_next_step(seen, asked, ahead, means, history) is then


def test_intervals_that_no_longer_shrink_are_out_of_reach():
    history = [certificate(0.31, 0.1), certificate(0.3, 9e-2)]
    stuck = look(0.3, 5e-3)
    assert choose_next_step(stuck, ASKED, NEAR, FREE, history) is NextStep.ERROR


def expected(theta, widths, number=2, **more):
    options = {"block": 20, "probes": 20, "tail_energy": np.inf, "dimension": 1000} | more
    return forecast_passes(
        np.asarray(theta), np.asarray(widths), options=ASKED, number=number, **options
    )


def test_a_gap_behind_the_block_needs_few_passes_and_a_flat_spectrum_endless_ones():
    falling, flat = 1 / np.arange(1.0, 41) ** 2, np.full(40, 1.0)
    assert expected(falling, [0.1, 0.1, 0.1]).all <= 2
    assert expected(flat, [0.1, 0.1, 0.1]).all == np.inf
    mixed = np.concatenate([[9.0, 8.0], flat[2:]])
    found = expected(mixed, [1e-2, 0.1, 0.5])
    assert found.first <= 2
    assert found.all == np.inf
    assert expected(falling, [1e-4, 1e-4, 1e-4]) == Forecast(0.0, 0.0)
