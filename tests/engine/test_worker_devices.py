"""Which tasks go to which workers where some of them have GPUs; array-api-strict's device stands in for one."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from distributed import Client, Scheduler, SpecCluster, Worker
from distributed.diagnostics.plugin import SchedulerPlugin

import streamsvd
from streamsvd.engine.worker_devices import check_devices, device_threads, task_resources
from streamsvd.errors import SpecError

PLAIN = {"nthreads": 4, "resources": {}}
GPUS = {"nthreads": 4, "resources": {"GPU": 2.0}}


def test_a_task_takes_a_gpu_where_workers_say_that_they_have_some():
    known = {"a": PLAIN, "b": GPUS, "c": {"nthreads": 1}}
    assert task_resources("cuda", known) == {"GPU": 1.0}
    assert device_threads("cuda", known) == {"b": 2}
    assert task_resources("cpu", known) == {}
    assert device_threads("cpu", known) == {"a": 4, "b": 4, "c": 1}
    plain = {"a": PLAIN, "c": {"nthreads": 1}}
    assert task_resources("cuda", plain) == {}
    assert device_threads("cuda", plain) == {"a": 4, "c": 1}


def test_workers_that_lack_the_device_are_counted_with_the_reason():
    faults = {f"tcp://{i}": "cupy missing" if i < 3 else "" for i in range(8)}
    known = {worker: {"nthreads": 1} for worker in faults}
    with pytest.raises(SpecError) as refused:
        check_devices("cuda", faults, known)
    assert str(refused.value) == (
        'device="cuda": 3 of 8 workers have none (cupy missing; the first is tcp://0). '
        'Start GPU workers alone, or pass device="cpu".'
    )
    check_devices("cpu", dict.fromkeys(faults, ""), known)
    known |= {w: {"nthreads": 1, "resources": {"GPU": 1}} for w in list(faults)[3:]}
    check_devices("cuda", faults, known)  # no task of it goes to the other three


class Watcher(SchedulerPlugin):
    """What each task asked for, and where it ran."""

    def __init__(self, scheduler):
        self.scheduler, self.asked, self.places = scheduler, {}, {}

    def transition(self, key, start, finish, *args, worker=None, **kwargs):
        task = self.scheduler.tasks.get(key)
        if finish == "processing" and task.processing_on is not None:
            self.asked[key] = dict(task.resource_restrictions or {})
            self.places.setdefault(key, set()).add(task.processing_on.name)


def test_tasks_of_a_device_go_to_the_workers_that_have_it(tmp_path):
    values = np.random.default_rng(0).standard_normal((900, 20))
    zarr.create_array(str(tmp_path / "A.zarr"), data=values, chunks=(50, 20))
    here = streamsvd.svd(tmp_path / "A.zarr", 3, device="strict")
    options = {"nthreads": 2, "protocol": "inproc://", "dashboard_address": ":0"}
    workers = {
        "plain": {"cls": Worker, "options": options},
        "gpu": {"cls": Worker, "options": options | {"resources": {"GPU": 1}}},
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"protocol": "inproc://", "dashboard_address": ":0"},
    }
    with SpecCluster(workers, scheduler) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        watcher = Watcher(cluster.scheduler)
        cluster.scheduler.add_plugin(watcher)
        there = streamsvd.svd(tmp_path / "A.zarr", 3, device="strict")
        assert watcher.asked
        assert all(asked == {"GPU": 1} for asked in watcher.asked.values())
        assert set.union(*watcher.places.values()) == {"gpu"}
        watcher.asked.clear()
        watcher.places.clear()
        streamsvd.svd(tmp_path / "A.zarr", 3)
        assert not any(watcher.asked.values())
        assert set.union(*watcher.places.values()) == {"plain", "gpu"}
    assert np.array_equal(there.s, here.s)
    assert np.array_equal(there.Vh, here.Vh)
