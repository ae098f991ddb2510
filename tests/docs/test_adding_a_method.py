"""The method that the page adds does all that the road can do: what the page promises a newcomer."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from streamsvd.errors import BudgetError, NonFiniteError, SpecError
from tests.docs.test_pages import ROOT, blocks

A = np.random.default_rng(3).standard_normal((9000, 5))


@pytest.fixture
def page(monkeypatch):
    """The page's own code, but for the last block, which tries it on the folder of the pages."""
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks(Path(ROOT, "docs", "adding-a-method.md"), "python")[:-1]:
        exec(block, module.__dict__)
    return module


def assert_ranges(found, A):
    np.testing.assert_array_equal(found.least, A.min(axis=0))
    np.testing.assert_array_equal(found.largest, A.max(axis=0))


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_threads_and_devices(page, device, workers):
    with dask.config.set(num_workers=workers):
        assert_ranges(page.column_ranges(A, device=device), A)


def test_a_cluster(page):
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        assert_ranges(page.column_ranges(A), A)


def test_stopped_and_gone_on_with(page, tmp_path):
    events = []

    def stop(event):
        events.append(event)
        if len(events) == 3:
            raise KeyboardInterrupt

    place = tmp_path / "saves"
    verb, plain = page.column_ranges, {"checkpoint": place}
    with pytest.raises(KeyboardInterrupt):
        verb(A, callback=stop, **plain)
    assert_ranges(verb(A, **plain), A)
    assert not [p for p in place.rglob("*") if p.is_file()]


def test_bad_input_is_refused_in_words(page):
    with pytest.raises(SpecError, match="margin=-1 is no part"):
        page.column_ranges(A, margin=-1)
    with pytest.raises(BudgetError, match="ranges of 5 columns"):
        page.column_ranges(A, memory="1MiB")
    gaps = A.copy()
    gaps[7, 3] = np.nan
    with pytest.raises(NonFiniteError, match="NaN at row 7, column 3"):
        page.column_ranges(gaps)
    assert np.isnan(page.column_ranges(gaps, nonfinite="drop_columns").least[3])
