"""The simulated pass: what must come out where it can be reckoned, and that it keeps to what the engine does."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.cluster_simulation import Simulation, load_of
from streamsvd.engine.cluster_plan import JOIN_RATE, WORKER_SECONDS, PassLoad, plan_cluster
from streamsvd.engine.machines import Machines
from streamsvd.engine.task_count import moved_sums, tasks_of_pass

LOAD = load_of(1e12)


def simulate(load=LOAD, workers=10, threads=1, seed=1, **options):
    return Simulation(
        load,
        Machines(workers, threads, workers * threads, source_bandwidth=options.pop("source", None)),
        seed,
        **options,
    ).run()


def test_one_thread_does_one_task_after_another():
    load = PassLoad(64, 10**9, thread_seconds=100.0, sum_bytes=10**6, dense_seconds=3.0)
    found = simulate(load, 1)
    joins = 6 * (10**6 / JOIN_RATE + WORKER_SECONDS)  # of which the last are waited for
    least = 100 + found.tasks * WORKER_SECONDS + 10**6 / 1.25e9 + 3.0
    assert least <= found.seconds <= least + joins
    assert found.network_bytes == 10**6
    assert found.copies == 0


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (7, 1), (10, 4), (100, 1)])
def test_every_leaf_is_done_once_and_no_pass_beats_its_even_share(workers, threads):
    run = Simulation(LOAD, Machines(workers, threads, workers * threads), 3)
    found = run.run()
    assert sorted(run.ended) == list(range(found.tasks))
    assert sum(run.sizes) == LOAD.leaves
    assert found.tasks == tasks_of_pass(LOAD.leaves, LOAD.pass_bytes, workers * threads)
    assert 0 < found.efficiency < 1.2  # speeds are one on the mean
    assert (
        found.network_bytes
        >= LOAD.operand_bytes * workers + moved_sums(found.tasks, workers) * LOAD.sum_bytes
    )


def test_the_seed_decides():
    assert simulate(seed=5) == simulate(seed=5)
    assert simulate(seed=5) != simulate(seed=6)


def test_second_tries_help_against_slow_workers():
    slow = {"slow_share": 0.2, "workers": 50}
    assert simulate(**slow).seconds <= simulate(**slow, has_backups=False).seconds
    assert simulate(**slow).copies > 0


def test_the_source_gives_no_more_than_it_has():
    assert simulate(workers=100, source=5e9).seconds >= 1e12 / 5e9


@pytest.mark.parametrize("workers", [10, 100, 1000])
def test_the_plan_is_near_the_simulation_where_no_worker_is_slow(workers):
    load = load_of(1e14)
    plan = plan_cluster(load, Machines(workers, 1, workers), "it")
    found = simulate(load, workers, slow_share=0.0)
    assert plan.pass_seconds == pytest.approx(found.seconds, rel=0.25)
    assert plan.network_bytes == pytest.approx(found.network_bytes, rel=0.25)
    assert plan.tasks == found.tasks
    assert dataclasses.asdict(found)
