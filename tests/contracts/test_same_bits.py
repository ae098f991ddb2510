"""One matrix, one record of options and one seed are one answer, to the last bit, on any threads and on a cluster."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import dask
import distributed
import numpy as np
import pytest

from streamsvd.engine import run_pass
from tests.contracts.verbs import CONTRACTS, matrix, reference, where


@pytest.mark.parametrize("contract", [pytest.param(c, id=c.label) for c in CONTRACTS])
def test_threads_do_not_change_a_bit(contract):
    for workers in (1, 2, 5):
        with dask.config.set(num_workers=workers):
            found = contract.run(contract.stored(matrix()))
        assert contract.bits(found) == reference(contract).bits, f"{workers} threads"


@pytest.mark.parametrize("contract", where("scheduler"))
def test_a_cluster_does_not_change_a_bit(contract, workers):
    with distributed.Client(workers):
        found = contract.run(contract.stored(matrix()))
    assert contract.bits(found) == reference(contract).bits


@pytest.mark.parametrize("contract", where("scheduler"))
def test_what_is_sent_to_another_process_is_laid_out_there_as_here(contract, monkeypatch):
    """Sending lays out anew what is no whole piece of memory, and BLAS then adds in another order; workers here share memory."""
    seen = []

    def look(work, build, **of):
        seen.extend(laid_out_anew(work.pass_))
        return on_threads(work, build, **of)

    on_threads = run_pass.run_graph
    monkeypatch.setattr(run_pass, "run_graph", look)
    contract.run(contract.stored(matrix()))
    assert not seen


def laid_out_anew(value, name="pass"):
    """Names of arrays in a value whose memory has gaps, or is neither in the order of C nor of Fortran."""
    if isinstance(value, np.ndarray):
        return [] if value.flags.c_contiguous or value.flags.f_contiguous else [name]
    if is_dataclass(value):
        parts = {f.name: getattr(value, f.name, None) for f in fields(value)}
    elif isinstance(value, dict):
        parts = value
    elif isinstance(value, list | tuple):
        parts = dict(enumerate(value))
    else:
        return []
    return [each for key, part in parts.items() for each in laid_out_anew(part, f"{name}.{key}")]
