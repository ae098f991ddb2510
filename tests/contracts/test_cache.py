"""A matrix that fits into what the memory leaves is read once, to the same bits as one that is read in every pass."""

from __future__ import annotations

import gc
import weakref

import pytest

from streamsvd.engine.events import PassStarted
from streamsvd.engine.panel_cache import PanelCache
from tests.contracts.verbs import matrix, where

SEVERAL_PASSES = (
    "svd",
    "pca",
    "top_eigenvectors",
    "nystrom",
    "kernel_ridge",
    "sample_rows",
    "lstsq",
)
"""Verbs that read a matrix more than once, unless an option says otherwise."""


SEVERAL = [p for p in where("plan") if p.values[0].name in SEVERAL_PASSES]


@pytest.mark.parametrize("contract", SEVERAL)
def test_a_matrix_that_fits_is_read_once(contract):
    plan = contract.plan(contract.kind.unreadable(), memory="1GiB")
    assert plan.is_cached == (plan.passes >= 2)
    if not plan.is_cached:
        return
    assert "stays in memory" in plan.explain()
    less = plan.projected_bytes - 1
    assert not contract.plan(contract.kind.unreadable(), memory=less).is_cached
    once = contract.run(contract.stored(matrix()), memory="1GiB")
    again = contract.run(contract.stored(matrix()), memory=less)
    assert once.info.passes == pytest.approx(again.info.passes)
    whole = matrix().nbytes
    assert whole <= once.info.bytes_read < 2 * whole < again.info.bytes_read + whole // 2
    assert once.info.peak_bytes <= once.info.projected_bytes <= plan.projected_bytes
    if not contract.by_memory:
        assert contract.bits(once) == contract.bits(again)


@pytest.mark.parametrize("is_interrupted", [False, True], ids=["ended", "interrupted"])
@pytest.mark.parametrize("contract", SEVERAL)
def test_what_stayed_is_given_back_when_a_run_ends(contract, is_interrupted, monkeypatch):
    if not contract.plan(contract.kind.unreadable(), memory="1GiB").is_cached:
        return
    stayed, put = [], PanelCache.put

    def watch(cache, run, panel):
        stayed.append(weakref.ref(panel[0]))
        put(cache, run, panel)

    def interrupt(event):
        if is_interrupted and isinstance(event, PassStarted) and event.number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(PanelCache, "put", watch)
    gc.disable()  # memory of this size does not wait for the collector
    try:
        contract.run(contract.stored(matrix()), memory="1GiB", callback=interrupt)
    except KeyboardInterrupt:
        assert is_interrupted
    finally:
        gc.enable()
    assert stayed
    assert not any(panel() is not None for panel in stayed)
