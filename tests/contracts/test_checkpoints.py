"""A run that was killed and is run again is the run that was never stopped; a checkpoint of another run is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path

import distributed
import pytest

from streamsvd import SpecError
from streamsvd.engine.events import SpanDone
from tests.contracts.test_interrupts import Stop
from tests.contracts.verbs import files_in, matrix, reference, where


@pytest.fixture
def place():
    """Where to save: in memory where the system has files there, so that no disk is waited for at each save."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder) / "saves"


def interrupted(contract, place, n):
    with pytest.raises(KeyboardInterrupt):
        contract.run(contract.stored(matrix()), checkpoint=place, save_seconds=0, callback=Stop(n))


def late(contract):
    """The event of the last span but one: much was found before."""
    spans = [i for i, e in enumerate(reference(contract).events, 1) if isinstance(e, SpanDone)]
    return spans[-2]


@pytest.mark.parametrize("contract", where("checkpoint"))
def test_a_run_that_goes_on_is_the_one_never_stopped(contract, place):
    whole = reference(contract)
    for n in sorted({min(3, late(contract)), late(contract)}):
        interrupted(contract, place, n)
        found = contract.run(contract.stored(matrix()), checkpoint=place)
        assert contract.bits(found) == whole.bits, f"stopped at event {n}"
        assert files_in(place) == [], f"stopped at event {n}"
    if contract.can("record"):
        spared = whole.result.info.bytes_read - found.info.bytes_read
        is_cached = contract.plan(contract.kind.unreadable()).is_cached
        assert spared >= 0 if is_cached else spared > 0  # what was in memory is read again


@pytest.mark.parametrize(
    "contract", [p for p in where("checkpoint") if p.values[0].can("scheduler")]
)
def test_a_cluster_goes_on_where_threads_were_stopped(contract, place, workers):
    interrupted(contract, place, min(3, late(contract)))
    with distributed.Client(workers):
        found = contract.run(contract.stored(matrix()), checkpoint=place)
    assert contract.bits(found) == reference(contract).bits
    assert files_in(place) == []


@pytest.mark.parametrize("contract", where("checkpoint"))
def test_a_checkpoint_of_another_run_is_refused(contract, place):
    interrupted(contract, place, min(3, late(contract)))
    kept = files_in(place)
    (name,) = contract.other
    with pytest.raises(SpecError, match=rf"saves is of a run with {name}=.*, this one has"):
        contract.run(contract.stored(matrix()), checkpoint=place, **contract.other)
    changed = matrix()
    changed[0] *= 2
    with pytest.raises(SpecError, match=r"saves is of a run with (rows|values)=.*, this one has"):
        contract.run(contract.stored(changed), checkpoint=place)
    with pytest.raises(SpecError, match=r"saves is of a run with (dtype|values)=.*, this one has"):
        contract.run(contract.stored(matrix().astype("f4")), checkpoint=place)
    assert files_in(place) == kept
    found = contract.run(contract.stored(matrix()), checkpoint=place)
    assert contract.bits(found) == reference(contract).bits
