"""SIGKILL of the worker that holds a task, of all workers, SIGSTOP of one: every verb gives the bits of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

import dask
import pytest
from distributed import Client

from streamsvd.engine import schedule
from streamsvd.models import absorption, cut
from tests.contracts.verbs import CHUNK, CONTRACTS, N, matrix, reference, where
from tests.faults.cluster_kit import (
    TASKS,
    Rows,
    disturbed,
    processes,
    separate_scheduler,
    separate_worker,
    wait_until,
)

MOMENTS = 10
FEW = [c for c in CONTRACTS if c.label in ("svd krylov", "cluster primal")]
FROZEN = [c for c in CONTRACTS if c.label in ("svd krylov", "update first", "shuffle")]


@pytest.fixture(scope="module")
def cluster():
    with processes(2) as (machine, _):
        yield machine


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def short(monkeypatch):
    """Pieces of a chunk, so that each verb has several tasks."""
    monkeypatch.setattr(absorption, "ROUND", 4)
    monkeypatch.setattr(cut, "MAX_PIECE_BYTES", 8 * N * CHUNK)
    monkeypatch.setattr(schedule, "PIECE_BYTES", 8 * N * CHUNK)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("contract", where("scheduler"))
def test_the_worker_that_holds_a_task_is_killed_at_ten_moments(cluster, contract):
    def run():
        return contract.bits(contract.run(contract.stored(matrix())))

    whole, struck = run(), 0
    with Client(cluster) as client:
        with disturbed(cluster, client, at=0) as calm:
            assert run() == whole
        moments = ten_moments(calm.count)
        for at, moment in moments:
            with disturbed(cluster, client, at, moment=moment) as disturbance:
                found = run()
            assert found == whole, f"killed at task {at}, {moment}"
            struck += len(disturbance.struck)
    print(f"{contract.label}: {calm.count} tasks, killed {struck} times at {moments}")
    assert struck > MOMENTS // 2  # items that were late in the calm run were counted twice


def ten_moments(count):
    """Tasks, by their number, each with what happens to it when its worker is killed."""
    states = ("processing",) if count >= MOMENTS else ("processing", "memory")
    known = [(at, state) for at in range(1, count + 1) for state in states]
    assert len(known) >= MOMENTS, "fewer moments than are asked for"
    return [known[i * len(known) // MOMENTS] for i in range(MOMENTS)]


@pytest.mark.slow
@pytest.mark.parametrize("contract", [pytest.param(c, id=c.label) for c in FEW])
def test_all_workers_are_killed_and_come_back(contract):
    with processes(2) as (cluster, client), disturbed(cluster, client, 2, all_workers=True) as d:
        found = contract.run(contract.stored(matrix()))
    assert len(d.struck) == 2
    assert contract.bits(found) == reference(contract).bits


@pytest.mark.slow
@pytest.mark.parametrize("contract", [pytest.param(c, id=c.label) for c in FEW])
def test_a_worker_that_stands_still_for_a_while_changes_no_bit(contract):
    with (
        processes(2) as (cluster, client),
        disturbed(cluster, client, 2, number=signal.SIGSTOP) as disturbance,
    ):

        def go_on():
            wait_until(lambda: disturbance.struck, "a task that is processed")
            threading.Event().wait(20)
            os.kill(disturbance.pids[disturbance.struck[0]], signal.SIGCONT)

        thread = threading.Thread(target=go_on)
        thread.start()
        found = contract.run(contract.stored(matrix()))
        thread.join()
    assert contract.bits(found) == reference(contract).bits


CLIENT = """
import sys
from pathlib import Path
from distributed import Client
import streamsvd
from tests.faults.cluster_kit import Rows
with Client(sys.argv[1]):
    streamsvd.svd(Rows(Path(sys.argv[2])), 3, route="krylov")
"""


@pytest.mark.slow
def test_tasks_of_a_killed_client_stop_at_their_next_panel(tmp_path):
    A = Rows(tmp_path)
    with separate_scheduler() as (_, address), separate_worker(address):
        with subprocess.Popen([sys.executable, "-c", CLIENT, address, str(tmp_path)]) as process:
            wait_until(A.reads, "a read")
            process.kill()
        with Client(address, set_as_default=False) as other:
            wait_until(
                lambda: other.run_on_scheduler(known_tasks) == 0, "a scheduler that knows no task"
            )
            wait_until(lambda: set(other.run(wanted_tasks).values()) == {0}, "word at the worker")
            A.free()
            wait_until(lambda: set(other.run(running_tasks).values()) == {0}, "the end of the task")
    assert {row // 200 for _, row in A.reads()} == {A.reads()[0][1] // 200}


def known_tasks(dask_scheduler):
    return len(dask_scheduler.tasks)


def wanted_tasks(dask_worker):
    tasks = dask_worker.state.tasks.items()
    return sum(str(key).startswith(TASKS) and task.state != "cancelled" for key, task in tasks)


def running_tasks():
    from streamsvd.engine import task

    return len(task._running)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["processing", "memory"])
@pytest.mark.parametrize("contract", [pytest.param(c, id=c.label) for c in FROZEN])
def test_a_worker_that_stands_still_for_good_is_given_up_with_the_scheduler(contract, moment):
    """It keeps its connections open and says nothing: whoever waits for it waits until the scheduler gives it up."""
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "10 s"}),
        processes(3) as (cluster, client),
        disturbed(cluster, client, 1, number=signal.SIGSTOP, moment=moment) as disturbance,
    ):
        found = contract.run(contract.stored(matrix()))
        for worker in disturbance.struck:
            with contextlib.suppress(ProcessLookupError):  # its nanny had ended it
                os.kill(disturbance.pids[worker], signal.SIGKILL)
    assert len(disturbance.struck) == 1
    assert contract.bits(found) == reference(contract).bits
