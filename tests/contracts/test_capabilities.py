"""Whatever a verb cannot do has a reason, and the page of capabilities is what the registry and the signatures say."""

from __future__ import annotations

import pytest

from tests.contracts.table import PAGE, page
from tests.contracts.verbs import ALL, CAPABILITIES, CONTRACTS, has


@pytest.mark.parametrize("name", ALL)
def test_what_a_verb_cannot_do_has_a_reason(name):
    contracts = [c for c in CONTRACTS if c.name == name]
    for capability in CAPABILITIES:
        reasons = [c.lacks.get(capability) for c in contracts]
        if has(ALL[name], capability):
            assert None in reasons, f"{capability} is an argument, and no way of running has it"
        else:
            assert reasons[0], f"{name} has no {capability}: write why in tests/contracts/verbs.py"
    for contract in contracts:
        assert set(contract.lacks) <= set(CAPABILITIES)
        assert all(reason.endswith(".") for reason in contract.lacks.values())


def test_the_page_is_what_is_generated():
    assert PAGE.read_text() == page(), "run python -m tests.contracts.table"
