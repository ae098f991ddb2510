"""The model of a pass on a cluster: what it counts, which way it goes with every number, and how it refuses."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd import BudgetError, SpecError
from streamsvd.engine.cluster_plan import PassLoad, plan_cluster
from streamsvd.engine.machines import (
    MachineOptions,
    Machines,
    machines_in_force,
    parse_rate,
    planning_for,
)
from streamsvd.engine.task_count import tasks_of_pass

loads = st.builds(
    PassLoad,
    leaves=st.sampled_from([1, 2, 7, 64, 1000, 16_384]),
    pass_bytes=st.integers(1, 10**15),
    thread_seconds=st.none() | st.floats(1e-3, 1e7),
    operand_bytes=st.integers(0, 10**9),
    sum_bytes=st.integers(0, 10**9),
    home_bytes=st.integers(0, 10**12),
    dense_seconds=st.floats(0, 100),
    passes=st.none() | st.floats(1, 10),
    leaves_are_tasks=st.booleans(),
)
sizes = st.integers(1, 3000)
speeds = st.floats(1e6, 1e12)


@st.composite
def machines(draw):
    workers, threads = draw(sizes), draw(st.integers(1, 64))
    return Machines(
        workers, threads, workers * threads, None, draw(speeds), draw(st.none() | speeds), draw(st.none() | st.floats(0, 100))
    )  # fmt: skip


@given(loads, machines())
def test_what_is_counted_keeps_its_limits(load, on):
    plan = plan_cluster(load, on, "it")
    assert 1 <= plan.tasks <= load.leaves
    assert (plan.tasks - 1) * plan.leaves_of_task < load.leaves <= plan.tasks * plan.leaves_of_task
    assert plan.bytes_read == load.pass_bytes
    assert plan.broadcast_bytes == load.operand_bytes * on.workers
    assert plan.sum_moves <= plan.tasks
    assert (
        plan.network_bytes
        == plan.broadcast_bytes + plan.sum_moves * load.sum_bytes + load.home_bytes
    )
    assert plan.seconds.total == plan.pass_seconds > 0
    assert all(value >= 0 for value in dataclasses.asdict(plan.seconds).values())
    assert (plan.run_seconds is None) == (load.passes is None)
    assert (plan.pass_price is None) == (on.price_per_hour is None)
    assert plan.explain()
    if not load.leaves_are_tasks:
        assert plan.tasks == tasks_of_pass(load.leaves, load.pass_bytes, on.total_threads)


@given(loads, machines(), sizes)
def test_more_of_anything_goes_one_way(load, on, workers):
    few, many = sorted((on.workers, workers))
    of = [
        plan_cluster(load, dataclasses.replace(on, workers=w, total_threads=w * on.threads), "it")
        for w in (few, many)
    ]
    assert of[0].seconds.broadcast <= of[1].seconds.broadcast
    assert of[0].most_workers == of[1].most_workers
    assert of[0].limit == of[1].limit
    for name in ("bandwidth", "source_bandwidth"):
        if getattr(on, name) is not None:
            faster = dataclasses.replace(on, **{name: 2 * getattr(on, name)})
            assert (
                plan_cluster(load, faster, "it").pass_seconds
                <= plan_cluster(load, on, "it").pass_seconds
            )
    if on.price_per_hour is not None:
        dearer = dataclasses.replace(on, price_per_hour=2 * on.price_per_hour)
        price = plan_cluster(load, on, "it").pass_price
        assert plan_cluster(load, dearer, "it").pass_price == pytest.approx(2 * price)


@given(loads)
def test_one_worker_of_one_thread_has_no_tail_and_moves_what_it_must(load):
    plan = plan_cluster(load, Machines(1, 1, 1), "it")
    assert plan.seconds.tail == 0
    assert (
        plan.network_bytes
        == load.operand_bytes + load.home_bytes + (not load.leaves_are_tasks) * load.sum_bytes
    )


def test_more_workers_than_are_enough_gain_less_than_a_quarter():
    load = PassLoad(16_384, 10**15, operand_bytes=10**7, sum_bytes=2 * 10**7, dense_seconds=1.0)
    for source in (None, 20e9):
        on = Machines(1000, 1, 1000, source_bandwidth=source)
        plan = plan_cluster(load, on, "it")
        at, twice = (
            plan_cluster(
                load, dataclasses.replace(on, workers=w, total_threads=w), "it"
            ).pass_seconds
            for w in (plan.most_workers, 2 * plan.most_workers)
        )
        assert at / twice < 1.25
        assert plan.limit == "the source gives 20 GB/s" if source else "leaves" in plan.limit


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (PassLoad(8, 10**12), "no more leaves"),
        (PassLoad(1 << 14, 10**13, dense_seconds=1e5), "dense step"),
        (PassLoad(1 << 14, 10**13, home_bytes=10**13, leaves_are_tasks=True), "one link"),
        (PassLoad(1 << 14, 10**15, operand_bytes=10**12), "the operand"),
        (PassLoad(1 << 14, 10**15, sum_bytes=10**12), "joined one after another"),
        (PassLoad(1 << 20, 10**12, leaves_are_tasks=True), "scheduler"),
    ],
)
def test_what_stands_in_the_way_of_more_workers_is_named(load, words):
    assert words in plan_cluster(load, Machines(10, 1, 10), "it").limit


@given(st.integers(2, 10**10), st.integers(1, 64))
def test_a_worker_that_is_too_small_is_refused_with_the_least(needs, threads):
    load = PassLoad(8, 10**9, worker_bytes=needs)
    with pytest.raises(
        BudgetError,
        match=r"svd of A, on all threads of a worker at once, needs .* MiB \(--memory-limit\)",
    ) as told:
        plan_cluster(load, Machines(9, threads, 9 * threads, 1 << 20), "svd of A")
    least = int(re.search(r"Give workers ([\d,]+) MiB", str(told.value))[1].replace(",", "")) << 20
    assert (
        plan_cluster(load, Machines(9, threads, 9 * threads, least), "svd of A").worker_limit
        >= needs
    )


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10Gbit/s", 1.25e9), ("10 Gbit/s", 1.25e9), ("1.25GB/s", 1.25e9), ("8bit/s", 1), ("800Mbits/s", 1e8), ("1GiB/s", 2**30),
        ("100Gbitps", 12.5e9), ("1e3MB/s", 1e9), ("16Kibit/s", 2048), ("20GBytes/s", 20e9), ("1TB/s", 1e12),
    ],
)  # fmt: skip
def test_bits_and_bytes_a_second(text, rate):
    assert parse_rate(text, "bandwidth") == rate


@pytest.mark.parametrize(
    "text", ["10", "10G", "10Gb/s", "10gb/s", "10Gbit", "10GB", "-1Gbit/s", "0GB/s", "fast", "", "1.2.3GB/s", "nanGB/s", 1e9, True, [1]]
)  # fmt: skip
def test_what_may_be_bits_or_bytes_is_refused(text):
    with pytest.raises(
        SpecError,
        match=r'bandwidth=.* is no speed. Pass bits a second as "10Gbit/s", or bytes a second as "1.25GB/s"',
    ):
        parse_rate(text, "bandwidth")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, r"workers=0 is no number of workers. Pass a whole number from 1"),
        ({"workers": True}, "workers=True is no number"),
        ({"workers": 2.5}, "workers=2.5 is no number"),
        ({"workers": 3, "threads": 0}, "threads=0 is no number of threads"),
        ({"threads": 2}, "needs workers=, and there is neither a number nor an active cluster"),
        ({"workers": 2, "worker_memory": "4 cats"}, "worker_memory='4 cats' is no size"),
        ({"workers": 2, "worker_memory": -1}, "worker_memory=-1 is no size"),
        ({"workers": 2, "worker_memory": [1]}, r"worker_memory=\[1\] is no size"),
        ({"workers": 2, "source_bandwidth": "20"}, "source_bandwidth='20' is no speed"),
        ({"workers": 2, "thread_rate": 3}, "thread_rate=3 is no speed"),
        ({"workers": 2, "price_per_hour": -0.1}, "price_per_hour=-0.1 is no price"),
        ({"workers": 2, "price_per_hour": math.inf}, "price_per_hour=inf is no price"),
        ({"workers": 2, "price_per_hour": "free"}, "price_per_hour='free' is no price"),
    ],
)
def test_machines_that_cannot_be_meant_are_refused_in_words(options, words):
    with pytest.raises(SpecError, match=words), planning_for(MachineOptions(**options)):
        pass
    assert machines_in_force() is None


def test_machines_hold_inside_alone():
    with planning_for(MachineOptions(workers=7, threads=3, worker_memory="2GB", bandwidth="1GB/s")):
        assert machines_in_force() == Machines(7, 3, 21, 2 * 10**9, 1e9)
    assert machines_in_force() is None
