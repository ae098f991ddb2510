"""A budget that does not do is refused before anything is read, by the least that does; with it the run works."""

from __future__ import annotations

import pytest

from streamsvd import BudgetError
from tests.contracts.verbs import matrix, reference, where


@pytest.mark.parametrize("contract", where("memory"))
def test_the_least_memory_is_named_and_works(contract):
    with pytest.raises(BudgetError) as refused:
        contract.run(contract.kind.unreadable(), memory=1000)
    least = refused.value.needs
    assert f"memory={least}" in str(refused.value)
    with pytest.raises(BudgetError):
        contract.run(contract.kind.unreadable(), memory=least - 1)
    usual = 1 << 30
    if contract.can("plan"):
        usual = contract.plan(contract.kind.unreadable(), memory="1GiB").projected_bytes
    assert least <= usual
    if not contract.by_memory:  # also with what lies between, which reads and shares otherwise
        found = contract.run(contract.stored(matrix()), memory=(least + usual) // 2)
        assert contract.bits(found) == reference(contract).bits
    found = contract.run(contract.stored(matrix()), memory=least)
    if contract.can("record"):
        assert found.info.projected_bytes <= least
    if not contract.by_memory:
        assert contract.bits(found) == reference(contract).bits
    else:
        contract.assert_close(found, reference(contract).result)
    if contract.can("plan"):
        assert contract.plan(contract.kind.unreadable(), memory=least).projected_bytes <= least
