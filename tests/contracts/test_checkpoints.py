"""A run that was killed and is run again is the run that was never stopped; a checkpoint of another run is refused."""

from __future__ import annotations

import pytest

from streamsvd import SpecError
from streamsvd.engine.events import SpanDone
from tests.contracts.test_interrupts import Stop
from tests.contracts.verbs import files_in, matrix, reference, stored, where


def interrupted(contract, place, n):
    with pytest.raises(KeyboardInterrupt):
        contract.run(stored(matrix()), checkpoint=place, save_seconds=0, callback=Stop(n))


def late(contract):
    """The event of the last span but one: much was found before."""
    spans = [i for i, e in enumerate(reference(contract).events, 1) if isinstance(e, SpanDone)]
    return spans[-2]


@pytest.mark.parametrize("contract", where("checkpoint"))
def test_a_run_that_goes_on_is_the_one_never_stopped(contract, tmp_path):
    place, whole = tmp_path / "saves", reference(contract)
    for n in sorted({min(3, late(contract)), late(contract)}):
        interrupted(contract, place, n)
        found = contract.run(stored(matrix()), checkpoint=place, save_seconds=0)
        assert contract.bits(found) == whole.bits, f"stopped at event {n}"
        assert files_in(tmp_path) == [], f"stopped at event {n}"
    assert found.info.bytes_read < whole.result.info.bytes_read


@pytest.mark.parametrize("contract", where("checkpoint"))
def test_a_checkpointed_run_is_the_one_without(contract, tmp_path):
    found = contract.run(stored(matrix()), checkpoint=tmp_path / "saves", save_seconds=0)
    assert contract.bits(found) == reference(contract).bits
    assert found.info.bytes_read == reference(contract).result.info.bytes_read
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("contract", where("checkpoint"))
def test_a_checkpoint_of_another_run_is_refused(contract, tmp_path):
    place = tmp_path / "saves"
    interrupted(contract, place, late(contract))
    kept = files_in(tmp_path)
    ((name, value),) = contract.other.items()
    with pytest.raises(SpecError, match=rf"with {name}=.*, this one has {value}"):
        contract.run(stored(matrix()), checkpoint=place, **contract.other)
    changed = matrix()
    changed[0] *= 2
    with pytest.raises(SpecError, match=r"saves is of a run with rows=.*, this one has"):
        contract.run(stored(changed), checkpoint=place)
    with pytest.raises(SpecError, match=r"saves is of a run with (shape|dtype)=.*, this one has"):
        contract.run(stored(matrix().astype("f4")), checkpoint=place)
    assert files_in(tmp_path) == kept
    found = contract.run(stored(matrix()), checkpoint=place)
    assert contract.bits(found) == reference(contract).bits
