"""A plan reads no value, and promises no less than the run takes."""

from __future__ import annotations

import pytest

import streamsvd
from tests.contracts.verbs import matrix, where


@pytest.mark.parametrize("contract", where("plan"))
def test_a_plan_reads_nothing_and_promises_no_less_than_the_run_takes(contract):
    plan = contract.plan(contract.kind.unreadable(), memory="1GiB")
    found = contract.run(contract.stored(matrix()), memory="1GiB")
    assert plan.explain()
    assert plan.projected_bytes <= 1 << 30
    if contract.can("record"):
        assert plan.passes is None or plan.passes >= found.info.passes
        assert plan.projected_bytes >= found.info.projected_bytes >= found.info.peak_bytes


@pytest.mark.parametrize("contract", where("plan"))
def test_a_verb_is_planned_by_name(contract):
    inputs = (contract.planned or contract.inputs)(contract.kind.unreadable())
    plan = streamsvd.plan(contract.name, *inputs, **contract.options)
    assert plan.passes == contract.plan(contract.kind.unreadable()).passes
