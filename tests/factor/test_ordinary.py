"""Ordinary data at the defaults: what was asked is proved, in few reads, and every statement is true."""

import pytest

from benchmarks import ordinary
from benchmarks.ordinary_data import DATA, SHAPES, hold

NAMES = [data.name for data in DATA]


@pytest.fixture(scope="module")
def short():
    return list(ordinary.sweep("short", routes=False))


@pytest.mark.slow
def test_every_run_is_proved_in_few_reads(short):
    assert ordinary.complaints(short) == []
    assert [o.where for o in short if o.gram_fits and not o.converged] == []
    assert ordinary.mean_reads(short) <= ordinary.READS


@pytest.mark.parametrize("data", DATA, ids=NAMES)
def test_the_krylov_route_states_what_is_true_whether_it_gets_there_or_not(data, tmp_path):
    held = hold(data, SHAPES["short"][2], tmp_path)
    least = ordinary.budget_of(held, "least", {**held.options, "route": "krylov"})
    for memory, target in ((str(least), "values"), ("plenty", "error")):
        outcome = ordinary.run(held, memory, 1e-3, "krylov", target=target, max_passes=4)
        assert outcome.violations == ()
        assert outcome.status in ("converged", "not converged")


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_the_whole_sweep():
    """Half an hour on two cores, and half as long again for the large matrices."""
    outcomes = list(ordinary.sweep("full", routes=False))
    assert ordinary.complaints(outcomes) == []
    assert ordinary.mean_reads(outcomes) <= ordinary.READS
