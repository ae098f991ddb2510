"""A run that is interrupted at any event leaves no task that runs, no thread that reads, and no file."""

from __future__ import annotations

import threading
import time

import distributed
import pytest

from streamsvd.engine import task
from streamsvd.engine.events import ResultWritten
from tests.contracts.verbs import files_in, matrix, reference, where


class Stop:
    """Raises at the n-th event, counted from 1."""

    def __init__(self, n):
        self.left = n

    def __call__(self, event):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def events_to_stop_at(contract):
    """Some that come before the result is written, where one is."""
    kinds = [type(event) for event in reference(contract).events]
    count = kinds.index(ResultWritten) if ResultWritten in kinds else len(kinds) - 1
    return sorted({1, 2, count // 2, count})


def assert_nothing_left(folder, before, contract):
    """No task, no thread, and no file but those that the same call goes on from."""
    assert not any(task._running.values())
    reading = [
        t.name
        for t in threading.enumerate()
        if t.name.startswith("streamsvd-") and t.name != "streamsvd-linger"
    ]
    assert reading == []
    left = [
        name
        for name in files_in(folder)
        if not contract.leaves or contract.leaves + "/" not in name
    ]
    assert left == before


@pytest.mark.parametrize("contract", where("callback"))
def test_an_interrupted_run_leaves_nothing(contract, alone):
    stops = events_to_stop_at(contract)  # by a run of its own, which may write
    before = files_in(alone)
    for n in stops:
        with pytest.raises(KeyboardInterrupt):
            contract.run(contract.stored(matrix()), callback=Stop(n))
        assert_nothing_left(alone, before, contract)


@pytest.mark.parametrize("contract", where("callback"))
def test_an_interrupted_run_on_a_cluster_leaves_nothing(contract, alone, workers):
    last = events_to_stop_at(contract)[-1]
    with distributed.Client(workers) as client:
        before = files_in(alone)
        with pytest.raises(KeyboardInterrupt):
            contract.run(contract.stored(matrix()), callback=Stop(last))
        assert_nothing_left(alone, before, contract)
        until = time.monotonic() + 20  # what the scheduler knows comes a little later
        while any(client.processing().values()):
            assert time.monotonic() < until, client.processing()
            time.sleep(0.01)
        found = contract.run(contract.stored(matrix()))
    assert contract.bits(found) == reference(contract).bits
