"""Plans for clusters, of every verb, that are there or not: what is asked of the matrix stays, what it costs there is added."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re

import dask
import numpy as np
import pytest

import streamsvd
from streamsvd import BudgetError, SpecError
from streamsvd.cli import app
from streamsvd.cli.commands import verbs as command_line
from streamsvd.engine.task_count import tasks_of_pass
from streamsvd.verbs import MACHINES, VERBS
from tests.contracts.verbs import where

MOST_LEAVES = 16_384
AT = {
    "workers": 100,
    "threads": 2,
    "worker_memory": "4GiB",
    "bandwidth": "10Gbit/s",
    "price_per_hour": 0.05,
}


class Large:
    """A petabyte in a million chunks, which nobody can read."""

    shape, dtype, chunks = (50_000_000_000, 5_000), np.dtype("f4"), (50_000, 5_000)

    def read(self, rows):
        raise AssertionError(f"rows {rows} were read")


@pytest.mark.parametrize("contract", where("plan"))
def test_every_verb_that_has_a_plan_has_one_for_a_cluster(contract):
    A = contract.kind.unreadable()
    plan = contract.plan(A, memory="1GiB")
    assert plan.cluster is None
    from streamsvd.engine.machines import MachineOptions, planning_for

    with planning_for(MachineOptions(**AT)):
        there = contract.plan(A, memory="1GiB")
    cluster = there.cluster
    assert 1 <= cluster.tasks <= cluster.leaves
    assert cluster.worker_bytes <= cluster.worker_limit == int(0.6 * (4 << 30))
    assert cluster.client_bytes <= there.projected_bytes
    assert cluster.pass_seconds > 0
    assert cluster.pass_price == pytest.approx(cluster.pass_seconds * 100 * 0.05 / 3600)
    for line in cluster.explain():
        assert line in there.explain()


def counted(plan):
    """What decides bits and bytes."""
    return (
        plan.route, plan.layout.spans, plan.layout.unit, plan.block, plan.probes, plan.basis, plan.pins, plan.sample_rows, plan.passes,
        plan.bytes_read, plan.device, plan.prefetch, plan.at_once,
    )  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_worker_is_planned_as_this_process_is(threads):
    with dask.config.set(num_workers=threads):
        here = streamsvd.plan("svd", Large(), 20, memory="16GiB")
    there = streamsvd.plan("svd", Large(), 20, memory="16GiB", workers=1, threads=threads)
    assert counted(here) == counted(there)
    leaves = len(here.layout.spans)
    assert there.cluster.tasks == tasks_of_pass(leaves, here.nbytes, threads)
    assert there.seconds == pytest.approx(here.seconds, rel=0.25)


@pytest.mark.parametrize("verb", ["svd", "pca"])
def test_the_number_of_workers_is_in_no_bit(verb):
    plans = [
        streamsvd.plan(verb, Large(), 20, memory="64GiB", workers=w, threads=t)
        for w, t in ((1, 1), (1000, 1), (30, 8))
    ]
    # how much of the matrix is read at once is the memory's, not the result's
    kept = [counted(plan)[:-2] for plan in plans]
    assert kept[0] == kept[1] == kept[2]
    assert [p.cluster.machines.total_threads for p in plans] == [1, 1000, 240]
    assert plans[1].cluster.tasks <= MOST_LEAVES
    assert plans[0] == pickle.loads(pickle.dumps(plans[0]))


def test_small_workers_are_refused_and_a_little_more_than_was_named_does():
    asked = {"memory": "64GiB", "workers": 100, "threads": 4}
    with pytest.raises(
        BudgetError,
        match=r"a worker of 4 threads and 256 MiB allows a plan .*Give workers [\d,]+ MiB \(--memory-limit\), or fewer threads",
    ) as told:
        streamsvd.plan("svd", Large(), 20, **asked, worker_memory="256MiB")
    least = int(re.search(r"Give workers ([\d,]+) MiB", str(told.value))[1].replace(",", "")) << 20
    plan = streamsvd.plan("svd", Large(), 20, **asked, worker_memory=least + least // 20)
    assert plan.cluster.worker_bytes <= plan.cluster.worker_limit


def test_a_dense_step_that_does_not_fit_at_home_says_that_workers_do_not_help():
    class Wide(Large):
        shape = (50_000_000, 5_000_000)

    with pytest.raises(
        BudgetError,
        match=r"makes the dense step alone and needs [\d.]+ .iB for it: more workers do not help",
    ):
        streamsvd.plan("svd", Wide(), 500, memory="64GiB", workers=1000)
    with pytest.raises(BudgetError) as told:
        streamsvd.plan("svd", Wide(), 500, memory="64GiB")
    assert "workers" not in str(told.value)


def test_the_active_cluster_is_planned_for():
    from distributed import Client, LocalCluster

    A = np.ones((4000, 6))
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=False,
            dashboard_address=":0",
            memory_limit="1GiB",
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        found = streamsvd.plan("svd", A, 3, memory="1GiB").cluster.machines
        more = streamsvd.plan(
            "lstsq", A, np.ones(4000), memory="1GiB", bandwidth="1GB/s"
        ).cluster.machines
        with pytest.raises(
            SpecError,
            match="workers=3 was passed, but a cluster is active, which has its own. Leave it out",
        ):
            streamsvd.plan("svd", A, 3, workers=3)
    assert (found.workers, found.threads, found.total_threads, found.worker_memory) == (
        2,
        2,
        4,
        None,
    )
    assert more == dataclasses.replace(found, bandwidth=1e9)
    assert streamsvd.plan("svd", A, 3).cluster is None


def test_no_verb_has_an_option_of_machines():
    import inspect

    for verb in VERBS.values():
        assert not set(MACHINES) & set(inspect.signature(verb.resolve("function")).parameters)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.random.default_rng(0).standard_normal((4000, 20)))
    return tmp_path


def test_the_command_line_plans_for_machines(data, capsys):
    line = "plan svd a.npy --rank 3 --workers 1000 --threads 1 --worker-memory 4GiB --bandwidth 10Gbit/s --source-bandwidth 20GB/s --price-per-hour 0.05"
    assert app.run(line.split()) == 0
    out = capsys.readouterr().out
    for words in (
        "1,000 workers of 1 thread and 4 GiB, links of 1.25 GB/s",
        " a pass of 1 leaf",
        "between processes:",
        "a pass     about",
        "enough     about",
        "price      ",
        "assumed    ",
    ):
        assert words in out
    for verb in ("svd --rank 3", "pca --rank 3", "sample --size 20", "top"):
        command = f"plan {verb.split()[0]} a.npy {' '.join(verb.split()[1:])} --workers 3 --threads 2 --json"
        assert app.run(command.split()) == 0
        cluster = json.loads(capsys.readouterr().out)["cluster"]
        assert cluster["machines"]["total_threads"] == 6
        assert cluster["seconds"]["scheduler"] > 0


def test_workers_alone_are_threads_as_where_the_verb_runs(data, capsys):
    assert app.run(["plan", "a.npy", "--rank", "3", "--workers", "3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["cluster"] is None
    assert record["workers"] <= 3


def test_the_command_line_refuses_in_its_own_words(data, capsys):
    for said, words in (
        ("--threads 2", "needs --workers"),
        (
            "--workers 2 --bandwidth 10Gb/s",
            '--bandwidth 10Gb/s is no speed. Pass bits a second as "10Gbit/s"',
        ),
        ("--workers 2 --threads 1 --worker-memory 1MiB", "Give workers"),
        ("--workers 2 --threads 0", "--threads 0 is no number of threads"),
    ):
        assert app.run(["plan", "a.npy", "--rank", "3", *said.split()]) in (1, 2)
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", [v.command.replace(" ", "-") for v in VERBS.values() if v.command])
def test_every_plan_has_the_options_of_machines(name):
    plan = command_line.get_command(None, "plan").get_command(None, name)
    assert {*MACHINES, "scheduler"} <= {p.name for p in plan.params}
    assert len({p.name for p in plan.params}) == len(plan.params)


def test_a_million_chunks_are_counted_and_not_listed():
    """What a plan looks at grows with leaves and with doublings of workers, not with chunks."""
    looked: list[int] = []

    class Counting(Large):
        def __getattribute__(self, name):
            looked.append(1)
            return super().__getattribute__(name)

    A = Counting()
    plan = streamsvd.plan("svd", A, 20, memory="64GiB", workers=1000)
    assert plan.nbytes // (50_000 * 5_000 * 4) == 1_000_000
    assert plan.cluster.tasks <= plan.cluster.leaves <= MOST_LEAVES
    assert len(looked) < 10_000
