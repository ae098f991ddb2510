"""A plan reads no value, and promises no less than the run takes."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from tests.contracts.verbs import CHUNK, M, N, matrix, stored, where


class Unreadable:
    """The matrix as far as it may be known without reading."""

    shape, dtype, chunks = (M, N), np.dtype("f8"), (CHUNK, N)

    def read(self, rows):
        raise AssertionError(f"rows {rows} were read for a plan")


@pytest.mark.parametrize("contract", where("plan"))
def test_a_plan_reads_nothing_and_promises_no_less_than_the_run_takes(contract):
    plan = contract.plan(Unreadable(), memory="1GiB")
    found = contract.run(stored(matrix()), memory="1GiB")
    assert plan.passes is None or plan.passes >= found.info.passes
    assert plan.projected_bytes >= found.info.projected_bytes >= found.info.peak_bytes
    assert plan.projected_bytes <= 1 << 30
    assert plan.explain()


@pytest.mark.parametrize("contract", where("plan"))
def test_a_verb_is_planned_by_name(contract):
    plan = streamsvd.plan(contract.name, *contract.inputs(Unreadable()), **contract.options)
    assert plan.passes == contract.plan(Unreadable()).passes
