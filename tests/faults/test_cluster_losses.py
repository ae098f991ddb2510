"""What a cluster loses and who loses it: the same bits where it can be found again, else a sentence that says what to do."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import numpy as np
import pytest
from distributed import Client, LocalCluster
from distributed.core import Status

import streamsvd
from streamsvd.engine import task
from streamsvd.engine.cluster import flights, heartbeat
from streamsvd.engine.events import SpanDone
from streamsvd.errors import StoreError, StreamSVDError
from tests.contracts.verbs import CONTRACTS, matrix, reference
from tests.faults.cluster_kit import (
    Rows,
    disturbed,
    keys_left,
    processes,
    separate_scheduler,
    separate_worker,
    wait_until,
)

PANEL = 200
"""Rows of `Rows` that are read at once, by several calls: a span."""

KRYLOV = next(c for c in CONTRACTS if c.label == "svd krylov")


@pytest.fixture(scope="module")
def cluster():
    with processes(2) as (machine, _):
        yield machine


@pytest.fixture
def client(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Client(cluster) as client:
        wait_until(lambda: len(client.nthreads()) == 2, "two workers")
        yield client


def factorise(A, **options):
    return streamsvd.svd(A, 3, route="krylov", tol=1e-3, **options)


def bits(found):
    return found.s.tobytes() + found.Vh.tobytes()


def runs_cancelled():
    return len(task.cancelled_runs)


@contextlib.contextmanager
def beside(act):
    """Something that happens while the block runs; what goes wrong there is raised here."""
    faults = []

    def run():
        try:
            act()
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(120)
        assert not faults, faults


def test_ctrl_c_stops_tasks_at_their_next_panel(cluster, client, tmp_path):
    A, seen = Rows(tmp_path), []

    def interrupt():
        wait_until(lambda: len({pid for pid, _ in A.reads()}) == 2, "reads of both workers")
        signal.raise_signal(signal.SIGINT)
        wait_until(lambda: not keys_left(cluster), "an empty scheduler")
        with Client(cluster, set_as_default=False) as other:
            wait_until(lambda: all(other.run(runs_cancelled).values()), "word at both workers")
        seen.extend(A.reads())
        A.free()

    with pytest.raises(KeyboardInterrupt), beside(interrupt):
        factorise(A, u=True, out=tmp_path / "out")
    read = A.reads()
    assert seen
    assert {row // PANEL for _, row in read} == {row // PANEL for _, row in seen}
    assert len(read) == len(set(read))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["free", "reads"]


def test_a_late_task_is_done_by_another_worker(cluster, client, tmp_path, monkeypatch):
    monkeypatch.setattr(flights, "LATE_SECONDS", 0.1)
    A = Rows(tmp_path, waits=(0,), once=True)
    found = factorise(A)  # one of its tasks never ends by itself
    tries = [pid for pid, row in A.reads() if row == 0]
    assert len(set(tries)) == 2
    A.free()
    assert bits(found) == bits(factorise(Rows(tmp_path, home=os.getpid(), waits=(-1,))))
    wait_until(lambda: not keys_left(cluster), "an empty scheduler")


def test_a_killed_worker_costs_not_a_bit(cluster, client):
    with disturbed(cluster, client, at=2) as disturbance:
        found = KRYLOV.run(KRYLOV.stored(matrix()))
    assert len(disturbance.struck) == 1
    assert KRYLOV.bits(found) == reference(KRYLOV).bits
    wait_until(lambda: not keys_left(cluster), "an empty scheduler")


def test_a_worker_that_comes_later_is_used(tmp_path):
    A = Rows(tmp_path)
    with processes(1) as (cluster, _):

        def grow():
            wait_until(A.reads, "a read")
            cluster.scale(2)
            wait_until(lambda: len({pid for pid, _ in A.reads()}) == 2, "reads of the new worker")
            A.free()

        with beside(grow):
            found = factorise(A)
    assert bits(found) == bits(factorise(Rows(tmp_path)))


def test_a_cluster_whose_workers_take_no_tasks_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "STUCK_SECONDS", 0.5)
    with (
        LocalCluster(
            n_workers=1, processes=False, memory_limit=0, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
        pytest.raises(StreamSVDError, match="no worker has taken a task for"),
    ):
        cluster.workers[0].status = Status.paused
        wait_until(lambda: not cluster.scheduler.running, "word of the pause at the scheduler")
        factorise(Rows(tmp_path))


@pytest.mark.parametrize("restarted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_scheduler_that_is_gone_or_another_one_is_told_apart(tmp_path, monkeypatch, restarted):
    monkeypatch.setattr(heartbeat, "GONE_SECONDS", 20.0 if restarted else 1.0)
    A = Rows(tmp_path)
    with contextlib.ExitStack() as stack:
        scheduler, address = stack.enter_context(separate_scheduler())
        stack.enter_context(separate_worker(address))
        client = stack.enter_context(Client(address))
        client.wait_for_workers(1, timeout=60)

        def kill():
            wait_until(A.reads, "a read")
            scheduler.kill()
            scheduler.wait()
            if restarted:
                stack.enter_context(separate_scheduler(int(address.rsplit(":", 1)[1])))

        said = f"the scheduler at {address} " + (
            "is another one than at the start of pass 1"
            if restarted
            else "no longer answers in pass 1"
        )
        with pytest.raises(StreamSVDError, match=said), beside(kill):
            factorise(A)
        A.free()


def test_a_scheduler_without_workers_is_refused_at_once():
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        Client(cluster),
        pytest.raises(StoreError, match=r"has no workers. Start some: dask worker inproc://"),
    ):
        factorise(np.random.default_rng(0).standard_normal((400, 6)))


def test_a_cluster_that_adapts_itself_is_used_from_nothing(tmp_path):
    A = Rows(tmp_path, waits=(-1,))
    with (
        LocalCluster(
            n_workers=0, processes=False, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        cluster.adapt(minimum=0, maximum=2, interval="100 ms")
        found = factorise(A)
    assert bits(found) == bits(factorise(A))


def test_workers_that_all_leave_are_waited_for_and_then_named(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.2)
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        (worker,) = client.nthreads()

        def leave(event):
            if isinstance(event, SpanDone):
                cluster.sync(cluster.workers[0].close)

        said = rf"pass 1 lost all workers, the last \({worker}\) \d s ago, and none came. Start workers"
        with pytest.raises(StreamSVDError, match=said):
            factorise(Rows(tmp_path), callback=leave)
