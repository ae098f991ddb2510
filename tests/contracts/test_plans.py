"""A plan reads no value and writes nothing, takes whatever decides the cost, and says what the run then takes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import streamsvd
from streamsvd.cli.commands import verbs as command_line
from streamsvd.engine.columns import LOOK_NOTE
from streamsvd.factor.plan import Plan
from streamsvd.verbs import COSTLESS, VERBS
from tests.contracts.test_masks import KEPT
from tests.contracts.verbs import (
    CAPABILITIES,
    CHUNK,
    M,
    N,
    Unreadable,
    holed,
    matrix,
    new_place,
    reference,
    where,
)

UNPLANNED = {
    ("svd", "plan"): "It is one.",
    ("pca", "plan"): "It is one.",
    ("compress", "append"): "A plan is of a new collection.",
}
"""Options that decide the cost of a verb and are none of its plan, and why."""
MORE = "one pass more: "
"""Ends what a note says of a pass that a plan of `svd` cannot count."""


@pytest.mark.parametrize("contract", where("plan"))
def test_a_plan_reads_nothing_and_promises_no_less_than_the_run_takes(contract):
    plan = contract.plan(contract.kind.unreadable(), memory="1GiB")
    found = contract.run(contract.stored(matrix()), memory="1GiB")
    assert plan.explain()
    assert plan.projected_bytes <= 1 << 30
    if contract.can("record"):
        assert plan.passes is None or plan.passes >= found.info.passes
        assert plan.projected_bytes >= found.info.projected_bytes >= found.info.peak_bytes


def asked_of(part, name):
    """Names of what a verb, or its plan, may be asked."""
    arguments = inspect.signature(VERBS[name].resolve(part)).parameters.values()
    return {a.name for a in arguments if a.kind is not a.VAR_KEYWORD}


@pytest.mark.parametrize("name", VERBS)
def test_whatever_decides_the_cost_is_an_option_of_the_plan(name):
    left = asked_of("function", name) - asked_of("plan", name) - set(COSTLESS)
    if name == "update":
        left -= {"path"}  # of its plan it is the model
    assert left == {option for verb, option in UNPLANNED if verb == name}
    assert left.isdisjoint(set(CAPABILITIES) - {"plan"})


@pytest.mark.parametrize("name", [v.name for v in VERBS.values() if v.command])
def test_the_command_line_plans_with_the_same_options(name):
    words = VERBS[name].command.split()
    command = command_line
    for word in words:
        command = command.get_command(None, word)
    plan = command_line.get_command(None, "plan").get_command(None, "-".join(words))
    mine, its = ({p.name for p in c.params} for c in (plan, command))
    assert its & set(CAPABILITIES) - set(COSTLESS) <= mine


def assert_as_planned(plan, info):
    """Raise unless a run made the passes, and read the bytes, of its plan: fewer where a note says so, and the looks it tells of."""
    look = CHUNK * N * 8 if LOOK_NOTE in plan.notes else 0
    if isinstance(plan, Plan):  # counts parts of a pass
        more = any(MORE in note for note in plan.notes)
        assert -1 < (info.passes - plan.passes - more) * plan.nbytes < look + 1
        planned = plan.bytes_read + plan.nbytes * (more and not plan.is_cached)
    else:
        planned = plan.bytes_read
        if any("at most" in note for note in plan.notes):
            planned -= int(plan.passes - info.passes) * plan.pass_bytes * (not plan.is_cached)
            assert info.passes <= plan.passes
        else:
            assert info.passes == plan.passes
    assert bool(look) <= info.bytes_read - planned <= look


@pytest.mark.parametrize("contract", where("record"))
def test_passes_and_bytes_are_as_planned(contract):
    plan = contract.plan(contract.kind.unreadable())
    assert_as_planned(plan, reference(contract).result.info)


@pytest.mark.parametrize("contract", where("mask"))
def test_a_plan_with_a_mask_is_of_the_columns_that_it_keeps(contract):
    asked = {"mask": KEPT, "memory": "1GiB"}
    plan = contract.plan(contract.kind.unreadable(), **asked)
    info = contract.run(contract.stored(matrix()), **asked).info
    assert_as_planned(plan, info)
    assert plan.projected_bytes >= info.projected_bytes


@pytest.mark.parametrize("contract", where("nonfinite", "plan"))
def test_a_plan_counts_what_missing_values_and_saves_take(contract):
    asked = {"nonfinite": "mean" if "mean" in contract.policies else "zero", "memory": "1GiB"}
    if contract.can("checkpoint"):
        asked["checkpoint"] = new_place()
    plan = contract.plan(contract.kind.unreadable(), **asked)
    info = contract.run(contract.stored(holed()), **asked).info
    assert_as_planned(plan, info)
    assert plan.projected_bytes >= info.projected_bytes >= info.peak_bytes


@pytest.mark.parametrize("contract", where("mask"))
def test_columns_that_are_yet_to_be_found_are_planned_for(contract):
    plan = contract.plan(contract.kind.unreadable(), mask="auto", memory="1GiB")
    assert LOOK_NOTE in plan.notes
    assert LOOK_NOTE in plan.explain()
    assert plan.passes == contract.plan(contract.kind.unreadable(), memory="1GiB").passes


@pytest.mark.parametrize("contract", where("checkpoint"))
def test_a_plan_with_saves_writes_nothing_and_checks_their_place(contract, tmp_path):
    A = contract.kind.unreadable()
    plain = contract.plan(A, memory="1GiB").projected_bytes
    saving = contract.plan(A, memory="1GiB", checkpoint=tmp_path / "saves").projected_bytes
    assert saving >= plain
    assert not (tmp_path / "saves").exists()
    with pytest.raises(streamsvd.SpecError, match="checkpoint"):
        contract.plan(A, checkpoint="")
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "saves"):
        with pytest.raises(streamsvd.AccessError, match="Not a directory"):
            contract.plan(A, checkpoint=place)


def test_a_folder_that_may_not_be_written_is_no_place_of_saves(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode, **_: False)
    with pytest.raises(streamsvd.AccessError, match="ermission denied"):
        streamsvd.plan("svd", Unreadable(), 3, checkpoint=tmp_path / "saves")


COSTLESS_VALUES = {"seed": 3, "callback": print, "save_seconds": 1.0, "overwrite": True, "delta": 0.01}  # fmt: skip


@pytest.mark.parametrize("contract", where("plan"))
def test_a_verb_is_planned_by_name(contract):
    inputs = (contract.planned or contract.inputs)(contract.kind.unreadable())
    costless = {n: value for n, value in COSTLESS_VALUES.items() if n in contract.arguments}
    plan = streamsvd.plan(contract.name, *inputs, **contract.options | costless)
    assert plan.passes == contract.plan(contract.kind.unreadable()).passes


@pytest.mark.parametrize("name", VERBS)
def test_an_input_that_is_left_out_is_named_with_the_call_that_works(name):
    plan = inspect.signature(VERBS[name].resolve("plan")).parameters.values()
    needed = [p.name for p in plan if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    for count in range(len(needed)):
        given, lacking = [Unreadable()] * count, " and ".join(needed[count:])
        with pytest.raises(
            streamsvd.SpecError, match=rf'{lacking} w.* Pass streamsvd\.plan\("{name}", {needed[0]}.*\)\.'
        ):  # fmt: skip
            streamsvd.plan(name, *given)
        with pytest.raises(streamsvd.SpecError, match=f"{needed[0]} w"):
            streamsvd.plan(name, **dict.fromkeys(needed[1:], Unreadable()))


def test_what_is_no_part_of_a_plan_is_refused_in_words():
    with pytest.raises(
        streamsvd.SpecError, match=r"append=True was passed.*no plan of compress with it\. Leave it"
    ):
        streamsvd.plan("compress", {"a": np.ones((3, 2))}, append=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'maks'"):
        streamsvd.plan("lstsq", Unreadable(), np.ones(M), maks=None)
