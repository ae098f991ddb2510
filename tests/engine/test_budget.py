"""What a run may take on a cluster comes from the limits of its workers."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import streamsvd
from streamsvd.engine import budget as module
from streamsvd.engine.budget import PROCESS_BYTES, allowed_bytes, worker_share
from streamsvd.errors import Allowance, BudgetError, StoreError

GIB, MIB = 1 << 30, 1 << 20


@pytest.fixture
def cluster(monkeypatch):
    """A client whose workers have limits and threads as they are told."""

    def told(*workers):
        known = {
            f"tcp://{i}": {"nthreads": threads, "memory_limit": limit}
            for i, (limit, threads) in enumerate(workers)
        }
        client = SimpleNamespace(
            scheduler=SimpleNamespace(
                address="tcp://s", identity=lambda n_workers: {"workers": known}
            ),
            sync=lambda function, **options: function(**options),
        )
        monkeypatch.setattr(module, "active_client", lambda: client)

    return told


def test_without_a_cluster_it_is_what_was_asked():
    assert worker_share() is None
    assert allowed_bytes("1GiB") == GIB
    assert not isinstance(allowed_bytes(None), Allowance)


def test_the_smallest_limit_decides_unless_less_was_asked(cluster):
    cluster((8 * GIB, 2), (4 * GIB, 2))
    share = int(0.6 * 4 * GIB)
    assert allowed_bytes(None) == share
    assert allowed_bytes("16GiB") == share
    assert allowed_bytes("1GiB") == GIB
    assert not isinstance(allowed_bytes("1GiB"), Allowance)


def test_threads_share_a_limit(cluster):
    """A plan counts the tasks of the busiest: one thread with 2 GiB has as much each as four with 8."""
    cluster((8 * GIB, 4), (GIB, 1))
    assert allowed_bytes(None) == 4 * int(0.6 * GIB)


def test_a_small_limit_leaves_room_for_the_process_itself(cluster):
    cluster((256 * MIB, 1))
    assert allowed_bytes(None) == int(0.8 * 256 * MIB) - PROCESS_BYTES


def test_workers_without_a_limit_and_those_of_this_process_do_not_count(cluster, monkeypatch):
    monkeypatch.setattr(module, "default_budget", lambda: 7)
    cluster((0, 1), (0, 2))
    assert allowed_bytes(None) == 7
    cluster((0, 1), (4 * GIB, 2))
    assert allowed_bytes(None) == int(0.6 * 4 * GIB)


def test_no_workers_at_all_is_an_error(cluster):
    cluster()
    with pytest.raises(StoreError, match=r"the scheduler at tcp://s has no workers. Start some"):
        allowed_bytes("1GiB")


def test_what_does_not_fit_names_the_worker_and_the_limit_that_would_do(cluster):
    cluster((150 * MIB, 1))
    A = np.random.default_rng(0).standard_normal((4000, 300))
    with pytest.raises(BudgetError) as refused:
        streamsvd.plan_svd(A, 20, memory="1GiB")
    needs = refused.value.needs
    enough = (int(needs / 0.6) + int(PROCESS_BYTES / 0.8) >> 20) + 1
    assert str(refused.value).endswith(
        f"needs {needs:,} bytes, worker tcp://0, whose limit is 150 MiB for 1 thread, allows a plan 10,485,760. "
        f"Give workers {enough:,} MiB (--memory-limit), or fewer threads."
    )
    again = pickle.loads(pickle.dumps(refused.value))
    assert str(again) == str(refused.value)
    cluster((enough * MIB, 1))
    assert streamsvd.plan_svd(A, 20, memory="1GiB").projected_bytes >= needs


def test_memory_that_is_asked_for_is_that_of_the_process_that_asks(cluster):
    """A limit of workers binds what runs there alone: the dense steps between passes have what was asked for."""
    A = np.zeros((500, 20_000), "f4")
    here = streamsvd.plan_svd(A, 20, memory="4GiB", route="krylov", axis="rows")
    cluster((400 * MIB, 1))
    there = streamsvd.plan_svd(A, 20, memory="4GiB", route="krylov", axis="rows")
    assert there.budget_bytes == here.budget_bytes == 4 * GIB
    assert there.task_bytes <= worker_share() < there.projected_bytes
    for decided in ("route", "layout", "block", "probes", "basis", "sample_rows"):
        assert getattr(there, decided) == getattr(here, decided)
    cluster((500 * MIB, 1))
    assert streamsvd.plan_svd(A, 20, route="krylov").budget_bytes == worker_share()
