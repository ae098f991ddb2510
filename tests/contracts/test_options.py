"""What was asked stands in the result, and the record of options is the verb's signature."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, is_dataclass

import pytest

from streamsvd.info import Info, Status
from streamsvd.verbs import VERBS
from tests.contracts.verbs import ALL, CONTRACTS, reference, where

RECORDED = where("record")


def first_of_each():
    """One contract of each verb."""
    firsts = {c.name: c for c in reversed(CONTRACTS)}
    return [pytest.param(firsts[name], id=name) for name in VERBS]


def test_every_verb_has_a_contract():
    assert {c.name for c in CONTRACTS} == set(ALL)
    assert len({c.label for c in CONTRACTS}) == len(CONTRACTS)


@pytest.mark.parametrize("contract", RECORDED)
def test_the_result_says_what_was_asked(contract):
    options = reference(contract).result.options
    assert type(options) is contract.verb.resolve("options")
    for name, value in contract.options.items():
        if hasattr(options, name):
            assert getattr(options, name) == value, name
    assert any(hasattr(options, name) for name in contract.options)


@pytest.mark.parametrize("contract", first_of_each())
def test_the_record_is_the_signature(contract):
    record = contract.verb.resolve("options")
    assert is_dataclass(record)
    assert record.__dataclass_params__.frozen
    for part in ("function", "plan"):
        arguments = inspect.signature(contract.verb.resolve(part)).parameters
        for f in fields(record):
            assert f.metadata["help"], f.name
            default = inspect.Parameter.empty if f.default is MISSING else f.default
            default = contract.defaults.get(f.name, default)
            if part == "function" or f.name in arguments:
                assert arguments[f.name].default == default, f"{part}: {f.name}"


@pytest.mark.parametrize("contract", RECORDED)
def test_how_it_came_about_is_one_record(contract):
    info = reference(contract).result.info
    assert type(info) is Info
    assert isinstance(info.status, Status)
    assert info.n_rows == contract.kind.rows
    assert info.bytes_read > 0
    assert 0 <= info.peak_bytes <= info.projected_bytes
