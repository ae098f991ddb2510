"""A device finds what the host finds, up to rounding."""

from __future__ import annotations

import pytest

from tests.contracts.verbs import matrix, reference, where


@pytest.mark.parametrize("contract", where("device"))
def test_a_device_finds_what_the_host_finds(contract):
    found = contract.run(contract.stored(matrix()), device="strict")
    contract.assert_close(found, reference(contract).result)
