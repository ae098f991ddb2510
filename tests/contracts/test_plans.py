"""A plan reads no value, and promises no less than the run takes."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from tests.contracts.verbs import M, N, Unreadable, matrix, where


@pytest.mark.parametrize("contract", where("plan"))
def test_a_plan_reads_nothing_and_promises_no_less_than_the_run_takes(contract):
    plan = contract.plan(contract.kind.unreadable(), memory="1GiB")
    found = contract.run(contract.stored(matrix()), memory="1GiB")
    assert plan.explain()
    assert plan.projected_bytes <= 1 << 30
    if contract.can("record"):
        assert plan.passes is None or plan.passes >= found.info.passes
        assert plan.projected_bytes >= found.info.projected_bytes >= found.info.peak_bytes


COSTLESS = {"seed": 3, "callback": print, "save_seconds": 1.0, "overwrite": True, "delta": 0.01}


@pytest.mark.parametrize("contract", where("plan"))
def test_a_verb_is_planned_by_name(contract):
    inputs = (contract.planned or contract.inputs)(contract.kind.unreadable())
    costless = {name: value for name, value in COSTLESS.items() if name in contract.arguments}
    plan = streamsvd.plan(contract.name, *inputs, **contract.options | costless)
    assert plan.passes == contract.plan(contract.kind.unreadable()).passes


def test_what_is_no_part_of_a_plan_is_refused_in_words():
    with pytest.raises(
        streamsvd.SpecError, match=r"mask= is no part of the plan of lstsq.*Leave it"
    ):
        streamsvd.plan("lstsq", Unreadable(), np.ones(M), mask=np.ones(N, bool))
    with pytest.raises(TypeError, match="unexpected keyword argument 'maks'"):
        streamsvd.plan("lstsq", Unreadable(), np.ones(M), maks=None)
